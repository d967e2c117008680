import type { Redis } from 'ioredis'
import type { UsageStore } from '../../jobs/ports/store.ts'
import {
  OUTCOME_DIMENSION,
  SAMPLES_KEPT,
  type UsageRecord,
  type UsageRow,
  VALUES_PER_DAY,
  VALUES_PER_DIMENSION,
} from '../../jobs/usage.ts'
import { runCommand } from '../../redis/connection.ts'
import { digestOf, type Keys } from './records.ts'

/** Sums read at once: more would block Redis for too long. */
const CALLERS_AT_ONCE = 200

/** Part of the script of a job's update, which calls it with what `usageArgument` makes. */
export const ADD_USAGE = `
-- Adds an attempt to the sums, last of all: an error, of a sum beyond 64 bits, must not undo the others.
local function add_usage(usage)
  local day = root .. 'usage:' .. usage.day
  local counts = day .. ':' .. usage.digest
  local function count(field) return tonumber(redis.pcall('HGET', counts, field)) or 0 end
  redis.pcall('ZADD', root .. 'usage', 0, usage.day)
  redis.pcall('SADD', day, usage.caller)
  for _, group in ipairs(usage.groups) do
    local sums = counts .. ':' .. group.dimension
    local is_known = redis.pcall('HEXISTS', sums, 'attempts ' .. group.field) == 1
    local has_room = count(group.dimension) < ${VALUES_PER_DIMENSION} and count('values') < ${VALUES_PER_DAY}
    if is_known or has_room or not group.limited then
      if not is_known then
        redis.pcall('HINCRBY', counts, group.dimension, 1)
        redis.pcall('HINCRBY', counts, 'values', 1)
      end
      for name, amount in pairs(usage.amounts) do redis.pcall('HINCRBY', sums, name .. ' ' .. group.field, amount) end
    end
  end
  if usage.sample then
    local samples = root .. 'runs:' .. usage.sample.version
    redis.pcall('LPUSH', samples, usage.sample.msPerSecond)
    redis.pcall('LTRIM', samples, 0, ${SAMPLES_KEPT - 1})
  end
end
`

const SUMS = ['jobs', 'attempts', 'queuedMs', 'startupMs', 'runMs', 'nanos'] as const

/** What an attempt adds to a caller's sums of a day, for the script. `field`: the group, as JSON of value and currency. */
export function usageArgument({ day, caller, groups, currency, sample, ...record }: UsageRecord): string {
  const amounts = SUMS.filter((name) => record[name] > 0).map((name) => [name, String(record[name])] as const)
  return JSON.stringify({
    day,
    caller,
    digest: digestOf(caller),
    currency,
    amounts: Object.fromEntries(amounts),
    groups: groups.map(({ dimension, value }) => ({
      dimension,
      field: JSON.stringify([value, currency]),
      limited: dimension !== OUTCOME_DIMENSION,
    })),
    sample,
  })
}

/** Where a hash of sums stands. */
type UsageHash = { readonly day: string; readonly caller: string; readonly dimension: string }

/** The rows in a hash of sums. */
export function usageRowsOf(hash: Readonly<Record<string, string>>, place: UsageHash): UsageRow[] {
  const groups = Object.keys(hash).flatMap((field) => (field.startsWith('attempts ') ? field.slice(9) : []))
  return groups.map((group) => {
    const [value = '', currency = ''] = JSON.parse(group) as string[]
    const sumOf = (name: (typeof SUMS)[number]) => Number(hash[`${name} ${group}`] ?? 0)
    const [jobs, attempts, queuedMs] = [sumOf('jobs'), sumOf('attempts'), sumOf('queuedMs')]
    const [startupMs, runMs, nanos] = [sumOf('startupMs'), sumOf('runMs'), BigInt(hash[`nanos ${group}`] ?? 0)]
    return { ...place, value, currency, jobs, attempts, queuedMs, startupMs, runMs, nanos }
  })
}

/** Daily sums beside the jobs. The script of a job's update adds to them. */
export function createUsage(redis: Redis, keys: Keys): UsageStore {
  const callersOf = (day: string) => runCommand(redis, () => redis.smembers(keys.usageCallers(day)))

  const removeDay = async (day: string) => {
    for (const caller of await callersOf(day)) {
      const dimensions = await runCommand(redis, () => redis.hkeys(keys.usageDimensions(day, caller)))
      const sums = dimensions.map((dimension) => keys.usage(day, caller, dimension))
      await runCommand(redis, () => redis.unlink(...sums, keys.usageDimensions(day, caller)))
    }
    // Last: a removal that is cut off is made good by the next one.
    await runCommand(redis, () => redis.unlink(keys.usageCallers(day)))
    await runCommand(redis, () => redis.zrem(keys.usageDays, day))
  }

  const rowsOf = async (place: { day: string; caller: string; dimension: string }) => {
    const key = keys.usage(place.day, place.caller, place.dimension)
    return usageRowsOf(await runCommand(redis, () => redis.hgetall(key)), place)
  }

  return {
    async usageOn(day, { dimension, caller }) {
      const callers = caller === undefined ? await callersOf(day) : [caller]
      const rows: UsageRow[] = []
      for (let n = 0; n < callers.length; n += CALLERS_AT_ONCE) {
        const some = callers.slice(n, n + CALLERS_AT_ONCE).map((one) => rowsOf({ day, caller: one, dimension }))
        rows.push(...(await Promise.all(some)).flat())
      }
      return rows
    },
    async removeUsage(day) {
      const days = await runCommand(redis, () => redis.zrange(keys.usageDays, '-', `(${day}`, 'BYLEX'))
      for (const old of days) await removeDay(old)
    },
    async recentRuns(version) {
      return (await runCommand(redis, () => redis.lrange(keys.runs(version), 0, -1))).map(Number)
    },
  }
}
