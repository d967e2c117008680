import { openRedisStore } from '../../src/store/redis/store.ts'
import { silentLog } from '../helpers/log.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { testContract } from './contract.ts'
import { deliveriesContract } from './deliveries.ts'
import { storeContract } from './store.ts'

describeWithRedis('with Redis', (redis) => {
  const open = () => openRedisStore({ url: redis.url(), prefix: redis.newPrefix(), log: silentLog() })
  testContract('Redis store', storeContract, open)
  testContract('Redis outbox', deliveriesContract, open)
})
