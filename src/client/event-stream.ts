import { piecesOf } from './answer.ts'
import type { Job } from './schema.ts'
import { backOffMs, MAX_PAUSE_MS, pause } from './transport.ts'

/** A state of a job, and what to send as `Last-Event-ID` to get only later ones. */
export type StatusEvent = { readonly id: string; readonly job: Job }

/** A stream that brings nothing for so long, in ms, is dead: the server shows every 15 s that it is there. */
const SILENCE_MS = 45_000

/** Reads a stream of events (HTML standard, section 9.2) to its end. Rejects where it is cut off or falls silent. */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  silenceMs = SILENCE_MS,
): AsyncGenerator<StatusEvent> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const piece of piecesOf(body, silenceMs)) {
    text += decoder.decode(piece, { stream: true })
    const blocks = text.split(/\r?\n\r?\n/)
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const fields = fieldsOf(block)
      if (fields.event === 'status') yield { id: fields.id ?? '', job: JSON.parse(fields.data ?? '') as Job }
    }
  }
}

/** The fields of an event, each of which the server writes in one line. */
function fieldsOf(block: string): Partial<Record<string, string>> {
  return Object.fromEntries(block.split(/\r?\n/).map((line) => line.split(/: ?(.*)/s, 2)) as [string, string][])
}

/** For how long a stream has held, in ms, that is not counted with those that broke before it. */
const HELD_MS = MAX_PAUSE_MS

export type FollowOptions = {
  /** Opens the stream, with headers of this kind; no body: no more events will come. */
  readonly open: (headers: Readonly<Record<string, string>>) => Promise<Response>
  /** Whether a state is the last that matters. */
  readonly isLast: (job: Job) => boolean
  /** Whether the server replays missed events after a break, by `Last-Event-ID`. */
  readonly resumes: boolean
  /** Called once the stream is open again after a break. */
  readonly onGap?: (() => void) | undefined
  /** Streams in a row that may break. */
  readonly retries: number
  readonly signal?: AbortSignal | undefined
}

/** The jobs of a stream of events, across broken connections. */
export async function* follow(options: FollowOptions): AsyncGenerator<Job, void> {
  const { open, isLast, resumes, onGap, retries, signal } = options
  let seen: string | undefined
  let failures = 0
  for (let isFirst = true; ; isFirst = false) {
    const headers = { accept: 'text/event-stream', ...(resumes && seen && { 'last-event-id': seen }) }
    const { body } = await open(headers)
    // 204: the end is known already.
    if (!body) return
    const openedAt = Date.now()
    if (!isFirst) onGap?.()
    try {
      for await (const event of readEvents(body)) {
        seen = event.id
        yield event.job
        if (isLast(event.job)) return
      }
      throw new Error('the stream of events ended')
    } catch (error) {
      signal?.throwIfAborted()
      failures = Date.now() - openedAt > HELD_MS ? 1 : failures + 1
      if (failures > retries) throw error
    }
    await pause(backOffMs(failures - 1), signal)
  }
}
