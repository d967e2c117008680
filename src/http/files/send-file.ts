import { type FileHandle, open, stat } from 'node:fs/promises'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { basename, dirname } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { send } from '@fastify/send'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Problem, problem } from '../../problems.ts'

export type SentFile = {
  readonly path: string
  /** Called once the file is no longer needed. */
  release(): void
  /** Counts the bytes in memory while the file is sent; throws `overloaded` beyond the limit. */
  count(bytes: number): void
}

/** The library handles only what RFC 9110 demands; all else is set here. */
const OPTIONS = { cacheControl: false, contentType: false, index: false, dotfiles: 'allow' } as const

/**
 * Sets status and headers as the request's conditions and range require (RFC 9110 13 and 14: 200, 206, 304; 412 and 416
 * are thrown), and returns the body. The file is released when the last byte is sent, or the client leaves.
 */
export async function prepareFile(request: FastifyRequest, reply: FastifyReply, file: SentFile): Promise<Readable> {
  try {
    const { type, statusCode, headers, stream } = await openFile(request, file)
    if (type === 'error') {
      if (statusCode === 416) reply.header('content-range', headers['Content-Range'])
      throw refusalOf(statusCode)
    }
    reply.code(statusCode).headers(headers)
    if (headers.ETag !== undefined) reply.header('etag', strong(headers.ETag))
    stream.once('close', () => file.release())
    return stream
  } catch (error) {
    file.release()
    throw error
  }
}

type Sent = { type: string; statusCode: number; headers: Record<string, string | undefined>; stream: Readable }

/** Uses only the head that the library makes; the bytes are read by `FileStream`. */
async function openFile({ method, headers }: FastifyRequest, { path, count }: SentFile): Promise<Sent> {
  const { size, mtimeMs } = await stat(path).catch(throwUnavailable)
  const request = {
    method: 'HEAD',
    headers: conditionsOf({ method, headers, size, mtimeMs }),
  } as unknown as IncomingMessage
  const sent = (await send(request, encodeURIComponent(basename(path)), { ...OPTIONS, root: dirname(path) })) as Sent
  if (method === 'HEAD' || sent.type === 'error' || sent.statusCode === 304) return sent
  const start = Number(/^bytes (\d+)-/.exec(sent.headers['Content-Range'] ?? '')?.[1] ?? 0)
  const bytes = Number(sent.headers['Content-Length'])
  // Before a descriptor is opened.
  count(Math.min(bytes, PIECE_BYTES))
  // The file may have been deleted meanwhile. While nothing is sent, the answer can still be an error.
  const file = await open(path).catch(throwUnavailable)
  return { ...sent, stream: new FileStream(file, { start, bytes }) }
}

const throwUnavailable = (cause: unknown): never => {
  throw problem('output_unavailable', { detail: 'The file no longer exists.', cause })
}

type Conditions = {
  readonly method: string
  readonly headers: IncomingHttpHeaders
  readonly size: number
  readonly mtimeMs: number
}

/**
 * Adapts the request's headers so that the library, whose tags are weak, answers as the RFC demands: a range counts for
 * GET only (14.2), several ranges get the whole file, a suffix range may be longer than the file (14.1.2), a tag in
 * If-Range is compared strongly (13.1.5), and `Cache-Control: no-cache`, which is for caches in between, does not prevent
 * a 304.
 */
function conditionsOf({ method, size, mtimeMs, ...request }: Conditions): IncomingHttpHeaders {
  const headers = { ...request.headers }
  const { range = '', 'if-range': ifRange, 'if-match': ifMatch } = headers
  // The library parses numbers leniently; a malformed range is refused.
  if (/^ *bytes *=/.test(range) && !/^ *bytes *= *(\d+ *- *\d*|- *\d+) *$/.test(range)) headers.range = 'bytes=none'
  const last = /^ *bytes= *-(\d+) *$/.exec(range)?.[1]
  if (last !== undefined && Number(last) > size) headers.range = 'bytes=0-'
  delete headers['cache-control']
  if (method === 'HEAD' || range.includes(',') || String(ifRange).startsWith('W/')) delete headers.range
  if (ifRange !== undefined && !/^(W\/)?"/.test(String(ifRange)) && !isTime(String(ifRange), mtimeMs))
    delete headers.range
  if (ifMatch !== undefined && ifMatch !== '*') headers['if-match'] = strongOf(ifMatch)
  if (typeof ifRange === 'string' && ifRange.startsWith('"')) headers['if-range'] = `W/${ifRange}`
  return headers
}

/** A date in If-Range has to be exactly the file's own, not a later one (RFC 9110 13.1.5). */
const isTime = (date: string, mtimeMs: number) => Date.parse(date) === Math.floor(mtimeMs / 1000) * 1000

/** Weak tags match nothing (13.1.1). */
const strongOf = (tags: string) =>
  tags
    .split(',')
    .filter((tag) => !tag.trim().startsWith('W/'))
    .join() || '"none"'

/** A file never changes and has the same time on every server, so its tag is as good as a digest. */
const strong = (tag: string) => tag.replace(/^W\//, '')

function refusalOf(status: number): Problem {
  if (status === 416) return problem('range_not_satisfiable')
  if (status === 412) return problem('precondition_failed')
  return problem('output_unavailable', { detail: 'The file no longer exists.' })
}

/** A part of a file: `bytes` bytes from `start` on. */
export type Slice = { readonly start: number; readonly bytes: number }

/** How much is read and written at a time, and is in memory meanwhile, in bytes. */
export const PIECE_BYTES = 128 * 1024

/**
 * A part of a file, for `pipe` only. It reuses one buffer once the network has taken its bytes: Node's own streams
 * allocate a buffer a piece, so that tens of MB wait for collection. Closes the file at the end.
 * 8 readers of 100 MB, with: 7 MB and 60 ms of CPU time for 100 MB, without (`createReadStream`): 70 MB and 165 ms
 * (the readers of bench/output/reads.ts, once the file is here; `npm run bench -- output/reads`).
 */
export class FileStream extends Readable {
  readonly #file: FileHandle
  readonly #slice: Slice

  constructor(file: FileHandle, slice: Slice) {
    super({ read: () => undefined })
    this.#file = file
    this.#slice = slice
  }

  override pipe<T extends NodeJS.WritableStream>(destination: T): T {
    this.#send(destination as unknown as Writable).then(
      () => {
        // It never pushes data, but `end` and `close` have to be emitted.
        this.push(null)
        this.resume()
      },
      (error: unknown) => this.destroy(error as Error),
    )
    return destination
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#file.close().then(
      () => done(error),
      () => done(error),
    )
  }

  async #send(destination: Writable) {
    const { start, bytes } = this.#slice
    const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, bytes))
    for (let sent = 0; sent < bytes && !this.destroyed;) {
      const { bytesRead } = await this.#file.read(buffer, 0, Math.min(buffer.length, bytes - sent), start + sent)
      if (bytesRead === 0) throw new Error('the file became shorter while it was being sent')
      sent += bytesRead
      await written(destination, buffer.subarray(0, bytesRead))
    }
    if (!this.destroyed) destination.end()
  }
}

/** Resolves when the buffer may be reused; rejects if the write failed. */
const written = (destination: Writable, bytes: Buffer) =>
  new Promise<void>((resolve, reject) => destination.write(bytes, (error) => (error ? reject(error) : resolve())))
