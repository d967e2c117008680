import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createListeners, LISTENERS } from '../../src/http/listeners.ts'
import type { HttpSettings } from '../../src/http/settings.ts'
import { aBody, startApp } from '../helpers/app.ts'
import { parseMetrics } from '../helpers/metrics.ts'
import { until } from '../helpers/until.ts'

const isLinux = process.platform === 'linux'
if (!isLinux) process.stdout.write('skipped: several sockets listen on one port on Linux only\n')

const HOST = '127.0.0.1'

async function start(http: Partial<HttpSettings> = {}) {
  const app = await startApp({ http })
  const listeners = createListeners(app.app)
  onTestFinished(async () => {
    await listeners.close()
    await app.close()
  })
  return { ...app, listeners, listen: (port = 0) => listeners.listen({ host: HOST, port }) }
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

  test('that shuts down accepts nothing more, and waits until it has answered accepted connections', async () => {
    const app = await start()
    await app.listen()
    const port = portOf(app)
    const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
    const clients = Array.from({ length: 32 }, () => dial(port, get(`/jobs/${id}?wait=60`)))
    let accepted = 0
    let isClosed = false
    app.app.server.on('connection', () => accepted++)
    await until(() => accepted === clients.length, 'the connections')
    const closes = app.listeners.close().then(() => (isClosed = true))
    expect(listening(port)).toBe(1)
    await sleep(100)
    expect(isClosed).toBe(false)
    await Promise.all([closes, app.app.close()])
    expect(listening(port)).toBe(0)
    await until(() => clients.every(({ closed }) => closed), 'the connections to close')
    // 503: the request was read after the shutdown had started.
    for (const { answer } of clients) expect(answer).toMatch(/^HTTP\/1\.1 (200|503) /)
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

  test('that shuts down before it listens leaves no socket open', async () => {
    const app = await start()
    const listens = app.listen()
    await app.listeners.close()
    await listens
    await until(() => listening(portOf(app)) === 1, 'the other sockets to close')
  })
})
