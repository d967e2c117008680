import { problem } from '../problems.ts'
import { isFinished, type Job } from './job.ts'
import type { Subscriptions } from './subscriptions.ts'

/** `signal`: the wait is over, whatever the job does; it changes nothing about the job. */
export type LongPollOptions = { readonly timeoutMs: number; readonly signal: AbortSignal }

/**
 * The job once it has ended; as far as it is known, when `timeoutMs` have passed or `signal` aborts. `known` is the job
 * as just read: an end that came since then is not missed. Rejects with `job_not_found` where the job has been removed.
 */
export async function waitUntilFinished(
  subscriptions: Subscriptions,
  known: Job,
  { timeoutMs, signal }: LongPollOptions,
): Promise<Job> {
  if (isFinished(known) || timeoutMs === 0 || signal.aborted) return known
  const over = Promise.withResolvers<Job | undefined>()
  let latest = known
  const stop = subscriptions.subscribe(known, (job) => {
    if (job && !isFinished(job)) latest = job
    else over.resolve(job)
  })
  const giveUp = () => over.resolve(latest)
  const timer = setTimeout(giveUp, timeoutMs)
  signal.addEventListener('abort', giveUp)
  const job = await over.promise
  stop()
  clearTimeout(timer)
  signal.removeEventListener('abort', giveUp)
  if (!job) throw problem('job_not_found')
  return job
}
