import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { REFUSED_LINES } from '../../src/http/plugins/request-log.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { injectHead } from '../helpers/inject.ts'
import { listen } from '../helpers/listen.ts'

let app: TestApp
afterEach(() => app.close())

const get = (url: string, caller?: string) => app.app.inject({ url, headers: as(caller) })
const lines = () => app.requestLines.filter(({ event }) => event === 'request')
const refused = () => app.requestLines.filter(({ event }) => event === 'probe_refused')

describe('the log line of a request', () => {
  test('has the caller, whatever the answer', async () => {
    app = await startApp({ authenticator: knownCallers, http: { limits: { read: 3, submit: 1 } } })
    await app.post('/jobs', aBody, as('alice'))
    await app.post('/jobs', aBody, as('alice'))
    await app.post('/jobs', { version: 'v2' }, as('bob'))
    await app.post('/jobs', aBody, as('alice-reads'))
    await get(`/jobs/${crypto.randomUUID()}`, 'alice-of-the-issuer')
    await get('/nothing', 'alice')
    expect(lines().map(({ status, caller }) => [status, caller])).toEqual([
      ...[[202, 'key:alice'] as const, [429, 'key:alice'], [400, 'key:bob'], [429, 'key:alice']],
      [404, 'oidc:https://issuer.test|alice'],
      [404, undefined],
    ])
  })

  test('has no caller if the request is not authenticated', async () => {
    app = await startApp({ authenticator: knownCallers })
    await get('/jobs', 'mallory')
    await get('/jobs')
    await get(`/jobs/${crypto.randomUUID()}/output?expires=1&signature=x`)
    const open = await startApp()
    onTestFinished(() => open.close())
    await open.get('/jobs')
    for (const line of [...lines(), ...open.requestLines]) expect(line).not.toHaveProperty('caller')
    expect(lines().map(({ status }) => status)).toEqual([401, 401, 403])
  })
})

describe('X-Request-Id', () => {
  const ask = async (id: string | undefined, url = '/jobs?limit=0') => {
    const answer = await app.app.inject({ url, headers: id === undefined ? {} : { 'x-request-id': id } })
    return { ...answer, id: String(answer.headers['x-request-id']) }
  }

  test.each([
    'a',
    '3f1c2b9e-5a77-4a39-8a52-0d6c0e2f9b11',
    'Root=1-67891233-abcdef012345678912345678',
    '01ARZ3NDEKTSV4RRFFQ69G5FAV',
    'x'.repeat(128),
  ])('%s of a request is taken over by the answer, the problem and the log', async (id) => {
    app = await startApp()
    const answer = await ask(id)
    expect(answer.id).toBe(id)
    expect(problemOf(answer)).toMatchObject({ status: 400, instance: `urn:request:${id}` })
    expect(lines()).toMatchObject([{ request_id: id, status: 400 }])
  })

  test.each(['', 'a b', '/etc/passwd', 'x'.repeat(129), 'é', '"quoted"', 'a,b', '<script>', 'a#b', '%0a'])(
    '%j of a request is replaced',
    async (id) => {
      app = await startApp()
      const answer = await ask(id)
      expect(answer.id).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/)
      expect(problemOf(answer).instance).toBe(`urn:request:${answer.id}`)
      expect(lines()).toMatchObject([{ request_id: answer.id }])
    },
  )

  test('is on every answer: of each kind of route, of a stream, of an error before the route, and each has another', async () => {
    app = await startApp()
    const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
    const streams = [`/jobs/${id}/events`, '/events', `/jobs/${id}/logs`]
    const paths = [
      '/healthz',
      '/readyz',
      '/metrics',
      '/jobs',
      `/jobs/${id}`,
      '/openapi.json',
      '/docs',
      '/nothing',
      '/%ff',
    ]
    const ids: unknown[] = []
    for (const url of [...paths, ...streams]) {
      const { headers } = await injectHead(app.app, { method: 'GET', url })
      ids.push(headers['x-request-id'])
    }
    for (const one of ids) expect(one).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/)
    expect(new Set(ids).size).toBe(paths.length + streams.length)
  })

  test('is on the answer to an unreadable request, and on its line in the log', async () => {
    app = await startApp()
    const { port } = await listen(app.app)
    const socket = connect(port, '127.0.0.1')
    socket.write('nonsense\r\n\r\n')
    const answer = await text(socket)
    const id = /x-request-id: (\S+)/.exec(answer)?.[1]
    expect(id).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/)
    expect(answer).toContain(`"instance":"urn:request:${String(id)}"`)
    expect(app.requestLines).toContainEqual(
      expect.objectContaining({ event: 'request_refused', request_id: id, code: 'malformed_request' }),
    )
  })
})

describe('refused requests', () => {
  const summaries = () => app.requestLines.filter(({ event }) => event === 'requests_suppressed')
  const refusedOf = (caller: string) => lines().filter((line) => line.status === 429 && line.caller === caller)
  /** Ends the window of the limit on lines. */
  const passWindow = () => vi.advanceTimersByTime(REFUSED_LINES.windowMs)

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
  })

  test('of one caller have bounded log lines and one summary, without effect on another caller', async () => {
    app = await startApp({ authenticator: knownCallers, http: { limits: { read: 2, submit: 600 } } })
    for (let n = 0; n < 2 + REFUSED_LINES.perSubject + 15; n++) await get('/jobs', 'alice')
    for (let n = 0; n < 2 + REFUSED_LINES.perSubject; n++) await get('/jobs', 'bob')
    expect(refusedOf('key:alice')).toHaveLength(REFUSED_LINES.perSubject)
    expect(refusedOf('key:bob')).toHaveLength(REFUSED_LINES.perSubject)
    expect(lines().filter(({ status }) => status === 200)).toHaveLength(4)
    expect(summaries()).toEqual([])
    passWindow()
    expect(summaries()).toMatchObject([{ level: 'info', caller: 'key:alice', count: 15, by_status: { 429: 15 } }])
    // A new window has lines again.
    await get('/jobs', 'alice')
    expect(refusedOf('key:alice')).toHaveLength(REFUSED_LINES.perSubject + 1)
    passWindow()
    expect(summaries()).toHaveLength(1)
  })

  test('without a credential have bounded log lines by address and in all, whatever the answer', async () => {
    app = await startApp({ authenticator: knownCallers, http: { trustedProxies: 1 } })
    const send = (url: string, address: string) => app.app.inject({ url, headers: { 'x-forwarded-for': address } })
    for (let n = 0; n < REFUSED_LINES.perSubject + 3; n++) await send('/jobs', '2001:db8::1')
    // The same /64.
    for (let n = 0; n < 4; n++) await send('/nothing', `2001:db8::${n}`)
    expect(lines()).toHaveLength(REFUSED_LINES.perSubject)
    const others = REFUSED_LINES.maxSubjects + 10
    for (let n = 0; n < 4 * others; n++) await send('/jobs', `10.1.${(n % others) >> 8}.${(n % others) & 255}`)
    expect(lines()).toHaveLength(REFUSED_LINES.inAll)
    // The lines of callers are counted separately.
    await app.post('/jobs', aBody, as('alice-reads'))
    expect(lines().slice(REFUSED_LINES.inAll)).toMatchObject([{ status: 403, caller: 'key:alice' }])
    passWindow()
    expect(summaries()).toHaveLength(REFUSED_LINES.maxSubjects + 1)
    expect(summaries()[0]).toMatchObject({ count: 7, by_status: { 404: 4, 429: 3 } })
    expect(summaries().at(-1)).not.toHaveProperty('remote_address')
    const suppressed = summaries().reduce((sum, { count }) => sum + Number(count), 0)
    expect(suppressed).toBe(REFUSED_LINES.perSubject + 7 + 4 * others - REFUSED_LINES.inAll)
  })

  test('of an open server have bounded log lines by address, whatever the answer', async () => {
    app = await startApp({ http: { limits: { read: 0, submit: 0 } } })
    for (let n = 0; n < REFUSED_LINES.perSubject; n++) await get('/nothing')
    for (let n = 0; n < 3; n++) await get('/jobs?limit=x')
    expect(lines().map(({ status }) => status)).toEqual(Array(REFUSED_LINES.perSubject).fill(404))
    await get('/jobs')
    expect(lines().at(-1)).toMatchObject({ status: 200 })
    passWindow()
    expect(summaries()).toMatchObject([{ remote_address: '127.0.0.1', count: 3, by_status: { 400: 3 } }])
  })

  test('are summarized when the server closes', async () => {
    app = await startApp({ authenticator: knownCallers })
    for (let n = 0; n <= REFUSED_LINES.perSubject; n++) await get('/jobs')
    expect(summaries()).toEqual([])
    await app.app.close()
    expect(summaries()).toMatchObject([{ remote_address: '127.0.0.1', count: 1 }])
  })
})

test('the log line of a submitted job has the caller', async () => {
  app = await startApp({ authenticator: knownCallers })
  await app.post('/jobs', aBody, as('alice'))
  expect(app.lines[0]).toMatchObject({ event: 'submitted', caller: 'key:alice' })
})

describe('a refused probe or scrape', () => {
  test('is logged as a warning once a minute for each route; a successful one is not logged', async () => {
    app = await startApp({ authenticator: knownCallers })
    const clock = vi.spyOn(performance, 'now')
    onTestFinished(() => clock.mockRestore())
    const from = performance.now()
    for (const [seconds, warnings] of [
      [0, 2],
      [59, 2],
      [61, 4],
    ] as const) {
      clock.mockReturnValue(from + seconds * 1000)
      for (const caller of [undefined, 'alice', 'metrics']) await get('/metrics', caller)
      for (const url of ['/healthz?verbose=1', '/healthz', '/readyz']) await get(url)
      expect(refused()).toHaveLength(warnings)
    }
    expect(refused().slice(0, 2)).toMatchObject([
      { level: 'warn', status: 401, req: { url: '/metrics', remote_address: '127.0.0.1' } },
      { level: 'warn', status: 400, req: { url: '/healthz' } },
    ])
    expect(lines()).toEqual([])
  })

  test('is logged with its caller', async () => {
    app = await startApp({ authenticator: knownCallers })
    await get('/metrics', 'alice')
    expect(refused()).toMatchObject([{ status: 403, caller: 'key:alice' }])
  })

  test('is not the request of a browser', async () => {
    app = await startApp({ authenticator: knownCallers })
    await app.app.inject({ url: '/metrics', headers: { ...as('alice'), 'sec-fetch-site': 'same-origin' } })
    expect(refused()).toEqual([])
    await get('/metrics', 'alice')
    expect(refused()).toHaveLength(1)
  })

  test('is not a 503 of GET /readyz', async () => {
    app = await startApp()
    app.readiness.startShutdown()
    expect((await app.get('/readyz')).statusCode).toBe(503)
    expect(refused()).toEqual([])
  })
})
