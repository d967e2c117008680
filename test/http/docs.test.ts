import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { PROBLEM_CODES, PROBLEMS } from '../../src/problems.ts'
import { problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(() => app.close())

describe('who may read the reference', () => {
  const forAll = { nobody: 200, 'a wrong key': 200, 'a key without a scope': 200 }
  const forAuthenticated = { nobody: 401, 'a wrong key': 401, 'a key without a scope': 200 }
  const forNone = { nobody: 404, 'a wrong key': 404, 'a key without a scope': 404 }
  const callers = { nobody: undefined, 'a wrong key': 'mallory', 'a key without a scope': 'nothing' }

  test.each([
    ['an open server', undefined, false, forAll],
    ['an open server, PUBLIC_DOCS=true', true, false, forAll],
    ['an open server, PUBLIC_DOCS=false', false, false, forNone],
    ['a guarded server', undefined, true, forAuthenticated],
    ['a guarded server, PUBLIC_DOCS=true', true, true, forAll],
    ['a guarded server, PUBLIC_DOCS=false', false, true, forAuthenticated],
  ])('%s', async (_what, publicDocs, isGuarded, expected) => {
    const server = await startApp({ http: { publicDocs }, ...(isGuarded && { authenticator: knownCallers }) })
    for (const url of ['/openapi.json', '/docs', '/docs/start.js']) {
      for (const [name, caller] of Object.entries(callers)) {
        const answer = await server.app.inject({ method: 'GET', url, headers: as(caller) })
        expect(answer.statusCode, `${name} ${url}`).toBe(expected[name as keyof typeof expected])
        if (answer.statusCode >= 400) problemOf(answer)
      }
    }
    await server.close()
  })
})

describe('the page of the problems', () => {
  test('has an icon that its policy admits, and links to the pages that a browser can open', async () => {
    const { headers, body } = await app.get('/docs/problems')
    expect(body).toMatch(/<link rel="icon" href="data:image/)
    expect(String(headers['content-security-policy']).split('; ')).toContain('img-src data:')
    expect(body).toContain('<a href="../docs">Reference</a>')
    const closed = await startApp({ authenticator: knownCallers })
    onTestFinished(() => closed.close())
    expect((await closed.get('/docs/problems')).body).not.toContain('Reference</a>')
  })
})

describe('the page', () => {
  test('sends requests to this server only, and has no inline script', async () => {
    const page = await app.get('/docs')
    expect(page).toMatchObject({ statusCode: 200, headers: { 'content-type': 'text/html; charset=utf-8' } })
    expect(page.headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
    })
    const policy = String(page.headers['content-security-policy']).split(';').sort()
    expect(policy).toEqual([
      ...["base-uri 'none'", "connect-src 'self'", "default-src 'none'", "form-action 'none'"],
      ...["frame-ancestors 'none'", "img-src 'self' data: blob:", 'media-src blob:', "script-src 'self'"],
      "style-src 'unsafe-inline'",
    ])
    const start = await app.get('/docs/start.js')
    const icon = /<link rel="icon" href="data:[^"]*" \/>/
    for (const text of [page.body.replace(icon, ''), start.body]) expect(text).not.toMatch(/\/\/|http/)
    expect(page.body).not.toMatch(/<script>|<script[^>]*>[^<]|\son\w+=/)
    expect(start.headers['content-type']).toBe('text/javascript; charset=utf-8')
    // Each would send the document, or word of its readers, to Scalar.
    expect(JSON.parse(/\{.*\}/.exec(start.body)?.[0] ?? '')).toMatchObject({
      ...{ telemetry: false, withDefaultFonts: false, proxyUrl: '', hideClientButton: true },
      ...{ agent: { disabled: true }, mcp: { disabled: true }, showDeveloperTools: 'never', url: 'openapi.json' },
    })
  })

  test('does not bind other pages of its host to https', async () => {
    const { headers } = await app.get('/docs')
    expect(headers).not.toHaveProperty('strict-transport-security')
    expect(headers['content-security-policy']).not.toContain('upgrade-insecure-requests')
  })

  test('gets its script from this server, compressed or not', async () => {
    const url = '/docs/scalar.js'
    const plain = await app.get(url)
    expect(plain).toMatchObject({ statusCode: 200, headers: { 'content-type': 'text/javascript; charset=utf-8' } })
    expect(plain.headers).not.toHaveProperty('content-encoding')
    expect(plain.body).toContain('createApiReference')
    const compressed = await app.app.inject({ method: 'GET', url, headers: { 'accept-encoding': 'br, gzip' } })
    expect(compressed.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'accept-encoding' })
    expect(gunzipSync(compressed.rawPayload).equals(plain.rawPayload)).toBe(true)
    expect(compressed.rawPayload.length).toBeLessThan(2_000_000)
  })

  test.each(['/docs/', '/docs//', '/docs/?'])('%s redirects to the path beside its scripts', async (url) => {
    const moved = await app.get(url)
    expect(moved.statusCode).toBe(302)
    expect(new URL(String(moved.headers.location), `http://a/lip-sync${url}`).href).toBe('http://a/lip-sync/docs')
  })

  test('refers to the paths of its scripts', async () => {
    const { body } = await app.get('/docs')
    const scripts = [...body.matchAll(/src="([^"]+)"/g)].map(([, src = '']) => new URL(src, 'http://a/docs').pathname)
    expect(scripts).toEqual(['/docs/scalar.js', '/docs/start.js'])
  })
})

describe('the page of problems', () => {
  test('is public on every server, explains each code at its anchor, and runs and loads nothing', async () => {
    const server = await startApp({ http: { publicDocs: false }, authenticator: knownCallers })
    onTestFinished(() => server.close())
    const refused = problemOf(await server.get('/jobs'))
    const page = await server.get(refused.type)
    expect(page).toMatchObject({ statusCode: 200, headers: { 'content-type': 'text/html; charset=utf-8' } })
    expect(page.headers['content-security-policy']).toContain("default-src 'none'")
    const anchors = [...page.body.matchAll(/<section id="(\w+)">/g)].map(([, id]) => id)
    expect(anchors).toEqual(PROBLEM_CODES)
    for (const code of PROBLEM_CODES) expect(page.body).toContain(String(PROBLEMS[code].status))
    expect(page.body).not.toMatch(/<script|src=|https?:|`/)
  })
})
