type Write = (fields: object, message: string) => void

/** What the core asks of a logger. Every line of a job's life carries `job_id` among its fields. */
export type Log = { debug: Write; info: Write; warn: Write; error: Write }

/** How often a line is written that stands for many, in ms. */
const LINE_EVERY_MS = 60_000

/**
 * Writes a warning at most once a minute: what thousands of jobs suffer at the same time is told once. The others are
 * written at level `debug`.
 */
export function createRareWarning(log: Log): Write {
  let toldAt = -Infinity
  return (fields, message) => {
    const isDue = performance.now() - toldAt >= LINE_EVERY_MS
    if (isDue) toldAt = performance.now()
    log[isDue ? 'warn' : 'debug'](fields, message)
  }
}
