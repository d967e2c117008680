import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { HttpSettings } from '../../src/app.ts'
import { aBody, startApp, type TestApp } from '../helpers/app.ts'
import { listen } from '../helpers/listen.ts'
import { parseMetrics } from '../helpers/metrics.ts'
import { FORM_TYPE, formOf } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
let port: number
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await app.close()
})

async function start(http: Partial<HttpSettings> = {}) {
  app = await startApp({ http: { lingerReadMs: 60_000, lingerMs: 60_000, ...http } })
  port = (await listen(app.app)).port
}

/** A client that reads what comes and closes nothing by itself. */
async function dial() {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  sockets.push(socket)
  const client = { socket, received: '', ended: false, error: undefined as Error | undefined }
  socket.on('data', (piece: Buffer) => (client.received += piece.toString()))
  socket.on('end', () => (client.ended = true))
  socket.on('error', (error) => (client.error = error))
  await once(socket, 'connect')
  return client
}

type Client = Awaited<ReturnType<typeof dial>>

const statusesOf = ({ received }: Client) => [...received.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => status)
const untilAnswers = (client: Client, count: number) =>
  until(() => statusesOf(client).length >= count && /[}\]]$/.test(client.received), `answer ${count}`)
const untilClosed = () => until(async () => (await connections()) === 0, 'no connection at the server', 5_000)
const metrics = async () => parseMetrics((await app.get('/metrics')).body)
const connections = async () => (await metrics()).get('musetalk_http_connections')
const counted = async (labels: string) => (await metrics()).get(`musetalk_http_requests_total{${labels}}`)

const MB = 1_000_000
const head = (line: string, headers: Record<string, string | number>) =>
  `${line} HTTP/1.1\r\nHost: a.example\r\n${Object.entries(headers)
    .map((pair) => `${pair.join(': ')}\r\n`)
    .join('')}\r\n`
const postOf = (bytes: number, type = 'application/json') =>
  head('POST /jobs', { 'content-type': type, 'content-length': bytes })
const GET = head('GET /jobs', {})
const TOO_LARGE_HEAD = head('POST /jobs', { 'content-length': 4 * MB, x: 'y'.repeat(21_000) })

/** Writes so many bytes in pieces, each with time to be answered by a reset. */
async function writeSlowly({ socket }: Client, bytes: number) {
  for (let sent = 0; sent < bytes; sent += MB / 4) {
    socket.write(Buffer.alloc(Math.min(MB / 4, bytes - sent), 'x'))
    await sleep(5)
  }
}

describe('a request refused before its end', () => {
  test.each([
    ['with too large a head', TOO_LARGE_HEAD, 431],
    ['with too large a body', postOf(4 * MB), 413],
    ['that is not HTTP', 'hello there\r\n\r\n', 400],
  ])('%s is answered once, and its connection half closed while the rest is read', async (_what, begin, status) => {
    await start({ headersTimeoutMs: 100 })
    const client = await dial()
    client.socket.write(begin)
    await untilAnswers(client, 1)
    await until(() => client.ended, 'the end of what the server sends')
    await writeSlowly(client, 2 * MB)
    expect(statusesOf(client)).toEqual([String(status)])
    expect(client.error).toBeUndefined()
    expect(client.received).toMatch(/connection: close/i)
    // By now the time for a head is over.
    await sleep(200)
    expect(await connections()).toBe(1)
    client.socket.end()
    await untilClosed()
    expect(client.error).toBeUndefined()
    const counts = [...(await metrics())].filter(([name]) => /http_requests_total\{.*status="4/.test(name))
    expect(counts.map(([name, count]) => [/status="(\d+)"/.exec(name)?.[1], count])).toEqual([[String(status), 1]])
  })

  test('closes its connection at the end of its body, whether or not its client does', async () => {
    await start()
    const client = await dial()
    client.socket.write(postOf(4 * MB))
    await untilAnswers(client, 1)
    await writeSlowly(client, 4 * MB)
    await untilClosed()
    expect(statusesOf(client)).toEqual(['413'])
    expect(client.error).toBeUndefined()
  })

  test('closes its connection when the rest of it pauses or takes too long', async () => {
    await start({ lingerReadMs: 100, lingerMs: 400 })
    const [silent, slow] = [await dial(), await dial()]
    silent.socket.write(postOf(4 * MB))
    slow.socket.write(TOO_LARGE_HEAD)
    await Promise.all([untilAnswers(silent, 1), untilAnswers(slow, 1)])
    const timer = setInterval(() => slow.socket.write('x'), 20)
    await untilClosed().finally(() => clearInterval(timer))
  })

  test('leaves its connection to the next request when it does not close it', async () => {
    await start()
    const form = formOf([{ name: 'unknown', value: Buffer.alloc(300_000), filename: 'a.bin' }])
    const client = await dial()
    client.socket.write(postOf(form.length, FORM_TYPE))
    client.socket.write(form.subarray(0, 200_000))
    await untilAnswers(client, 1)
    client.socket.write(form.subarray(200_000))
    client.socket.write(GET)
    await untilAnswers(client, 2)
    expect(statusesOf(client)).toEqual(['400', '200'])
    expect(client.error).toBeUndefined()
  })

  test('does not close its connection once the rest of it has arrived', async () => {
    await start({ lingerReadMs: 50, lingerMs: 100 })
    const client = await dial()
    const form = formOf([{ name: 'unknown', value: Buffer.alloc(300_000), filename: 'a.bin' }])
    client.socket.write(postOf(form.length, FORM_TYPE))
    client.socket.write(form)
    await untilAnswers(client, 1)
    await sleep(300)
    client.socket.write(GET)
    await untilAnswers(client, 2)
    expect(statusesOf(client)).toEqual(['400', '200'])
    expect(client.ended).toBe(false)
  })

  test('is the last one on its connection when its answer closes that', async () => {
    await start()
    const client = await dial()
    client.socket.write(postOf(MB))
    await untilAnswers(client, 1)
    const body = JSON.stringify(aBody)
    client.socket.write(`${'x'.repeat(MB)}${postOf(body.length)}${body}`)
    await untilClosed()
    expect(statusesOf(client)).toEqual(['413'])
    expect((await app.get('/jobs')).json()).toEqual({ jobs: [] })
  })
})

describe('an unreadable request on a connection', () => {
  test('in the body of another is answered once, by the route of that', async () => {
    await start()
    const client = await dial()
    client.socket.write(head('POST /jobs', { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }))
    client.socket.write('no length\r\n')
    await untilAnswers(client, 1)
    await writeSlowly(client, MB)
    expect(statusesOf(client)).toEqual(['400'])
    expect(client.error).toBeUndefined()
    expect(client.ended).toBe(true)
    expect(await counted('method="POST",route="/jobs",status="400"')).toBe(1)
    expect(await counted('method="other",route="unknown",status="400"')).toBeUndefined()
  })

  test('behind another leaves the answer to that complete, and gets none', async () => {
    await start()
    const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
    const client = await dial()
    client.socket.write(head(`GET /jobs/${id}?wait=1`, {}))
    client.socket.write('hello there\r\n\r\n')
    await writeSlowly(client, MB)
    await untilAnswers(client, 1)
    await until(() => client.ended, 'the end of what the server sends')
    expect(statusesOf(client)).toEqual(['200'])
    expect(client.error).toBeUndefined()
    expect(client.received).toContain(id)
  })

  test('gets one answer, however much follows', async () => {
    await start()
    const client = await dial()
    client.socket.write(head('POST /jobs', { 'content-type': 'text/plain', 'transfer-encoding': 'chunked' }))
    await untilAnswers(client, 1)
    client.socket.write('no length\r\n')
    await until(() => client.ended, 'the end of what the server sends')
    expect(statusesOf(client)).toEqual(['415'])
    expect(client.error).toBeUndefined()
  })

  test('is counted, and limited by address together with readable ones', async () => {
    await start({ limits: { read: 3, submit: 3 } })
    const refused = async (begin: string) => {
      const client = await dial()
      client.socket.write(begin)
      await untilAnswers(client, 1)
      return statusesOf(client)[0]
    }
    expect((await app.get('/nothing')).headers['ratelimit-remaining']).toBe('2')
    const unreadable = [TOO_LARGE_HEAD, head('GET /jobs/%ff', {}), 'hello there\r\n\r\n', head('GET /jobs/%ff', {})]
    const statuses: (string | undefined)[] = []
    for (const begin of unreadable) statuses.push(await refused(begin))
    expect(statuses).toEqual(['431', '400', '429', '429'])
    const missing = await refused('GET / HTTP/1.1\r\n\r\n')
    expect(missing).toBe('429')
    expect(await refused(head('GET /', { expect: 'cake' }))).toBe('429')
    expect(await counted('method="other",route="unknown",status="431"')).toBe(1)
    expect(await counted('method="other",route="unknown",status="429"')).toBe(1)
  })

  test('is not one when nothing was sent', async () => {
    await start({ headersTimeoutMs: 100 })
    const client = await dial()
    await untilAnswers(client, 1)
    expect(statusesOf(client)).toEqual(['408'])
    expect([...(await metrics()).keys()].filter((name) => name.includes('408'))).toEqual([])
  })
})

test('a body that does not arrive in time is answered 408 by its route, and closes the connection', async () => {
  await start({ requestTimeoutMs: 200 })
  const client = await dial()
  client.socket.write(postOf(10_000))
  await untilAnswers(client, 1)
  await until(() => client.ended, 'the end of what the server sends')
  expect(statusesOf(client)).toEqual(['408'])
  expect(await counted('method="POST",route="/jobs",status="408"')).toBe(1)
})
