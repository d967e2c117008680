import { Redis } from 'ioredis'
import { onTestFinished, test } from 'vitest'
import { createRedisStore, openRedisStore } from '../../src/store/redis/store.ts'
import { silentLog } from '../helpers/log.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { testContract } from '../contract/contract.ts'
import { batchesContract } from '../contract/batches.ts'
import { deliveriesContract } from '../contract/deliveries.ts'
import { expectExactSums } from '../helpers/usage.ts'
import { storeContract } from '../contract/store.ts'
import { reuseContract } from '../contract/reuse.ts'
import { usageContract } from '../contract/usage.ts'

describeWithRedis('with Redis', (redis) => {
  const open = () => openRedisStore({ url: redis.url(), prefix: redis.newPrefix(), log: silentLog() })
  testContract('Redis store', storeContract, open)
  testContract('Redis outbox', deliveriesContract, open)
  testContract('batches in Redis', batchesContract, open)
  testContract('daily sums in Redis', usageContract, open)
  testContract('reuse with jobs in Redis', reuseContract, open)

  test(
    'the sums of any lives of jobs are those of their attempts, with two replicas',
    { timeout: 60_000 },
    async () => {
      const connections = [new Redis(redis.url()), new Redis(redis.url())] as const
      onTestFinished(() => connections.forEach((connection) => connection.disconnect()))
      await expectExactSums(() => {
        const prefix = redis.newPrefix()
        const [a, b] = connections.map((connection) => createRedisStore(connection, { prefix, log: silentLog() }))
        return Promise.resolve([a!, b!])
      }, 40)
    },
  )
})
