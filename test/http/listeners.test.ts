import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { LISTENERS, openListeners } from '../../src/http/listeners.ts'
import type { HttpSettings } from '../../src/app.ts'
import { aBody, startApp } from '../helpers/app.ts'
import { parseMetrics } from '../helpers/metrics.ts'
import { until } from '../helpers/until.ts'

const isLinux = process.platform === 'linux'
if (!isLinux) process.stdout.write('skipped: several sockets listen on one port on Linux only\n')

const HOST = '127.0.0.1'

async function start(http: Partial<HttpSettings> = {}) {
  const app = await startApp({ http })
  onTestFinished(() => app.close())
  return { ...app, listen: (port = 0) => openListeners(app.app, { host: HOST, port }) }
}

type Started = Awaited<ReturnType<typeof start>>

const portOf = ({ app }: Pick<Started, 'app'>) => (app.server.address() as AddressInfo).port

/** A client on a bare socket, with the answer so far. */
function dial(port: number, request = '') {
  const socket = connect(port, HOST)
  onTestFinished(() => void socket.destroy())
  const client = { socket, answer: '', closed: false }
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => (client.answer += chunk.toString()))
  socket.on('close', () => (client.closed = true))
  if (request !== '') socket.write(request)
  return client
}

/** A client that another socket than the first one has accepted, which Node counts alone. */
async function dialOther(app: Started) {
  const { server } = app.app
  for (;;) {
    const accepted = once(server, 'connection')
    const client = dial(portOf(app))
    await accepted
    if ((await promisify(server.getConnections.bind(server))()) === 0) return client
    client.socket.destroy()
    await until(async () => (await promisify(server.getConnections.bind(server))()) === 0, 'the connection to close')
  }
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: a.example\r\n\r\n`

/** How many sockets listen on a port of 127.0.0.1, as proc_pid_net(5) has it: state 0A. */
function listening(port: number): number {
  const at = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n')
  return rows.filter((row) => row.includes(` ${at} `) && row.includes(' 0A ')).length
}

describe.skipIf(!isLinux)('a server', () => {
  test('listens with several sockets, and accepts a connection of each in a turn of the event loop', async () => {
    const app = await start()
    await app.listen()
    expect(listening(portOf(app))).toBe(LISTENERS)
    const turns = new Set<number>()
    let [turn, accepted] = [0, 0]
    app.app.server.on('connection', () => {
      turns.add(turn)
      accepted++
    })
    const clients = Array.from({ length: 64 }, () => dial(portOf(app)))
    while (accepted < clients.length) {
      await new Promise((resolve) => setImmediate(resolve))
      turn++
    }
    // The kernel distributes them by a hash of their port, so the fullest of 8 has more than an eighth.
    expect(turns.size).toBeLessThan(clients.length / 2)
  })

  test('answers, counts and limits the connections of all sockets together', async () => {
    const app = await start({ maxConnections: 40 })
    await app.listen()
    const clients = Array.from({ length: 40 }, () => dial(portOf(app), get('/healthz')))
    await until(() => clients.every(({ answer }) => answer.includes('200 OK')), 'the answers')
    expect(parseMetrics(await app.metrics.render()).get('musetalk_http_connections')).toBe(40)
    // Idle ones are closed to make room.
    const more = Array.from({ length: 20 }, () => dial(portOf(app), get('/healthz')))
    await until(() => more.every(({ answer }) => answer.includes('200 OK')), 'the answers')
    expect(clients.filter(({ closed }) => closed).length).toBeGreaterThanOrEqual(20)
  })

  test('that shuts down accepts nothing more, and answers accepted connections', async () => {
    const app = await start()
    await app.listen()
    const port = portOf(app)
    const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
    const clients = Array.from({ length: 32 }, () => dial(port, get(`/jobs/${id}?wait=60`)))
    let accepted = 0
    app.app.server.on('connection', () => accepted++)
    await until(() => accepted === clients.length, 'the connections')
    await app.app.close()
    expect(listening(port)).toBe(0)
    await until(() => clients.every(({ closed }) => closed), 'the connections to close')
    // 503: the request was read after the shutdown had started.
    for (const { answer } of clients) expect(answer).toMatch(/^HTTP\/1\.1 (200|503) /)
  })

  test('that shuts down has closed only when the requests of all sockets are answered', async () => {
    const app = await start()
    await app.listen()
    const { id } = await app.submit()
    const asked = Promise.withResolvers<undefined>()
    const go = Promise.withResolvers<undefined>()
    const { get: read } = app.service
    vi.spyOn(app.service, 'get').mockImplementation(async (...args) => {
      asked.resolve(undefined)
      await go.promise
      return read(...args)
    })
    const client = await dialOther(app)
    client.socket.write(get(`/jobs/${id}`))
    await asked.promise
    const port = portOf(app)
    let isClosed = false
    const closes = app.app.close().then(() => (isClosed = true))
    await until(() => listening(port) === 0, 'the sockets to close')
    await sleep(100)
    expect(isClosed).toBe(false)
    go.resolve(undefined)
    await closes
    await until(() => client.closed, 'the connection to close')
    expect(client.answer).toMatch(/^HTTP\/1\.1 200 /)
  })

  test.each(['another program', 'another server'])('does not listen on a port that %s listens on', async (who) => {
    const app = await start()
    const other = who === 'another server' ? await start() : undefined
    const holder = other?.app.server ?? createServer().listen(0, HOST)
    if (other) await other.listen()
    else await once(holder, 'listening')
    onTestFinished(() => void holder.close())
    const { port } = holder.address() as AddressInfo
    await expect(app.listen(port)).rejects.toMatchObject({ code: 'EADDRINUSE' })
    expect(listening(port)).toBe(other ? LISTENERS : 1)
  })

  test('that shuts down while it starts to listen leaves no socket open', async () => {
    const app = await start()
    const listens = app.listen()
    await once(app.app.server, 'listening')
    const port = portOf(app)
    await Promise.all([listens, app.app.close()])
    expect(listening(port)).toBe(0)
  })

  test('has the same options for the connections of all sockets', async () => {
    const app = await start()
    await app.listen()
    const options: unknown[] = []
    app.app.server.on('connection', (socket: Socket) => {
      // Node keeps whether it has set TCP_NODELAY in a private property.
      const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'kSetNoDelay')
      options.push([socket.allowHalfOpen, key && Reflect.get(socket, key)])
    })
    for (let n = 0; n < 32; n++) dial(portOf(app))
    await until(() => options.length === 32, 'the connections')
    expect(options).toEqual(options.map(() => [true, true]))
  })
})
