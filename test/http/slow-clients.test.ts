import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { type HttpSettings, HEADERS_TIMEOUT_MS, REQUEST_TIMEOUT_MS } from '../../src/app.ts'
import { startApp, type TestApp } from '../helpers/app.ts'
import { listen } from '../helpers/listen.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await app.close()
})

const start = async (http: Partial<HttpSettings>) => {
  app = await startApp({ http })
  await listen(app.app)
}

/** A client on a bare socket, from an address of this machine. */
async function dial(localAddress = '127.0.0.1') {
  const { port } = app.app.server.address() as AddressInfo
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  sockets.push(socket)
  const client = { socket, answer: '', closed: false }
  socket.on('data', (chunk: Buffer) => (client.answer += chunk.toString()))
  socket.on('error', () => undefined)
  socket.on('close', () => (client.closed = true))
  await once(socket, 'connect')
  return client
}

type Client = Awaited<ReturnType<typeof dial>>

/** Sends a piece every 20 ms until it is disconnected; resolves with the time until then, in ms. */
async function drip(client: Client, piece: string) {
  const from = performance.now()
  while (!client.closed && performance.now() - from < 5_000) {
    if (client.socket.writable) client.socket.write(piece)
    await sleep(20)
  }
  return performance.now() - from
}

const HEAD = 'POST /jobs HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n'

describe('a slow client', () => {
  const timeouts = { headersTimeoutMs: 300, requestTimeoutMs: 900 }
  const expectTimeout = (answer: string) => {
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1\.1 408 Request Timeout/)
    expect(head).toContain('application/problem+json')
    expect(JSON.parse(body)).toMatchObject({ status: 408, code: 'request_timeout' })
  }

  test.each([
    ['slow headers', 'GET /jobs HTTP/1.1\r\nHost: a.example\r\n', 'x-a: b\r\n', 300, 900],
    ['a slow body', `${HEAD}\r\n{"video_path": "`, 'x', 900, 2_000],
    ['no byte at all', '', '', 300, 900],
  ])('with %s is answered 408 and disconnected', async (_what, begin, piece, atLeastMs, atMostMs) => {
    await start(timeouts)
    const client = await dial()
    client.socket.write(begin)
    const tookMs = await drip(client, piece)
    expectTimeout(client.answer)
    // The server measures from the first byte, a little after the connection.
    expect(tookMs).toBeGreaterThan(atLeastMs - 50)
    expect(tookMs).toBeLessThan(atMostMs)
  })

  test('does not delay other clients', async () => {
    await start(timeouts)
    const slow = await Promise.all(Array.from({ length: 200 }, () => dial()))
    for (const { socket } of slow) socket.write(HEAD)
    const from = performance.now()
    expect((await app.get('/jobs')).statusCode).toBe(200)
    expect(performance.now() - from).toBeLessThan(200)
    await until(() => slow.every(({ closed }) => closed), 'all slow clients to be disconnected')
  })

  test('has the time limits that docs/production.md names', () => {
    expect([HEADERS_TIMEOUT_MS, REQUEST_TIMEOUT_MS]).toEqual([15_000, 60_000])
  })
})

describe('a connection beyond MAX_CONNECTIONS', () => {
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a.example\r\n\r\n`
  const untilAnswered = (client: Client, status: number) =>
    until(() => client.answer.startsWith(`HTTP/1.1 ${status} `) && client.answer.endsWith('}'), `a ${status}`)
  const logged = () => app.requestLines.filter(({ event }) => event === 'connections_full')

  /** Clients of one address with a stream of events each, so that their connections are not idle. */
  async function holdConnections(count: number, address?: string) {
    const clients = await Promise.all(Array.from({ length: count }, () => dial(address)))
    for (const { socket } of clients) socket.write(get('/events'))
    await until(() => clients.every(({ answer }) => answer.startsWith('HTTP/1.1 200 ')), 'every stream')
    return clients
  }

  test('closes the oldest idle connection of the address that has most', async () => {
    await start({ maxConnections: 4 })
    const [few, many] = ['127.0.0.2', '127.0.0.3']
    const first = await dial(few)
    const others = [await dial(many), await dial(many), await dial(many)]
    first.socket.write(get('/jobs'))
    await untilAnswered(first, 200)
    const added = [await dial('127.0.0.4'), await dial('127.0.0.5')]
    await until(() => others[0]!.closed && others[1]!.closed, 'the end of two connections')
    for (const client of added) client.socket.write(get('/jobs'))
    await Promise.all(added.map((client) => untilAnswered(client, 200)))
    expect([first, ...others, ...added].map(({ closed }) => closed)).toEqual([false, true, true, false, false, false])
    expect(logged()).toHaveLength(1)
  })

  test('is refused if the others are busy, or belong to addresses with fewer', async () => {
    await start({ maxConnections: 4 })
    const held = await holdConnections(3, '127.0.0.2')
    const idle = await dial('127.0.0.3')
    const next = await dial('127.0.0.2')
    next.socket.write(get('/jobs'))
    await untilAnswered(next, 503)
    expect([...held, idle].map(({ closed }) => closed)).toEqual([false, false, false, false])
    expect(JSON.parse(next.answer.split('\r\n\r\n')[1]!)).toMatchObject({ code: 'overloaded' })
    expect(next.answer).toMatch(/retry-after: 10/i)
  })

  test('is served if it is a probe, however many silent ones come', async () => {
    await start({ maxConnections: 2 })
    await holdConnections(2, '127.0.0.2')
    for (let n = 0; n < 100; n++) await dial('127.0.0.2')
    for (const path of ['/healthz', '/readyz']) {
      const probe = await dial('127.0.0.3')
      probe.socket.write(get(path))
      await untilAnswered(probe, 200)
    }
    expect(sockets.filter(({ destroyed }) => !destroyed).length).toBeLessThan(30)
  })

  test('is served after another one closes', async () => {
    await start({ maxConnections: 2 })
    const [first] = await holdConnections(2)
    const next = await dial()
    next.socket.write(get('/jobs'))
    await untilAnswered(next, 503)
    first!.socket.destroy()
    await until(async () => {
      next.answer = ''
      next.socket.write(get('/jobs'))
      await until(() => next.answer.endsWith('}'), 'an answer')
      return next.answer.startsWith('HTTP/1.1 200 ')
    }, 'room for it')
  })

  test('does not exist if MAX_CONNECTIONS is 0', async () => {
    await start({ maxConnections: 0 })
    const clients = await Promise.all(Array.from({ length: 20 }, () => dial()))
    expect((await fetch(`http://127.0.0.1:${(app.app.server.address() as AddressInfo).port}/healthz`)).status).toBe(200)
    expect(clients.some(({ closed }) => closed)).toBe(false)
  })
})
