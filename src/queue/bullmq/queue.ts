import { Queue } from 'bullmq'
import type { Channels } from '../../redis-channels.ts'
import { connectRedis, unlessAway } from '../../redis.ts'
import { QUEUE_NAME, type Runs, type RunsOptions, startRuns } from './runs.ts'
import { keyOf } from './held-runs.ts'
import type { JobQueue } from '../port.ts'

export type BullmqQueueOptions = Omit<RunsOptions, 'run' | 'prefix'> & {
  /** What every key begins with. */
  readonly prefix: string
  readonly channels: Channels
}

/**
 * The line of all replicas, in Redis by BullMQ; every replica runs what it can get hold of. Entries wait in BullMQ's
 * sorted set of prioritized jobs, all of one priority: there a place is found, and left, in the time of one look-up.
 * `add`, `drop` and `position` reject with `StoreUnavailable` while Redis is away.
 */
export function createBullmqQueue(options: BullmqQueueOptions): JobQueue {
  const { channels, log } = options
  const redis = connectRedis({ url: options.url, name: 'queue', log })
  const prefix = `{${options.prefix}}`
  // Without the checks nothing is waited for, and no failure of the first connection is remembered.
  const unchecked = { skipWaitingForReady: true, skipVersionCheck: true, skipMetasUpdate: true }
  const queue = new Queue(QUEUE_NAME, { connection: redis, prefix, ...unchecked })
  // Those of the connection, which tells of them itself.
  queue.on('error', (error) => log.debug({ err: error }, 'the queue cannot reach Redis'))
  let runs: Runs | undefined
  let closing: Promise<void> | undefined

  /** The token of whoever holds the entry; undefined where it was taken out. */
  const takeOut = async (key: string): Promise<string | undefined> => {
    for (;;) {
      if ((await queue.remove(key)) !== 0) return undefined
      const token = await redis.get(queue.toKey(`${key}:lock`))
      if (token !== null) return token
    }
  }

  const stopListening = channels.listen('drops', (message) => {
    const [key = '', token = ''] = message.split(' ')
    runs?.drop(key, token)
  })

  const closeAll = async () => {
    await runs?.close()
    stopListening()
    await queue.close()
    redis.disconnect()
  }

  return {
    start(run) {
      runs = startRuns({ ...options, prefix, run })
      return Promise.resolve()
    },
    async enqueue(entry) {
      await unlessAway(redis, () => queue.add('run', {}, { jobId: keyOf(entry), priority: 1 }))
    },
    async dequeue(entry) {
      const key = keyOf(entry)
      runs?.drop(key)
      const token = await unlessAway(redis, () => takeOut(key))
      if (token !== undefined) await channels.publish('drops', `${key} ${token}`)
    },
    async position(entry) {
      const key = keyOf(entry)
      const line = redis
        .multi()
        .zrank(queue.toKey('prioritized'), key)
        .llen(queue.toKey('wait'))
        // Those that a replica has left behind; the last of the list is the next.
        .lpos(queue.toKey('wait'), key, 'RANK', -1)
      const [[, rank], [, returned], [, index]] = (await unlessAway(redis, () => line.exec())) as Replies
      if (index !== null) return returned - index
      return rank === null ? undefined : returned + rank + 1
    },
    running: () => runs?.all().map(({ entry }) => entry) ?? [],
    close: () => (closing ??= closeAll()),
  }
}

type Replies = [
  rank: [Error | null, number | null],
  returned: [Error | null, number],
  index: [Error | null, number | null],
]
