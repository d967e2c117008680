import { openRedisStore } from '../../src/store/redis/store.ts'
import { silentLog } from '../helpers/log.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { testContract } from '../contract/contract.ts'
import { deliveriesContract } from '../contract/deliveries.ts'
import { storeContract } from '../contract/store.ts'
import { usageContract } from '../contract/usage.ts'

describeWithRedis('with Redis', (redis) => {
  const open = () => openRedisStore({ url: redis.url(), prefix: redis.newPrefix(), log: silentLog() })
  testContract('Redis store', storeContract, open)
  testContract('Redis outbox', deliveriesContract, open)
  testContract('daily sums in Redis', usageContract, open)
})
