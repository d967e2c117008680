import { createRedisBus } from '../../src/changes/bus.ts'
import { openChannels } from '../../src/redis/channels.ts'
import { silentLog } from '../helpers/log.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { testContract } from '../contract/contract.ts'
import { eventsContract } from '../contract/events.ts'

describeWithRedis('with Redis', (redis) => {
  testContract('Redis bus', eventsContract, async () => {
    const log = silentLog()
    const channels = await openChannels({ url: redis.url(), prefix: redis.newPrefix(), log })
    const bus = createRedisBus({ channels, log })
    const close = async () => {
      await bus.close()
      await channels.close()
    }
    return { ...bus, close }
  })
})
