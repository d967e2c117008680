import { execFile } from 'node:child_process'
import { mkdtemp, readFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, connect, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createGuard } from '../../src/net/guard.ts'
import { createPoster } from '../../src/net/post.ts'
import { createProxyRule } from '../../src/net/proxy.ts'
import type * as addresses from '../../src/net/url-rule.ts'
import { makeCertificate } from '../helpers/control-plane/certificate.ts'
import { planeOfTest } from '../helpers/of-test.ts'
import { cleanEnvironment } from '../helpers/server.ts'

// Every server of this test is on loopback: 127.0.0.1 plays a public address, as in the test of downloads.
vi.mock('../../src/net/url-rule.ts', async (load) => {
  const real = await load<typeof addresses>()
  return { ...real, isPublicAddress: (address: string) => address === '127.0.0.1' || real.isPublicAddress(address) }
})

const signal = new AbortController().signal
/** `inside.example` is a name that resolves to a private address. */
const resolve = (name: string) =>
  Promise.resolve([{ address: name === 'inside.example' ? '10.0.0.1' : '127.0.0.1', family: 4 }])

async function listen(server: Server): Promise<number> {
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** A proxy that opens tunnels; `status`: what it answers instead. */
async function startProxy(status = 200) {
  const tunnels: { target: string; headers: IncomingHttpHeaders }[] = []
  const server = createServer().on('connect', ({ url = '', headers }, socket) => {
    tunnels.push({ target: url, headers })
    if (status !== 200) return void socket.end(`HTTP/1.1 ${status} No\r\n\r\n`)
    const { hostname, port } = new URL(`http://${url}`)
    // A name that only the proxy knows.
    const host = hostname === 'modal.example' ? '127.0.0.1' : hostname
    const onward = connect({ host, port: Number(port) }, () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
    onward.on('error', () => socket.destroy()).pipe(socket)
    socket.on('error', () => onward.destroy()).pipe(onward)
  })
  return { url: `http://me:pa%2Fss@127.0.0.1:${await listen(server)}`, tunnels }
}

const post = async (url: string, proxy: string, no?: string) => {
  const rule = { allowPrivate: false, proxyOf: createProxyRule({ http: proxy, https: proxy, no }) }
  const poster = createPoster(rule, resolve)
  onTestFinished(() => poster.close())
  const message = { headers: {}, body: '{}', timeoutMs: 5_000, signal, caller: 'key:a' }
  return poster.post(url, message).catch((error: unknown) => (error as Error).message)
}

async function download(url: string, proxy: string): Promise<string> {
  const guard = createGuard({ allowPrivate: false, proxyOf: createProxyRule({ http: proxy, https: proxy }) }, resolve)
  onTestFinished(() => guard.close())
  const to = join(await mkdtemp(join(tmpdir(), 'proxy-')), 'file')
  const loading = guard.download(url, { to, maxBytes: 1000, timeoutMs: 5_000, signal, caller: 'key:a' })
  return loading.then(
    () => readFile(to, 'utf8'),
    (error: unknown) => (error as Error).message,
  )
}

describe('what the server posts and fetches', () => {
  test('goes through the proxy, which gets the checked address and the credentials', async () => {
    const proxy = await startProxy()
    const hosts: (string | undefined)[] = []
    const port = await listen(createServer(({ headers }, response) => (hosts.push(headers.host), response.end('abc'))))
    const url = `http://hooks.example:${port}/a`
    expect(await post(url, proxy.url)).toEqual({ status: 200 })
    expect(await download(url, proxy.url)).toBe('abc')
    expect(hosts).toEqual([`hooks.example:${port}`, `hooks.example:${port}`])
    expect(proxy.tunnels.map(({ target }) => target)).toEqual([`127.0.0.1:${port}`, `127.0.0.1:${port}`])
    const credentials = Buffer.from('me:pa/ss').toString('base64')
    for (const { headers } of proxy.tunnels) expect(headers['proxy-authorization']).toBe(`Basic ${credentials}`)
  })

  test('has TLS to the host itself, whose certificate is checked', async () => {
    const proxy = await startProxy()
    const { caFile, keyFile, remove } = makeCertificate()
    const [cert, key] = [await readFile(caFile), await readFile(keyFile)]
    remove()
    const port = await listen(createSecureServer({ cert, key }, (_request, response) => response.end('abc')))
    const url = `https://hooks.example:${port}/a`
    expect(await post(url, proxy.url)).toMatch(/^its certificate is not valid/)
    expect(await download(url, proxy.url)).toMatch(/its certificate is not valid/)
    expect(proxy.tunnels).toHaveLength(2)
  })

  test.each(['http://inside.example/a', 'https://inside.example/a', 'http://10.0.0.1/a', 'http://[::ffff:10.0.0.1]/a'])(
    'is still refused for an address that is not public: %s',
    async (url) => {
      const proxy = await startProxy()
      expect(await post(url, proxy.url)).toMatch(/unknown or not public|must point to a public address/)
      expect(await download(url, proxy.url)).toMatch(/unknown or not public|must point to a public address/)
      expect(proxy.tunnels).toEqual([])
    },
  )

  test('is refused where a redirect leads to an address that is not public', async () => {
    const proxy = await startProxy()
    const location = 'http://inside.example/secret'
    const port = await listen(createServer((_request, response) => response.writeHead(302, { location }).end()))
    expect(await download(`http://files.example:${port}/a`, proxy.url)).toMatch(/its host is unknown or not public$/)
    expect(proxy.tunnels.map(({ target }) => target)).toEqual([`127.0.0.1:${port}`])
  })

  test('does not go around a proxy that refuses or is unavailable', async () => {
    const port = await listen(createServer((_request, response) => response.end('abc')))
    const url = `http://hooks.example:${port}/a`
    const refusing = await startProxy(403)
    expect(await post(url, refusing.url)).toBe('the proxy of this server did not open a connection (403)')
    expect(await download(url, refusing.url)).toContain('the proxy of this server did not open a connection (403)')
    expect(await post(url, 'http://127.0.0.1:1')).toBe('the proxy of this server is unavailable')
    expect(await download(url, 'http://127.0.0.1:1')).toContain('the proxy of this server is unavailable')
  })

  test('goes to a host of NO_PROXY directly', async () => {
    const proxy = await startProxy()
    const port = await listen(createServer((_request, response) => response.end()))
    expect(await post(`http://hooks.example:${port}/a`, proxy.url, 'example')).toEqual({ status: 200 })
    expect(proxy.tunnels).toEqual([])
  })
})

describe('the proxy of a URL', () => {
  const settings = { http: 'http://p:1', https: 'http://p:2' }
  const proxyOf = (url: string, no = '') => createProxyRule({ ...settings, no })?.(new URL(url))?.port

  test('depends on the scheme', () => {
    expect(proxyOf('http://a.example')).toBe('1')
    expect(proxyOf('https://a.example')).toBe('2')
    expect(createProxyRule({ https: 'http://p:2' })?.(new URL('http://a.example'))).toBeUndefined()
    expect(createProxyRule({ no: '*' })).toBeUndefined()
  })

  test.each(['http://localhost:9/', 'http://127.0.0.2/', 'http://[::1]/', 'http://[::ffff:127.0.0.1]/'])(
    'is none for this machine: %s',
    (url) => {
      expect(proxyOf(url)).toBeUndefined()
    },
  )

  test.each([
    ['a.example', 'https://a.example', true],
    ['example', 'https://a.Example.', true],
    ['.example', 'https://a.example', true],
    ['*.example', 'https://a.example', true],
    ['ample', 'https://a.example', false],
    ['x, a.example', 'https://a.example', true],
    ['a.example:8443', 'https://a.example', false],
    ['a.example:443', 'https://a.example', true],
    ['*', 'https://a.example', true],
    ['10.0.0.0/8', 'https://10.1.2.3', true],
    ['10.0.0.0/8', 'https://11.1.2.3', false],
    ['10.1.2.3', 'https://10.1.2.3', true],
    ['10.1.2.3:80', 'https://10.1.2.3', false],
    ['2001:db8::/32', 'https://[2001:db8::7]', true],
    ['[2001:db8::7]:443', 'https://[2001:db8::7]', true],
    ['10.0.0.0/8', 'https://[2001:db8::7]', false],
    ['2001:db8::7', 'https://10.1.2.3', false],
  ])('NO_PROXY=%s and %s: direct %s', (no, url, isDirect) => {
    expect(proxyOf(url, no)).toBe(isDirect ? undefined : '2')
  })
})

test('Modal is reached through the proxy of the configuration', async () => {
  const [proxy, plane] = [await startProxy(), await planeOfTest()]
  const url = new URL(plane.env.MODAL_SERVER_URL ?? '')
  url.hostname = 'modal.example'
  const env = { ...plane.env, BACKEND: 'modal', MODAL_SERVER_URL: url.origin, HTTPS_PROXY: proxy.url }
  const run = promisify(execFile)
  const { stdout } = await run(process.execPath, ['src/cli/doctor.ts'], { env: cleanEnvironment(env) })
  expect(stdout).toMatch(/^ok +modal +run_inference and download_result/m)
  expect(proxy.tunnels.map(({ target }) => target)).toContain(url.host)
})

test('the requests of libraries take the proxy of the configuration too', async () => {
  const proxy = await startProxy(403)
  const script = `
    const { loadConfig, shareWithLibraries } = await import('./src/config/config.ts')
    shareWithLibraries(loadConfig())
    await fetch('https://issuer.example/keys').catch(() => undefined)`
  const run = promisify(execFile)
  await run(process.execPath, ['--input-type=module', '-e', script], {
    env: cleanEnvironment({ HTTPS_PROXY: proxy.url }),
  })
  expect(proxy.tunnels.map(({ target }) => target)).toEqual(['issuer.example:443'])
})
