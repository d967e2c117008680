import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { type HttpSettings, HEADERS_TIMEOUT_MS, REQUEST_TIMEOUT_MS } from '../../src/http-settings.ts'
import { startApp, type TestApp } from '../helpers/app.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await app.close()
})

const listen = async (http: Partial<HttpSettings>) => {
  app = await startApp({ http })
  await app.app.listen({ port: 0, host: '127.0.0.1' })
}

/** A client on a bare socket. */
async function dial() {
  const socket = connect((app.app.server.address() as AddressInfo).port, '127.0.0.1')
  sockets.push(socket)
  const client = { socket, answer: '', closed: false }
  socket.on('data', (chunk: Buffer) => (client.answer += chunk.toString()))
  socket.on('error', () => undefined)
  socket.on('close', () => (client.closed = true))
  await once(socket, 'connect')
  return client
}

/** Sends a piece every so often until it is cut off, and tells after how many ms that was. */
async function drip(client: Awaited<ReturnType<typeof dial>>, piece: string) {
  const from = performance.now()
  while (!client.closed && performance.now() - from < 5_000) {
    if (client.socket.writable) client.socket.write(piece)
    await sleep(20)
  }
  return performance.now() - from
}

const HEAD = 'POST /jobs HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n'

describe('a client that is slow', () => {
  const timeouts = { headersTimeoutMs: 300, requestTimeoutMs: 900 }
  const expectTimeout = (answer: string) => {
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1\.1 408 Request Timeout/)
    expect(head).toContain('application/problem+json')
    expect(JSON.parse(body)).toMatchObject({ status: 408, code: 'request_timeout' })
  }

  test.each([
    ['its headers', 'GET /jobs HTTP/1.1\r\nHost: a.example\r\n', 'x-a: b\r\n', 300, 900],
    ['its body', `${HEAD}\r\n{"video_path": "`, 'x', 900, 2_000],
    ['anything at all', '', '', 300, 900],
  ])('with %s is cut off with 408', async (_what, begin, piece, atLeastMs, atMostMs) => {
    await listen(timeouts)
    const client = await dial()
    client.socket.write(begin)
    const tookMs = await drip(client, piece)
    expectTimeout(client.answer)
    // The first of its bytes are there a little after the connection.
    expect(tookMs).toBeGreaterThan(atLeastMs - 50)
    expect(tookMs).toBeLessThan(atMostMs)
  })

  test('keeps nobody else waiting', async () => {
    await listen(timeouts)
    const slow = await Promise.all(Array.from({ length: 200 }, dial))
    for (const { socket } of slow) socket.write(HEAD)
    const from = performance.now()
    expect((await app.get('/jobs')).statusCode).toBe(200)
    expect(performance.now() - from).toBeLessThan(200)
    await until(() => slow.every(({ closed }) => closed), 'the end of all that are slow')
  })

  test('has the time that the README says', () => {
    expect([HEADERS_TIMEOUT_MS, REQUEST_TIMEOUT_MS]).toEqual([15_000, 60_000])
  })
})

describe('a connection too many', () => {
  test('is closed, the others go on, and there is room again when one of them ends', async () => {
    await listen({ maxConnections: 2 })
    const [first, second] = [await dial(), await dial()]
    const third = await dial()
    await until(() => third.closed, 'the end of the third')
    expect(app.requestLines.filter(({ msg }) => msg.startsWith('there are too many connections'))).toHaveLength(1)
    first.socket.write('GET /healthz HTTP/1.1\r\nHost: a.example\r\n\r\n')
    await until(() => first.answer.includes('200 OK'), 'an answer on the first')
    second.socket.destroy()
    await until(async () => {
      const next = await dial()
      next.socket.write('GET /healthz HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n')
      await once(next.socket, 'close')
      return next.answer.includes('200 OK')
    }, 'room for another')
  })

  test('is none without a limit', async () => {
    await listen({ maxConnections: 0 })
    const clients = await Promise.all(Array.from({ length: 20 }, dial))
    expect((await fetch(`http://127.0.0.1:${(app.app.server.address() as AddressInfo).port}/healthz`)).status).toBe(200)
    expect(clients.some(({ closed }) => closed)).toBe(false)
  })
})
