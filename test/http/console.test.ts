import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { httpSettingsOf } from '../../src/app.ts'
import { loadConfig } from '../../src/config/config.ts'
import { problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { knownCallers } from '../helpers/callers.ts'

/** As browsers ask for a page. */
const html = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }

const KEYS = { MODAL_TOKEN_ID: 'a', MODAL_TOKEN_SECRET: 'b', AWS_ACCESS_KEY_ID: 'c', AWS_SECRET_ACCESS_KEY: 'd' }

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(() => app.close())

const rootOf = ({ app: server }: TestApp, headers: Record<string, string> = {}) =>
  server.inject({ method: 'GET', url: '/', headers })
const gzipped = (url: string) =>
  app.app.inject({ method: 'GET', url, headers: { 'accept-encoding': 'gzip, deflate, br' } })

/** The paths of the page and of everything that it loads, found as a browser finds them. */
async function pathsOf(): Promise<Map<string, { bytes: number; text: string }>> {
  const page = (await rootOf(app, html)).body
  const { imports } = JSON.parse(/<script type="importmap">(.*?)<\/script>/.exec(page)?.[1] ?? '') as {
    imports: Record<string, string>
  }
  const found = new Map([['/', { bytes: Buffer.byteLength(page), text: page }]])
  const next = [...page.matchAll(/(?:href|src)="([^":]+)"/g)].map(
    ([, path = '']) => new URL(path, 'http://a/').pathname,
  )
  for (const path of next) {
    if (found.has(path)) continue
    const answer = await gzipped(path)
    expect(answer.statusCode, path).toBe(200)
    const text = gunzipSync(answer.rawPayload).toString()
    found.set(path, { bytes: answer.rawPayload.length, text })
    if (path.endsWith('.css')) continue
    for (const [, name = ''] of text.matchAll(/\b(?:from|import) ?["']([^"'\s]+)["']/g)) {
      next.push(new URL(imports[name] ?? name, imports[name] ? 'http://a/' : `http://a${path}`).pathname)
    }
  }
  return found
}

describe('GET /', () => {
  test('says what the server is, and where to continue', async () => {
    for (const headers of [{}, { accept: '*/*' }, { accept: 'application/json' }]) {
      const answer = await rootOf(app, headers)
      expect(answer.headers).toMatchObject({ vary: 'accept', 'content-type': 'application/json; charset=utf-8' })
      const root = answer.json<{ links: Record<string, string> }>()
      expect(root).toMatchObject({ name: packageJson.name, version: packageJson.version, authentication: 'none' })
      expect(Object.keys(root.links)).toEqual(['jobs', 'events', 'health', 'readiness', 'metrics', 'docs', 'openapi'])
      for (const url of Object.values(root.links).filter((path) => path !== '/events')) {
        expect((await app.get(url)).statusCode, url).toBe(200)
      }
    }
  })

  test('names no reference where none is served, and no credential is needed to read it', async () => {
    const open = await startApp({ http: { publicDocs: false } })
    expect((await rootOf(open)).json()).toMatchObject({ links: { jobs: '/jobs' } })
    expect((await rootOf(open)).json<{ links: object }>().links).not.toHaveProperty('docs')
    await open.close()
    const guarded = await startApp({ authenticator: knownCallers })
    expect((await rootOf(guarded)).json()).toMatchObject({
      authentication: 'required',
      links: { openapi: '/openapi.json' },
    })
    // The page cannot be opened by a link there: a browser sends no credential.
    expect((await rootOf(guarded)).json<{ links: object }>().links).not.toHaveProperty('docs')
    expect((await rootOf(guarded, html)).body).toContain('<script type="module"')
    await guarded.close()
    const shown = await startApp({ authenticator: knownCallers, http: { publicDocs: true } })
    expect((await rootOf(shown)).json()).toMatchObject({ authentication: 'required', links: { docs: '/docs' } })
    await shown.close()
  })

  test('is the reference for browsers without a console, else JSON for them too', async () => {
    const withDocs = await startApp({ http: { console: false } })
    expect(await rootOf(withDocs, html)).toMatchObject({ statusCode: 302, headers: { location: 'docs' } })
    expect((await rootOf(withDocs)).statusCode).toBe(200)
    problemOf(await withDocs.get('/console/page/app.ts'))
    expect((await withDocs.get('/docs')).body).not.toContain('Console')
    await withDocs.close()
    const guarded = await startApp({ authenticator: knownCallers, http: { console: false } })
    expect((await rootOf(guarded, html)).json()).toMatchObject({ links: { openapi: '/openapi.json' } })
    await guarded.close()
    const bare = await startApp({ http: { console: false, publicDocs: false } })
    expect((await rootOf(bare, html)).json()).toMatchObject({ name: packageJson.name })
    await bare.close()
  })

  test('CONSOLE=false turns the console off', () => {
    const consoleOf = (env: Record<string, string>) => httpSettingsOf(loadConfig({ BACKEND: 'local', ...env })).console
    expect([consoleOf({}), consoleOf({ CONSOLE: 'false' })]).toEqual([true, false])
  })
})

describe('the page', () => {
  test('has no inline script but the import map, whose hash its policy names, and no inline style', async () => {
    const { headers, body } = await rootOf(app, html)
    expect(headers['content-type']).toBe('text/html; charset=utf-8')
    const map = /<script type="importmap">(.*?)<\/script>/.exec(body)?.[1] ?? ''
    const hash = createHash('sha256').update(map).digest('base64')
    expect(String(headers['content-security-policy']).split(';').sort()).toEqual([
      ...["base-uri 'none'", "connect-src 'self'", "default-src 'none'", "form-action 'none'"],
      ...["frame-ancestors 'none'", "img-src 'self' data: blob:", "media-src 'self' blob:"],
      ...["require-trusted-types-for 'script'", `script-src 'self' 'sha256-${hash}'`, "style-src 'self'"],
    ])
    expect(body.replace(map, '')).not.toMatch(/<script[^>]*>[^<]|<style|\sstyle=|\son\w+=/)
  })

  test.each([
    ['outputs', 'OUTPUT_SOURCE'],
    ['uploads', 'UPLOAD_STORE'],
  ])(
    'with a bucket for %s sends files to its origin and shows those from it, and from nowhere else',
    async (_, name) => {
      const env = { [name]: 's3', S3_ENDPOINT: 'https://store.example:9443/base', S3_BUCKET: 'b' }
      const { storeOrigin } = httpSettingsOf(loadConfig({ BACKEND: 'modal', ...env, ...KEYS }))
      const server = await startApp({ http: { storeOrigin } })
      const policy = String((await rootOf(server, html)).headers['content-security-policy'])
      const origins = policy.split(';').filter((directive) => directive.includes('//'))
      expect(origins.sort()).toEqual([
        "connect-src 'self' https://store.example:9443",
        "img-src 'self' data: blob: https://store.example:9443",
        "media-src 'self' blob: https://store.example:9443",
      ])
      await server.close()
    },
  )

  test('loads less than 120 KB, compressed, all of it from this server and named before it is needed', async () => {
    const files = await pathsOf()
    expect([...files.values()].reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(120_000)
    const page = files.get('/')?.text ?? ''
    const named = (path: string) => page.includes(`"${path.slice(1)}"`) || page.includes(`.${path}"`)
    const late = [...files.keys()].filter((path) => path !== '/' && !named(path))
    // The modules of the client, which are few, come with the first that imports them.
    expect(late.every((path) => path.startsWith('/console/client/'))).toBe(true)
    expect(files.has('/console/client/index.ts')).toBe(true)
  })

  test('has no types left in its modules, and every parameter that a submit takes', async () => {
    const files = await pathsOf()
    for (const [path, { text }] of files) {
      if (path.endsWith('.ts')) expect(text, path).not.toMatch(/^\s*(export )?(type \w+ =|interface )/m)
    }
    const schema = files.get('/console/lib/api-schema.js')?.text ?? ''
    const parameters = JSON.parse(schema.replace('export const parameters = ', '')) as unknown[]
    expect(parameters).toHaveLength(8)
    expect(parameters).toContainEqual(
      expect.objectContaining({ name: 'bbox_shift', model: 'v1', type: 'integer', minimum: -50, maximum: 50 }),
    )
  })
})

describe('a file of the page', () => {
  const url = '/console/page/app.ts'

  test('comes compressed to clients that accept it, and is 304 while it has not changed', async () => {
    const [compressed, plain] = [await gzipped(url), await app.get(url)]
    expect(compressed.headers).toMatchObject({
      ...{ 'content-encoding': 'gzip', 'content-type': 'text/javascript; charset=utf-8' },
      ...{ 'cache-control': 'no-cache', vary: 'accept-encoding' },
    })
    expect(plain.headers).not.toHaveProperty('content-encoding')
    expect(gunzipSync(compressed.rawPayload).toString()).toBe(plain.body)
    const again = { 'if-none-match': String(compressed.headers.etag) }
    expect(await app.app.inject({ method: 'GET', url, headers: again })).toMatchObject({ statusCode: 304, body: '' })
  })

  test.each([
    '/console/',
    '/console/page/',
    '/console/page/api-schema.d.ts',
    '/console/../package.json',
    '/console/client/schema.ts',
  ])('%s is none', async (path) => {
    expect(problemOf(await app.get(path))).toMatchObject({ status: 404, code: 'route_not_found' })
  })
})

test('the page of the reference leads to the console', async () => {
  const { body } = await app.get('/docs')
  expect(body).toContain('<a href="./">Console</a>')
})
