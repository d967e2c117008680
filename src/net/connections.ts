import type { LookupAddress } from 'node:dns'
import type { LookupFunction, Socket } from 'node:net'
import type { Agent } from 'undici'
import { addressOfHost, isPublicAddress, type UrlRule } from './url-rule.ts'
import { LookupUnavailable, type Resolve } from './resolver.ts'
import { connectThroughProxy, ProxyError } from './proxy.ts'
import { codeOf } from '../lib/errors.ts'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import { pipeline, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw, createZstdDecompress } from 'node:zlib'

// An import would load all of Node's undici, for the names that `node:http` exports from it: 40 ms of the boot.
const { request: requestHttp } = process.getBuiltinModule('node:http')

/** Longest a connection may take to open, in ms; looking its host up is a part of that. */
const CONNECT_TIMEOUT_MS = 10_000

/** Raised inside a connection attempt, before anything was sent. */
class BlockedAddress extends Error {}

/** Looks names up for sockets, on behalf of a caller. */
export type CheckedLookup = { readonly rule: UrlRule; readonly resolve: Resolve; readonly caller?: string }

/** The addresses of a URL's host, all allowed by the rule; never empty. Rejects with errors that `describeError` knows. */
export async function findAddresses(
  hostname: string,
  { rule, resolve, caller }: CheckedLookup,
): Promise<LookupAddress[]> {
  const literal = addressOfHost(hostname)
  const addresses =
    literal === undefined
      ? await resolve(hostname, caller)
      : [{ address: literal, family: literal.includes(':') ? 6 : 4 }]
  const isBlocked = !rule.allowPrivate && addresses.some(({ address }) => !isPublicAddress(address))
  if (isBlocked || addresses.length === 0) throw new BlockedAddress()
  return addresses
}

/**
 * A look-up for sockets that returns checked addresses only; the socket connects to what it returns. An address in the URL
 * itself is not looked up: `checkUrl` checks it before the request.
 */
export function createLookup(lookup: CheckedLookup): LookupFunction {
  return (hostname, options, callback) => {
    findAddresses(hostname, lookup).then(
      (addresses) => {
        const [first] = addresses
        if (options.all) callback(null, addresses)
        else callback(null, first?.address ?? '', first?.family)
      },
      (error: unknown) => callback(error as Error, ''),
    )
  }
}

/** An agent that connects to checked addresses only, through the proxy of the rule if there is one for them. */
export async function createAgent(rule: UrlRule, resolve: Resolve): Promise<Agent> {
  const { Agent, buildConnector } = await import('undici')
  const { proxyOf } = rule
  const connect = { timeout: CONNECT_TIMEOUT_MS, lookup: createLookup({ rule, resolve }) }
  if (!proxyOf) return new Agent({ connect })
  const connectDirectly = buildConnector(connect)
  return new Agent({
    connect(options, callback) {
      const url = new URL(`${options.protocol}//${options.host ?? options.hostname}`)
      const proxy = proxyOf(url)
      if (!proxy) {
        connectDirectly(options, callback)
        return
      }
      const signal = AbortSignal.timeout(CONNECT_TIMEOUT_MS)
      findAddresses(url.hostname, { rule, resolve })
        .then((addresses) => connectThroughProxy(proxy, url, { addresses, signal }))
        .then(
          (socket) => callback(null, socket),
          (error: unknown) => callback(signal.aborted ? timedOut() : (error as Error), null),
        )
    },
  })
}

/** The same for a name that does not exist and for one of the private network, so that the answer reveals neither. */
const NO_PUBLIC_HOST = 'its host is unknown or not public'

/** Describes the error of a transfer, for a caller. */
export function describeError(error: unknown): string {
  if (error instanceof BlockedAddress) return NO_PUBLIC_HOST
  if (error instanceof ProxyError) return error.message
  if (error instanceof LookupUnavailable) return 'its host could not be looked up'
  const code = codeOf(error) ?? 'unknown error'
  switch (code) {
    case 'ENOTFOUND':
      return NO_PUBLIC_HOST
    case 'ECONNREFUSED':
      return 'the connection was refused'
    case 'ETIMEDOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
      return 'the connection could not be opened in time'
    case 'UND_ERR_SOCKET':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
    case 'ECONNRESET':
      return 'the connection was lost'
    default:
      return describeFamily(code)
  }
}

/** Error codes that share a prefix: HTTP parser, decompressors, certificates. */
function describeFamily(code: string): string {
  if (code.startsWith('HPE_')) return 'the server answered what is not HTTP'
  if (/^(Z_|ZSTD_|ERR__ERROR_FORMAT|ERR_BROTLI)/.test(code)) return 'its compressed body cannot be unpacked'
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code)) return `its certificate is not valid (${code})`
  return `the transfer failed (${code})`
}

/** Largest response headers accepted, in bytes; some sites send long policies. */
const MAX_HEADER_BYTES = 64 * 1024
const HEADERS = { 'user-agent': 'musetalk-orchestrator', accept: '*/*', 'accept-encoding': 'identity' }

export type RequestOptions = {
  /** Which proxy the connection takes. */
  readonly rule: Pick<UrlRule, 'proxyOf'>
  /** Resolves to checked addresses only. */
  readonly lookup: LookupFunction
  readonly signal: AbortSignal
}

export type GetOptions = RequestOptions & {
  /** A `Range` (RFC 9110 14.2). */
  readonly range?: string | undefined
}

/**
 * Sends a GET on a new connection and resolves with the response once its headers have arrived. Uses Node's own client:
 * undici fails if a server closes the connection after the response without announcing it. The body fails with
 * `ECONNRESET` if it is shorter than its Content-Length.
 */
export async function get(url: string, { range, ...options }: GetOptions): Promise<IncomingMessage> {
  const headers = range === undefined ? HEADERS : { ...HEADERS, range }
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const request = openRequest(url, { ...options, method: 'GET', headers })
  request.once('response', resolve)
  // Not `once`: discarding the response makes the request fail again.
  request.on('error', reject)
  request.end()
  return promise
}

type OpenOptions = RequestOptions & {
  readonly method: 'GET' | 'PUT'
  readonly headers: Readonly<Record<string, string>>
}

/** Opens a request on a new connection, which has to be there in time. The caller ends it, and handles its errors. */
export function openRequest(url: string, { rule, lookup, signal, method, headers }: OpenOptions): ClientRequest {
  const target = new URL(url)
  const isSecure = target.protocol === 'https:'
  const proxy = rule.proxyOf?.(target)
  const connection = proxy ? { createConnection: createTunnels(proxy, target, { lookup, signal }) } : { agent: false }
  const options = { method, lookup, signal, headers, maxHeaderSize: MAX_HEADER_BYTES, ...connection } as const
  const request = (isSecure ? requestHttps : requestHttp)(url, options)
  const timer = setTimeout(() => request.destroy(timedOut()), CONNECT_TIMEOUT_MS)
  const connected = () => clearTimeout(timer)
  request.once('socket', (socket) => {
    // What comes through a proxy is connected already.
    if (proxy) connected()
    else socket.once(isSecure ? 'secureConnect' : 'connect', connected)
  })
  return request.once('close', connected)
}

/** A `createConnection` of Node's client, by a proxy. */
const createTunnels =
  (proxy: URL, url: URL, { lookup, signal }: Pick<GetOptions, 'lookup' | 'signal'>) =>
  (_options: object, created: (error: Error | null, socket: Socket) => void): undefined => {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)])
    const { promise: addresses, resolve, reject } = Promise.withResolvers<LookupAddress[]>()
    lookup(url.hostname, { all: true }, (error, found) => (error ? reject(error) : resolve(found as LookupAddress[])))
    addresses
      .then((checked) => connectThroughProxy(proxy, url, { addresses: checked, signal: limited }))
      .then(
        (socket) => created(null, socket),
        (error: unknown) => created(limited.aborted ? timedOut() : (error as Error), undefined as never),
      )
  }

const timedOut = () => Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' })

type Bytes = AsyncIterable<Buffer>

/** Creates a decompressor, given the first bytes of its input. */
type CreateDecompressor = (first: Buffer) => Transform

const DECOMPRESSORS: Readonly<Record<string, CreateDecompressor>> = {
  gzip: () => createGunzip(),
  'x-gzip': () => createGunzip(),
  // Means the zlib format, but many servers send raw deflate; the first byte distinguishes them (RFC 1950 2.2).
  deflate: (first) => (((first[0] ?? 0) & 0x0f) === 8 ? createInflate() : createInflateRaw()),
  br: () => createBrotliDecompress(),
  zstd: () => createZstdDecompress(),
}

/** Codings that change nothing. S3 returns `aws-chunked` for objects uploaded with it. */
const PLAIN = ['', 'identity', 'aws-chunked']

/**
 * Returns a function that undoes a `Content-Encoding` (RFC 9110 8.4); undefined for an unknown coding. The bytes it yields
 * end with an error of `node:zlib` if they cannot be decompressed.
 */
export function unpackerOf(contentEncoding = ''): ((bytes: Bytes) => Bytes) | undefined {
  const codings = contentEncoding.split(',').map((coding) => coding.trim().toLowerCase())
  const packed = codings.filter((coding) => !PLAIN.includes(coding)).reverse()
  if (packed.some((coding) => !Object.hasOwn(DECOMPRESSORS, coding))) return undefined
  return (bytes) => packed.reduce((rest, coding) => unpack(rest, DECOMPRESSORS[coding]), bytes)
}

async function* unpack(bytes: Bytes, create: CreateDecompressor | undefined): Bytes {
  const source = bytes[Symbol.asyncIterator]()
  const first = await source.next()
  if (first.done || !create) return
  const all = async function* () {
    yield first.value
    yield* { [Symbol.asyncIterator]: () => source }
  }
  // An error destroys the last stream, which throws it to its reader.
  const unpacked: Bytes = pipeline(all, create(first.value), () => undefined)
  yield* unpacked
}
