import { isProblem } from '../problems.ts'
import { messageOf } from '../lib/errors.ts'

type Write = (fields: object, message: string) => void

/** What the core asks of a logger. Every line of a job's life carries `job_id` among its fields. */
export type Log = { debug: Write; info: Write; warn: Write; error: Write }

/** How often a line is written that stands for many, in ms. */
const THROTTLE_MS = 60_000

/** Whether a line that stands for many is due: at first, and then once a minute. */
export function createLogThrottle(): () => boolean {
  let loggedAt = -Infinity
  return () => {
    const isDue = performance.now() - loggedAt >= THROTTLE_MS
    if (isDue) loggedAt = performance.now()
    return isDue
  }
}

/**
 * Writes a warning at most once a minute: what thousands of jobs suffer at the same time is told once. The others are
 * written at level `debug`.
 */
export function createThrottledWarning(log: Log): Write {
  const isDue = createLogThrottle()
  return (fields, message) => log[isDue() ? 'warn' : 'debug'](fields, message)
}

/** An error in a few words, without its stack: those of its cause where it has one. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return messageOf(cause)
}

/** What a line says of an error: of a store that is unavailable, which everything meets alike, only why it is. */
export const errorFieldsOf = (error: unknown): object =>
  isProblem(error, 'store_unavailable') ? { event: 'store_unavailable', reason: reasonOf(error) } : { err: error }
