import type { Redis } from 'ioredis'
import type { Job } from '../../jobs/job.ts'
import { createUnreadableLog, type Log } from '../../jobs/log.ts'
import { runCommand } from '../../redis/connection.ts'
import { defineScript, JOB_HEADER } from './lua.ts'
import { idAt, jobOf, UnreadableRecord } from './records.ts'

/** Positions read at once of an index that is intersected with others: each jumps to where the others are. */
const INTERSECTED_PAGE = 16
/** Jumps in one run of a script: more would block Redis for too long. */
const JUMPS_AT_ONCE = 500

/**
 * KEYS: indexes, group by group. ARGV: root, `REV` or nothing, first bound, last bound, limit, the sizes of the groups.
 * Returns the positions that are in one index of each group, up to the limit, their records as of one moment, and the
 * bound from which to read on; nothing at the end. A command in a script takes only some thousand keys, hence `MGET` in
 * parts. All positions have the same form, so that Lua, which compares by locale, orders them as Redis does.
 */
const PAGE = `
local root, order, first, last, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local groups, key = {}, 1
for size in string.gmatch(ARGV[6], '%d+') do
  local group = {}
  for n = 1, tonumber(size) do
    group[n] = { index = KEYS[key], page = {}, next = 1 }
    key = key + 1
  end
  groups[#groups + 1] = group
end
local size = #groups == 1 and limit or ${INTERSECTED_PAGE}
local at, included = nil, false

local function is_before(a, b)
  if order == 'REV' then return a > b end
  return a < b
end
-- The first position of an index from the current bound, which only moves forward.
local function head_of(index)
  while true do
    local position = index.page[index.next]
    if position then
      if not at or is_before(at, position) or (included and at == position) then return position end
      index.next = index.next + 1
    elseif index.is_last then
      return nil
    elseif order == 'REV' then
      index.page = redis.call('ZRANGE', index.index, first, last, 'BYLEX', 'REV', 'LIMIT', 0, size)
    else
      index.page = redis.call('ZRANGE', index.index, first, last, 'BYLEX', 'LIMIT', 0, size)
    end
    if not position then index.next, index.is_last = 1, #index.page < size end
  end
end
-- The first position of a union, and that of all unions which is furthest; nil at the end of one.
local function head_of_group(group)
  local first_of
  for _, index in ipairs(group) do
    local position = head_of(index)
    if position and (not first_of or is_before(position, first_of)) then first_of = position end
  end
  return first_of
end
local function furthest_of_groups()
  local furthest, is_in_all = nil, true
  for n, group in ipairs(groups) do
    local position = head_of_group(group)
    if not position then return nil end
    if n > 1 and position ~= furthest then is_in_all = false end
    if not furthest or is_before(furthest, position) then furthest = position end
  end
  return furthest, is_in_all
end

local positions, keys, jumps = {}, {}, 0
while #positions < limit and jumps < ${JUMPS_AT_ONCE} do
  local position, is_in_all = furthest_of_groups()
  if not position then
    first = ''
    break
  end
  at, included = position, not is_in_all
  first = (included and '[' or '(') .. position
  if is_in_all then
    positions[#positions + 1] = position
    keys[#keys + 1] = root .. 'job:' .. string.sub(position, 17)
  else
    jumps = jumps + 1
  end
end
local records = {}
for n = 1, #keys, 1000 do
  -- False stands for a record that was removed.
  for i, record in ipairs(redis.call('MGET', unpack(keys, n, math.min(n + 999, #keys)))) do
    records[n + i - 1] = record
  end
end
return { positions, records, first }
`

/** As `PAGE`, for the jobs of one index whose records have no labels. KEYS: the index. ARGV: root, first bound. */
const UNLABELED = `
local root = ARGV[1]
${JOB_HEADER}
local positions, records = {}, {}
local page = redis.call('ZRANGE', KEYS[1], ARGV[2], '+', 'BYLEX', 'LIMIT', 0, 500)
for _, position in ipairs(page) do
  local key = root .. 'job:' .. string.sub(position, 17)
  local job = job_of(stored_head(key))
  if job and job.labels == '' then
    positions[#positions + 1] = position
    records[#records + 1] = redis.call('GET', key)
  end
end
return { positions, records, #page == 500 and '(' .. page[500] or '' }
`

type PageAnswer = [positions: string[], records: (string | null)[], next: string]
type UnlabeledAnswer = PageAnswer

/** Jobs or deliveries read at once: a compromise between speed and the time for which Redis is blocked. */
export const PAGE_SIZE = 200

/**
 * Jobs that are in one index of each group, between two `BYLEX` bounds. With `newestFirst` the higher bound is the first.
 */
export type Range = {
  readonly groups: readonly (readonly string[])[]
  readonly first: string
  readonly last: string
  readonly newestFirst?: boolean
}

/** Reads jobs along indexes. A record that this release cannot read is skipped and logged once. */
export type Pages = {
  /** The first `limit` jobs of a range, as of one moment. */
  read(range: Range, limit: number): Promise<Job[]>
  /** All jobs of a range, page by page: one that changes meanwhile is neither missed nor listed twice. */
  walk(range: Range): AsyncIterable<Job>
  /** The jobs of an index whose records have no labels. */
  unlabeled(index: string): AsyncIterable<Job>
}

export function createPages(redis: Redis, { root, log }: { root: string; log: Log }): Pages {
  const page = defineScript<PageAnswer>(redis, 'storePage', PAGE)
  const unlabeled = defineScript<UnlabeledAnswer>(redis, 'storeUnlabeled', UNLABELED)
  const logUnreadable = createUnreadableLog(log)

  /** The job at a position, or none if it cannot be read. */
  const parse = (position: string, record: string | null): Job[] => {
    try {
      return [jobOf(record)]
    } catch (error) {
      if (!(error instanceof UnreadableRecord)) throw error
      logUnreadable(idAt(position), error.reason)
      return []
    }
  }

  async function* pages({ groups, newestFirst, last, ...range }: Range, limit: () => number): AsyncIterable<Job[]> {
    const [indexes, sizes] = [groups.flat(), groups.map((group) => group.length).join(' ')]
    for (let { first } = range; first !== '';) {
      const parameters = [root, newestFirst ? 'REV' : '', first, last, limit(), sizes]
      const [positions, records, next] = await runCommand(redis, () => page(indexes.length, ...indexes, ...parameters))
      yield positions.flatMap((position, n) => parse(position, records[n] ?? null))
      first = next
    }
  }

  return {
    async read(range, limit) {
      const jobs: Job[] = []
      // Reads again where a record was skipped, and where the script has read enough for one run.
      for await (const some of pages(range, () => limit - jobs.length)) if (jobs.push(...some) >= limit) break
      return jobs
    },
    async *walk(range) {
      for await (const some of pages(range, () => PAGE_SIZE)) yield* some
    },
    async *unlabeled(index) {
      for (let first = '-'; ;) {
        const [positions, records, next] = await runCommand(redis, () => unlabeled(1, index, root, first))
        yield* positions.flatMap((position, n) => parse(position, records[n] ?? null))
        if (next === '') return
        first = next
      }
    },
  }
}
