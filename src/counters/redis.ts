import { connectRedis, type RedisSettings, runCommand } from '../redis/connection.ts'
import type { Counter } from '../jobs/ports/access.ts'

/** The window starts with the first count. A key without an expiry gets one: otherwise it would count for ever. */
const COUNT_SCRIPT = `
  local current = redis.call('INCR', KEYS[1])
  local ttl = redis.call('PTTL', KEYS[1])
  if ttl < 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    ttl = tonumber(ARGV[1])
  end
  return {current, ttl}`

/** `prefix`: the prefix of all keys. */
type RedisCounterOptions = Omit<RedisSettings, 'name'> & { readonly prefix: string }

/** Counts in Redis; a key expires with its window. */
export function createRedisCounter({ prefix, ...settings }: RedisCounterOptions): Counter {
  const redis = connectRedis({ ...settings, name: 'counters' })
  redis.defineCommand('countWithin', { numberOfKeys: 1, lua: COUNT_SCRIPT })
  const { countWithin } = redis as unknown as { countWithin(key: string, windowMs: number): Promise<[number, number]> }
  return {
    async count(key, windowMs) {
      const [current, ttlMs] = await runCommand(redis, () => countWithin.call(redis, `${prefix}:rate:${key}`, windowMs))
      return { current, ttlMs }
    },
    close() {
      redis.disconnect()
      return Promise.resolve()
    },
  }
}
