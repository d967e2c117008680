import { type FileHandle, open, stat } from 'node:fs/promises'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { basename, dirname } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { send } from '@fastify/send'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Problem, problem } from '../../problems.ts'

export type SentFile = {
  readonly path: string
  /** Called once nobody needs the file any more. */
  release(): void
  /** Counts the bytes that are in memory while the file is sent; throws `overloaded` where they are too many. */
  count(bytes: number): void
}

/** Of the library only what RFC 9110 asks for; the rest is ours to say. */
const OPTIONS = { cacheControl: false, contentType: false, index: false, dotfiles: 'allow' } as const

/**
 * Sets status and headers for a file as the headers of the request ask for (RFC 9110 13 and 14: 200, 206, 304; 412 and
 * 416 are thrown) and gives what is to be sent. The file is released when the last byte is sent, or the client leaves.
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

/** The library is asked for the head alone: what it would read the file with is not what is sent. */
async function openFile({ method, headers }: FastifyRequest, { path, count }: SentFile): Promise<Sent> {
  const { size, mtimeMs } = await stat(path).catch(gone)
  const asked = {
    method: 'HEAD',
    headers: conditionsOf({ method, headers, size, mtimeMs }),
  } as unknown as IncomingMessage
  const sent = (await send(asked, encodeURIComponent(basename(path)), { ...OPTIONS, root: dirname(path) })) as Sent
  if (method === 'HEAD' || sent.type === 'error' || sent.statusCode === 304) return sent
  const start = Number(/^bytes (\d+)-/.exec(sent.headers['Content-Range'] ?? '')?.[1] ?? 0)
  const bytes = Number(sent.headers['Content-Length'])
  // Before it takes a descriptor.
  count(Math.min(bytes, PIECE_BYTES))
  // It may have gone since it was looked at; while nothing is sent that can still be said.
  const file = await open(path).catch(gone)
  return { ...sent, stream: new FileStream(file, { start, bytes }) }
}

const gone = (cause: unknown): never => {
  throw problem('output_unavailable', { detail: 'The file is not there any more.', cause })
}

type Asked = {
  readonly method: string
  readonly headers: IncomingHttpHeaders
  readonly size: number
  readonly mtimeMs: number
}

/**
 * The headers that decide on the answer, such that the library, whose tags are weak, answers as the RFC says:
 * a range is for GET only (14.2), several ranges get the whole, the last bytes may be more than there are (14.1.2), a
 * tag in If-Range is compared strongly (13.1.5), and `Cache-Control: no-cache`, which is for caches on the way, keeps
 * nobody from a 304.
 */
function conditionsOf({ method, size, mtimeMs, ...request }: Asked): IncomingHttpHeaders {
  const headers = { ...request.headers }
  const { range = '', 'if-range': ifRange, 'if-match': ifMatch } = headers
  // The library takes what it can make of a number; a range that is none is refused.
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

/** A date in If-Range is the file's own or another, never just a later one (RFC 9110 13.1.5). */
const isTime = (date: string, mtimeMs: number) => Date.parse(date) === Math.floor(mtimeMs / 1000) * 1000

/** Weak tags match nothing (13.1.1). */
const strongOf = (tags: string) =>
  tags
    .split(',')
    .filter((tag) => !tag.trim().startsWith('W/'))
    .join() || '"none"'

/** A file that is sent never changes, and has the same time on every server: its tag is as good as a digest. */
const strong = (tag: string) => tag.replace(/^W\//, '')

function refusalOf(status: number): Problem {
  if (status === 416) return problem('range_not_satisfiable')
  if (status === 412) return problem('precondition_failed')
  return problem('output_unavailable', { detail: 'The file is not there any more.' })
}

/** What of a file is sent: `bytes` of it from `start` on. */
export type Slice = { readonly start: number; readonly bytes: number }

/** How much is read and written at a time, and held meanwhile, in bytes. */
export const PIECE_BYTES = 128 * 1024

/**
 * A part of a file, for `pipe` alone, which it does through one buffer that is used again once its bytes have been
 * handed to the network. Node's own streams take a new one for every piece, of which tens of MB lie about until they
 * are collected. Closes the file in the end.
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
        // Its end is not in what it reads, but it ends.
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
      if (bytesRead === 0) throw new Error('the file has become shorter while it was sent')
      sent += bytesRead
      await written(destination, buffer.subarray(0, bytesRead))
    }
    if (!this.destroyed) destination.end()
  }
}

/** Resolves when the bytes are needed no more: they have gone, or nobody takes them. */
const written = (destination: Writable, bytes: Buffer) =>
  new Promise<void>((resolve, reject) => destination.write(bytes, (error) => (error ? reject(error) : resolve())))
