import { reduceUrls } from '../../lib/reduce-urls.ts'
import { createSemaphore } from '../../lib/semaphore.ts'
import type { CallLog, Scope } from './logs.ts'

/** How many pieces of a log are asked for, and how many of its last lines are given, each cut to this length. */
const ENTRIES = 50
const LINES = 5
const LINE_MAX_LENGTH = 300
/** How long the whole may take, in ms, and how many logs are read at the same time: an end does not wait longer. */
const TAIL_TIMEOUT_MS = 5_000
const TAILS_AT_ONCE = 8

export type LogTailParts = {
  readonly open: (callId: string) => Promise<Pick<CallLog, 'tail'>>
  /** A scope for one read. */
  readonly scope: (signal: AbortSignal) => Scope
}

/** Gives the last lines of a call's log, one below the other. Best effort: empty where they are not to be had soon. */
export type ReadLogTail = (callId: string, signal: AbortSignal) => Promise<string>

export function createLogTail({ open, scope }: LogTailParts): ReadLogTail {
  const semaphore = createSemaphore(TAILS_AT_ONCE)

  const read = async (callId: string, signal: AbortSignal) => {
    const pieces: string[] = []
    const within = scope(signal)
    await within(async () => {
      const log = await open(callId)
      for await (const { message } of log.tail({ entries: ENTRIES })) pieces.push(message)
    })
    return lastLinesOf(pieces.join(''))
  }

  return async (callId, signal) => {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(TAIL_TIMEOUT_MS)])
    return semaphore.use(limited, () => read(callId, limited)).catch(() => '')
  }
}

/** A bar of tqdm, which overwrites itself and says nothing of an end: ` 45%|####      | 9/20 [00:03<00:04]`. */
const PROGRESS_BAR = /\d+%\|/

/** Of a line that was overwritten the last state counts, as on a terminal. */
function lastLinesOf(text: string): string {
  const lines = text
    .split(/\r?\n/)
    .map((line) => (line.split('\r').findLast((state) => state.trim() !== '') ?? '').trim())
  const telling = lines.filter((line) => line !== '' && !PROGRESS_BAR.test(line)).slice(-LINES)
  return telling.map((line) => reduceUrls(line).slice(0, LINE_MAX_LENGTH)).join('\n')
}
