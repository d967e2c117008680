import type { Redis } from 'ioredis'
import { runCommand } from '../../redis/connection.ts'
import { SCHEMA, UnreadableRecord } from './records.ts'

/**
 * Every write is one of these, so that nothing of it is seen before all of it is, and looks at all it depends on before
 * the first change: Redis undoes nothing. That first change is one that needs memory: Redis refuses it when it has
 * none left, and then nothing is done; what follows it is never refused.
 */
const COMMON = `
local root, id = ARGV[1], ARGV[2]

-- What the first line of a record says; nil where this release must not touch it.
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

-- Which limit leaves no room for one more unfinished job; nil where none does.
local function limit_reached(job, max_submitted, max_active)
  local function count(line) return redis.call('ZCARD', root .. line) end
  if max_submitted and count('status:submitted') >= max_submitted then return 'full' end
  local own = 'caller:' .. job.caller .. ':'
  if max_active and count(own .. 'submitted') + count(own .. 'running') >= max_active then return 'caller-full' end
end

-- The lines that a job stands in, and its place in each.
local function places_of(job, pending)
  local place = job.created .. ':' .. id
  local places = { ['status:' .. job.status] = place, ['caller:' .. job.caller .. ':' .. job.status] = place }
  if job.stop == '1' then places['stopping'] = place end
  if job.finished == '-' then
    places['deadlines'] = job.deadline .. ':' .. id
  elseif job.stop == '0' and pending == 0 then
    places['ended'] = job.finished .. ':' .. id
  end
  return places
end
local function move(before, after)
  for line, place in pairs(after) do
    if before[line] ~= place then redis.call('ZADD', root .. line, 0, place) end
  end
  for line, place in pairs(before) do
    if after[line] ~= place then redis.call('ZREM', root .. line, place) end
  end
end
local function move_due(before, after)
  if before == after then return end
  if after then redis.call('ZADD', root .. 'due', 0, after) end
  if before then redis.call('ZREM', root .. 'due', before) end
end
`

/** Job's key; root, id, record, most submitted jobs, most unfinished jobs of the caller. */
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
move({}, places_of(job, 0))
return { 'inserted' }
`

/** Job's key; root, id, expected revision, record; of a delivery its number, record and body. */
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
local places = places_of(before, pending)
redis.call('SET', KEYS[1], record)
if number then
  local due = delivery_of(delivery).due
  if due then pending = pending + 1 end
  redis.call('HSET', deliveries, number, delivery, number .. ':body', body, 'pending', pending)
  move_due(nil, due)
end
move(places, places_of(after, pending))
return 'done'
`

/** Job's key; root, id, expected revision, record, most submitted jobs, most unfinished jobs of the caller. */
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
move(places_of(before, pending), places_of(after, pending))
return 'done'
`

/** Job's key; root, id, expected revision. */
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
move(places_of(job, pending), {})
return 'done'
`

/** Deliveries' key; root, job's id, number, expected revision, record. */
const UPDATE_DELIVERY = `${COMMON}
local number, expected, record = ARGV[3], ARGV[4], ARGV[5]
local stored, head = redis.call('HGET', KEYS[1], number), stored_head(root .. 'job:' .. id)
if not stored or head == '' then return 'stale' end
local before, after, job = delivery_of(stored), delivery_of(record), job_of(head)
if not before or not job then return 'unreadable' end
if before.revision ~= expected then return 'stale' end
local pending = count_pending(KEYS[1])
local still = pending - (before.due and 1 or 0) + (after.due and 1 or 0)
redis.call('HSET', KEYS[1], number, record, 'pending', still)
move_due(before.due, after.due)
move(places_of(job, pending), places_of(job, still))
return 'done'
`

/**
 * Lines; root, REV or nothing, first bound, last bound, how many. The places of a page and the records there, as they
 * are in one moment; a command of a script takes some thousand keys and no more. Places have one form, so that the order of Lua's locale is that of the lines.
 */
const PAGE = `
local root, order, first, last, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local parts = {}
for n, line in ipairs(KEYS) do
  if order == 'REV' then
    parts[n] = redis.call('ZRANGE', line, first, last, 'BYLEX', 'REV', 'LIMIT', 0, limit)
  else
    parts[n] = redis.call('ZRANGE', line, first, last, 'BYLEX', 'LIMIT', 0, limit)
  end
  parts[n].next = 1
end
local places, keys = {}, {}
while #places < limit do
  local best
  for _, part in ipairs(parts) do
    if part[part.next] and (not best or part[part.next] > best[best.next]) then best = part end
  end
  if not best then break end
  places[#places + 1] = best[best.next]
  keys[#keys + 1] = root .. 'job:' .. string.sub(best[best.next], 17)
  best.next = best.next + 1
end
local records = {}
for n = 1, #keys, 1000 do
  -- False stands for a record that is gone.
  for i, record in ipairs(redis.call('MGET', unpack(keys, n, math.min(n + 999, #keys)))) do
    records[n + i - 1] = record
  end
end
return { places, records }
`

/** `keys` are those that Redis is told of, `parameters` what else the script is given. */
type Script<Answer> = (keys: readonly string[], parameters: readonly (string | number)[]) => Promise<Answer>

/** What a write says that is bound to a revision: `taken` is a delivery's number, `unreadable` a record in its way. */
export type WriteAnswer = 'done' | 'stale' | 'taken' | 'unreadable'

/** Each one round trip. Rejects with `store_unavailable` when Redis is away. */
export type Scripts = {
  /** With `existing` come the id and the record of that job. */
  readonly insert: Script<['inserted' | 'taken' | 'full' | 'caller-full'] | ['existing', string, string]>
  readonly update: Script<WriteAnswer>
  readonly reopen: Script<WriteAnswer | 'full' | 'caller-full'>
  readonly remove: Script<WriteAnswer>
  readonly updateDelivery: Script<WriteAnswer>
  readonly page: Script<[places: string[], records: (string | null)[]]>
}

/** The scripts on a connection: sent by their digest, in full only where Redis does not know them. */
export function createScripts(redis: Redis): Scripts {
  const define = <Answer>(name: string, lua: string): Script<Answer> => {
    redis.defineCommand(name, { lua })
    const command = (redis as unknown as Record<string, (...args: unknown[]) => Promise<Answer>>)[name]
    if (!command) throw new Error(`${name} is no command`)
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

/** Whether a write was made; false where the stored revision is another one. Throws for what must not be written. */
export function isDone(answer: WriteAnswer): boolean {
  if (answer === 'unreadable') throw new UnreadableRecord('a record in the way of a write cannot be read')
  if (answer === 'taken') throw new Error('a delivery of this number exists already')
  return answer === 'done'
}
