import { createBullmqQueue } from '../../src/queue/bullmq/queue.ts'
import type { ShareOf } from '../../src/jobs/ports/queue.ts'
import { openChannels } from '../../src/redis/channels.ts'
import { silentLog } from '../helpers/log.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { testContract } from '../contract/contract.ts'
import { boundedQueueContract, fairQueueContract, queueContract, SHARES } from '../contract/queue.ts'

describeWithRedis('with Redis', (redis) => {
  const open = async (maxRunning?: number, shareOf?: ShareOf) => {
    const settings = { url: redis.url(), prefix: redis.newPrefix(), log: silentLog() }
    const channels = await openChannels(settings)
    const queue = createBullmqQueue({ ...settings, channels, maxRunning, shareOf })
    const close = async () => {
      await queue.close()
      await channels.close()
    }
    return { ...queue, close }
  }
  testContract('BullMQ queue', queueContract, () => open())
  testContract('BullMQ queue, bounded', boundedQueueContract, () => open(1))
  testContract('BullMQ queue, shared by callers', fairQueueContract, () =>
    open(3, (caller) => SHARES[caller] ?? { weight: 1 }),
  )
})
