import { connectRedis, type RedisSettings, unlessAway } from '../redis/connection.ts'
import type { Counter } from '../jobs/ports/counter.ts'

/** The window begins with the first count, and a key that lost its end gets one: none may count for ever. */
const COUNT = `
  local current = redis.call('INCR', KEYS[1])
  local ttl = redis.call('PTTL', KEYS[1])
  if ttl < 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    ttl = tonumber(ARGV[1])
  end
  return {current, ttl}`

/** `prefix`: what its keys begin with. */
export type RedisCounterOptions = Omit<RedisSettings, 'name'> & { readonly prefix: string }

/** Counts in Redis; a key goes with its window. */
export function createRedisCounter({ prefix, ...settings }: RedisCounterOptions): Counter {
  const redis = connectRedis({ ...settings, name: 'counters' })
  redis.defineCommand('countWithin', { numberOfKeys: 1, lua: COUNT })
  const { countWithin } = redis as unknown as { countWithin(key: string, windowMs: number): Promise<[number, number]> }
  return {
    async count(key, windowMs) {
      const [current, ttlMs] = await unlessAway(redis, () => countWithin.call(redis, `${prefix}:rate:${key}`, windowMs))
      return { current, ttlMs }
    },
    close() {
      redis.disconnect()
      return Promise.resolve()
    },
  }
}
