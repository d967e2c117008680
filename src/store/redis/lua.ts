import type { Redis } from 'ioredis'
import { createBatch } from '../../lib/concurrency.ts'
import { problemOfReply, runBatch } from '../../redis/connection.ts'
import { COUNT_BATCH, INSERT_BATCH } from './batches.ts'
import { SCHEMA, UnreadableRecord } from './records.ts'
import { ADD_USAGE } from './usage.ts'

/** Reads the header of a job's record, which is shorter than 768 bytes. */
export const JOB_HEADER = `
-- The header of a record; nil if this release cannot read it.
local function job_of(record)
  local revision, status, created, deadline, finished, stop, caller, name, labels, batch =
    string.match(record, '^${SCHEMA} (%d+) (%a+) (%d+) (%d+) (%S+) (%d) (%S+) (%S+) ?(%S*) ?(%S*)\\n')
  return revision and { revision = revision, status = status, created = created, deadline = deadline,
    finished = finished, stop = stop, caller = caller, name = name, labels = labels, batch = batch }
end
local function stored_head(key)
  return redis.call('GETRANGE', key, 0, 767)
end
`

/**
 * A write, named by `WRITES`, is visible as a whole or not at all. One script makes all writes of a turn of the event loop:
 * a command costs a server and Redis more than what it does. KEYS: for each write, the job or, of `updateDelivery`, its
 * deliveries. ARGV: root, then for each write its name, the number of its arguments, and these, the job's id first.
 *
 * Redis rolls nothing back: a write reads and checks all that it depends on before its first change. That first change is
 * one that needs memory. Redis refuses it when no memory is left, and then nothing has changed; it never refuses the later
 * ones. A write that fails does not affect the others; if all fail, the script does.
 */
const WRITE = `
local root, id = ARGV[1], nil

${JOB_HEADER}local function delivery_of(record)
  local revision, due = string.match(record, '^${SCHEMA} (%d+) (%S+)\\n')
  return revision and { revision = revision, due = due ~= '-' and due or nil }
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
  for label in string.gmatch(job.labels, '[^,]+') do
    positions['label:' .. label], positions['label:' .. job.caller .. ':' .. label] = created, created
  end
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
${COUNT_BATCH}
local function move_due(before, after)
  if before == after then return end
  if after then redis.call('ZADD', root .. 'due', 0, after) end
  if before then redis.call('ZREM', root .. 'due', before) end
end

local WRITES = {}

function WRITES.insert(key, record, max_submitted, max_active)
  local job = job_of(record)
  local name = job.name ~= '-' and root .. 'idempotency:' .. job.name
  local known = name and redis.call('GET', name)
  local existing = known and redis.call('GET', root .. 'job:' .. known)
  if existing then return { 'existing', existing } end
  if redis.call('EXISTS', key) == 1 then return 'taken' end
  local full = limit_reached(job, tonumber(max_submitted), tonumber(max_active))
  if full then return full end
  redis.call('SET', key, record)
  if name then redis.call('SET', name, id) end
  move({}, positions_of(job, 0))
  return 'done'
end

${ADD_USAGE}
-- \`usage\`: what an attempt adds to the sums, as JSON, or nothing. \`unless\`: the label of a caller, or nothing: a job that
-- has it makes the update stale. Then the delivery of its batch, if this is the end of it:
-- its number and record, and the body around the counts, or nothing. Then the deliveries of the change, each with its
-- number, record and body.
function WRITES.update(key, expected, record, usage, unless, end_number, ended, head, tail, ...)
  local stored = stored_head(key)
  if stored == '' then return 'stale' end
  local before, after = job_of(stored), job_of(record)
  if not before then return 'unreadable' end
  if before.revision ~= expected then return 'stale' end
  if unless ~= '' and redis.call('EXISTS', root .. 'label:' .. unless) == 1 then return 'stale' end
  local deliveries = root .. 'deliveries:' .. id
  local new = { ... }
  for n = 1, #new, 3 do
    if redis.call('HEXISTS', deliveries, new[n]) == 1 then return 'taken' end
  end
  local added = usage ~= '' and cjson.decode(usage)
  local pending = count_pending(deliveries)
  local positions = positions_of(before, pending)
  redis.call('SET', key, record)
  local function add_delivery(added_number, added_record, added_body)
    local due = delivery_of(added_record).due
    if due then pending = pending + 1 end
    redis.call('HSET', deliveries, added_number, added_record, added_number .. ':body', added_body, 'pending', pending)
    move_due(nil, due)
  end
  for n = 1, #new, 3 do add_delivery(new[n], new[n + 1], new[n + 2]) end
  count_batch(before, after, added)
  local counts = end_number ~= '' and finished_counts(after.batch)
  if counts then add_delivery(end_number, ended, head .. counts .. tail) end
  move(positions, positions_of(after, pending))
  if added then add_usage(added) end
  return 'done'
end

function WRITES.reopen(key, expected, record, max_submitted, max_active)
  local stored, after = stored_head(key), job_of(record)
  if stored == '' then return 'stale' end
  local before = job_of(stored)
  if not before then return 'unreadable' end
  if before.revision ~= expected then return 'stale' end
  local full = limit_reached(after, tonumber(max_submitted), tonumber(max_active))
  if full then return full end
  local pending = count_pending(root .. 'deliveries:' .. id)
  redis.call('SET', key, record)
  count_batch(before, after, nil)
  move(positions_of(before, pending), positions_of(after, pending))
  return 'done'
end

${INSERT_BATCH}
function WRITES.remove(key, expected)
  local stored = stored_head(key)
  if stored == '' then return 'stale' end
  local job = job_of(stored)
  if not job then return 'unreadable' end
  if job.revision ~= expected then return 'stale' end
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
  redis.call('DEL', key, deliveries)
  remove_from_batch(job)
  if job.name ~= '-' then redis.call('DEL', root .. 'idempotency:' .. job.name) end
  for _, due in ipairs(dues) do move_due(due, nil) end
  move(positions_of(job, pending), {})
  return 'done'
end

function WRITES.updateDelivery(key, number, expected, record)
  local stored, head = redis.call('HGET', key, number), stored_head(root .. 'job:' .. id)
  if not stored or head == '' then return 'stale' end
  local before, after, job = delivery_of(stored), delivery_of(record), job_of(head)
  if not before or not job then return 'unreadable' end
  if before.revision ~= expected then return 'stale' end
  local pending = count_pending(key)
  local remaining = pending - (before.due and 1 or 0) + (after.due and 1 or 0)
  redis.call('HSET', key, number, record, 'pending', remaining)
  move_due(before.due, after.due)
  move(positions_of(job, pending), positions_of(job, remaining))
  return 'done'
end

local answers, at, failures, message = {}, 2, 0, nil
for n = 1, #KEYS do
  local count = tonumber(ARGV[at + 1])
  id = ARGV[at + 2]
  local is_done, answer = pcall(WRITES[ARGV[at]], KEYS[n], unpack(ARGV, at + 3, at + 1 + count))
  if not is_done then
    -- Before Redis 7 an error is a text.
    message = type(answer) == 'table' and answer.err or tostring(answer)
    failures = failures + 1
    answer = { 'failed', message }
  end
  answers[n] = answer
  at = at + 2 + count
end
if failures == #KEYS then return { err = message } end
return answers
`

/** A write of a job, as `WRITE` has it. */
type Write = {
  readonly name: 'insert' | 'insertBatch' | 'update' | 'reopen' | 'remove' | 'updateDelivery'
  readonly key: string
  readonly jobId: string
  readonly parameters: readonly (string | number)[]
}

/**
 * `stale`: the revision is another one. `taken`: the id, or the delivery's number, exists. `unreadable`: a record that it
 * depends on. After `existing`: the record of that job.
 */
type Refusal = 'stale' | 'taken' | 'unreadable' | 'full' | 'caller-full'
export type WriteAnswer =
  | 'done'
  | Refusal
  | [kind: 'existing', record: string]
  | [kind: 'existing', hash: string[], results: string]
  | [kind: 'inserted', room: number]
type Failure = [kind: 'failed', message: string]

/** Each rejects with `store_unavailable` while Redis is unavailable. */
export type Scripts = {
  /** Shares its round trip with the other writes of the turn. */
  write(write: Write): Promise<WriteAnswer>
  /** Has a round trip of its own, since it is large. */
  writeAlone(write: Write): Promise<WriteAnswer>
}

const isFailure = (answer: WriteAnswer | Failure): answer is Failure => answer[0] === 'failed'

/** Writes made by one script: more would block Redis for too long. */
const MAX_WRITES = 64

/** A script on a connection: sent by its digest, and in full only if Redis does not know it. */
export function defineScript<Answer>(redis: Redis, name: string, lua: string): (...args: unknown[]) => Promise<Answer> {
  redis.defineCommand(name, { lua })
  const command = (redis as unknown as Record<string, (...args: unknown[]) => Promise<Answer>>)[name]
  if (!command) throw new Error(`the command ${name} is not defined`)
  return command.bind(redis)
}

export function createScripts(redis: Redis, root: string): Scripts {
  const writeAll = defineScript<(WriteAnswer | Failure)[]>(redis, 'storeWrite', WRITE)
  const writeTogether = async (writes: readonly Write[]) => {
    const keys = writes.map(({ key }) => key)
    const parameters = writes.flatMap((write) => [
      write.name,
      write.parameters.length + 1,
      write.jobId,
      ...write.parameters,
    ])
    const answers = await runBatch(redis, () => writeAll(keys.length, ...keys, root, ...parameters))
    return answers.map((answer) => (isFailure(answer) ? problemOfReply(answer[1]) : answer))
  }
  return {
    write: createBatch<Write, WriteAnswer>(writeTogether, MAX_WRITES),
    writeAlone: createBatch<Write, WriteAnswer>(writeTogether, 1),
  }
}

/** Whether a write was made: false if the stored revision is another one. Throws for the other answers. */
export function isDone(answer: WriteAnswer): boolean {
  if (answer === 'unreadable') throw new UnreadableRecord('a record that a write depends on cannot be read')
  if (answer === 'taken') throw new Error('a job of this id, or a delivery of this number, exists already')
  return answer === 'done'
}
