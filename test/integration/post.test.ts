import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createSocketServer } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type * as addresses from '../../src/net/url-rule.ts'
import { createResolver, type Resolve } from '../../src/net/resolver.ts'
import { ANSWER_MAX_BYTES, createPoster, POSTS_PER_ADDRESS, PostError } from '../../src/net/post.ts'
import type { UrlRule } from '../../src/net/url-rule.ts'
import { startDns } from '../helpers/dns.ts'

// Every server of this test is on loopback: 127.0.0.1 plays a public address, as in the test of downloads.
vi.mock('../../src/net/url-rule.ts', async (load) => {
  const real = await load<typeof addresses>()
  return { ...real, isPublicAddress: (address: string) => address === '127.0.0.1' || real.isPublicAddress(address) }
})

const OPEN = { allowPrivate: true }
const STRICT = { allowPrivate: false }
async function serve(listener: RequestListener) {
  const bodies: string[] = []
  let connections = 0
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      bodies.push(body)
      listener(request, response)
    })
  }).on('connection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => new Promise<void>((resolve) => (server.closeAllConnections(), server.close(() => resolve()))))
  const { port } = server.address() as AddressInfo
  return { port, bodies, url: `http://127.0.0.1:${port}/hook`, connections: () => connections }
}

type Options = { rule?: UrlRule; resolve?: Resolve; timeoutMs?: number; signal?: AbortSignal }

function posterOf({ rule = OPEN, resolve, timeoutMs = 5_000, signal = new AbortController().signal }: Options = {}) {
  const poster = createPoster(rule, resolve)
  onTestFinished(() => poster.close())
  return (url: string) =>
    poster.post(url, { headers: { 'x-one': '1' }, body: '{"a":1}', timeoutMs, signal, caller: 'key:a' })
}

const failure = (posting: Promise<unknown>) =>
  posting.then(
    () => 'it worked',
    (error: unknown) => (error instanceof PostError ? error.message : `not a PostError: ${String(error)}`),
  )

describe('an answer', () => {
  test('gives its status, and its connection serves the next request too', async () => {
    const { url, bodies, connections } = await serve((request, response) => {
      response.writeHead(request.headers['x-one'] === '1' ? 204 : 400).end()
    })
    const post = posterOf()
    for (let n = 0; n < 20; n++) expect(await post(url)).toEqual({ status: 204 })
    expect(new Set(bodies)).toEqual(new Set(['{"a":1}']))
    expect(connections()).toBeLessThan(5)
  })

  test('that redirects is not followed', async () => {
    const other = await serve((_request, response) => response.end())
    const { url } = await serve((_request, response) => response.writeHead(307, { location: other.url }).end())
    expect(await posterOf()(url)).toEqual({ status: 307 })
    expect(other.bodies).toEqual([])
  })

  test('gives its Retry-After', async () => {
    const { url } = await serve((_request, response) => response.writeHead(503, { 'retry-after': '120' }).end('no'))
    expect(await posterOf()(url)).toEqual({ status: 503, retryAfter: '120' })
  })

  test('is read no further than 64 KiB, and its status counts', async () => {
    let sent = 0
    const { url } = await serve((_request, response) => {
      const chunk = Buffer.alloc(16 * 1024)
      const more = () => {
        while (!response.destroyed && sent < 1e9) {
          sent += chunk.length
          if (!response.write(chunk)) return void response.once('drain', more)
        }
      }
      more()
    })
    expect(await posterOf()(url)).toEqual({ status: 200 })
    // What the kernel holds of it on both sides comes on top.
    expect(sent).toBeLessThan(ANSWER_MAX_BYTES + 10e6)
  })

  test.each([
    ['with its length', false],
    ['in chunks', true],
  ])(
    'of 64 KiB leaves its connection to the next request, and one byte more costs it (%s)',
    async (_how, isChunked) => {
      let size = 64 * 1024
      const { url, connections } = await serve((_request, response) => {
        const lengths = isChunked ? {} : { 'content-length': size }
        response.writeHead(200, lengths).write(Buffer.alloc(1))
        response.end(Buffer.alloc(size - 1))
      })
      const post = posterOf()
      for (let n = 0; n < 10; n++) await post(url)
      expect(connections()).toBeLessThan(5)
      size++
      for (let n = 0; n < 10; n++) await post(url)
      expect(connections()).toBeGreaterThanOrEqual(10)
    },
  )

  test('that never ends is left after a second, and its status counts', async () => {
    const { url } = await serve((_request, response) => void response.writeHead(200).write('x'))
    const startedAt = performance.now()
    expect(await posterOf()(url)).toEqual({ status: 200 })
    expect(performance.now() - startedAt).toBeLessThan(3_000)
  })
})

describe('a POST without an answer rejects', () => {
  test('when none comes in time', async () => {
    const { url } = await serve(() => undefined)
    expect(await failure(posterOf({ timeoutMs: 100 })(url))).toBe('there was no answer within 0.1 s')
  })

  test('when the look-up of the name takes too long', async () => {
    const resolve: Resolve = () => new Promise(() => undefined)
    const post = posterOf({ resolve, timeoutMs: 100 })
    const startedAt = performance.now()
    expect(await failure(post('http://slow.example/'))).toBe('there was no answer within 0.1 s')
    expect(performance.now() - startedAt).toBeLessThan(3_000)
  })

  test('when the connection is reset', async () => {
    const server = createSocketServer((socket) => socket.on('data', () => socket.resetAndDestroy()))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    expect(await failure(posterOf()(`http://127.0.0.1:${port}/`))).toBe('the connection was lost')
  })

  test('when nothing listens', async () => {
    expect(await failure(posterOf()('http://127.0.0.1:1/'))).toBe('the connection was refused')
  })

  test('when the poster is closed', async () => {
    const { url, bodies } = await serve(() => undefined)
    const poster = createPoster(OPEN)
    const { signal } = new AbortController()
    const posting = failure(poster.post(url, { caller: 'key:a', headers: {}, body: '', timeoutMs: 10_000, signal }))
    await vi.waitUntil(() => bodies.length === 1)
    await poster.close()
    await poster.close()
    expect(await posting).toBe('the transfer failed (UND_ERR_DESTROYED)')
  })

  test('with the reason of its signal when that aborts', async () => {
    const { url } = await serve(() => undefined)
    const leaving = new AbortController()
    const posting = posterOf({ signal: leaving.signal })(url)
    setTimeout(() => leaving.abort(new Error('the server is ending')), 50)
    await expect(posting).rejects.toThrow('the server is ending')
  })
})

describe('the rule for URLs', () => {
  test.each([
    ['http://127.0.0.2:1/', 'the URL must point to a public address'],
    ['http://[::1]:1/', 'the URL must point to a public address'],
    ['http://2130706434/', 'the URL must point to a public address'],
    ['http://localhost:1/', 'the URL must not point to this machine'],
    ['ftp://a.example/', 'the URL must be an absolute http or https URL'],
  ])('%s', async (url, words) => {
    expect(await failure(posterOf({ rule: STRICT })(url))).toBe(words)
  })

  test('a name of which any address is not public is not connected to', async () => {
    const { port, bodies } = await serve((_request, response) => response.end())
    const resolve: Resolve = async () => [
      { address: '127.0.0.1', family: 4 },
      { address: '10.0.0.1', family: 4 },
    ]
    const words = await failure(posterOf({ rule: STRICT, resolve })(`http://a.example:${port}/`))
    expect(words).toBe('its host is unknown or not public')
    expect(bodies).toEqual([])
  })

  test('names that lead to one address share its places, of which a caller gets half', async () => {
    const { port, bodies } = await serve(() => undefined)
    const dns = await startDns()
    for (let n = 0; n < 40; n++) dns.addresses.set(`${n}.example`, '127.0.0.1')
    dns.addresses.set('other.example', '127.0.0.1')
    const poster = createPoster(STRICT, createResolver({ servers: [dns.server] }))
    const ending = new AbortController()
    const post = (name: string, caller: string) => {
      const options = { headers: {}, body: caller, timeoutMs: 15_000, signal: ending.signal, caller }
      return poster.post(`http://${name}.example:${port}/`, options)
    }
    const posting = [...Array(40).keys()].map((n) => post(`${n}`, 'key:a'))
    await vi.waitUntil(() => bodies.length === POSTS_PER_ADDRESS / 2)
    posting.push(post('other', 'key:b'))
    await vi.waitUntil(() => bodies.includes('key:b'))
    expect(bodies.filter((caller) => caller === 'key:a')).toHaveLength(POSTS_PER_ADDRESS / 2)
    ending.abort(new Error('the test has finished'))
    await Promise.allSettled(posting)
    await poster.close()
  })

  test('the connection goes to the address whose slot was taken, though the name means another one by then', async () => {
    const { port, bodies } = await serve((_request, response) => response.end())
    let lookups = 0
    const resolve: Resolve = async () => [{ address: lookups++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 }]
    expect(await posterOf({ rule: STRICT, resolve })(`http://rebinding.example:${port}/`)).toEqual({ status: 200 })
    expect({ bodies: bodies.length, lookups }).toEqual({ bodies: 1, lookups: 1 })
  })

  test('the connection goes to the address that was checked, and a name is looked up once for many at a time', async () => {
    const { port, bodies } = await serve((_request, response) => response.end())
    const dns = await startDns()
    dns.addresses.set('a.example', '127.0.0.1')
    const post = posterOf({ rule: STRICT, resolve: createResolver({ servers: [dns.server] }) })
    const posting = Array.from({ length: 8 }, () => post(`http://a.example:${port}/`))
    for (const posted of await Promise.all(posting)) expect(posted).toEqual({ status: 200 })
    expect(bodies).toHaveLength(8)
    expect(dns.queries).toEqual(['A a.example', 'AAAA a.example'])
  })
})
