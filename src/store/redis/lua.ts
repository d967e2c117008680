import type { Redis } from 'ioredis'
import { runCommand } from '../../redis/connection.ts'
import { SCHEMA, UnreadableRecord } from './records.ts'

/**
 * Each write is one script, so that it is visible as a whole or not at all. Redis rolls nothing back: a script reads and
 * checks all that it depends on before its first change. That first change is one that needs memory. Redis refuses it when
 * no memory is left, and then nothing has changed; it never refuses the later ones.
 */
const COMMON = `
local root, id = ARGV[1], ARGV[2]

-- The header of a record; nil if this release cannot read it.
local function job_of(record)
  local revision, status, created, deadline, finished, stop, caller, name =
    string.match(record, '^${SCHEMA} (%d+) (%a+) (%d+) (%d+) (%S+) (%d) (%S+) (%S+)\\n')
  return revision and { revision = revision, status = status, created = created, deadline = deadline,
    finished = finished, stop = stop, caller = caller, name = name }
end
local function delivery_of(record)
  local revision, due = string.match(record, '^${SCHEMA} (%d+) (%S+)\\n')
  return revision and { revision = revision, due = due ~= '-' and due or nil }
end
local function stored_head(key)
  return redis.call('GETRANGE', key, 0, 255)
end
local function count_pending(deliveries)
  return tonumber(redis.call('HGET', deliveries, 'pending') or '0')
end

-- The limit that one more unfinished job would exceed; nil if there is none.
local function limit_reached(job, max_submitted, max_active)
  local function count(index) return redis.call('ZCARD', root .. index) end
  if max_submitted and count('status:submitted') >= max_submitted then return 'full' end
  local own = 'caller:' .. job.caller .. ':'
  if max_active and count(own .. 'submitted') + count(own .. 'running') >= max_active then return 'caller-full' end
end

-- The indexes that a job is in, and its position in each.
local function positions_of(job, pending)
  local created = job.created .. ':' .. id
  local positions = { ['status:' .. job.status] = created, ['caller:' .. job.caller .. ':' .. job.status] = created }
  if job.stop == '1' then positions['stopping'] = created end
  if job.finished == '-' then
    positions['deadlines'] = job.deadline .. ':' .. id
  elseif job.stop == '0' and pending == 0 then
    positions['ended'] = job.finished .. ':' .. id
  end
  return positions
end
local function move(before, after)
  for index, position in pairs(after) do
    if before[index] ~= position then redis.call('ZADD', root .. index, 0, position) end
  end
  for index, position in pairs(before) do
    if after[index] ~= position then redis.call('ZREM', root .. index, position) end
  end
end
local function move_due(before, after)
  if before == after then return end
  if after then redis.call('ZADD', root .. 'due', 0, after) end
  if before then redis.call('ZREM', root .. 'due', before) end
end
`

/** KEYS: the job. ARGV: root, id, record, maximum of submitted jobs, maximum of the caller's unfinished jobs. */
const INSERT = `${COMMON}
local record = ARGV[3]
local job = job_of(record)
local key = job.name ~= '-' and root .. 'idempotency:' .. job.name
local known = key and redis.call('GET', key)
local existing = known and redis.call('GET', root .. 'job:' .. known)
if existing then return { 'existing', known, existing } end
if redis.call('EXISTS', KEYS[1]) == 1 then return { 'taken' } end
local full = limit_reached(job, tonumber(ARGV[4]), tonumber(ARGV[5]))
if full then return { full } end
redis.call('SET', KEYS[1], record)
if key then redis.call('SET', key, id) end
move({}, positions_of(job, 0))
return { 'inserted' }
`

/** KEYS: the job. ARGV: root, id, expected revision, record; with a delivery also its number, record and body. */
const UPDATE = `${COMMON}
local expected, record, number, delivery, body = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local stored = stored_head(KEYS[1])
if stored == '' then return 'stale' end
local before, after = job_of(stored), job_of(record)
if not before then return 'unreadable' end
if before.revision ~= expected then return 'stale' end
local deliveries = root .. 'deliveries:' .. id
if number and redis.call('HEXISTS', deliveries, number) == 1 then return 'taken' end
local pending = count_pending(deliveries)
local positions = positions_of(before, pending)
redis.call('SET', KEYS[1], record)
if number then
  local due = delivery_of(delivery).due
  if due then pending = pending + 1 end
  redis.call('HSET', deliveries, number, delivery, number .. ':body', body, 'pending', pending)
  move_due(nil, due)
end
move(positions, positions_of(after, pending))
return 'done'
`

/** KEYS: the job. ARGV: root, id, expected revision, record, and the limits as for `INSERT`. */
const REOPEN = `${COMMON}
local stored, after = stored_head(KEYS[1]), job_of(ARGV[4])
if stored == '' then return 'stale' end
local before = job_of(stored)
if not before then return 'unreadable' end
if before.revision ~= ARGV[3] then return 'stale' end
local full = limit_reached(after, tonumber(ARGV[5]), tonumber(ARGV[6]))
if full then return full end
local pending = count_pending(root .. 'deliveries:' .. id)
redis.call('SET', KEYS[1], ARGV[4])
move(positions_of(before, pending), positions_of(after, pending))
return 'done'
`

/** KEYS: the job. ARGV: root, id, expected revision. */
const REMOVE = `${COMMON}
local stored = stored_head(KEYS[1])
if stored == '' then return 'stale' end
local job = job_of(stored)
if not job then return 'unreadable' end
if job.revision ~= ARGV[3] then return 'stale' end
local deliveries = root .. 'deliveries:' .. id
local pending, dues = count_pending(deliveries), {}
if pending > 0 then
  for _, field in ipairs(redis.call('HKEYS', deliveries)) do
    if string.find(field, '^%d+$') then
      local delivery = delivery_of(redis.call('HGET', deliveries, field))
      if not delivery then return 'unreadable' end
      if delivery.due then dues[#dues + 1] = delivery.due end
    end
  end
end
redis.call('DEL', KEYS[1], deliveries)
if job.name ~= '-' then redis.call('DEL', root .. 'idempotency:' .. job.name) end
for _, due in ipairs(dues) do move_due(due, nil) end
move(positions_of(job, pending), {})
return 'done'
`

/** KEYS: the deliveries of a job. ARGV: root, id of the job, number, expected revision, record. */
const UPDATE_DELIVERY = `${COMMON}
local number, expected, record = ARGV[3], ARGV[4], ARGV[5]
local stored, head = redis.call('HGET', KEYS[1], number), stored_head(root .. 'job:' .. id)
if not stored or head == '' then return 'stale' end
local before, after, job = delivery_of(stored), delivery_of(record), job_of(head)
if not before or not job then return 'unreadable' end
if before.revision ~= expected then return 'stale' end
local pending = count_pending(KEYS[1])
local remaining = pending - (before.due and 1 or 0) + (after.due and 1 or 0)
redis.call('HSET', KEYS[1], number, record, 'pending', remaining)
move_due(before.due, after.due)
move(positions_of(job, pending), positions_of(job, remaining))
return 'done'
`

/**
 * KEYS: indexes. ARGV: root, `REV` or nothing, first bound, last bound, limit. Returns the positions of a page and their
 * records, as of one moment. A command in a script takes only some thousand keys, hence `MGET` in parts. All positions have
 * the same form, so that Lua, which compares by locale, orders them as Redis does.
 */
const PAGE = `
local root, order, first, last, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local ranges = {}
for n, index in ipairs(KEYS) do
  if order == 'REV' then
    ranges[n] = redis.call('ZRANGE', index, first, last, 'BYLEX', 'REV', 'LIMIT', 0, limit)
  else
    ranges[n] = redis.call('ZRANGE', index, first, last, 'BYLEX', 'LIMIT', 0, limit)
  end
  ranges[n].next = 1
end
local positions, keys = {}, {}
while #positions < limit do
  local best
  for _, range in ipairs(ranges) do
    if range[range.next] and (not best or range[range.next] > best[best.next]) then best = range end
  end
  if not best then break end
  positions[#positions + 1] = best[best.next]
  keys[#keys + 1] = root .. 'job:' .. string.sub(best[best.next], 17)
  best.next = best.next + 1
end
local records = {}
for n = 1, #keys, 1000 do
  -- False stands for a record that was removed.
  for i, record in ipairs(redis.call('MGET', unpack(keys, n, math.min(n + 999, #keys)))) do
    records[n + i - 1] = record
  end
end
return { positions, records }
`

/** `keys` becomes KEYS of the script, `parameters` ARGV. */
type Script<Answer> = (keys: readonly string[], parameters: readonly (string | number)[]) => Promise<Answer>

/** `stale`: the revision is another one. `taken`: the delivery's number exists. `unreadable`: a record that it depends on. */
type WriteAnswer = 'done' | 'stale' | 'taken' | 'unreadable'

/** Each is one round trip, and rejects with `store_unavailable` while Redis is unavailable. */
export type Scripts = {
  /** After `existing`: the id and the record of that job. */
  readonly insert: Script<['inserted' | 'taken' | 'full' | 'caller-full'] | ['existing', string, string]>
  readonly update: Script<WriteAnswer>
  readonly reopen: Script<WriteAnswer | 'full' | 'caller-full'>
  readonly remove: Script<WriteAnswer>
  readonly updateDelivery: Script<WriteAnswer>
  readonly page: Script<[positions: string[], records: (string | null)[]]>
}

/** The scripts on a connection. Each is sent by its digest, and in full only if Redis does not know it. */
export function createScripts(redis: Redis): Scripts {
  const define = <Answer>(name: string, lua: string): Script<Answer> => {
    redis.defineCommand(name, { lua })
    const command = (redis as unknown as Record<string, (...args: unknown[]) => Promise<Answer>>)[name]
    if (!command) throw new Error(`the command ${name} is not defined`)
    return (keys, parameters) => runCommand(redis, () => command.call(redis, keys.length, ...keys, ...parameters))
  }
  return {
    insert: define('storeInsert', INSERT),
    update: define('storeUpdate', UPDATE),
    reopen: define('storeReopen', REOPEN),
    remove: define('storeRemove', REMOVE),
    updateDelivery: define('storeUpdateDelivery', UPDATE_DELIVERY),
    page: define('storePage', PAGE),
  }
}

/** Whether a write was made: false if the stored revision is another one. Throws for the other answers. */
export function isDone(answer: WriteAnswer): boolean {
  if (answer === 'unreadable') throw new UnreadableRecord('a record that a write depends on cannot be read')
  if (answer === 'taken') throw new Error('a delivery of this number exists already')
  return answer === 'done'
}
