import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { LookupFunction } from 'node:net'
import { CONNECT_TIMEOUT_MS } from './agent.ts'
import { pipeline, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw, createZstdDecompress } from 'node:zlib'

/** Largest response headers accepted, in bytes; some sites send long policies. */
const MAX_HEADER_BYTES = 64 * 1024
const HEADERS = { 'user-agent': 'musetalk-orchestrator', accept: '*/*', 'accept-encoding': 'identity' }

export type GetOptions = {
  /** Resolves to checked addresses only. */
  readonly lookup: LookupFunction
  readonly signal: AbortSignal
}

/**
 * Sends a GET on a new connection and resolves with the response once its headers have arrived. Uses Node's own client:
 * undici fails if a server closes the connection after the response without announcing it. The body fails with
 * `ECONNRESET` if it is shorter than its Content-Length.
 */
export async function get(url: string, { lookup, signal }: GetOptions): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const isSecure = new URL(url).protocol === 'https:'
  const options = { lookup, signal, headers: HEADERS, agent: false, maxHeaderSize: MAX_HEADER_BYTES } as const
  const request = (isSecure ? requestHttps : requestHttp)(url, options)
  const timer = setTimeout(() => request.destroy(timedOut()), CONNECT_TIMEOUT_MS)
  request.once('socket', (socket) => socket.once(isSecure ? 'secureConnect' : 'connect', () => clearTimeout(timer)))
  request.once('response', resolve)
  // Not `once`: discarding the response makes the request fail again.
  request.on('error', reject)
  request.end()
  return promise.finally(() => clearTimeout(timer))
}

const timedOut = () => Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' })

type Bytes = AsyncIterable<Buffer>

/** Creates a decompressor, given the first bytes of its input. */
type CreateDecompressor = (first: Buffer) => Transform

const DECOMPRESSORS: Readonly<Record<string, CreateDecompressor>> = {
  gzip: () => createGunzip(),
  'x-gzip': () => createGunzip(),
  // Means the zlib format, but many servers send raw deflate; the first byte tells (RFC 1950 2.2).
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
