import { setTimeout as sleep } from 'node:timers/promises'
import { type Job as BullJob, DelayedError, ErrorCode, WaitingError, Worker } from 'bullmq'
import { isProblem } from '../../problems.ts'
import { createThrottledWarning, type Log, runLogged } from '../../jobs/log.ts'
import { connectBlocking } from '../../redis/connection.ts'
import type { QueueEntry, RunEntry } from '../../jobs/ports/queue.ts'
import { every, resolvesWithin } from '../../lib/timing.ts'
import type { Admit } from './admission.ts'
import { bullKeyOf, type EntryData, entryOfBullJob } from './entries.ts'

export type RunsOptions = {
  readonly url: string
  /** BullMQ's, with the hash tag. */
  readonly prefix: string
  readonly log: Log
  readonly run: RunEntry
  readonly admit: Admit
  /** Called when an entry has left the queue after its run. */
  readonly onFinished: (key: string, caller: string) => void
  /** Called when there is nothing to claim. */
  readonly onDrained: () => void
  /** Called before the first claim, and again after it rejects. */
  readonly prepare: () => Promise<unknown>
  /** How long a claim is valid without renewal, in ms. */
  readonly lockDurationMs?: number | undefined
  /** How often BullMQ checks for entries whose lock has expired, in ms: the second check finds one. */
  readonly stalledIntervalMs?: number | undefined
}

/** The entries that this process runs. */
export type Runs = Pick<HeldRuns, 'all' | 'abort' | 'close'>

/** BullMQ's name of the queue, part of every key. */
export const QUEUE_NAME = 'runs'
const LOCK_DURATION_MS = 30_000
const STALLED_INTERVAL_MS = 15_000
/** BullMQ claims `concurrency` entries before it runs one; this many more than are running. */
const CLAIMED_AHEAD = 10
/**
 * How long an idle worker waits for BullMQ's marker, in s: the longest delay by a marker that a crashing replica consumed.
 * While entries are delayed BullMQ makes it 10 s.
 */
const DRAIN_DELAY_SECONDS = 1
/** Pause after an error of Redis, and while the start of jobs is paused, in ms. */
const ERROR_PAUSE_MS = 1_000
/** Longest wait for Redis when the queue closes, in ms. */
const CLOSE_TIMEOUT_MS = 2_000

/** Claims entries, runs them, and holds their locks; BullMQ fetches, finishes and recovers entries. */
export function startRuns(options: RunsOptions): Runs {
  const { prefix, run, log, lockDurationMs = LOCK_DURATION_MS } = options
  const redis = connectBlocking({ url: options.url, name: 'runs', log })
  const runs = createHeldRuns({ run, log })
  const logError = createErrorLog(log)
  let isClosing = false
  let claimed = 0

  const processEntry = async (job: BullJob<EntryData>, token = '') => {
    // Raised with each claim and lowered with each renewal: runs that finish together must leave room for as many.
    // BullMQ reads it once this function first waits: https://docs.bullmq.io/guide/workers/concurrency
    claimed++
    worker.concurrency = Math.max(worker.concurrency, claimed + CLAIMED_AHEAD)
    try {
      await runEntry(job, token)
    } finally {
      claimed--
    }
  }

  const runEntry = async (job: BullJob<EntryData>, token: string) => {
    const admission = await admitOrLog(job, token)
    if (admission === 'paused') void pauseClaims()
    // BullMQ then knows that the entry waits.
    if (admission !== 'runs') throw admission === 'delayed' ? new DelayedError() : new WaitingError()
    const held = runs.start(entryOfBullJob(job), token)
    await held.done
    if (isClosing && !held.isLost) await handOver(job, token)
    // BullMQ then does not finish the entry: it waits again, or another process has it.
    if (isClosing || held.isLost) throw new WaitingError()
  }

  const admitOrLog = async (job: BullJob<EntryData>, token: string) => {
    try {
      return await options.admit(job, token)
    } catch (error) {
      reportError(error)
      return 'unknown'
    }
  }

  /**
   * Puts an entry back at the head of the queue (https://docs.bullmq.io/patterns/manual-retrying): runs take longer than
   * a shutdown may. If that fails, other processes recover the entry once its lock has expired.
   */
  const handOver = async (job: BullJob, token: string) => {
    if (redis.status !== 'ready') return
    try {
      // BullMQ would put it back to the entries of its priority.
      await Promise.all([job.changePriority({ priority: 0 }), job.moveToWait(token)])
    } catch (error) {
      log.debug(
        { event: 'entry_not_handed_over', entry: job.id, err: error },
        'cannot hand over an entry; its lock will expire',
      )
    }
  }

  const worker = new Worker<EntryData>(QUEUE_NAME, processEntry, {
    connection: redis,
    prefix,
    autorun: false,
    concurrency: CLAIMED_AHEAD,
    lockDuration: lockDurationMs,
    // See `renewLocks`.
    skipLockRenewal: true,
    stalledInterval: options.stalledIntervalMs ?? STALLED_INTERVAL_MS,
    // Each crash of a replica stalls its entries once; the attempts of a job limit how often it runs.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    drainDelay: DRAIN_DELAY_SECONDS,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
    // If the check fails, as for a Redis user who may not read INFO, the worker never runs.
    skipVersionCheck: true,
  })
  worker.on('completed', (job) => options.onFinished(job.id ?? '', entryOfBullJob(job).caller))
  worker.on('drained', options.onDrained)
  const reportError = (error: unknown) => {
    if (logError(error) === 'unexpected') void pauseClaims()
  }
  worker.on('error', reportError)

  /**
   * BullMQ retries at once after an error, which would overload a Redis that is out of memory, for example. It would also
   * claim again at once what was put back.
   */
  const pauseClaims = async () => {
    if (worker.isPaused()) return
    await worker.pause(true)
    await sleep(ERROR_PAUSE_MS, undefined, { ref: false })
    await worker.resume()
  }

  const claimEntries = async () => {
    while (!isClosing) {
      try {
        await options.prepare()
        // Resolves when the worker closes or pauses; it resumes by itself.
        await worker.run()
        return
      } catch (error) {
        logError(error)
        await sleep(ERROR_PAUSE_MS, undefined, { ref: false })
      }
    }
  }
  void claimEntries()

  const renewal = every(lockDurationMs / 3, async () => {
    worker.concurrency = claimed + CLAIMED_AHEAD
    await renewLocks(worker, runs, lockDurationMs).catch(logError)
  })

  return {
    all: runs.all,
    abort: runs.abort,
    async close() {
      isClosing = true
      // The worker first: it would claim again what is handed over. Without Redis it must not wait.
      const closed = worker.close(redis.status !== 'ready').catch(logError)
      await runs.close()
      void renewal.stop()
      await resolvesWithin(closed, CLOSE_TIMEOUT_MS)
      redis.disconnect()
    },
  }
}

/** BullMQ's codes for an entry that this process cannot finish: another process has it, or it was removed. */
const LOST_ENTRY: readonly unknown[] = [
  ErrorCode.JobNotExist,
  ErrorCode.JobLockNotExist,
  ErrorCode.JobNotInState,
  ErrorCode.JobLockMismatch,
]

const STEP_FAILED = 'a step of the queue failed; retrying'

/** Logs BullMQ's errors. Lost entries and connections are expected; `src/redis/connection.ts` logs that Redis is unavailable. */
function createErrorLog(log: Log) {
  const warnRarely = createThrottledWarning(log)
  return (error: unknown): 'expected' | 'unexpected' => {
    const { code, syscall, message } = error as Partial<NodeJS.ErrnoException>
    const isConnection =
      syscall !== undefined || message === 'Connection is closed.' || isProblem(error, 'store_unavailable')
    const isExpected = isConnection || LOST_ENTRY.includes(code)
    const fields = { event: 'queue_step_failed', err: error }
    if (isExpected) log.debug(fields, STEP_FAILED)
    else warnRarely(fields, STEP_FAILED)
    return isExpected ? 'expected' : 'unexpected'
  }
}

/** A run of this process, under a lock that other processes respect while it is renewed. */
type HeldRun = {
  readonly key: string
  /** What BullMQ has stored as the lock's value when this process claimed the entry. */
  readonly token: string
  readonly entry: QueueEntry
  /** The lock is lost: another process has the entry or will claim it, and this one must not finish it. */
  readonly isLost: boolean
  /** Resolves when the run has stopped; never rejects. */
  readonly done: Promise<void>
}

export type HeldRuns = {
  readonly size: number
  all(): HeldRun[]
  start(entry: QueueEntry, token: string): HeldRun
  /** Aborts the run of an entry that was dequeued. */
  abort(key: string): void
  /** Aborts the run with this lock, which is lost. */
  lose(key: string, token: string): void
  /** Aborts all runs, also those that start from now on, and waits until they have stopped. */
  close(): Promise<void>
}

type Held = { -readonly [K in keyof HeldRun]: HeldRun[K] } & { readonly abort: AbortController }

/** The runs of one process: at most one of each entry at the same time. */
export function createHeldRuns({ run, log }: { readonly run: RunEntry; readonly log: Log }): HeldRuns {
  const runs = new Map<string, Held>()
  let isClosing = false

  const runAfter = async (earlier: Promise<void> | undefined, { entry, abort: { signal } }: Held) => {
    await earlier
    // After an error BullMQ finishes the entry.
    if (!signal.aborted) await runLogged(log, entry, () => run(entry, signal))
  }

  const lose = (held: Held) => {
    held.isLost = true
    held.abort.abort(new Error('another process has claimed the entry'))
  }

  return {
    get size() {
      return runs.size
    },
    all: () => [...runs.values()],
    start(entry, token) {
      const key = bullKeyOf(entry)
      const earlier = runs.get(key)
      // This process had lost the entry and claimed it again before a renewal failed.
      if (earlier) lose(earlier)
      const held: Held = {
        key,
        token,
        entry,
        isLost: false,
        done: Promise.resolve(),
        abort: new AbortController(),
      }
      if (isClosing) held.abort.abort(new Error('the queue is closing'))
      runs.set(key, held)
      held.done = runAfter(earlier?.done, held).finally(() => {
        if (runs.get(key) === held) runs.delete(key)
      })
      return held
    },
    abort: (key) => runs.get(key)?.abort.abort(new Error('the entry was dequeued')),
    lose(key, token) {
      const held = runs.get(key)
      if (held?.token === token) lose(held)
    },
    async close() {
      isClosing = true
      // The newest first: BullMQ searches its list of active entries from that end.
      for (const { abort } of [...runs.values()].reverse()) abort.abort(new Error('the queue is closing'))
      while (runs.size > 0) await Promise.all([...runs.values()].map(({ done }) => done))
    },
  }
}

/** Locks renewed by one command: more would block Redis for too long. */
const RENEWAL_BATCH = 1_000

/**
 * Renews all locks for `lockDurationMs` from now, and aborts each run whose lock is lost.
 *
 * BullMQ could do this itself, with `lockRenewalFailed` and `cancelJob` for what is lost
 * (https://docs.bullmq.io/guide/workers/cancelling-jobs). But it keeps one lock and one signal for each entry, not for
 * each claim. When a process loses an entry and claims it again before a renewal has failed, the first run is never
 * aborted, and when it finishes BullMQ forgets the second lock: the entry then runs on two replicas, and both may spawn
 * its call. `test/integration/bullmq-renewal.test.ts` shows it. Hence `skipLockRenewal`, and locks extended by their
 * tokens as for jobs that are processed manually (https://docs.bullmq.io/patterns/manually-fetching-jobs).
 */
export async function renewLocks(worker: Worker, runs: HeldRuns, lockDurationMs: number): Promise<void> {
  const held = runs.all()
  for (let from = 0; from < held.length; from += RENEWAL_BATCH) {
    const batch = held.slice(from, from + RENEWAL_BATCH)
    const [keys, tokens] = [batch.map(({ key }) => key), batch.map(({ token }) => token)]
    const lost = new Set(await worker.extendJobLocks(keys, tokens, lockDurationMs))
    for (const { key, token } of batch) if (lost.has(key)) runs.lose(key, token)
  }
}
