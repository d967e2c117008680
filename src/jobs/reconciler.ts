import type { Outputs, Uploads } from './ports/files.ts'
import { isProblem } from '../problems.ts'
import type { ChangeBus } from './ports/notifications.ts'
import { entryOf, type JobQueue, type QueueEntry } from './ports/queue.ts'
import type { JobStore, UsageStore } from './ports/store.ts'
import { currentAttempt, isFinished, type Job } from './job.ts'
import { createThrottledWarning, errorFieldsOf, type Log, logFieldsOf } from './log.ts'
import { DAY_MS, dayOf } from './usage.ts'
import type { Reuse } from './reuse.ts'
import type { Stopper } from './stopper.ts'
import type { Transitions } from './transition.ts'
import type { UploadService } from './uploads.ts'
import type { Outbox } from './webhooks/outbox.ts'
import { every, type Repeated } from '../lib/timing.ts'

export type ReconcilerDependencies = Pick<Transitions, 'transition'> & {
  readonly store: Pick<JobStore, 'pending' | 'get' | 'remove'> & Pick<UsageStore, 'removeUsage'>
  readonly queue: Pick<JobQueue, 'resume' | 'running' | 'dequeue'>
  readonly changes: Pick<ChangeBus, 'onGap'>
  readonly stopper: Stopper
  readonly reuse: Pick<Reuse, 'settle'>
  readonly outputs: Pick<Outputs, 'forget' | 'sweep'>
  readonly uploads: Pick<Uploads, 'forget' | 'sweep'>
  readonly ahead: Pick<UploadService, 'forget' | 'sweep'>
  readonly webhooks: Pick<Outbox, 'sendDue'>
  readonly log: Log
  /** How long a job is kept after its end. */
  readonly retentionSeconds: number
  /** How long daily sums are kept. */
  readonly usageRetentionDays: number
  /** Epoch ms. */
  readonly now?: () => number
}

/** The passes; `start` repeats each at an interval. */
export type Reconciler = {
  /** Fails every job that has expired. */
  expireOverdue(): Promise<void>
  /** Resumes every unfinished job, and decides about those that wait for an identical one; an entry that is queued already does not change. */
  resumeRuns(): Promise<void>
  /** Dequeues every entry that runs here for a finished attempt: the message that dequeued it may have been lost. */
  dequeueFinished(): Promise<void>
  /** Stops every call whose stop is pending. */
  stopCalls(): Promise<void>
  /** Removes jobs that finished longer ago than the retention. */
  removeOld(): Promise<void>
  /** Removes daily sums older than their retention. */
  removeOldUsage(): Promise<void>
  /** Removes files of unknown jobs: outputs older than the retention, uploads older than a day. */
  sweepFiles(): Promise<void>
  /** Makes the first pass over deadlines and runs, then repeats all passes. */
  start(): Promise<void>
  /** Stops the passes and waits for those that run. Idempotent. */
  close(): Promise<void>
}

/** How often deadlines are checked, and all other pending work, in ms. */
const DEADLINE_SWEEP_MS = 1_000
export const RESUME_SWEEP_MS = 30_000
/** Interval of the search for files that a crash left behind, and of the removal of old sums, in ms. */
const HOURLY_MS = 3_600_000
/** Age at which an upload without a job is removed, in ms: a submit in progress has no job yet. */
export const STRAY_UPLOAD_MS = 24 * 3_600_000
/** How many jobs are processed at the same time. */
const BATCH = 100
/** How many jobs' calls are stopped at the same time. */
const STOPS_AT_ONCE = 32

/** Finds pending work that nothing is doing: what a crash, a lost message or an outage left behind. */
export function createReconciler(dependencies: ReconcilerDependencies): Reconciler {
  const { store, queue, changes, transition, stopper, reuse, outputs, uploads, ahead, webhooks, log } = dependencies
  const { retentionSeconds, usageRetentionDays, now = Date.now } = dependencies
  const closing = new AbortController()
  const repeated: Repeated[] = []
  const gapPasses = new Set<Promise<void>>()
  let unsubscribe = () => undefined as unknown

  const warnRarely = createThrottledWarning(log)

  /** Throttles the errors of an unavailable store, which fails every pass, once a second. */
  const warn = (error: unknown, fields: object, message: string) => {
    const write = isProblem(error, 'store_unavailable') ? warnRarely : log.warn.bind(log)
    write({ ...fields, ...errorFieldsOf(error) }, message)
  }

  /** An error of one job must not stop the pass. */
  const attemptJob = async (job: Job, act: (job: Job) => Promise<unknown>) => {
    try {
      await act(job)
    } catch (error) {
      if (!closing.signal.aborted)
        warn(
          error,
          { ...logFieldsOf(job), event: 'reconciling_job_failed' },
          'pending work of a job failed; the reconciler will retry',
        )
    }
  }

  /** Works in batches: a batch shares the store's writes, and between batches the event loop serves requests. */
  const forEachJob = async (jobs: AsyncIterable<Job>, act: (job: Job) => Promise<unknown>) => {
    let batch: Promise<void>[] = []
    const settle = async () => {
      await Promise.all(batch)
      batch = []
      await new Promise(setImmediate)
    }
    for await (const job of jobs) {
      if (closing.signal.aborted) break
      if (batch.push(attemptJob(job, act)) >= BATCH) await settle()
    }
    await settle()
  }

  const expireOverdue = () => forEachJob(store.pending('expiry', now()), (job) => transition(job, { type: 'expired' }))

  /** Jobs with a call come first: they run already, and must not wait in the queue behind jobs without one. */
  const resumeRuns = async () => {
    const unstarted: QueueEntry[] = []
    const waiting = new Map<string | undefined, Job>()
    await forEachJob(store.pending('run', now()), async (job) => {
      if (job.isWaiting) waiting.set(job.contentKey, job)
      else if (currentAttempt(job).callId === undefined) unstarted.push(entryOf(job))
      else await queue.resume(entryOf(job), { hasCall: true })
    })
    // A queue sends those of a batch together, and adds them in this order.
    for (let from = 0; from < unstarted.length && !closing.signal.aborted; from += BATCH) {
      const batch = unstarted.slice(from, from + BATCH)
      await Promise.all(batch.map((entry) => queue.resume(entry, { hasCall: false })))
      await new Promise(setImmediate)
    }
    // One decides about all of the same content.
    for (const job of waiting.values()) {
      if (closing.signal.aborted) return
      await reuse.settle(job)
    }
  }

  const dequeueFinished = async () => {
    for (const [n, entry] of queue.running().entries()) {
      if (n % BATCH === 0) await new Promise(setImmediate)
      const job = await store.get(entry.id)
      const isStale = !job || isFinished(job) || currentAttempt(job).attempt !== entry.attempt
      if (isStale) await queue.dequeue(entry)
    }
  }

  /** Several at the same time, each with a timeout: calls that cannot be stopped must not block the others. */
  const stopCalls = async () => {
    const jobs = store.pending('stop', now())[Symbol.asyncIterator]()
    const worker = async () => {
      for (let next = await jobs.next(); !next.done && !closing.signal.aborted; next = await jobs.next()) {
        await attemptJob(next.value, (job) => stopper.stopCalls(job))
      }
    }
    await Promise.all(Array.from({ length: STOPS_AT_ONCE }, worker))
    await jobs.return?.()
  }

  const removeOld = () =>
    forEachJob(store.pending('removal', now() - retentionSeconds * 1000), async (job) => {
      if (!(await store.remove(job.id, job.revision))) return
      await uploads.forget(job.id)
      await ahead.forget(job)
      await outputs.forget(job)
    })

  const removeOldUsage = () => store.removeUsage(dayOf(now() - usageRetentionDays * DAY_MS))

  /** Only files older than the retention: another server on the same folder may still have the job of a newer one. */
  const sweepFiles = async () => {
    const isKnown = async (id: string) => (await store.get(id)) !== undefined
    // First what is on the disk: a bucket may be unavailable.
    await uploads.sweep({ before: now() - STRAY_UPLOAD_MS, isKnown })
    await outputs.sweep({ before: now() - retentionSeconds * 1000, isKnown })
    await ahead.sweep()
  }

  const runPass = (pass: () => Promise<void>) =>
    pass().catch((error: unknown) =>
      warn(error, { event: 'reconciling_failed' }, 'a pass of the reconciler failed; the next one will retry'),
    )

  const repeat = (pass: () => Promise<void>, everyMs: number) => {
    const passes = every(everyMs, () => runPass(pass))
    repeated.push(passes)
    return passes
  }

  return {
    expireOverdue,
    resumeRuns,
    dequeueFinished,
    stopCalls,
    removeOld,
    removeOldUsage,
    sweepFiles,
    async start() {
      await expireOverdue()
      await resumeRuns()
      repeat(expireOverdue, DEADLINE_SWEEP_MS)
      repeat(resumeRuns, RESUME_SWEEP_MS)
      repeat(removeOld, RESUME_SWEEP_MS)
      // The first passes of these start at once, but nothing waits for them.
      repeat(sweepFiles, HOURLY_MS).run()
      repeat(removeOldUsage, HOURLY_MS).run()
      repeat(stopCalls, RESUME_SWEEP_MS).run()
      repeat(() => webhooks.sendDue(), RESUME_SWEEP_MS).run()
      unsubscribe = changes.onGap(() => {
        const work = runPass(dequeueFinished).finally(() => gapPasses.delete(work))
        gapPasses.add(work)
      })
    },
    async close() {
      closing.abort(new Error('the reconciler is closing'))
      unsubscribe()
      await Promise.all([...repeated.map((passes) => passes.stop()), ...gapPasses])
    },
  }
}
