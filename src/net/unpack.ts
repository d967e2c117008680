import { pipeline, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw, createZstdDecompress } from 'node:zlib'

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
