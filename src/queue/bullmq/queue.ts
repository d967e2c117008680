import { Queue } from 'bullmq'
import type { Channels } from '../../redis/channels.ts'
import { connectRedis, runBatch, runCommand } from '../../redis/connection.ts'
import { equalShares, type JobQueue, type Position, type QueueEntry, type ShareOf } from '../../jobs/ports/queue.ts'
import { createBatch, createPauseSwitch, createSerial, shareInFlight } from '../../lib/concurrency.ts'
import { createAdmission } from './admission.ts'
import { bullKeyOf, type EntryData } from './entries.ts'
import { createFairShares } from './fair.ts'
import { createCallerLimits } from './limits.ts'
import { QUEUE_NAME, type Runs, type RunsOptions, startRuns } from './runs.ts'

export type BullmqQueueOptions = Omit<
  RunsOptions,
  'run' | 'prefix' | 'prepare' | 'admit' | 'onFinished' | 'onDrained'
> & {
  /** The prefix of all keys. */
  readonly prefix: string
  readonly channels: Channels
  /** Entries that run at the same time, on all replicas together; undefined: all. The last replica to start decides. */
  readonly maxRunning?: number | undefined
  readonly shareOf?: ShareOf | undefined
  readonly restAfterMs?: number | undefined
  readonly turnCheckMs?: number | undefined
}

/** Entries added by one call, which sends them together. */
const MAX_ADDS = 100

/**
 * The queue of all replicas, in Redis by BullMQ; each replica runs what it can claim. `enqueue`, `dequeue` and
 * `position` reject with `store_unavailable` while Redis is unavailable. A position may be some moments old.
 */
export function createBullmqQueue(options: BullmqQueueOptions): JobQueue {
  const { channels, log, maxRunning, shareOf = equalShares } = options
  const redis = connectRedis({ url: options.url, name: 'queue', log })
  const prefix = `{${options.prefix}}`
  const queue = new Queue<EntryData>(QUEUE_NAME, {
    connection: redis,
    prefix,
    // Without these a queue that is created while Redis is unavailable rejects for ever:
    // https://docs.bullmq.io/patterns/failing-fast-when-redis-is-down
    skipWaitingForReady: true,
    skipVersionCheck: true,
  })
  // Errors of the connection, which logs them itself.
  queue.on('error', (error) => log.debug({ err: error }, 'the queue cannot reach Redis'))
  const common = { queue, redis, prefix, shareOf, log }
  const pause = createPauseSwitch()
  const fair = maxRunning ? createFairShares({ ...common, restAfterMs: options.restAfterMs }) : undefined
  const limits = createCallerLimits({ ...common, nextPriorities: fair?.next, checkMs: options.turnCheckMs })
  const admit = createAdmission({ redis, shareOf, fair, limits, isPaused: () => pause.isPaused })
  /** Another entry of the caller may now run. */
  const onLeft = (key: string, caller: string) => {
    if (shareOf(caller).maxRunning !== undefined) limits.left(caller, key)
  }
  const add = createBatch<QueueEntry, unknown>(async (added) => {
    const priorities = await fair?.tag(added)
    const entries = added.map((entry, n) => ({
      name: 'run',
      data: { caller: entry.caller, priority: entry.priority },
      opts: { jobId: bullKeyOf(entry), ...(priorities && { priority: priorities[n] ?? 0 }) },
    }))
    await runBatch(redis, () => queue.addBulk(entries))
    return []
  }, MAX_ADDS)
  /** Adds an entry at the head, as one that has started a run before. */
  const addFirst = async ({ caller, priority }: QueueEntry, jobId: string) => {
    const data = { caller, priority, hasCall: true }
    await runCommand(redis, () => queue.add('run', data, { jobId, lifo: true }))
  }
  /** By key: `add` waits for the end of the turn, and a dequeue must not overtake it. */
  const inOrder = createSerial()
  const positions = createPositions({
    readKeys: () => runCommand(redis, () => queue.getRanges(['waiting', 'prioritized', 'delayed'], 0, -1, true)),
  })
  let runs: Runs | undefined
  let closing: Promise<void> | undefined

  /** See https://docs.bullmq.io/guide/queues/global-concurrency. */
  const setBound = () =>
    runCommand(redis, () => (maxRunning ? queue.setGlobalConcurrency(maxRunning) : queue.removeGlobalConcurrency()))

  const pausedKey = `${prefix}:paused`
  /** Redis answers the commands of a connection in order: the last answer is the newest. */
  const readPaused = async () => {
    pause.set((await runCommand(redis, () => redis.exists(pausedKey))) === 1)
  }

  /** What has to be known before the first claim, and after an outage. */
  const prepare = async () => {
    await Promise.all([setBound(), readPaused()])
  }

  const unsubscribes = [
    channels.subscribe('drops', (key) => runs?.abort(key)),
    // Messages of a pause and a resume at the same time may arrive in the other order.
    channels.subscribe('pauses', (paused) => void readPaused().catch(() => pause.set(paused === 'true'))),
    channels.onGap(() => void readPaused().catch(() => undefined)),
  ]

  const closeAll = async () => {
    fair?.close()
    await runs?.close()
    await limits.close()
    for (const unsubscribe of unsubscribes) unsubscribe()
    await queue.close()
    redis.disconnect()
  }

  const enqueue = async (entry: QueueEntry) => {
    const key = bullKeyOf(entry)
    await inOrder(key, () => add(entry))
    // Without a bound an entry is claimed at once.
    if (maxRunning) positions.append(key)
  }

  return {
    start(run) {
      const onDrained = () => fair?.drained()
      runs = startRuns({ ...options, prefix, run, admit, prepare, onFinished: onLeft, onDrained })
      void fair?.recover()
      // A Redis that restarts without its data has lost the bound.
      redis.on('ready', () => {
        void fair?.recover()
        prepare().catch((error: unknown) =>
          log.debug({ event: 'queue_bound_not_set', err: error }, 'cannot set the bound of the queue'),
        )
      })
      return Promise.resolve()
    },
    enqueue,
    async resume(entry, { hasCall }) {
      const key = bullKeyOf(entry)
      if (hasCall) return inOrder(key, () => addFirst(entry, key))
      // A second add would change nothing, but costs more, and would count for the share of the caller.
      if (!(await runCommand(redis, () => queue.getJob(key)))) await enqueue(entry)
    },
    async dequeue(entry) {
      const key = bullKeyOf(entry)
      runs?.abort(key)
      const removed = await inOrder(key, () => runCommand(redis, () => queue.remove(key)))
      // A process has claimed it. A run that has not started yet will see that the attempt is finished.
      if (removed === 0) await channels.publish('drops', key)
      else {
        fair?.removed(entry.caller)
        onLeft(key, entry.caller)
      }
    },
    async setPaused(paused) {
      await runCommand<unknown>(redis, () => (paused ? redis.set(pausedKey, '1') : redis.del(pausedKey)))
      pause.set(paused)
      await channels.publish('pauses', String(paused))
      // Replicas claim at once what was put back: while entries are delayed, they would wait for 10 s.
      if (!paused) await runCommand(redis, () => queue.resume())
    },
    isPaused: () => pause.isPaused,
    whenNotPaused: pause.run,
    position: (entry) => positions.get(bullKeyOf(entry)),
    running: () => runs?.all().map(({ entry }) => entry) ?? [],
    close: () => (closing ??= closeAll()),
  }
}

/** An answer is reused for 20 times as long as its read took. */
const REUSE_FACTOR = 20
/** Longest use of an answer, in ms: a read also takes long when Redis was paused. */
const MAX_AGE_MS = 5_000

type PositionsOptions = {
  /** Reads the keys of all waiting entries, the next to run first. */
  readonly readKeys: () => Promise<readonly string[]>
  /** In ms. */
  readonly now?: () => number
}

type Positions = {
  /** A promise only if positions have to be read; it rejects as the read does. */
  get(key: string): Position | Promise<Position>
  /** Puts an entry that was just enqueued at the end, until the next read. */
  append(key: string): void
}

/**
 * Positions in a queue that BullMQ's getters can only read as a whole (https://docs.bullmq.io/guide/jobs/getters): with
 * 10,000 waiting entries that takes Redis 3 ms, with 100,000 80 ms. However many clients ask, there is one read at a time,
 * and the longer it took, the longer its answer is used: with more waiting entries positions are older.
 */
export function createPositions({ readKeys, now = () => performance.now() }: PositionsOptions): Positions {
  let positions = new Map<string, number>()
  let freshUntil = -Infinity
  /** Entries enqueued during the current read. */
  let appended: string[] | undefined

  const read = shareInFlight(async () => {
    const startedAt = now()
    const later: string[] = (appended = [])
    try {
      const keys = new Set([...(await readKeys()), ...later])
      positions = new Map([...keys].map((key, index) => [key, index + 1]))
      freshUntil = now() + Math.min(REUSE_FACTOR * (now() - startedAt), MAX_AGE_MS)
    } finally {
      appended = undefined
    }
  })

  return {
    get: (key) => (now() < freshUntil ? positions.get(key) : read().then(() => positions.get(key))),
    append(key) {
      if (appended) appended.push(key)
      else if (now() < freshUntil && !positions.has(key)) positions.set(key, positions.size + 1)
    },
  }
}
