import { piecesOf } from './answer.ts'
import { backOffMs, pause } from './transport.ts'

/** The answer with a video, of which nothing is read yet. */
export type Download = Response & { readonly body: ReadableStream<Uint8Array> & AsyncIterable<Uint8Array> }

export type DownloadOptions = {
  /** Asks for the video, or with headers of this kind for the rest of it. */
  readonly open: (headers: Readonly<Record<string, string>>) => Promise<Response>
  /** Connections in a row that may break without having brought anything. */
  readonly retries: number
  readonly signal?: AbortSignal | undefined
}

/** A connection that brings nothing for so long, in ms, is dead. */
const SILENCE_MS = 45_000

/**
 * Opens a video whose body goes on after a broken connection where it was cut off (RFC 9110 14.2). Its reader gets the
 * error where the rest cannot be had: the server does not give ranges, or has another video by now.
 */
export async function openDownload(options: DownloadOptions): Promise<Download> {
  const first = await options.open({})
  const pieces = resumed(first, options)
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(stream) {
        const { done, value } = await pieces.next()
        if (done) stream.close()
        else stream.enqueue(value)
      },
      async cancel() {
        await pieces.return(undefined)
      },
    },
    // Nothing is read before somebody asks.
    { highWaterMark: 0 },
  )
  const { status, statusText, headers } = first
  const download = new Response(body, { status, statusText, headers }) as Download
  // Not every browser can iterate over what it has read.
  if (!(Symbol.asyncIterator in download.body)) {
    Object.defineProperty(download.body, Symbol.asyncIterator, { value: () => piecesOf(download.body) })
  }
  return download
}

async function* resumed(first: Response, options: DownloadOptions): AsyncGenerator<Uint8Array, void> {
  const { open, retries, signal } = options
  const { headers } = first
  // Of what a proxy has compressed, neither the length nor the place of a byte is known.
  const isPlain = headers.get('content-encoding') === null
  const length = headers.get('content-length')
  const total = isPlain && length !== null ? Number(length) : undefined
  const etag = headers.get('etag')
  let { body } = first
  let received = 0
  for (let failures = 0; ;) {
    try {
      for await (const piece of body ? piecesOf(body, SILENCE_MS) : []) {
        received += piece.length
        failures = 0
        yield piece
      }
      if (total === undefined || received >= total) return
      throw new Error(`the video was cut off after ${received} of ${total} bytes`)
    } catch (error) {
      signal?.throwIfAborted()
      if (received === total) return
      if (!isPlain || ++failures > retries) throw error
      await pause(backOffMs(failures - 1), signal)
      const rest = await open({ range: `bytes=${received}-`, ...(etag?.startsWith('"') && { 'if-range': etag }) })
      if (!continues(rest, received)) {
        await rest.body?.cancel()
        throw error
      }
      body = rest.body
    }
  }
}

const continues = ({ status, headers }: Response, from: number) =>
  status === 206 && headers.get('content-range')?.startsWith(`bytes ${from}-`) === true
