import { connectRedis, type RedisSettings, runCommand } from '../redis/connection.ts'
import type { Counter } from '../jobs/ports/access.ts'

/**
 * The window starts with the first count, and is prolonged as `Charge` says. A key without an expiry gets one: otherwise it
 * would count for ever.
 */
const COUNT_SCRIPT = `
  local window, amount, max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
  local current = redis.call('INCRBY', KEYS[1], amount)
  local ttl = redis.call('PTTL', KEYS[1])
  local left = ttl < 0 and window or ttl
  if max then
    local excess = math.max(0, current - max) - math.max(0, current - amount - max)
    left = left + math.ceil(window * excess / max)
  end
  if left ~= ttl then redis.call('PEXPIRE', KEYS[1], left) end
  return {current, left}`

/** `prefix`: the prefix of all keys. */
type RedisCounterOptions = Omit<RedisSettings, 'name'> & { readonly prefix: string }

/** Counts in Redis; a key expires with its window. */
export function createRedisCounter({ prefix, ...settings }: RedisCounterOptions): Counter {
  const redis = connectRedis({ ...settings, name: 'counters' })
  redis.defineCommand('countWithin', { numberOfKeys: 1, lua: COUNT_SCRIPT })
  const { countWithin } = redis as unknown as {
    countWithin(key: string, windowMs: number, amount: number, max: number | string): Promise<[number, number]>
  }
  return {
    async count(key, windowMs, { amount, max = '' } = { amount: 1 }) {
      const name = `${prefix}:rate:${key}`
      const [current, ttlMs] = await runCommand(redis, () => countWithin.call(redis, name, windowMs, amount, max))
      return { current, ttlMs }
    },
    close() {
      redis.disconnect()
      return Promise.resolve()
    },
  }
}
