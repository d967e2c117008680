import { isProblem } from '../problems.ts'
import { createLru } from '../lib/collections.ts'
import { messageOf } from '../lib/errors.ts'
import type { AttemptId } from './ports/queue.ts'
import { jobTraceparent, type TracedJob, traceFieldsOf } from './trace.ts'

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

/** Unreadable records remembered as logged. */
const MAX_LOGGED = 10_000

/** Logs each record that a store cannot read once, by the id of its job: the others must still be served. */
export function createUnreadableLog(log: Log | undefined): (jobId: string, reason: string) => void {
  const logged = createLru<true>(MAX_LOGGED)
  return (jobId, reason) => {
    if (logged.get(jobId)) return
    logged.set(jobId, true, 1)
    log?.error({ event: 'job_unreadable', job_id: jobId, reason }, 'a job cannot be read and stays as it is')
  }
}

/** Runs an entry of a queue. An unexpected error is logged: the reconciler enqueues the entry again if its job is unfinished. */
export function runLogged(log: Log, entry: AttemptId, run: () => Promise<void>): Promise<void> {
  // No async function: it would take memory for as long as the run, and there may be thousands.
  return run().catch((error: unknown) => {
    const fields = { event: 'run_failed', job_id: entry.id, attempt: entry.attempt, err: error }
    log.error(fields, 'running a job failed unexpectedly')
  })
}

/** Calls a subscriber. What it throws is logged, and affects neither the publisher nor other subscribers. */
export function callSubscriber(log: Log, fields: object, call: () => void): void {
  try {
    call()
  } catch (error) {
    log.error({ ...fields, event: 'subscriber_failed', err: error }, 'a subscriber failed')
  }
}

/** The message of an error, or of its cause where it has one. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return messageOf(cause)
}

/** The fields of an error in the log: without the stack for an unavailable store, which is no defect. */
export const errorFieldsOf = (error: unknown): object =>
  isProblem(error, 'store_unavailable') ? { event: 'store_unavailable', reason: reasonOf(error) } : { err: error }

/** The fields of every log line about a job. */
export const logFieldsOf = (job: TracedJob) => ({ job_id: job.id, ...traceFieldsOf(jobTraceparent(job)) })
