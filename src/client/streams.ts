import { piecesOf, backOffMs, pause, MAX_PAUSE_MS } from './transport.ts'
import type { Job, Progress } from './schema.ts'

/** A connection without data for this time, in ms, counts as dead: an event stream has a heartbeat every 15 s. */
const SILENCE_MS = 45_000

/** The answer with a video, whose body is not read yet. */
export type Download = Response & { readonly body: ReadableStream<Uint8Array> & AsyncIterable<Uint8Array> }

/** Where a download continues: after `offset` bytes of the video with this strong `ETag`. */
export type DownloadStart = { readonly offset: number; readonly etag: string }

type OpenOptions = {
  /** By default at the beginning. */
  readonly from?: DownloadStart | undefined
  /** Requests the video, or the rest of it with a `range` header. */
  readonly open: (headers: Readonly<Record<string, string>>) => Promise<Response>
  /** Maximum connections in a row that break without a byte. */
  readonly retries: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Opens a video whose body continues after a broken connection (RFC 9110 14.2). Its reader gets the error if the rest
 * cannot be fetched: the server does not support ranges, or has another video by now.
 */
export async function openDownload(options: OpenOptions): Promise<Download> {
  const { from } = options
  // By a weak one, a server could not refuse to continue another video.
  const first = await options.open(from?.etag.startsWith('"') ? rangeOf(from.offset, from.etag) : {})
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
    // Nothing is read before the reader asks for it.
    { highWaterMark: 0 },
  )
  const { status, statusText, headers } = first
  const download = new Response(body, { status, statusText, headers }) as Download
  // Not every browser can iterate over a body.
  if (!(Symbol.asyncIterator in download.body)) {
    Object.defineProperty(download.body, Symbol.asyncIterator, { value: () => piecesOf(download.body) })
  }
  return download
}

async function* resumed(first: Response, options: OpenOptions): AsyncGenerator<Uint8Array, void> {
  const { open, retries, signal } = options
  const { headers } = first
  // If a proxy has compressed it, neither the length nor the offset of a byte is known.
  const isPlain = headers.get('content-encoding') === null
  const length = headers.get('content-length')
  const etag = headers.get('etag')
  let { body } = first
  let received = options.from && isContinuation(first, options.from.offset) ? options.from.offset : 0
  const total = isPlain && length !== null ? received + Number(length) : undefined
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
      const rest = await open(rangeOf(received, etag))
      if (!isContinuation(rest, received)) {
        await rest.body?.cancel()
        throw error
      }
      body = rest.body
    }
  }
}

const rangeOf = (offset: number, etag: string | null) => ({
  range: `bytes=${offset}-`,
  ...(etag?.startsWith('"') && { 'if-range': etag }),
})

const isContinuation = ({ status, headers }: Response, from: number) =>
  status === 206 && headers.get('content-range')?.startsWith(`bytes ${from}-`) === true

/** A state of a job or a batch, and the `Last-Event-ID` that requests only later ones. */
export type StateEvent<T> = { readonly id: string; readonly state: T }

/**
 * Called between two states of a job with what is known of its run: hints, of which some may be left out. What it throws
 * ends the stream.
 */
export type HintSubscriber = {
  /** With each new stage, also of other jobs on the stream of all. */
  readonly onStage?: ((stage: NonNullable<Job['stage']>, jobId: string) => void) | undefined
  /** With each new progress, at most once a second; on the stream of one job only. */
  readonly onProgress?: ((progress: Progress, jobId: string) => void) | undefined
}

type Hint = { readonly job_id: string; readonly stage: NonNullable<Job['stage']>; readonly progress: Progress }

/** What a subscriber threw, which no other connection would mend. */
class SubscriberError extends Error {}

/** Reads a stream of events (HTML standard, section 9.2) to its end. Rejects if it is cut off or falls silent. */
export async function* readEvents<T>(
  body: ReadableStream<Uint8Array>,
  hints: HintSubscriber = {},
  silenceMs = SILENCE_MS,
): AsyncGenerator<StateEvent<T>> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const piece of piecesOf(body, silenceMs)) {
    text += decoder.decode(piece, { stream: true })
    const blocks = text.split(/\r?\n\r?\n/)
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const { id = '', event, data = '' } = fieldsOf(block)
      if (event === 'status' || event === 'batch') yield { id, state: JSON.parse(data) as T }
      if (event === 'stage' || event === 'progress') notify(hints, event, JSON.parse(data) as Hint)
    }
  }
}

function notify({ onStage, onProgress }: HintSubscriber, event: 'stage' | 'progress', hint: Hint) {
  try {
    if (event === 'stage') onStage?.(hint.stage, hint.job_id)
    else onProgress?.(hint.progress, hint.job_id)
  } catch (cause) {
    throw new SubscriberError('a subscriber failed', { cause })
  }
}

/** The fields of an event; the server writes each in one line. */
function fieldsOf(block: string): Partial<Record<string, string>> {
  return Object.fromEntries(block.split(/\r?\n/).map((line) => line.split(/: ?(.*)/s, 2)) as [string, string][])
}

/** A stream that lasted longer than this, in ms, resets the count of failures. */
const STABLE_MS = MAX_PAUSE_MS

export type FollowOptions<T> = HintSubscriber & {
  /** Opens the stream; an answer without a body has no more events. */
  readonly open: (headers: Readonly<Record<string, string>>) => Promise<Response>
  /** Whether a state is the last that matters. */
  readonly isLast: (state: T) => boolean
  /** Whether the server replays missed events after a break, by `Last-Event-ID`. */
  readonly resumes: boolean
  /** Called once the stream is open again after a break. */
  readonly onGap?: (() => void) | undefined
  /** Maximum streams in a row that break. */
  readonly retries: number
  readonly signal?: AbortSignal | undefined
}

/** The states of a stream of events, across broken connections. */
export async function* follow<T>(options: FollowOptions<T>): AsyncGenerator<T, void> {
  const { open, isLast, resumes, onGap, retries, signal } = options
  let seen: string | undefined
  let failures = 0
  for (let isFirst = true; ; isFirst = false) {
    const headers = { accept: 'text/event-stream', ...(resumes && seen && { 'last-event-id': seen }) }
    const { body } = await open(headers)
    // 204: the client has the last state already.
    if (!body) return
    const openedAt = Date.now()
    if (!isFirst) onGap?.()
    try {
      for await (const event of readEvents<T>(body, options)) {
        seen = event.id
        yield event.state
        if (isLast(event.state)) return
      }
      throw new Error('the stream of events ended')
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof SubscriberError) throw error.cause
      failures = Date.now() - openedAt > STABLE_MS ? 1 : failures + 1
      if (failures > retries) throw error
    }
    await pause(backOffMs(failures - 1), signal)
  }
}
