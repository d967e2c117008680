import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { aBody, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'

let app: TestApp
afterEach(() => app.close())

const get = (url: string, caller?: string) => app.app.inject({ url, headers: as(caller) })
const lines = () => app.requestLines.filter(({ msg }) => msg === 'request')
const refused = () => app.requestLines.filter(({ event }) => event === 'probe_refused')

describe('the line of a request', () => {
  test('says whose it is, whatever the answer, where the caller is known', async () => {
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

  test('names nobody where the caller is not known', async () => {
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

test('the line of a submitted job says whose it is', async () => {
  app = await startApp({ authenticator: knownCallers })
  await app.post('/jobs', aBody, as('alice'))
  expect(app.lines[0]).toMatchObject({ msg: 'job submitted', event: 'submitted', caller: 'key:alice' })
})

describe('a probe or scrape that is refused', () => {
  test('is a warning, once a minute for each route, and one that is answered is none', async () => {
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

  test('says whose credential it was', async () => {
    app = await startApp({ authenticator: knownCallers })
    await get('/metrics', 'alice')
    expect(refused()).toMatchObject([{ status: 403, caller: 'key:alice' }])
  })

  test('is not a server that says it is not ready', async () => {
    app = await startApp()
    app.readiness.startShutdown()
    expect((await app.get('/readyz')).statusCode).toBe(503)
    expect(refused()).toEqual([])
  })
})
