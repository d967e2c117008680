import { isProblem } from '../problems.ts'
import { messageOf } from '../lib/errors.ts'

type Write = (fields: object, message: string) => void

/** What the core asks of a logger. Every line of a job's life carries `job_id` among its fields. */
export type Log = { debug: Write; info: Write; warn: Write; error: Write }

/** How often a throttled line is written, in ms. */
const THROTTLE_MS = 60_000

/** Throttles a line: true for the first call, and then once a minute. */
export function createLogThrottle(): () => boolean {
  let loggedAt = -Infinity
  return () => {
    const isDue = performance.now() - loggedAt >= THROTTLE_MS
    if (isDue) loggedAt = performance.now()
    return isDue
  }
}

/**
 * Writes a warning at most once a minute, since thousands of jobs can meet the same error at once. The others are
 * written at level `debug`.
 */
export function createThrottledWarning(log: Log): Write {
  const isDue = createLogThrottle()
  return (fields, message) => log[isDue() ? 'warn' : 'debug'](fields, message)
}

/** The message of an error, or of its cause where it has one. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return messageOf(cause)
}

/** The fields of an error in the log: without the stack for an unavailable store, which is no defect. */
export const errorFieldsOf = (error: unknown): object =>
  isProblem(error, 'store_unavailable') ? { event: 'store_unavailable', reason: reasonOf(error) } : { err: error }
