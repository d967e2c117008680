import Fastify from 'fastify'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { registerCaller } from '../../src/http/caller.ts'
import { answerError } from '../../src/http/problems.ts'
import {
  addRateLimits,
  createFailureLimit,
  FAILURES_PER_MINUTE,
  registerLimiter,
  WINDOW_MS,
} from '../../src/http/rate-limits.ts'
import { parseTrustedProxies } from '../../src/address-lists.ts'
import { aBody, problemOf, startApp } from '../helpers/app.ts'

const closers: (() => Promise<unknown>)[] = []
beforeEach(() => vi.useFakeTimers({ toFake: ['Date'] }))
afterEach(async () => {
  vi.useRealTimers()
  for (const close of closers.splice(0)) await close()
})
const start = async (options?: Parameters<typeof startApp>[0]) => {
  const app = await startApp(options)
  closers.push(() => app.close())
  return app
}

const id = crypto.randomUUID()
const limits = { submit: 2, read: 3 }

describe('rate limits', () => {
  test('answers tell where a caller stands, and one too many is a problem that says when to come again', async () => {
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

  test('the window ends for who is over it too', async () => {
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

  test('what is not a route counts, and what is no method of one', async () => {
    const app = await start({ http: { limits } })
    expect((await app.get('/admin')).statusCode).toBe(404)
    expect((await app.get('/admin.php')).headers['ratelimit-remaining']).toBe('1')
    expect((await app.app.inject({ method: 'PUT', url: '/jobs' })).statusCode).toBe(405)
    expect((await app.get('/.env')).statusCode).toBe(429)
    expect((await app.app.inject({ method: 'PUT', url: '/jobs' })).statusCode).toBe(429)
  })

  test('a faulty submit counts, and one over the limit is refused before its body is looked at', async () => {
    const app = await start({ http: { limits } })
    const faulty = () => app.post('/jobs', 'not json', { 'content-type': 'application/json' })
    expect([await faulty(), await faulty(), await faulty()].map(({ statusCode }) => statusCode)).toEqual([
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

  test('0 limits nothing, of either kind', async () => {
    const app = await start({ http: { limits: { submit: 0, read: 1 } } })
    for (let n = 0; n < 5; n++) expect((await app.post('/jobs', aBody)).headers).not.toHaveProperty('ratelimit-limit')
    expect((await app.get('/jobs')).headers).toHaveProperty('ratelimit-limit', '1')
    const free = await start({ http: { limits: { submit: 0, read: 0 } } })
    expect((await free.get('/jobs')).headers).not.toHaveProperty('ratelimit-limit')
  })

  test('each address has its own count, an IPv6 network of 64 bits one', async () => {
    const app = await start({ http: { limits: { submit: 1, read: 1 } } })
    const from = async (remoteAddress: string) =>
      (await app.app.inject({ method: 'GET', url: '/jobs', remoteAddress })).statusCode
    expect([await from('192.0.2.1'), await from('192.0.2.1'), await from('::ffff:192.0.2.1')]).toEqual([200, 429, 429])
    expect([await from('192.0.2.2'), await from('2001:db8::1'), await from('2001:db8::2')]).toEqual([200, 200, 429])
    expect(await from('2001:db8:0:1::1')).toBe(200)
  })
})

/** Routes and hooks around a limiter, with authentication as a header that names the caller. */
async function startLimited() {
  const app = Fastify()
  closers.push(() => app.close())
  app.setErrorHandler(answerError)
  registerCaller(app)
  await registerLimiter(app, { submit: 0, read: 1 })
  const failures = createFailureLimit(app)
  app.addHook('onRequest', async (request) => {
    const caller = request.headers['x-test-caller']
    if (caller === 'wrong') await failures.count(request)
    else if (caller !== undefined) request.caller = { id: String(caller), seesAll: false }
  })
  addRateLimits(app, { submit: 0, read: 1 })
  app.get('/', () => 'ok')
  app.get('/reached', { config: { alwaysAnswered: true } }, async (request) =>
    String(await failures.isReached(request)),
  )
  const ask = (caller: string, remoteAddress: string, url = '/') =>
    app.inject({ url, remoteAddress, headers: { 'x-test-caller': caller } })
  return { ask, status: async (...args: Parameters<typeof ask>) => (await ask(...args)).statusCode }
}

describe('with authentication', () => {
  test('each caller has its own count, wherever it asks from', async () => {
    const { status } = await startLimited()
    expect([await status('key:a', '192.0.2.1'), await status('key:b', '192.0.2.1')]).toEqual([200, 200])
    expect([await status('key:a', '192.0.2.2'), await status('key:b', '192.0.2.3')]).toEqual([429, 429])
  })

  test('anonymous is counted by address', async () => {
    const { status } = await startLimited()
    expect([await status('anonymous', '192.0.2.1'), await status('anonymous', '192.0.2.2')]).toEqual([200, 200])
    expect(await status('anonymous', '192.0.2.1')).toBe(429)
  })

  test('wrong credentials are refused beyond a number a minute and address, good ones never', async () => {
    const { ask, status } = await startLimited()
    const reached = async () => (await ask('key:a', '192.0.2.1', '/reached')).body
    await status('wrong', '192.0.2.1')
    for (let n = 1; n < FAILURES_PER_MINUTE; n++) {
      expect([n, await reached()]).toEqual([n, 'false'])
      await status('wrong', '192.0.2.1', '/reached')
    }
    expect(await reached()).toBe('true')
    vi.advanceTimersByTime(20_000)
    const refused = await ask('wrong', '192.0.2.1', '/reached')
    expect(problemOf(refused)).toMatchObject({ status: 429, code: 'rate_limited' })
    expect(refused.headers['retry-after']).toBe('40')
    expect(await status('wrong', '192.0.2.9', '/reached')).toBe(200)
    expect(await status('key:b', '192.0.2.1')).toBe(200)
    vi.advanceTimersByTime(40_000)
    expect(await status('wrong', '192.0.2.1', '/reached')).toBe(200)
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
    ['is not believed by default', undefined, '10.0.0.1', two, ['2', '1']],
    ['is believed of a proxy that is named', '10.0.0.1', '10.0.0.1', two, ['2', '2']],
    ['is believed of a proxy in a network', '192.0.2.0/24, 10.0.0.0/8', '10.9.9.9', two, ['2', '2']],
    ['is believed of an IPv4 proxy on an IPv6 socket', '10.0.0.0/8', '::ffff:10.9.9.9', two, ['2', '2']],
    ['is not believed of others', '10.0.0.0/8', '11.0.0.1', two, ['2', '1']],
    ['is believed by hops', '1', '10.0.0.1', two, ['2', '2']],
    ['counts by what the proxy saw, not by what it was told', '10.0.0.0/8', '10.0.0.1', spoofed, ['2', '1']],
    ['counts by what the first of the hops saw', '1', '10.0.0.1', spoofed, ['2', '1']],
    ['counts by what is before two hops', '2', '10.0.0.1', spoofed, ['2', '2']],
  ])('%s', async (_what, trusted, remoteAddress, forwarded, expected) => {
    expect(await remaining(trusted, remoteAddress, forwarded)).toEqual(expected)
  })
})
