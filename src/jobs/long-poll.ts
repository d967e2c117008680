import { problem } from '../problems.ts'
import { isFinished, type Job } from './job.ts'
import type { Subscriptions } from './subscriptions.ts'

/** `signal`: ends the wait; the job goes on. */
export type LongPollOptions = { readonly timeoutMs: number; readonly signal: AbortSignal }

/**
 * The job once it has finished; its latest known state after `timeoutMs`, or when `signal` aborts. `known` is the job as
 * just read: a change since then is not missed. Rejects with `job_not_found` where the job has been removed.
 */
export async function waitUntilFinished(
  subscriptions: Subscriptions,
  known: Job,
  { timeoutMs, signal }: LongPollOptions,
): Promise<Job> {
  if (isFinished(known) || timeoutMs === 0 || signal.aborted) return known
  const finished = Promise.withResolvers<Job | undefined>()
  let latest = known
  const stop = subscriptions.subscribe(known, (job) => {
    if (job && !isFinished(job)) latest = job
    else finished.resolve(job)
  })
  const giveUp = () => finished.resolve(latest)
  const timer = setTimeout(giveUp, timeoutMs)
  signal.addEventListener('abort', giveUp)
  const job = await finished.promise
  stop()
  clearTimeout(timer)
  signal.removeEventListener('abort', giveUp)
  if (!job) throw problem('job_not_found')
  return job
}
