import type { Artifacts } from './ports/outputs.ts'
import { isProblem } from '../problems.ts'
import type { ChangeBus } from './ports/changes.ts'
import type { Uploads } from './ports/uploads.ts'
import type { JobQueue, QueueEntry } from './ports/queue.ts'
import type { JobStore } from './ports/store.ts'
import { currentAttempt, isFinished, type Job } from './job.ts'
import { createThrottledWarning, errorFieldsOf, type Log } from './log.ts'
import type { Stopper } from './stopper.ts'
import { logFieldsOf } from './trace.ts'
import type { Transitions } from './transition.ts'
import type { Outbox } from './webhooks/outbox.ts'
import { every, type Repeated } from '../lib/every.ts'

export type ReconcilerDependencies = Pick<Transitions, 'transition'> & {
  readonly store: Pick<JobStore, 'pending' | 'get' | 'remove'>
  readonly queue: Pick<JobQueue, 'enqueue' | 'running' | 'dequeue'>
  readonly events: Pick<ChangeBus, 'onGap'>
  readonly stopper: Stopper
  readonly artifacts: Pick<Artifacts, 'forget' | 'sweep'>
  readonly uploads: Pick<Uploads, 'forget' | 'sweep'>
  readonly webhooks: Pick<Outbox, 'sendDue'>
  readonly log: Log
  /** How long a job is kept after its end. */
  readonly retentionSeconds: number
  /** Epoch ms. */
  readonly now?: () => number
}

/** The passes; each also runs by itself once started. */
export type Reconciler = {
  /** Ends every job whose deadline has passed. */
  expireOverdue(): Promise<void>
  /** Queues every unfinished job; what is queued already stays as it is. */
  resumeRuns(): Promise<void>
  /** Lets go of every entry that runs here for an attempt that is over: nobody may have been heard who dropped it. */
  dequeueFinished(): Promise<void>
  /** Stops every call that is owed a stop. */
  stopCalls(): Promise<void>
  /** Forgets jobs that ended longer ago than they are kept, a few at a time. */
  removeOld(): Promise<void>
  /** Removes files of jobs that are gone: outputs older than a job is kept, uploads older than a day. */
  sweepFiles(): Promise<void>
  /** Makes the first pass over deadlines and runs, then repeats all. */
  start(): Promise<void>
  /** Ends the passes and waits for those under way. Idempotent. */
  close(): Promise<void>
}

/** How often deadlines are looked at, and everything else that may be owed, in ms. */
const DEADLINE_SWEEP_MS = 1_000
export const RESUME_SWEEP_MS = 30_000
/** How often files are looked for that a crash left behind, in ms. */
const FILE_SWEEP_MS = 3_600_000
/** How old uploads of no job must be to go, in ms: those of a submit that is under way are of no job yet. */
export const STRAY_UPLOAD_MS = 24 * 3_600_000
/** How many jobs are seen to at the same time. */
const BATCH = 100
/** How many jobs' calls are stopped at the same time. */
const STOPS_AT_ONCE = 32

/** Finds what is owed and nobody is doing: what a crash, a lost message or an outage left behind. */
export function createReconciler(dependencies: ReconcilerDependencies): Reconciler {
  const { store, queue, events, transition, stopper, artifacts, uploads, webhooks, log } = dependencies
  const { retentionSeconds, now = Date.now } = dependencies
  const closing = new AbortController()
  const repeated: Repeated[] = []
  const drops = new Set<Promise<void>>()
  let unsubscribe = () => undefined as unknown

  const warnRarely = createThrottledWarning(log)

  /** A store that is unavailable fails every pass, one a second, in the same way. */
  const warn = (error: unknown, fields: object, message: string) => {
    const write = isProblem(error, 'store_unavailable') ? warnRarely : log.warn.bind(log)
    write({ ...fields, ...errorFieldsOf(error) }, message)
  }

  /** One job's trouble must not keep the others from what they are owed. */
  const attempt = async (job: Job, act: (job: Job) => Promise<unknown>) => {
    try {
      await act(job)
    } catch (error) {
      if (!closing.signal.aborted)
        warn(error, logFieldsOf(job), 'pending work of a job failed; the reconciler will retry')
    }
  }

  /** A batch shares the store's writes; between batches others get their turn of the event loop. */
  const each = async (jobs: AsyncIterable<Job>, act: (job: Job) => Promise<unknown>) => {
    let batch: Promise<void>[] = []
    const settle = async () => {
      await Promise.all(batch)
      batch = []
      await new Promise(setImmediate)
    }
    for await (const job of jobs) {
      if (closing.signal.aborted) break
      if (batch.push(attempt(job, act)) >= BATCH) await settle()
    }
    await settle()
  }

  const expireOverdue = () => each(store.pending('end', now()), (job) => transition(job, { type: 'expired' }))

  /** Calls that exist come first: they run already, and must not wait in the queue behind those that do not. */
  const resumeRuns = async () => {
    const unstarted: QueueEntry[] = []
    await each(store.pending('run', now()), async (job) => {
      const { attempt, callId } = currentAttempt(job)
      if (callId === undefined) unstarted.push({ id: job.id, attempt })
      else await queue.enqueue({ id: job.id, attempt })
    })
    for (const [n, entry] of unstarted.entries()) {
      if (n % BATCH === 0) await new Promise(setImmediate)
      await queue.enqueue(entry)
    }
  }

  const dequeueFinished = async () => {
    for (const [n, entry] of queue.running().entries()) {
      if (n % BATCH === 0) await new Promise(setImmediate)
      const job = await store.get(entry.id)
      const isOver = !job || isFinished(job) || currentAttempt(job).attempt !== entry.attempt
      if (isOver) await queue.dequeue(entry)
    }
  }

  /** Several at once, each try bounded in time: calls that cannot be stopped must not keep others from their turn. */
  const stopCalls = async () => {
    const jobs = store.pending('stop', now())[Symbol.asyncIterator]()
    const worker = async () => {
      for (let next = await jobs.next(); !next.done && !closing.signal.aborted; next = await jobs.next()) {
        await attempt(next.value, (job) => stopper.stopCalls(job))
      }
    }
    await Promise.all(Array.from({ length: STOPS_AT_ONCE }, worker))
    await jobs.return?.()
  }

  const removeOld = () =>
    each(store.pending('removal', now() - retentionSeconds * 1000), async (job) => {
      if (!(await store.remove(job.id, job.revision))) return
      await uploads.forget(job.id)
      await artifacts.forget(job)
    })

  /** Only old files: another server that shares the folder may know the job, and would have let it go by then too. */
  const sweepFiles = async () => {
    const isKnown = async (id: string) => (await store.get(id)) !== undefined
    await artifacts.sweep({ before: now() - retentionSeconds * 1000, isKnown })
    await uploads.sweep({ before: now() - STRAY_UPLOAD_MS, isKnown })
  }

  const runPass = (pass: () => Promise<void>) =>
    pass().catch((error: unknown) => warn(error, {}, 'a pass of the reconciler failed; the next one will retry'))

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
    sweepFiles,
    async start() {
      await expireOverdue()
      await resumeRuns()
      repeat(expireOverdue, DEADLINE_SWEEP_MS)
      repeat(resumeRuns, RESUME_SWEEP_MS)
      repeat(removeOld, RESUME_SWEEP_MS)
      // The first passes of these are made at once, but nothing waits for them.
      repeat(sweepFiles, FILE_SWEEP_MS).run()
      repeat(stopCalls, RESUME_SWEEP_MS).run()
      repeat(() => webhooks.sendDue(), RESUME_SWEEP_MS).run()
      unsubscribe = events.onGap(() => {
        const work = runPass(dequeueFinished).finally(() => drops.delete(work))
        drops.add(work)
      })
    },
    async close() {
      closing.abort(new Error('the reconciler is closing'))
      unsubscribe()
      await Promise.all([...repeated.map((passes) => passes.stop()), ...drops])
    },
  }
}
