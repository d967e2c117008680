import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Resolve } from '../../src/net/agent.ts'
import { createGuard, DownloadError, type DownloadOptions } from '../../src/net/guard.ts'
import type * as addresses from '../../src/net/address.ts'
import type { UrlRule } from '../../src/net/url-rule.ts'

// Every server of this test is on loopback. So that the rule for public addresses can be tried on real connections,
// 127.0.0.1 plays a public address here; the other loopback address stays what it is.
vi.mock('../../src/net/address.ts', async (load) => {
  const real = await load<typeof addresses>()
  return { ...real, isPublicAddress: (address: string) => address === '127.0.0.1' || real.isPublicAddress(address) }
})

// macOS has only the one IPv4 loopback address.
const PRIVATE = process.platform === 'darwin' ? '::1' : '127.0.0.2'
const OPEN = { allowPrivate: true }
const STRICT = { allowPrivate: false }
const closers: (() => unknown)[] = []
let folder: string
let to: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'guard-'))
  to = join(folder, 'file')
})

afterEach(async () => {
  for (const close of closers.splice(0)) await close()
  await rm(folder, { recursive: true })
})

type Served = { port: number; paths: string[] }

async function serve(listener: RequestListener, host = '127.0.0.1', atPort = 0): Promise<Served> {
  const paths: string[] = []
  const server = createServer((request, response) => {
    paths.push(request.url ?? '')
    listener(request, response)
  })
  await new Promise<void>((resolve) => server.listen(atPort, host, resolve))
  closers.push(() => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))))
  return { port: (server.address() as AddressInfo).port, paths }
}

type Fetch = Partial<DownloadOptions> & { rule?: UrlRule; resolve?: Resolve }

function fetchFile(url: string, { rule = OPEN, resolve, ...options }: Fetch = {}) {
  const guard = createGuard(rule, resolve)
  closers.push(() => guard.close())
  const signal = new AbortController().signal
  return guard.download(url, { to, maxBytes: 1000, timeoutMs: 5000, signal, ...options })
}

const failure = async (download: Promise<void>): Promise<string> => {
  const error: unknown = await download.then(
    () => 'nothing was refused',
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(DownloadError)
  expect(existsSync(to)).toBe(false)
  return (error as Error).message
}

const answer =
  (addresses: string[]): Resolve =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))

describe('a download', () => {
  test('writes the body to the file', async () => {
    const { port } = await serve((_request, response) => response.end('the body'))
    await fetchFile(`http://localhost:${port}/a`)
    expect(await readFile(to, 'utf8')).toBe('the body')
  })

  test('of anything but a 2xx is refused, naming host and path only', async () => {
    const { port } = await serve((_request, response) => response.writeHead(403).end('no'))
    const message = await failure(fetchFile(`http://127.0.0.1:${port}/a.mp4?signature=secret`))
    expect(message).toBe(`could not be fetched from 127.0.0.1:${port}/a.mp4: the server answered 403`)
  })

  test('announced as too large is refused before its body', async () => {
    const { port } = await serve((_request, response) =>
      response.writeHead(200, { 'content-length': 1001 }).flushHeaders(),
    )
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(/: it is larger than 1000 bytes$/)
  })

  test('that grows too large is cut and its file removed', async () => {
    const { port } = await serve((_request, response) => {
      const timer = setInterval(() => response.write('x'.repeat(400)), 5)
      response.on('close', () => clearInterval(timer))
    })
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(/: it is larger than 1000 bytes$/)
  })

  test('may be exactly as large as the limit', async () => {
    const { port } = await serve((_request, response) => response.end('x'.repeat(1000)))
    await fetchFile(`http://127.0.0.1:${port}/a`)
    expect(await readFile(to)).toHaveLength(1000)
  })

  test('whose body drips is cut at the time limit and its file removed', async () => {
    const { port } = await serve((_request, response) => {
      const timer = setInterval(() => response.write('x'), 20)
      response.on('close', () => clearInterval(timer))
    })
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`, { timeoutMs: 300 }))).toMatch(
      /: it took longer than 0.3 s$/,
    )
  })

  test('ends with the reason of its signal, leaving no file', async () => {
    const stop = new AbortController()
    const reason = new Error('stopped')
    const { port } = await serve((_request, response) => {
      response.write('x')
      setTimeout(() => stop.abort(reason), 50)
    })
    await expect(fetchFile(`http://127.0.0.1:${port}/a`, { signal: stop.signal })).rejects.toBe(reason)
    expect(existsSync(to)).toBe(false)
  })

  test('that breaks off is refused', async () => {
    const { port } = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('half')
      setTimeout(() => response.destroy(), 20)
    })
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(/: the connection was lost$/)
  })

  test('from a closed port is refused', async () => {
    const { port } = await serve((_request, response) => response.end())
    await (closers.pop() as () => Promise<void>)()
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(/: the connection was refused$/)
  })

  test('from a name that DNS does not know is refused', async () => {
    const resolve: Resolve = async () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }))
    expect(await failure(fetchFile('http://nowhere.test/a', { resolve }))).toMatch(/: its host is not known to DNS$/)
  })

  test('into a folder that does not exist says that the transfer failed, and no path', async () => {
    const { port } = await serve((_request, response) => response.end('x'))
    const message = await failure(fetchFile(`http://127.0.0.1:${port}/a`, { to: join(folder, 'none', 'file') }))
    expect(message).toBe(`could not be fetched from 127.0.0.1:${port}/a: the transfer failed (ENOENT)`)
  })
})

describe('a redirect', () => {
  const redirectTo =
    (location: string): RequestListener =>
    (_request, response) =>
      void response.writeHead(302, { location }).end()

  test('is followed, also to a relative address', async () => {
    const { port, paths } = await serve((request, response) =>
      request.url === '/a/1' ? redirectTo('../b')(request, response) : void response.end('arrived'),
    )
    await fetchFile(`http://127.0.0.1:${port}/a/1`)
    expect(await readFile(to, 'utf8')).toBe('arrived')
    expect(paths).toEqual(['/a/1', '/b'])
  })

  test('is followed three times and no more', async () => {
    const { port, paths } = await serve((request, response) => redirectTo(`${request.url ?? ''}1`)(request, response))
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/`))).toMatch(/redirected more than 3 times$/)
    expect(paths).toEqual(['/', '/1', '/11', '/111'])
  })

  test.each(['http://127.0.0.2', 'http://2130706434', 'http://private.test', 'http://[::ffff:127.0.0.2]'])(
    'to %s, which is not public, is refused',
    async (target) => {
      const inside = await serve((_request, response) => response.end('secret'), PRIVATE)
      const outside = await serve(redirectTo(`${target}:${inside.port}/x?token=secret`))
      const resolve: Resolve = async (name) => answer([name === 'public.test' ? '127.0.0.1' : PRIVATE])(name)
      const message = await failure(fetchFile(`http://public.test:${outside.port}/`, { rule: STRICT, resolve }))
      expect(message).toMatch(/public/)
      expect(message).not.toContain('secret')
      expect(outside.paths).toEqual(['/'])
      expect(inside.paths).toEqual([])
    },
  )

  test('is held to the allowlist', async () => {
    const { port, paths } = await serve((request, response) => redirectTo(`http://b.test:${port}/`)(request, response))
    const rule = { allowPrivate: true, allowlist: ['a.test'] }
    const message = await failure(fetchFile(`http://a.test:${port}/`, { rule, resolve: answer(['127.0.0.1']) }))
    expect(message).toBe(
      `could not be fetched from b.test:${port}/: it was redirected to, and it must be on one of the allowed hosts`,
    )
    expect(paths).toEqual(['/'])
  })

  test.each(['file:///etc/passwd', 'http://user:pass@example.com/', 'http://'])('to %s is refused', async (target) => {
    const { port } = await serve(redirectTo(target))
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/`))).toMatch(/redirected to, and it must/)
  })
})

describe('a connection', () => {
  test('is not opened when one of the addresses of a name is not public', async () => {
    const { port, paths } = await serve((_request, response) => response.end('x'))
    const resolve = answer(['127.0.0.1', '10.0.0.1'])
    expect(await failure(fetchFile(`http://mixed.test:${port}/`, { rule: STRICT, resolve }))).toMatch(/not public$/)
    expect(paths).toEqual([])
  })

  test('is opened to the address that was checked, though the name means another one by then', async () => {
    const first = await serve((_request, response) => response.end('checked'))
    const rebound = await serve((_request, response) => response.end('rebound'), PRIVATE, first.port)
    let lookups = 0
    const resolve: Resolve = async (name) => answer([lookups++ === 0 ? '127.0.0.1' : PRIVATE])(name)
    await fetchFile(`http://rebinding.test:${first.port}/`, { rule: STRICT, resolve })
    expect(await readFile(to, 'utf8')).toBe('checked')
    expect(lookups).toBe(1)
    expect(rebound.paths).toEqual([])
  })

  test('to a name without any address is refused', async () => {
    expect(await failure(fetchFile('http://empty.test/', { resolve: answer([]) }))).toMatch(/has no address/)
  })
})

test('closing a guard that fetched nothing, or twice, is fine', async () => {
  const guard = createGuard(OPEN)
  await guard.close()
  await guard.close()
})
