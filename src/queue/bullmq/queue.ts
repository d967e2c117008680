import { Queue } from 'bullmq'
import type { Channels } from '../../redis/channels.ts'
import { connectRedis, runCommand } from '../../redis/connection.ts'
import { keyOfEntry, type JobQueue } from '../../jobs/ports/queue.ts'
import { createPositions } from './positions.ts'
import { QUEUE_NAME, type Runs, type RunsOptions, startRuns } from './runs.ts'

export type BullmqQueueOptions = Omit<RunsOptions, 'run' | 'prefix' | 'prepare'> & {
  /** What every key starts with. */
  readonly prefix: string
  readonly channels: Channels
  /** Entries that run at the same time, on all replicas together; undefined: all. The last replica to start decides. */
  readonly maxRunning?: number | undefined
}

/**
 * The queue of all replicas, in Redis by BullMQ; each replica runs what it can claim. `enqueue`, `dequeue` and
 * `position` reject with `store_unavailable` while Redis is unavailable. A position may be some moments old.
 */
export function createBullmqQueue(options: BullmqQueueOptions): JobQueue {
  const { channels, log, maxRunning } = options
  const redis = connectRedis({ url: options.url, name: 'queue', log })
  const prefix = `{${options.prefix}}`
  const queue = new Queue(QUEUE_NAME, {
    connection: redis,
    prefix,
    // Without these a queue that is created while Redis is unavailable rejects for ever:
    // https://docs.bullmq.io/patterns/failing-fast-when-redis-is-down
    skipWaitingForReady: true,
    skipVersionCheck: true,
  })
  // Errors of the connection, which logs them itself.
  queue.on('error', (error) => log.debug({ err: error }, 'the queue cannot reach Redis'))
  const positions = createPositions({
    readKeys: () => runCommand(redis, () => queue.getRanges(['waiting'], 0, -1, true)),
  })
  let runs: Runs | undefined
  let closing: Promise<void> | undefined

  /** See https://docs.bullmq.io/guide/queues/global-concurrency. */
  const setBound = () =>
    runCommand(redis, () => (maxRunning ? queue.setGlobalConcurrency(maxRunning) : queue.removeGlobalConcurrency()))

  const unsubscribe = channels.subscribe('drops', (key) => runs?.abort(key))

  const closeAll = async () => {
    await runs?.close()
    unsubscribe()
    await queue.close()
    redis.disconnect()
  }

  return {
    start(run) {
      runs = startRuns({ ...options, prefix, run, prepare: setBound })
      // A Redis that restarts without its data has forgotten the bound.
      redis.on('ready', () => {
        setBound().catch((error: unknown) => log.debug({ err: error }, 'cannot set the bound of the queue'))
      })
      return Promise.resolve()
    },
    async enqueue(entry) {
      const key = keyOfEntry(entry)
      await runCommand(redis, () => queue.add('run', {}, { jobId: key }))
      // Without a bound it is claimed at once.
      if (maxRunning) positions.append(key)
    },
    async dequeue(entry) {
      const key = keyOfEntry(entry)
      runs?.abort(key)
      const removed = await runCommand(redis, () => queue.remove(key))
      // It is claimed. A run that has yet to start, here or elsewhere, will find that the attempt is over.
      if (removed === 0) await channels.publish('drops', key)
    },
    position: (entry) => positions.get(keyOfEntry(entry)),
    running: () => runs?.all().map(({ entry }) => entry) ?? [],
    close: () => (closing ??= closeAll()),
  }
}
