import { createBullmqQueue } from '../../src/queue/bullmq/queue.ts'
import { openChannels } from '../../src/redis/channels.ts'
import { silentLog } from './log.ts'

// A replica's queue in a process of its own, whose runs never finish by themselves. It sends the entry of each start.
export type QueueProcessOptions = {
  readonly url: string
  readonly prefix: string
  readonly lockDurationMs: number
  readonly stalledIntervalMs: number
}

const options = JSON.parse(process.argv[2] ?? '') as QueueProcessOptions
const log = silentLog()
const queue = createBullmqQueue({ ...options, log, channels: await openChannels({ ...options, log }) })
await queue.start(async (entry, signal) => {
  process.send?.(entry)
  await new Promise((resolve) => signal.addEventListener('abort', resolve))
})
process.once('disconnect', () => process.exit())
