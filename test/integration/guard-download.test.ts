import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { createServer as createSocketServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Resolve } from '../../src/net/resolver.ts'
import { createGuard, DownloadError, type DownloadOptions } from '../../src/net/guard.ts'
import type * as addresses from '../../src/net/url-rule.ts'
import type { UrlRule } from '../../src/net/url-rule.ts'
import { makeCertificate } from '../helpers/control-plane/certificate.ts'

// Every server of this test is on loopback. So that the rule for public addresses can be tried on real connections,
// 127.0.0.1 plays a public address here; the other loopback address stays what it is.
vi.mock('../../src/net/url-rule.ts', async (load) => {
  const real = await load<typeof addresses>()
  return { ...real, isPublicAddress: (address: string) => address === '127.0.0.1' || real.isPublicAddress(address) }
})

// macOS has only the one IPv4 loopback address.
const PRIVATE = process.platform === 'darwin' ? '::1' : '127.0.0.2'
const OPEN = { allowPrivate: true }
const STRICT = { allowPrivate: false }
let folder: string
let to: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'guard-'))
  to = join(folder, 'file')
})
afterEach(() => rm(folder, { recursive: true }))

type Served = { port: number; paths: string[]; close: () => Promise<void> }

async function serve(listener: RequestListener, host = '127.0.0.1', atPort = 0): Promise<Served> {
  const paths: string[] = []
  const server = createServer((request, response) => {
    paths.push(request.url ?? '')
    listener(request, response)
  })
  await new Promise<void>((resolve) => server.listen(atPort, host, resolve))
  const { port } = server.address() as AddressInfo
  const close = () => new Promise<void>((resolve) => (server.closeAllConnections(), server.close(() => resolve())))
  onTestFinished(close)
  return { port, paths, close }
}

type Fetch = Partial<DownloadOptions> & { rule?: UrlRule; resolve?: Resolve }

function fetchFile(url: string, { rule = OPEN, resolve, ...options }: Fetch = {}) {
  const guard = createGuard(rule, resolve)
  onTestFinished(() => guard.close())
  const signal = new AbortController().signal
  return guard.download(url, { caller: 'key:a', to, maxBytes: 1000, timeoutMs: 5000, signal, ...options })
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

  test('sends Accept, Accept-Encoding and Connection: close', async () => {
    let headers: IncomingHttpHeaders = {}
    const { port } = await serve((request, response) => {
      headers = request.headers
      response.end('x')
    })
    await fetchFile(`http://127.0.0.1:${port}/a`)
    expect(headers).toMatchObject({ accept: '*/*', 'accept-encoding': 'identity', connection: 'close' })
  })

  test.each(['when it is asked to', 'whatever it is asked'])(
    'works from a server that closes %s and does not announce it',
    async (when) => {
      // Larger than what a stream buffers: the end of the connection is there before the body has been read.
      const body = Buffer.alloc(1_000_000, 'x')
      const server = createSocketServer((socket) => {
        socket.on('error', () => undefined)
        socket.on('data', (head) => {
          socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`)
          socket.write(body)
          if (when === 'whatever it is asked' || /^connection: close/im.test(head.toString())) socket.end()
        })
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      onTestFinished(() => new Promise((resolve) => server.close(() => resolve())))
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a`
      const guard = createGuard(OPEN)
      onTestFinished(() => guard.close())
      const options = {
        caller: 'key:a',
        to,
        maxBytes: body.length,
        timeoutMs: 5000,
        signal: new AbortController().signal,
      }
      for (let fetches = 0; fetches < 20; fetches++) {
        await guard.download(url, options)
        expect((await readFile(to)).equals(body)).toBe(true)
      }
    },
  )

  test('from a server with an invalid certificate is refused', async () => {
    const { caFile, keyFile, remove } = makeCertificate()
    const [cert, key] = [await readFile(caFile), await readFile(keyFile)]
    remove()
    const server = createSecureServer({ cert, key }, (_request, response) => response.end('x'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => new Promise((resolve) => server.close(() => resolve())))
    const message = await failure(fetchFile(`https://localhost:${(server.address() as AddressInfo).port}/a`))
    expect(message).toMatch(/: its certificate is not valid \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/)
  })

  test('from a server that does not speak HTTP is refused', async () => {
    const server = createSocketServer((socket) => {
      socket.on('error', () => undefined).resume()
      socket.end('220 mail.example ESMTP\r\n')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => new Promise((resolve) => server.close(() => resolve())))
    const message = await failure(fetchFile(`http://127.0.0.1:${(server.address() as AddressInfo).port}/a`))
    expect(message).toMatch(/: the server answered what is not HTTP$/)
  })

  test.each([204, 206, 404])('answered with %i is refused, since that is not the whole file', async (status) => {
    const { port } = await serve((_request, response) => response.writeHead(status).end(status === 204 ? '' : 'part'))
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(`: the server answered ${status}`)
  })

  test('of anything but a 2xx is refused, naming its host only', async () => {
    const { port } = await serve((_request, response) => response.writeHead(403).end('no'))
    const message = await failure(fetchFile(`http://127.0.0.1:${port}/a.mp4?signature=secret`))
    expect(message).toBe(`could not be fetched from 127.0.0.1:${port}: the server answered 403`)
  })

  test('announced as too large is refused before its body', async () => {
    const { port } = await serve((_request, response) =>
      response.writeHead(200, { 'content-length': 1001 }).flushHeaders(),
    )
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(
      /: it has 1001 bytes, more than the limit of 1000$/,
    )
  })

  test('that grows too large is cut and its file removed', async () => {
    const { port } = await serve((_request, response) => {
      const timer = setInterval(() => response.write('x'.repeat(400)), 5)
      response.on('close', () => clearInterval(timer))
    })
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(
      /: it has more than the limit of 1000 bytes$/,
    )
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
    const { port, close } = await serve((_request, response) => response.end())
    await close()
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(/: the connection was refused$/)
  })

  test('from a name that DNS does not know is refused', async () => {
    const resolve: Resolve = async () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }))
    expect(await failure(fetchFile('http://nowhere.test/a', { resolve }))).toMatch(
      /: its host is unknown or not public$/,
    )
  })

  test('into a folder that does not exist says that the transfer failed, and no path', async () => {
    const { port } = await serve((_request, response) => response.end('x'))
    const message = await failure(fetchFile(`http://127.0.0.1:${port}/a`, { to: join(folder, 'none', 'file') }))
    expect(message).toBe(`could not be fetched from 127.0.0.1:${port}: the transfer failed (ENOENT)`)
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

  test('is followed ten times and no more', async () => {
    const { port, paths } = await serve((request, response) => {
      const left = Number(request.url?.slice(1))
      if (left > 0) redirectTo(`/${left - 1}`)(request, response)
      else response.end('arrived')
    })
    await fetchFile(`http://127.0.0.1:${port}/10`)
    expect(await readFile(to, 'utf8')).toBe('arrived')
    expect(paths).toHaveLength(11)
    await rm(to)
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/11`))).toMatch(/redirected more than 10 times$/)
    expect(paths).toHaveLength(22)
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
      `could not be fetched from b.test:${port}: it was redirected to, and it must be on one of the allowed hosts`,
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
    expect(await failure(fetchFile('http://empty.test/', { resolve: answer([]) }))).toMatch(/unknown or not public$/)
  })
})

describe('a compressed body', () => {
  const BODY = 'the body '.repeat(100)
  const packed = (coding: string, body: Buffer) =>
    serve((_request, response) => response.writeHead(200, { 'content-encoding': coding }).end(body))

  test.each([
    ['gzip', gzipSync(BODY)],
    ['x-gzip', gzipSync(BODY)],
    ['GZIP', gzipSync(BODY)],
    ['deflate', deflateSync(BODY)],
    ['deflate', deflateRawSync(BODY)],
    ['br', brotliCompressSync(BODY)],
    ['zstd', zstdCompressSync(BODY)],
    ['deflate, gzip', gzipSync(deflateSync(BODY))],
    ['aws-chunked, gzip', gzipSync(BODY)],
    ['identity', Buffer.from(BODY)],
    ['aws-chunked', Buffer.from(BODY)],
  ])('in %s is decompressed', async (coding, body) => {
    const { port } = await packed(coding, body)
    await fetchFile(`http://127.0.0.1:${port}/a`)
    expect(await readFile(to, 'utf8')).toBe(BODY)
  })

  test('that is empty gives an empty file', async () => {
    const { port } = await packed('gzip', Buffer.alloc(0))
    await fetchFile(`http://127.0.0.1:${port}/a`)
    expect(await readFile(to, 'utf8')).toBe('')
  })

  test.each([
    ['gzip', gzipSync(BODY)],
    ['deflate', deflateRawSync(BODY)],
    ['br', brotliCompressSync(BODY)],
    ['zstd', zstdCompressSync(BODY)],
  ])('in %s that is cut off or invalid is refused', async (coding, body) => {
    for (const broken of [body.subarray(0, -10), Buffer.from('\u0003no such format'.repeat(9))]) {
      const { port } = await packed(coding, broken)
      const message = await failure(fetchFile(`http://127.0.0.1:${port}/a`))
      expect(message).toMatch(/: its compressed body cannot be unpacked$/)
    }
  })

  test.each(['compress', 'gzip, constructor'])('in %s is refused', async (coding) => {
    const { port } = await packed(coding, Buffer.from(BODY))
    const message = await failure(fetchFile(`http://127.0.0.1:${port}/a`))
    expect(message).toMatch(`: its content-encoding "${coding}" is not supported`)
  })

  test('that expands beyond the limit is cut off', async () => {
    const zeros = Buffer.alloc(50_000_000)
    for (const [coding, bomb] of [['gzip', gzipSync(zeros)] as const, ['br', brotliCompressSync(zeros)] as const]) {
      const { port } = await packed(coding, bomb)
      const message = await failure(fetchFile(`http://127.0.0.1:${port}/a`, { maxBytes: 100_000 }))
      expect(message).toMatch(/: it has more than the limit of 100000 bytes$/)
    }
  })

  test('that does not end and expands to nothing is cut off', async () => {
    const { port } = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' })
      const timer = setInterval(() => response.write(gzipSync('')), 1)
      response.on('close', () => clearInterval(timer))
    })
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(/more than the limit of 1000 bytes$/)
  })
})

describe('a server that is busy', () => {
  const busyAtFirst = (status: number, headers: Record<string, string>) => {
    let requests = 0
    return serve((_request, response) => {
      if (requests++ === 0) response.writeHead(status, headers).end('busy')
      else response.end('the body')
    })
  }

  test.each([
    [429, '1'],
    [503, '0'],
    [503, new Date(Date.now() + 1000).toUTCString()],
  ])('is asked again after its %i with Retry-After: %s', async (status, retryAfter) => {
    const { port, paths } = await busyAtFirst(status, { 'retry-after': retryAfter })
    await fetchFile(`http://127.0.0.1:${port}/a`)
    expect(await readFile(to, 'utf8')).toBe('the body')
    expect(paths).toEqual(['/a', '/a'])
  })

  test.each([
    ['that says no time', 503, {}],
    ['whose time is longer than is left', 429, { 'retry-after': '6' }],
    ['that has a reason of its own', 500, { 'retry-after': '0' }],
  ])('%s is not asked again', async (_what, status, headers) => {
    const { port, paths } = await busyAtFirst(status, headers)
    const started = Date.now()
    expect(await failure(fetchFile(`http://127.0.0.1:${port}/a`))).toMatch(`: the server answered ${status}`)
    expect(paths).toEqual(['/a'])
    expect(Date.now() - started).toBeLessThan(4000)
  })

  test('is no longer waited for when the signal aborts', async () => {
    const stop = new AbortController()
    const { port } = await serve((_request, response) => {
      response.writeHead(503, { 'retry-after': '4' }).end()
      setTimeout(() => stop.abort(new Error('stopped')), 50)
    })
    await expect(fetchFile(`http://127.0.0.1:${port}/a`, { signal: stop.signal })).rejects.toThrow('stopped')
  })
})

test('closing a guard aborts a running download', async () => {
  const guard = createGuard(OPEN)
  const { port } = await serve((_request, response) => {
    response.write('x')
    setTimeout(() => void guard.close(), 50)
  })
  const options = { caller: 'key:a', to, maxBytes: 1000, timeoutMs: 5000, signal: new AbortController().signal }
  await failure(guard.download(`http://127.0.0.1:${port}/a`, options))
})

test('closing a guard that fetched nothing, or twice, is fine', async () => {
  const guard = createGuard(OPEN)
  await guard.close()
  await guard.close()
})

describe('some bytes of a file', () => {
  const FILE = Buffer.from('0123456789')

  const ranged: RequestListener = (request, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const [first, last] = [Number(from), Math.min(Number(to), FILE.length - 1)]
    if (first >= FILE.length) response.writeHead(416, { 'content-range': `bytes */${FILE.length}` }).end()
    else {
      response.writeHead(206, { 'content-range': `bytes ${first}-${last}/${FILE.length}` })
      response.end(FILE.subarray(first, last + 1))
    }
  }

  function fetchRange(
    url: string,
    from: number,
    to: number,
    { rule = OPEN, signal = new AbortController().signal } = {},
  ) {
    const guard = createGuard(rule)
    onTestFinished(() => guard.close())
    return guard.fetchRange(url, { from, to, signal, caller: 'key:a' })
  }

  test('are fetched with the size of the whole, up to its end', async () => {
    const url = `http://127.0.0.1:${(await serve(ranged)).port}/a`
    expect(await fetchRange(url, 2, 5)).toEqual({ url, size: 10, bytes: Buffer.from('234') })
    expect(await fetchRange(url, 8, 100)).toEqual({ url, size: 10, bytes: Buffer.from('89') })
  })

  test('are the first ones of a server without ranges, of which no more is read', async () => {
    const { port } = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 1e9 })
      response.write(FILE)
    })
    const url = `http://127.0.0.1:${port}/`
    expect(await fetchRange(url, 0, 4)).toEqual({ url, size: 1e9, bytes: Buffer.from('0123') })
    await expect(fetchRange(url, 1, 4)).rejects.toThrow(DownloadError)
  })

  test.each<[string, RequestListener]>([
    ['other bytes', (_, response) => response.writeHead(206, { 'content-range': 'bytes 1-4/10' }).end('1234')],
    ['fewer bytes', (_, response) => response.writeHead(206, { 'content-range': 'bytes 0-3/10' }).end('01')],
    ['no size', (_, response) => response.writeHead(206, { 'content-range': 'bytes 0-3/*' }).end('0123')],
    [
      'a size beyond all',
      (_, response) => response.writeHead(206, { 'content-range': `bytes 0-3/${'9'.repeat(30)}` }).end(),
    ],
    ['a body of unknown length', (_, response) => response.writeHead(200).end('0123')],
    [
      'a coded body',
      (_, response) => response.writeHead(200, { 'content-encoding': 'br', 'content-length': 4 }).end('0123'),
    ],
    ['a problem', (_, response) => response.writeHead(503, { 'retry-after': '0' }).end('0123')],
    ['nothing', (request) => request.socket.destroy()],
  ])('are not taken from an answer with %s', async (_name, listener) => {
    await expect(fetchRange(`http://127.0.0.1:${(await serve(listener)).port}/`, 0, 4)).rejects.toThrow(DownloadError)
  })

  test('are fetched where redirects lead, each of which the rule allows', async () => {
    const { port } = await serve(ranged)
    const to =
      (url: string): RequestListener =>
      (_request, response) =>
        response.writeHead(302, { location: url }).end()
    const first = await serve(to(`http://127.0.0.1:${port}/b`))
    const url = `http://127.0.0.1:${first.port}/a`
    expect(await fetchRange(url, 0, 1)).toMatchObject({ url: `http://127.0.0.1:${port}/b`, size: 10 })
    const hidden = await serve(ranged, PRIVATE)
    const host = PRIVATE.includes(':') ? `[${PRIVATE}]` : PRIVATE
    const inside = await serve(to(`http://${host}:${hidden.port}/`))
    await expect(fetchRange(`http://127.0.0.1:${inside.port}/`, 0, 1, { rule: STRICT })).rejects.toThrow(
      'public address',
    )
    expect(hidden.paths).toEqual([])
  })

  test('are given up when the signal aborts', async () => {
    const arrived = Promise.withResolvers<undefined>()
    const { port } = await serve(() => arrived.resolve(undefined))
    const abort = new AbortController()
    const fetching = fetchRange(`http://127.0.0.1:${port}/`, 0, 1, { signal: abort.signal })
    await arrived.promise
    abort.abort(new Error('too late'))
    await expect(fetching).rejects.toThrow('too late')
  })
})
