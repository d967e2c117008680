import { setTimeout as sleep } from 'node:timers/promises'
import { type Job as BullJob, ErrorCode, WaitingError, Worker } from 'bullmq'
import { isProblem } from '../../problems.ts'
import { createThrottledWarning, type Log } from '../../jobs/log.ts'
import { connectBlocking } from '../../redis/connection.ts'
import type { RunEntry } from '../../jobs/ports/queue.ts'
import { createHeldRuns, type HeldRuns, renewLocks } from './held-runs.ts'
import { every, resolvesWithin } from '../../lib/timing.ts'

export type RunsOptions = {
  readonly url: string
  /** BullMQ's, with the hash tag. */
  readonly prefix: string
  readonly log: Log
  readonly run: RunEntry
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
/** How long an idle worker waits for BullMQ's marker, in s: the longest delay by a marker that a crashing replica consumed. */
const DRAIN_DELAY_SECONDS = 1
/** Pause after an error of Redis, in ms. */
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

  const processEntry = async (job: BullJob, token = '') => {
    const held = runs.start(job.id ?? '', token)
    // Raised with each claim and lowered with each renewal: runs that finish together must leave room for as many.
    // https://docs.bullmq.io/guide/workers/concurrency
    worker.concurrency = Math.max(worker.concurrency, runs.size + CLAIMED_AHEAD)
    await held.done
    if (isClosing && !held.isLost) await handOver(job, token)
    // BullMQ then does not finish the entry: it waits again, or another process has it.
    if (isClosing || held.isLost) throw new WaitingError()
  }

  /**
   * Puts an entry back at the head of the queue (https://docs.bullmq.io/patterns/manual-retrying): runs take longer than
   * a shutdown may. If that fails, other processes recover the entry once its lock has expired.
   */
  const handOver = async (job: BullJob, token: string) => {
    if (redis.status !== 'ready') return
    try {
      await job.moveToWait(token)
    } catch (error) {
      log.debug(
        { event: 'entry_not_handed_over', entry: job.id, err: error },
        'cannot hand over an entry; its lock will expire',
      )
    }
  }

  const worker = new Worker(QUEUE_NAME, processEntry, {
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
  worker.on('error', (error) => {
    if (logError(error) === 'unexpected') void pauseClaims()
  })

  /** BullMQ retries at once after an error, which would overload a Redis that is out of memory, for example. */
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
    worker.concurrency = runs.size + CLAIMED_AHEAD
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
