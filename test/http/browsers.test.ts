import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { listen } from '../helpers/listen.ts'

const ORIGIN = 'https://app.example.com'
const FOREIGN = 'https://evil.example'
const HOST = 'musetalk.example:9000'

let app: TestApp
let open: TestApp
beforeAll(async () => {
  app = await startApp()
  open = await startApp({ http: { corsOrigins: [ORIGIN, 'http://localhost:3000'], limits: { submit: 600, read: 40 } } })
})
afterAll(async () => {
  await app.close()
  await open.close()
})

type Headers = Record<string, string>
const preflightOf = (origin: string): Headers => ({
  ...{
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,content-type',
  },
})
const options = (to: TestApp, url: string, headers: Headers) => to.app.inject({ method: 'OPTIONS', url, headers })

describe('a request from a browser', () => {
  const cases: [what: string, headers: Headers, to: 'none' | 'listed', status: number][] = [
    ['of no browser', {}, 'none', 202],
    ['of a page of another site', { 'sec-fetch-site': 'cross-site', origin: FOREIGN }, 'none', 403],
    ['of a page of another site, which hides its origin', { 'sec-fetch-site': 'cross-site' }, 'none', 403],
    ['of another host of the same site', { 'sec-fetch-site': 'same-site', origin: FOREIGN }, 'none', 403],
    ['of another host of the same site, which hides its origin', { 'sec-fetch-site': 'same-site' }, 'none', 403],
    ['of a page of its own', { 'sec-fetch-site': 'same-origin', origin: `http://${HOST}` }, 'none', 202],
    ['of a page of its own, by a proxy', { 'sec-fetch-site': 'same-origin', origin: ORIGIN }, 'none', 202],
    ['of the user', { 'sec-fetch-site': 'none' }, 'none', 202],
    ['of an old browser, another site', { origin: FOREIGN }, 'none', 403],
    ['of an old browser, another port', { origin: 'http://musetalk.example' }, 'none', 403],
    ['of an old browser, a page of its own', { origin: `http://${HOST}` }, 'none', 202],
    ['of an old browser, a page of its own behind TLS', { origin: `https://${HOST}` }, 'none', 202],
    ['of a sandboxed page', { origin: 'null' }, 'none', 403],
    ['of an origin that is listed', { 'sec-fetch-site': 'cross-site', origin: ORIGIN }, 'listed', 202],
    ['of an origin that is listed, in an old browser', { origin: ORIGIN }, 'listed', 202],
    ['of an origin that is not', { 'sec-fetch-site': 'cross-site', origin: FOREIGN }, 'listed', 403],
    ['of an origin that begins like one', { origin: `${ORIGIN}.evil.example` }, 'listed', 403],
  ]
  test.each(cases)('%s', async (_what, headers, to, status) => {
    const answer = await (to === 'listed' ? open : app).post('/jobs', aBody, { host: HOST, ...headers })
    expect(answer.statusCode).toBe(status)
    if (status === 403) expect(problemOf(answer).code).toBe('cross_site_refused')
  })

  test.each([
    ['POST', `/jobs/${crypto.randomUUID()}/cancel`],
    ['DELETE', `/jobs/${crypto.randomUUID()}`],
  ] as const)('that changes something from another site is refused: %s', async (method, url) => {
    const headers = { 'sec-fetch-site': 'cross-site' }
    expect(problemOf(await app.app.inject({ method, url, headers })).code).toBe('cross_site_refused')
  })

  test('that only reads is not refused: the browser decides what a page may read', async () => {
    const headers = { 'sec-fetch-site': 'cross-site', origin: FOREIGN }
    const answer = await app.app.inject({ method: 'GET', url: '/jobs', headers })
    expect(answer.statusCode).toBe(200)
    expect(answer.headers).not.toHaveProperty('access-control-allow-origin')
  })
})

describe('CORS', () => {
  test('is off by default: a preflight is 405 like any unsupported method', async () => {
    const answer = await options(app, '/jobs', preflightOf(ORIGIN))
    expect(problemOf(answer)).toMatchObject({ status: 405, code: 'method_not_allowed' })
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  })

  test.each(['/jobs', '/jobs/x', '/jobs/x/cancel'])('a preflight of a listed origin to %s is answered', async (url) => {
    const answer = await options(open, url, preflightOf(ORIGIN))
    expect(answer).toMatchObject({ statusCode: 204, body: '' })
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': ORIGIN,
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, DELETE',
      'access-control-allow-headers': expect.stringMatching(/Authorization, Content-Type, Idempotency-Key.*X-API-Key/),
      vary: 'Origin',
    })
    expect(answer.headers).not.toHaveProperty('access-control-allow-credentials')
  })

  test('a preflight of another origin is not answered', async () => {
    const answer = await options(open, '/jobs', preflightOf(FOREIGN))
    expect(problemOf(answer)).toMatchObject({ status: 405 })
    expect(answer.headers.allow).toBe('GET, HEAD, POST')
    expect(answer.headers).not.toHaveProperty('access-control-allow-origin')
  })

  test('an OPTIONS of a listed origin without a preflight’s headers is answered as well', async () => {
    expect((await options(open, '/jobs', { origin: ORIGIN })).statusCode).toBe(204)
  })

  test('an unknown path is 404 for every method', async () => {
    for (const method of ['GET', 'POST', 'PUT', 'OPTIONS'] as const) {
      expect(problemOf(await open.app.inject({ method, url: '/nothing' }))).toMatchObject({ status: 404 })
    }
    expect(problemOf(await options(open, '/jobs', {}))).toMatchObject({ status: 405 })
  })

  test('a listed origin may read every answer, also errors and refusals', async () => {
    const statuses: number[] = []
    for (const url of ['/jobs', '/jobs/x', '/nothing', ...Array.from({ length: 40 }, () => '/jobs')]) {
      const answer = await open.app.inject({ method: 'GET', url, headers: { origin: ORIGIN } })
      statuses.push(answer.statusCode)
      expect(answer.headers).toMatchObject({
        'access-control-allow-origin': ORIGIN,
        'access-control-expose-headers': expect.stringMatching(/ETag.*Location.*RateLimit-Remaining.*Retry-After/),
        vary: 'Origin',
      })
    }
    expect([...new Set(statuses)]).toEqual([200, 404, 429])
  })
})

describe('an answer has headers against sniffing, storing and embedding', () => {
  const SAFE = {
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    'cross-origin-resource-policy': 'same-origin',
  }

  test.each([
    ['a probe', 'GET', '/healthz', 200],
    ['an unknown route', 'GET', '/nothing', 404],
    ['a malformed URL', 'GET', '/jobs/%ff', 400],
    ['a method that is not allowed', 'PUT', '/jobs', 405],
    ['a invalid submit', 'POST', '/jobs', 400],
  ] as const)('%s', async (_what, method, url, status) => {
    const answer = await app.app.inject({ method, url })
    expect(answer.statusCode).toBe(status)
    expect(answer.headers).toMatchObject(SAFE)
  })

  test('a preflight', async () => {
    const answer = await options(open, '/jobs', preflightOf(ORIGIN))
    expect(answer.headers).toMatchObject(SAFE)
  })

  test.each([
    ['what is not HTTP', 'hello there\r\n\r\n', 400],
    ['an expectation that cannot be met', 'GET / HTTP/1.1\r\nHost: x\r\nExpect: cake\r\n\r\n', 417],
  ])('%s', async (_what, bytes, status) => {
    const { port } = await listen(app.app)
    const socket = connect(port, '127.0.0.1')
    let answer = ''
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
    socket.write(bytes)
    await once(socket, 'close')
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    for (const [name, value] of Object.entries(SAFE)) expect(answer.toLowerCase()).toContain(`${name}: ${value}`)
  })
})
