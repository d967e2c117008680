import { setTimeout as sleep } from 'node:timers/promises'
import { type Job as BullJob, WaitingError, Worker } from 'bullmq'
import type { Log } from '../../jobs/log.ts'
import { connectPatiently } from '../../redis.ts'
import { createTeller } from './errors.ts'
import { createHeldRuns, type HeldRuns } from './held-runs.ts'
import { renewLocks, repeat } from './lock-renewal.ts'
import type { RunEntry } from '../port.ts'

export type RunsOptions = {
  readonly url: string
  /** BullMQ's, with the hash tag. */
  readonly prefix: string
  readonly log: Log
  readonly run: RunEntry
  /** Entries run at the same time, on all replicas together; undefined: all. What was said last holds for all. */
  readonly maxRunning?: number | undefined
  /** How long an entry is a process's own after it was last heard of, in ms. */
  readonly lockDurationMs?: number | undefined
  /** How often entries that nobody holds any more are looked for, in ms: the second look finds one. */
  readonly stalledIntervalMs?: number | undefined
}

/** What this process runs of the queue. */
export type Runs = Pick<HeldRuns, 'all' | 'drop' | 'close'>

/** BullMQ's name of the queue, part of every key. */
export const QUEUE_NAME = 'runs'
const LOCK_DURATION_MS = 30_000
const STALLED_INTERVAL_MS = 15_000
/** BullMQ takes as many entries as it may before it begins the first: so many. */
const TAKEN_AHEAD = 10
/** How long an idle worker waits for BullMQ's sign before it looks by itself, in s. */
const IDLE_SECONDS = 1
/** How long Redis is left in peace after an error, in ms. */
const REST_MS = 1_000
/** How long Redis is waited for at the end, in ms. */
const CLOSE_TIMEOUT_MS = 2_000
/** Events that BullMQ keeps in a stream; nobody reads them. */
const KEPT_EVENTS = 100

/**
 * Takes entries, runs them, and holds their locks. BullMQ fetches, ends and looks for what was lost; the locks are
 * renewed here, since BullMQ renews by entry and not by lock: it forgets an entry that a process has lost and taken
 * again as soon as the first run lets go.
 */
export function startRuns(options: RunsOptions): Runs {
  const { prefix, run, log, maxRunning, lockDurationMs = LOCK_DURATION_MS } = options
  const redis = connectPatiently({ url: options.url, name: 'runs', log })
  const runs = createHeldRuns({ run, log })
  let isClosing = false

  const follow = async (job: BullJob, token = '') => {
    const held = runs.begin(job.id ?? '', token)
    // Lowered as locks are renewed, not at each end: those that end together would take nothing in their places.
    worker.concurrency = Math.max(worker.concurrency, runs.size + TAKEN_AHEAD)
    await held.done
    if (isClosing && !held.isLost) await handBack(job, token)
    // BullMQ's word for: this one is not to be ended here.
    if (isClosing || held.isLost) throw new WaitingError()
  }

  /** To the head of the line: it has waited already. Where Redis is away the others find it as they find lost ones. */
  const handBack = async (job: BullJob, token: string) => {
    if (redis.status !== 'ready') return
    try {
      await job.moveToWait(token)
      await wake()
    } catch (error) {
      log.debug({ entry: job.id, err: error }, 'an entry was not handed back')
    }
  }

  /**
   * Of an entry with a priority that waits again BullMQ tells nobody; of a queue that resumes it tells all. What is
   * handed back while that is under way is told of together.
   */
  const wake = together(() => worker.getBackend().pause(false))

  const worker = new Worker(QUEUE_NAME, follow, {
    connection: redis,
    prefix,
    autorun: false,
    concurrency: TAKEN_AHEAD,
    lockDuration: lockDurationMs,
    skipLockRenewal: true,
    stalledInterval: options.stalledIntervalMs ?? STALLED_INTERVAL_MS,
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    drainDelay: IDLE_SECONDS,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
    skipVersionCheck: true,
  })
  const failed = createTeller(log)
  worker.on('error', (error) => {
    if (failed(error)) void rest()
  })

  /** BullMQ tries again at once, and again: a Redis out of memory, say, has other things to do. */
  const rest = async () => {
    if (worker.isPaused()) return
    await worker.pause(true)
    await sleep(REST_MS, undefined, { ref: false })
    await worker.resume()
  }

  const setBound = async () => {
    const backend = worker.getBackend()
    await backend.setQueueMeta({ 'opts.maxLenEvents': KEPT_EVENTS, ...(maxRunning && { concurrency: maxRunning }) })
    if (!maxRunning) await backend.removeQueueMetaFields(['concurrency'])
  }
  // Also a Redis that comes back without what it knew has to know the bound.
  redis.on('ready', () => void setBound().catch(failed))
  const work = async () => {
    while (!isClosing) {
      try {
        await setBound()
        // Ends as the worker closes, or rests: then it resumes by itself.
        await worker.run()
        return
      } catch (error) {
        failed(error)
        await sleep(REST_MS, undefined, { ref: false })
      }
    }
  }
  void work()

  const renewal = repeat(lockDurationMs / 3, async () => {
    worker.concurrency = runs.size + TAKEN_AHEAD
    await renewLocks(worker, runs, lockDurationMs).catch(failed)
  })

  return {
    all: runs.all,
    drop: runs.drop,
    async close() {
      isClosing = true
      // First the worker, which would take again what is handed back; without Redis it is not to wait for it.
      const closed = worker.close(redis.status !== 'ready').catch(failed)
      await runs.close()
      renewal.stop()
      await Promise.race([closed, sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
      redis.disconnect()
    },
  }
}

/** Work that is asked for while it is under way is done once more after it, however often it was asked for. */
function together(work: () => Promise<void>) {
  let state: 'idle' | 'busy' | 'busy, and asked again' = 'idle'
  return async () => {
    if (state !== 'idle') return void (state = 'busy, and asked again')
    try {
      do {
        state = 'busy'
        await work()
      } while ((state as string) !== 'busy')
    } finally {
      state = 'idle'
    }
  }
}
