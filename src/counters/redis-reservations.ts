import type { Reservations } from '../jobs/ports/access.ts'
import { connectRedis, type RedisSettings, runCommand } from '../redis/connection.ts'

/** A sorted set for each caller: a member is an id and its bytes, its score the expiry. The key expires with the last. */
const RESERVE_SCRIPT = `
  local key, id, added, expires, now = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  local members, bytes = redis.call('ZRANGE', key, 0, -1), added
  for _, member in ipairs(members) do bytes = bytes + tonumber(string.match(member, ' (%d+)$')) end
  if #members >= tonumber(ARGV[5]) or bytes > tonumber(ARGV[6]) then return 0 end
  redis.call('ZADD', key, expires, id .. ' ' .. ARGV[2])
  redis.call('PEXPIREAT', key, redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  return 1`

const RELEASE_SCRIPT = `
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.sub(member, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then redis.call('ZREM', KEYS[1], member) end
  end`

type Commands = {
  reserveWithin(key: string, ...parameters: (string | number)[]): Promise<number>
  releaseReserved(key: string, id: string): Promise<unknown>
}

/** `prefix`: the prefix of all keys. */
export type RedisReservationsOptions = Omit<RedisSettings, 'name'> & { readonly prefix: string }

/** Reservations in Redis, of all replicas. */
export function createRedisReservations({ prefix, ...settings }: RedisReservationsOptions): Reservations {
  const redis = connectRedis({ ...settings, name: 'reservations' })
  redis.defineCommand('reserveWithin', { numberOfKeys: 1, lua: RESERVE_SCRIPT })
  redis.defineCommand('releaseReserved', { numberOfKeys: 1, lua: RELEASE_SCRIPT })
  const commands = redis as unknown as Commands
  const keyOf = (caller: string) => `${prefix}:uploads:${caller}`
  return {
    async reserve(caller, { id, bytes, expiresAt }, limits, now) {
      const parameters = [id, bytes, expiresAt, now, limits.count, limits.bytes]
      return (await runCommand(redis, () => commands.reserveWithin(keyOf(caller), ...parameters))) === 1
    },
    async release(caller, id) {
      await runCommand(redis, () => commands.releaseReserved(keyOf(caller), id))
    },
    close() {
      redis.disconnect()
      return Promise.resolve()
    },
  }
}
