import { problem } from '../../problems.ts'
import type { Backend, LoggedCall } from '../../jobs/ports/backend.ts'
import { createSemaphore } from '../../lib/concurrency.ts'

/** Logs read at the same time: well below the 100 streams that a connection may be limited to. */
export const MAX_LOG_READERS = 60
/** How far outside its times a finished call's lines may lie (two clocks, lines forwarded late), in ms. */
const LOG_MARGIN_MS = 600_000

type Entry = { readonly message: string }

/** The log of one call: lines of a range of time, or all of them as they come. */
export type CallLog = {
  fetch(range: { since: Date; until: Date }): AsyncIterable<Entry>
  /** The last so many pieces, in the order in which they were printed. */
  tail(range: { entries: number }): AsyncIterable<Entry>
  stream(): AsyncIterable<Entry>
}

/** Runs work so that the signal of the read aborts its requests. */
export type AbortScope = <T>(work: () => T) => T

export type LogReaderOptions = {
  readonly open: (callId: string) => Promise<CallLog>
  readonly scope: (signal: AbortSignal) => AbortScope
  /** Whether an error says that Modal no longer knows the call. */
  readonly isUnknownCall: (error: unknown) => boolean
}

/** Reads the logs of calls: a finished call's once, a running one's until it finishes. */
export function createLogReader({ open, scope, isUnknownCall }: LogReaderOptions): Backend['logs'] {
  let reading = 0
  return async function* read(call, signal) {
    if (reading >= MAX_LOG_READERS) throw problem('logs_unavailable', { status: 503 })
    reading++
    try {
      const within = scope(signal)
      const log = await within(() => open(call.callId))
      for await (const { message } of everyWithin(within, entriesOf(log, call))) yield message
    } catch (error) {
      signal.throwIfAborted()
      throw isUnknownCall(error)
        ? problem('logs_unavailable', { status: 410, detail: 'Modal no longer knows the call.', cause: error })
        : error
    } finally {
      reading--
    }
  }
}

/** Not beyond now: Modal may refuse a time in the future. */
function entriesOf(log: CallLog, { startedAt, finishedAt }: LoggedCall): AsyncIterable<Entry> {
  if (finishedAt === undefined) return log.stream()
  const until = new Date(Math.min(finishedAt + LOG_MARGIN_MS, Date.now()))
  return log.fetch({ since: new Date(startedAt - LOG_MARGIN_MS), until })
}

/** A generator runs in the scope of the code that asks for its next value, not of the code that created it. */
async function* everyWithin<T>(within: AbortScope, values: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = within(() => values[Symbol.asyncIterator]())
  try {
    for (;;) {
      const next = await within(() => iterator.next())
      if (next.done) return
      yield next.value
    }
  } finally {
    await within(() => iterator.return?.())
  }
}

/** How many pieces of a log are requested. */
const ENTRIES = 50
/** How long a read may take, in ms, and how many logs are read at the same time: a job's outcome waits for it. */
const TAIL_TIMEOUT_MS = 5_000
const TAILS_AT_ONCE = 8

export type LogTailOptions = {
  readonly open: (callId: string) => Promise<Pick<CallLog, 'tail'>>
  readonly scope: (signal: AbortSignal) => AbortScope
}

/** Resolves with the end of a call's log. Best effort: empty if it cannot be read soon. */
export type ReadLogTail = (callId: string, signal: AbortSignal) => Promise<string>

export function createLogTail({ open, scope }: LogTailOptions): ReadLogTail {
  const semaphore = createSemaphore(TAILS_AT_ONCE)

  const read = async (callId: string, signal: AbortSignal) => {
    const pieces: string[] = []
    const within = scope(signal)
    await within(async () => {
      const log = await open(callId)
      for await (const { message } of log.tail({ entries: ENTRIES })) pieces.push(message)
    })
    return pieces.join('')
  }

  return async (callId, signal) => {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(TAIL_TIMEOUT_MS)])
    return semaphore.use(limited, () => read(callId, limited)).catch(() => '')
  }
}
