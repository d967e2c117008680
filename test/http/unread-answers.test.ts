import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { HttpSettings } from '../../src/app.ts'
import { DROP_LINES } from '../../src/http/plugins/connections.ts'
import { PIECE_BYTES } from '../../src/http/files/send-file.ts'
import { aBody, problemOf, shippedHttp, startApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { listenOnOneSocket } from '../helpers/listen.ts'
import { aSucceededJob, modalOutputs, startOutputs } from '../helpers/outputs.ts'
import { until } from '../helpers/until.ts'

const MiB = 1024 * 1024
const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`key-${n}`, 'あ'.repeat(512)]))

let app: Awaited<ReturnType<typeof startApp>>
async function use(started: typeof app) {
  app = started
  onTestFinished(() => started.close())
  await listenOnOneSocket(app.app)
}

/** A client on a bare socket that sends requests and reads nothing before `drain`. */
async function dial(requests: string) {
  const socket = connect((app.app.server.address() as AddressInfo).port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  const client = { socket, closed: false }
  socket.on('error', () => undefined).on('close', () => (client.closed = true))
  await once(socket, 'connect')
  socket.pause().write(requests)
  return client
}

type Client = Awaited<ReturnType<typeof dial>>

/** Reads the rest, until the server closes the connection. */
async function drain({ socket }: Client): Promise<string> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.resume()
  if (!socket.closed) await once(socket, 'close')
  return Buffer.concat(chunks).toString('latin1')
}

const request = (path: string, headers: Record<string, string> = {}) =>
  [`GET ${path} HTTP/1.1`, 'Host: a.example', ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)]
    .concat('', '')
    .join('\r\n')

const get = (path: string, headers: Record<string, string> = {}) =>
  app.app.inject({ method: 'GET', url: path, headers })
const head = (path: string) => app.app.inject({ method: 'HEAD', url: path })
const dropped = () => app.requestLines.filter(({ event }) => event === 'answer_dropped')

test('a client has 30 s, and a caller 16 MiB of 64', () => {
  expect(shippedHttp).toMatchObject({ stallTimeoutMs: 30_000, unsentBytes: { perKey: 16 * MiB, inAll: 64 * MiB } })
})

describe('unread pages', () => {
  const JOBS = 100
  const start = async (http: Partial<HttpSettings>) => {
    await use(await startApp({ maxConcurrentJobs: 1, authenticator: knownCallers, http }))
    for (let n = 0; n < JOBS; n++) await app.post('/jobs', { ...aBody, metadata }, as('alice'))
  }
  const unread = (count: number, who = 'alice') => {
    const page = (headers = {}) => request('/jobs?limit=200', { ...as(who), ...headers })
    return dial(page().repeat(count - 1) + page({ Connection: 'close' }))
  }
  const isRefused = async (who: string) => (await get('/jobs?limit=1', as(who))).statusCode === 503

  test('are answered 503 beyond the share of their caller, and 200 again once its clients have read', async () => {
    await start({ unsentBytes: { perKey: 4 * MiB, inAll: 1_000 * MiB } })
    const clients = [await unread(30), await unread(30)]
    await until(() => isRefused('alice'), 'a refusal', 10_000)
    const refused = await get('/jobs?limit=1', as('alice'))
    expect(problemOf(refused)).toMatchObject({ status: 503, code: 'overloaded' })
    expect(refused.headers['retry-after']).toBe('10')
    expect((await get('/jobs?limit=1', as('bob'))).statusCode).toBe(200)
    expect((await get('/healthz')).statusCode).toBe(200)
    // All answers, served and refused, in order; none is incomplete.
    const answers = (await Promise.all(clients.map(drain))).join('')
    expect(answers.match(/HTTP\/1\.1 200/g)!.length).toBeGreaterThan(4)
    expect(answers.match(/HTTP\/1\.1 503/g)!.length).toBeGreaterThan(4)
    expect(answers.match(/HTTP\/1\.1/g)).toHaveLength(60)
    await until(async () => !(await isRefused('alice')), 'room again')
  })

  test('make the metrics refuse their caller, but not other callers, nor probes', async () => {
    await start({ unsentBytes: { perKey: 4 * MiB, inAll: 1_000 * MiB } })
    await Promise.all([unread(30, 'root'), unread(30, 'root')])
    await until(() => isRefused('root'), 'a refusal', 10_000)
    expect(problemOf(await get('/metrics', as('root')))).toMatchObject({ status: 503, code: 'overloaded' })
    expect((await get('/metrics', as('metrics'))).statusCode).toBe(200)
    for (const probe of ['/healthz', '/readyz']) expect((await get(probe, as('root'))).statusCode).toBe(200)
  })

  test('are answered 503 for all callers beyond the limit in all, until their clients are disconnected', async () => {
    await start({ unsentBytes: { perKey: 2 * MiB, inAll: 2 * MiB }, stallTimeoutMs: 600 })
    const client = await unread(30)
    await until(() => isRefused('bob'), 'a refusal', 10_000)
    await until(async () => !(await isRefused('bob')) && !(await isRefused('alice')), 'room again', 10_000)
    expect(dropped()).toMatchObject([{ level: 'info', remote_address: '127.0.0.1', unsent_bytes: expect.any(Number) }])
    await drain(client)
    expect(client.closed).toBe(true)
  })
})

describe('unread videos', () => {
  const start = async (bytes: number, http: Partial<HttpSettings>) => {
    const video = Buffer.alloc(bytes, 'v')
    const { outputs } = await modalOutputs({
      download: (_run, path) => writeFile(path, video),
      maxBytes: 1_000 * MiB,
    })
    await use(await startOutputs(outputs, { http }))
    const job = await aSucceededJob(app)
    return new URL(app.links.outputUrl(job))
  }
  const openFiles = () => readdirSync('/proc/self/fd').length

  test('are answered 503 beyond the share of their link, until the clients are disconnected and the files closed', async () => {
    const { pathname, search } = await start(16 * MiB, {
      unsentBytes: { perKey: 8 * PIECE_BYTES, inAll: 100 * MiB },
      stallTimeoutMs: 900,
    })
    const before = openFiles()
    const clients = await Promise.all(Array.from({ length: 30 }, () => dial(request(pathname + search))))
    await until(async () => (await head(pathname + search)).statusCode === 503, 'a refusal')
    // Both ends of each connection, and a file for each admitted download.
    expect(openFiles()).toBeLessThan(before + 2 * clients.length + 8 + 10)
    // Callers have a share of their own.
    expect((await get('/jobs')).statusCode).toBe(200)
    await until(() => dropped().length === 8, 'the end of the downloads', 10_000)
    await until(() => openFiles() < before + 2 * clients.length, 'the end of their files')
    const whole = await get(pathname + search)
    expect([whole.statusCode, whole.rawPayload.length]).toEqual([200, 16 * MiB])
  })

  test('are answered 503 beyond the share of the owner of their jobs, and 200 for other owners', async () => {
    await start(16 * MiB, { unsentBytes: { perKey: 8 * PIECE_BYTES, inAll: 12 * PIECE_BYTES } })
    const linkOf = async (owner: string) => {
      const submit = () => app.submit({}, { id: owner, seesAll: false })
      const { pathname, search } = new URL(app.links.outputUrl(await aSucceededJob({ ...app, submit })))
      return pathname + search
    }
    const [first, second, another] = [await linkOf('key:alice'), await linkOf('key:alice'), await linkOf('key:bob')]
    const before = openFiles()
    const clients = []
    for (const link of [first, second]) for (let n = 0; n < 6; n++) clients.push(await dial(request(link)))
    await until(async () => (await head(first)).statusCode === 503, 'a refusal')
    expect((await head(second)).statusCode).toBe(503)
    expect((await head(another)).statusCode).toBe(200)
    expect(openFiles()).toBeLessThan(before + 2 * clients.length + 8 + 2)
  })

  test('are answered 503 beyond the share of their link alone on a public server', async () => {
    const link = await start(16 * MiB, { unsentBytes: { perKey: 8 * PIECE_BYTES, inAll: 100 * MiB } })
    const other = new URL(app.links.outputUrl(await aSucceededJob(app)))
    for (let n = 0; n < 10; n++) await dial(request(link.pathname + link.search))
    await until(async () => (await head(link.pathname + link.search)).statusCode === 503, 'a refusal')
    expect((await head(other.pathname + other.search)).statusCode).toBe(200)
  })

  test('arrive complete when they are read slowly', async () => {
    const { pathname, search } = await start(24 * MiB, { stallTimeoutMs: 900 })
    const { socket } = await dial(request(pathname + search, { Connection: 'close' }))
    let received = 0
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
      socket.pause()
      void sleep(chunk.length / 8_000).then(() => socket.resume())
    })
    socket.resume()
    if (!socket.closed) await once(socket, 'close')
    expect(received).toBeGreaterThan(24 * MiB)
    expect(dropped()).toEqual([])
  })
})

describe('unread scrapes', () => {
  test('are answered 503 beyond the share of their caller', async () => {
    await use(
      await startApp({ authenticator: knownCallers, http: { unsentBytes: { perKey: 128 * 1024, inAll: 100 * MiB } } }),
    )
    const scrape = (headers = {}) => request('/metrics', { ...as('metrics'), ...headers })
    const answers = await drain(await dial(scrape().repeat(200) + scrape({ Connection: 'close' })))
    expect(answers.match(/HTTP\/1\.1 200/g)!.length).toBeGreaterThan(1)
    expect(answers.match(/HTTP\/1\.1 503/g)!.length).toBeGreaterThan(100)
    expect((await get('/metrics', as('metrics'))).statusCode).toBe(200)
  })
})

describe('a client that does not read', () => {
  const large = { ...aBody, metadata }
  const start = async () => use(await startApp({ http: { stallTimeoutMs: 600 } }))

  test('a log that it follows is disconnected', async () => {
    await start()
    const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
    await app.untilStatus(id, 'running')
    app.backend.logsWith = async function* () {
      for (;;) yield await Promise.resolve('x'.repeat(60_000))
    }
    const client = await dial(request(`/jobs/${id}/logs`))
    await until(() => dropped().length === 1, 'its end', 10_000)
    await drain(client)
    expect(client.closed).toBe(true)
  })

  test('has a bounded number of log lines, and one for the rest', async () => {
    await start()
    const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
    await app.untilStatus(id, 'running')
    app.backend.logsWith = async function* () {
      for (;;) yield await Promise.resolve('x'.repeat(60_000))
    }
    const clients = Array.from({ length: DROP_LINES.perSubject + 3 }, () => dial(request(`/jobs/${id}/logs`)))
    await Promise.all(clients)
    const openConnections = promisify(app.app.server.getConnections.bind(app.app.server))
    await until(async () => dropped().length > 0 && (await openConnections()) === 0, 'the end of all', 10_000)
    expect(dropped()).toHaveLength(DROP_LINES.perSubject)
    await app.app.close()
    const rest = app.requestLines.filter(({ event }) => event === 'answers_dropped')
    expect(rest).toMatchObject([{ remote_address: '127.0.0.1', count: 3 }])
  })

  test('the answers of its long polls is disconnected', async () => {
    await start()
    const { job_id: id } = (await app.post('/jobs', large)).json<{ job_id: string }>()
    await app.untilStatus(id, 'running')
    const client = await dial(request(`/jobs/${id}?wait=60`).repeat(600))
    await sleep(1_000)
    // Nothing is sent yet, so nothing stalls.
    expect([dropped(), client.closed]).toEqual([[], false])
    await app.post(`/jobs/${id}/cancel`)
    await until(() => dropped().length === 1, 'its end', 10_000)
  })
})
