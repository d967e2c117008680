import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { problem } from '../../src/problems.ts'
import { FAILURES_PER_MINUTE, MAX_COUNTED, WINDOW_MS } from '../../src/http/plugins/rate-limits.ts'
import { parseTrustedProxies } from '../../src/config/formats.ts'
import { aBody, problemOf, startApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'

beforeEach(() => vi.useFakeTimers({ toFake: ['Date'] }))
afterEach(() => void vi.useRealTimers())
const start = async (options?: Parameters<typeof startApp>[0]) => {
  const app = await startApp(options)
  onTestFinished(() => app.close())
  return app
}

const id = crypto.randomUUID()
const limits = { submit: 2, read: 3 }

describe('rate limits', () => {
  test('answers have the state of the limit, and a request beyond it is a problem with Retry-After', async () => {
    const app = await start({ http: { limits } })
    const first = await app.get('/jobs')
    expect(first.headers).toMatchObject({
      ...{ 'ratelimit-limit': '3', 'ratelimit-remaining': '2', 'ratelimit-reset': '60' },
    })
    await app.get('/jobs')
    vi.advanceTimersByTime(10_500)
    expect((await app.get('/jobs')).headers).toMatchObject({ 'ratelimit-remaining': '0', 'ratelimit-reset': '50' })
    const refused = await app.get('/jobs')
    expect(problemOf(refused)).toMatchObject({ status: 429, code: 'rate_limited', title: 'Too Many Requests' })
    expect(refused.headers).toMatchObject({ 'retry-after': '50', 'ratelimit-remaining': '0', 'ratelimit-reset': '50' })
  })

  test('answers also have the limits as structured fields, that of unfinished jobs on submits', async () => {
    const app = await start({ maxActiveOfCaller: 1, http: { limits: { submit: 600, read: 3 }, maxActiveJobs: 1 } })
    expect((await app.get('/jobs')).headers).toMatchObject({
      'ratelimit-policy': '"read";q=3;w=60',
      ratelimit: '"read";r=2;t=60',
    })
    const policy = '"submit";q=600;w=60, "jobs";q=1;qu="concurrent-requests"'
    const accepted = await app.post('/jobs', aBody)
    expect(accepted.headers).toMatchObject({ 'ratelimit-policy': policy, ratelimit: '"submit";r=599;t=60' })
    const refused = await app.post('/jobs', aBody)
    expect(problemOf(refused).code).toBe('concurrency_limit_reached')
    expect(refused.headers).toMatchObject({
      'ratelimit-policy': policy,
      ratelimit: '"submit";r=598;t=60, "jobs";r=0',
    })
    expect((await app.get('/healthz')).headers).not.toHaveProperty('ratelimit-policy')
  })

  test('without a limit on requests, submits still announce that of unfinished jobs', async () => {
    const app = await start({ maxActiveOfCaller: 1, http: { limits: { submit: 0, read: 0 }, maxActiveJobs: 1 } })
    await app.post('/jobs', aBody)
    const { headers } = await app.post('/jobs', aBody)
    expect(headers).toMatchObject({
      'ratelimit-policy': '"jobs";q=1;qu="concurrent-requests"',
      ratelimit: '"jobs";r=0',
    })
    expect((await app.get('/jobs')).headers).not.toHaveProperty('ratelimit-policy')
  })

  test('the window ends also for a caller beyond the limit', async () => {
    const app = await start({ http: { limits } })
    for (let n = 0; n < 4; n++) await app.get('/jobs')
    vi.advanceTimersByTime(WINDOW_MS - 1)
    expect((await app.get('/jobs')).statusCode).toBe(429)
    vi.advanceTimersByTime(1)
    expect((await app.get('/jobs')).statusCode).toBe(200)
  })

  test('submits and retries share one count, and everything else another', async () => {
    const app = await start({ http: { limits: { submit: 2, read: 6 } } })
    expect((await app.post('/jobs', aBody)).statusCode).toBe(202)
    expect((await app.post(`/jobs/${id}/retry`)).headers['ratelimit-remaining']).toBe('0')
    expect((await app.post('/jobs', aBody)).statusCode).toBe(429)
    expect((await app.post(`/jobs/${crypto.randomUUID()}/retry`)).statusCode).toBe(429)
    const others = [
      await app.get('/jobs'),
      await app.get(`/jobs/${id}`),
      await app.get(`/jobs/${id}/logs`),
      await app.post(`/jobs/${id}/cancel`),
      await app.app.inject({ method: 'DELETE', url: `/jobs/${id}` }),
      await app.app.inject({ method: 'HEAD', url: '/jobs' }),
    ]
    expect(others.map(({ headers }) => headers['ratelimit-remaining'])).toEqual(['5', '4', '3', '2', '1', '0'])
  })

  describe('of submits count each job of a batch', () => {
    const batchOf = (jobs: number) => ({ jobs: Array.from({ length: jobs }, () => aBody) })
    const startWith = (submit: number) => start({ running: false, http: { limits: { submit, read: 0 } } })

    test('and what it is beyond the limit delays the next submits for as long as so many may take', async () => {
      const app = await startWith(10)
      const accepted = await app.post('/batches', batchOf(25))
      expect(accepted.statusCode).toBe(202)
      expect(accepted.headers.ratelimit).toBe('"submit";r=0;t=150')
      for (const ms of [1, WINDOW_MS, WINDOW_MS]) {
        vi.advanceTimersByTime(ms)
        expect((await app.post('/jobs', aBody)).statusCode).toBe(429)
      }
      const refused = await app.post('/batches', batchOf(25))
      expect([refused.statusCode, refused.headers['retry-after']]).toEqual([429, '30'])
      vi.advanceTimersByTime(WINDOW_MS / 2 - 1)
      const next = await app.post('/jobs', aBody)
      expect([next.statusCode, next.headers.ratelimit]).toEqual([202, '"submit";r=9;t=60'])
    })

    test('of several that come together one, if it is beyond the limit', async () => {
      const app = await startWith(10)
      const answers = await Promise.all([1, 2, 3].map(() => app.post('/batches', batchOf(25))))
      expect(answers.map(({ statusCode }) => statusCode).toSorted()).toEqual([202, 429, 429])
      expect((await app.get('/batches')).json<{ batches: object[] }>().batches).toHaveLength(1)
    })

    test('also of one that is refused, but a repeat with its idempotency key as one', async () => {
      const app = await startWith(20)
      const remaining = async (body: object) =>
        (await app.post('/batches', body, { 'idempotency-key': 'k' })).headers['ratelimit-remaining']
      expect(await remaining({ jobs: [{}, {}, {}] })).toBe('17')
      expect(await remaining(batchOf(5))).toBe('12')
      expect(await remaining(batchOf(5))).toBe('11')
      expect(await remaining(batchOf(4))).toBe('10')
    })

    test('that is retried', async () => {
      const app = await start({ http: { limits: { submit: 20, read: 0 } } })
      const submitted = (await app.post('/batches', batchOf(5))).json<{
        batch_id: string
        results: { job_id: string }[]
      }>()
      for (const { job_id: job } of submitted.results) {
        await app.untilStatus(job, 'running')
        app.backend.end(`fc-${job}-1`, { kind: 'failed', code: 'inference_failed', error: 'no' })
        await app.untilStatus(job, 'failed')
      }
      const retry = async () => (await app.post(`/batches/${submitted.batch_id}/retry`)).headers['ratelimit-remaining']
      expect([await retry(), await retry()]).toEqual(['10', '9'])
    })
  })

  test('unknown routes and methods count', async () => {
    const app = await start({ http: { limits } })
    expect((await app.get('/admin')).statusCode).toBe(404)
    expect((await app.get('/admin.php')).headers['ratelimit-remaining']).toBe('1')
    expect((await app.app.inject({ method: 'PUT', url: '/jobs' })).statusCode).toBe(405)
    expect((await app.get('/.env')).statusCode).toBe(429)
    expect((await app.app.inject({ method: 'PUT', url: '/jobs' })).statusCode).toBe(429)
  })

  test('an invalid submit counts, and one beyond the limit is refused before its body is read', async () => {
    const app = await start({ http: { limits } })
    const invalid = () => app.post('/jobs', 'not json', { 'content-type': 'application/json' })
    expect([await invalid(), await invalid(), await invalid()].map(({ statusCode }) => statusCode)).toEqual([
      400, 400, 429,
    ])
    const compressed = await app.post('/jobs', '{}', { 'content-encoding': 'gzip' })
    expect(compressed.statusCode).toBe(429)
  })

  test('probes are not limited', async () => {
    const app = await start({ http: { limits } })
    for (let n = 0; n < 5; n++) {
      for (const url of ['/healthz', '/readyz']) {
        const answer = await app.get(url)
        expect(answer.statusCode).toBe(200)
        expect(answer.headers).not.toHaveProperty('ratelimit-limit')
      }
    }
  })

  test('0 means no limit, for either kind', async () => {
    const app = await start({ http: { limits: { submit: 0, read: 1 } } })
    for (let n = 0; n < 5; n++) expect((await app.post('/jobs', aBody)).headers).not.toHaveProperty('ratelimit-limit')
    expect((await app.get('/jobs')).headers).toHaveProperty('ratelimit-limit', '1')
    const free = await start({ http: { limits: { submit: 0, read: 0 } } })
    expect((await free.get('/jobs')).headers).not.toHaveProperty('ratelimit-limit')
  })

  test('each address has its own count, an IPv6 /64 network a single one', async () => {
    const app = await start({ http: { limits: { submit: 1, read: 1 } } })
    const from = async (remoteAddress: string) =>
      (await app.app.inject({ method: 'GET', url: '/jobs', remoteAddress })).statusCode
    expect([await from('192.0.2.1'), await from('192.0.2.1'), await from('::ffff:192.0.2.1')]).toEqual([200, 429, 429])
    expect([await from('192.0.2.2'), await from('2001:db8::1'), await from('2001:db8::2')]).toEqual([200, 200, 429])
    expect(await from('2001:db8:0:1::1')).toBe(200)
  })
})

describe('with authentication', () => {
  async function startGuarded(read: number) {
    const { app } = await start({ authenticator: knownCallers, http: { limits: { submit: 0, read } } })
    const ask = (caller: string | undefined, remoteAddress: string, url = '/jobs') =>
      app.inject({ url, remoteAddress, headers: as(caller) })
    return { ask, status: async (...args: Parameters<typeof ask>) => (await ask(...args)).statusCode }
  }

  test('each caller has its own count, whatever its address and its scopes', async () => {
    const { status } = await startGuarded(1)
    expect([await status('alice', '192.0.2.1'), await status('bob', '192.0.2.1')]).toEqual([200, 200])
    expect([await status('alice', '192.0.2.2'), await status('bob', '192.0.2.3')]).toEqual([429, 429])
    expect([await status('nothing', '192.0.2.1'), await status('nothing', '192.0.2.1')]).toEqual([403, 429])
  })

  test('any number of unauthenticated clients cannot evict the count of a caller', async () => {
    const { status } = await startGuarded(1)
    await status('alice', '192.0.2.1')
    for (let n = 0; n < MAX_COUNTED + 1; n++)
      await status(undefined, `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, '/x')
    expect(await status('alice', '192.0.2.1')).toBe(429)
  })

  test.each([
    ['wrong credentials', { authorization: 'Bearer mallory' }, 401],
    ['no credentials', {}, 401],
    ['malformed credentials', { authorization: 'Basic mallory' }, 401],
    ['two credentials', { authorization: 'Bearer alice', 'x-api-key': 'bob' }, 400],
  ])('%s are answered 429 beyond 60 a minute and address; valid ones never are', async (_what, headers, refused) => {
    const { app } = await start({ authenticator: knownCallers })
    const ask = (more: Record<string, string>, remoteAddress = '192.0.2.1') =>
      app.inject({ url: '/jobs', remoteAddress, headers: more })
    for (let n = 0; n < FAILURES_PER_MINUTE; n++) expect((await ask(headers)).statusCode).toBe(refused)
    vi.advanceTimersByTime(20_000)
    const answer = await ask(headers)
    expect(problemOf(answer)).toMatchObject({ status: 429, code: 'rate_limited' })
    expect(answer.headers['retry-after']).toBe('40')
    expect((await ask(headers, '192.0.2.9')).statusCode).toBe(refused)
    expect((await ask(as('alice'))).statusCode).toBe(200)
    vi.advanceTimersByTime(40_000)
    expect((await ask(headers)).statusCode).toBe(refused)
  })

  test('failures of an unavailable issuer count, and are not logged for each request', async () => {
    const authenticator = {
      ...knownCallers,
      authenticate: () => Promise.reject(problem('issuer_unavailable', { cause: 'x' })),
    }
    const { app, requestLines } = await start({ authenticator })
    const statuses = new Map<number, number>()
    for (let n = 0; n < 100; n++) {
      const { statusCode } = await app.inject({ url: '/jobs', headers: as('alice') })
      statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
    }
    expect(Object.fromEntries(statuses)).toEqual({ 503: FAILURES_PER_MINUTE, 429: 100 - FAILURES_PER_MINUTE })
    expect(requestLines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([])
  })
})

describe('X-Forwarded-For', () => {
  const remaining = async (trusted: string | undefined, remoteAddress: string, forwarded: string[]) => {
    const app = await start({ http: { limits, trustedProxies: trusted ? parseTrustedProxies(trusted) : undefined } })
    const answers: unknown[] = []
    for (const address of forwarded) {
      const headers = { 'x-forwarded-for': address }
      const { headers: answer } = await app.app.inject({ method: 'GET', url: '/jobs', remoteAddress, headers })
      answers.push(answer['ratelimit-remaining'])
    }
    return answers
  }
  const two = ['198.51.100.1', '198.51.100.2']
  const spoofed = ['198.51.100.1, 203.0.113.5', '198.51.100.2, 203.0.113.5']

  test.each([
    ['is ignored by default', undefined, '10.0.0.1', two, ['2', '1']],
    ['is trusted from a listed proxy', '10.0.0.1', '10.0.0.1', two, ['2', '2']],
    ['is trusted from a proxy in a listed network', '192.0.2.0/24, 10.0.0.0/8', '10.9.9.9', two, ['2', '2']],
    ['is trusted from a listed IPv4 proxy on an IPv6 socket', '10.0.0.0/8', '::ffff:10.9.9.9', two, ['2', '2']],
    ['is ignored from other addresses', '10.0.0.0/8', '11.0.0.1', two, ['2', '1']],
    ['is trusted by the number of hops', '1', '10.0.0.1', two, ['2', '2']],
    [
      'counts by the address that the proxy saw, not by the client’s header',
      '10.0.0.0/8',
      '10.0.0.1',
      spoofed,
      ['2', '1'],
    ],
    ['counts by the address that the first hop saw', '1', '10.0.0.1', spoofed, ['2', '1']],
    ['counts by the address before two hops', '2', '10.0.0.1', spoofed, ['2', '2']],
  ])('%s', async (_what, trusted, remoteAddress, forwarded, expected) => {
    expect(await remaining(trusted, remoteAddress, forwarded)).toEqual(expected)
  })
})
