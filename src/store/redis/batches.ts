import type { Redis } from 'ioredis'
import { type Batch, batchOf } from '../../jobs/batch.ts'
import { JOB_STATUSES, type JobStatus } from '../../jobs/job.ts'
import type { BatchInserted, BatchStore, InsertLimits, NewBatch } from '../../jobs/ports/store.ts'
import { runCommand } from '../../redis/connection.ts'
import { boundAfter, digestOf, type Keys, positionOf, recordOf } from './records.ts'

/** Part of the script of writes: what a change of a job counts in its batch. */
export const COUNT_BATCH = `
local function batch_of(job)
  local key = root .. 'batch:' .. job.batch
  return job.batch ~= '' and redis.call('EXISTS', key) == 1 and key
end
-- Last of all, as the sums of usage: it must not undo the others. \`usage\`: what the end of an attempt adds.
local function count_batch(before, after, usage)
  local key = batch_of(before)
  if not key then return end
  if before.status ~= after.status then
    redis.call('HINCRBY', key, before.status, -1)
    redis.call('HINCRBY', key, after.status, 1)
  end
  if not usage then return end
  for _, name in ipairs({ 'queuedMs', 'startupMs', 'runMs' }) do
    if usage.amounts[name] then redis.pcall('HINCRBY', key, name, usage.amounts[name]) end
  end
  if usage.amounts.nanos then redis.pcall('HINCRBY', key, 'nanos ' .. usage.currency, usage.amounts.nanos) end
end
-- The counts of a batch as JSON, if no job of it is left to finish.
local function finished_counts(id_of_batch)
  local names = { 'submitted', 'running', 'succeeded', 'failed', 'canceled' }
  local counts, parts = redis.call('HMGET', root .. 'batch:' .. id_of_batch, unpack(names)), {}
  if not counts[1] or tonumber(counts[1]) + tonumber(counts[2]) > 0 then return nil end
  for n, name in ipairs(names) do parts[n] = '"' .. name .. '":' .. counts[n] end
  return '{' .. table.concat(parts, ',') .. '}'
end
-- The batch goes with its last job.
local function remove_from_batch(job)
  local key = batch_of(job)
  if not key or redis.call('HINCRBY', key, 'stored', -1) > 0 then return end
  local position, name = unpack(redis.call('HMGET', key, 'position', 'name'))
  redis.call('ZREM', root .. 'batches', position)
  redis.call('ZREM', root .. 'batches:' .. job.caller, position)
  if name ~= '-' then redis.call('DEL', root .. 'batch-key:' .. name) end
  redis.call('DEL', key, root .. 'batch-results:' .. job.batch)
end
`

/** Part of the script of writes. After the options of the batch come the id and the record of each job. */
export const INSERT_BATCH = `
function WRITES.insertBatch(key, doc, results, position, caller, name, max_submitted, max_active, atomic, exempt, ...)
  local jobs = { ... }
  local known = name ~= '-' and redis.call('GET', root .. 'batch-key:' .. name)
  local existing = known and redis.call('HGETALL', root .. 'batch:' .. known)
  if existing and #existing > 0 then
    return { 'existing', existing, redis.call('GET', root .. 'batch-results:' .. known) or '' }
  end
  local room, kind = #jobs / 2 - tonumber(exempt), 'full'
  local function limit(maximum, count, name_of_limit)
    if maximum and maximum - count < room then room, kind = math.max(maximum - count, 0), name_of_limit end
  end
  local function count(index) return redis.call('ZCARD', root .. index) end
  local own = 'caller:' .. caller .. ':'
  limit(tonumber(max_submitted), count('status:submitted'), 'full')
  limit(tonumber(max_active), count(own .. 'submitted') + count(own .. 'running'), 'caller-full')
  room = room + tonumber(exempt)
  if room == 0 or (atomic == '1' and room < #jobs / 2) then return kind end
  redis.call('HSET', key, 'doc', doc, 'position', position, 'name', name, 'asked', #jobs / 2,
    'stored', room, 'submitted', room, 'running', 0, 'succeeded', 0, 'failed', 0, 'canceled', 0)
  redis.call('SET', root .. 'batch-results:' .. id, results)
  if name ~= '-' then redis.call('SET', root .. 'batch-key:' .. name, id) end
  redis.call('ZADD', root .. 'batches', 0, position)
  redis.call('ZADD', root .. 'batches:' .. caller, 0, position)
  for n = 1, room do
    id = jobs[2 * n - 1]
    redis.call('SET', root .. 'job:' .. id, jobs[2 * n])
    move({}, positions_of(job_of(jobs[2 * n]), 0))
  end
  return { 'inserted', room }
end
`

/** The batch in a hash: its document as it was first, and the fields that change. */
function batchOfHash({ doc, ...hash }: Readonly<Record<string, string>>): Batch | undefined {
  if (doc === undefined) return undefined
  const numberOf = (name: string) => Number(hash[name] ?? 0)
  const counts = Object.fromEntries(JOB_STATUSES.map((status) => [status, numberOf(status)])) as Record<
    JobStatus,
    number
  >
  const currencies = Object.keys(hash).filter((name) => name.startsWith('nanos '))
  const batch = batchOf(
    JSON.parse(doc) as Batch,
    numberOf('asked'),
    Object.values(counts).reduce((a, b) => a + b, 0),
  )
  return {
    ...batch,
    counts,
    stored: numberOf('stored'),
    usage: { queuedMs: numberOf('queuedMs'), startupMs: numberOf('startupMs'), runMs: numberOf('runMs') },
    nanos: Object.fromEntries(currencies.map((name) => [name.slice(6), hash[name] ?? '0'])),
  }
}

type Insert = {
  readonly name: 'insertBatch'
  readonly key: string
  readonly jobId: string
  readonly parameters: readonly (string | number)[]
}
type Answer =
  string | [kind: 'existing', hash: string | readonly string[], results?: string] | [kind: 'inserted', room: number]
type Parts = { readonly keys: Keys; readonly scripts: { readonly writeAlone: (write: Insert) => Promise<Answer> } }

/** Batches beside the jobs. The scripts that write jobs count in them. */
export function createBatches(redis: Redis, { keys, scripts }: Parts): BatchStore {
  const get = async (id: string) => batchOfHash(await runCommand(redis, () => redis.hgetall(keys.batch(id))))

  const insertBatch = async (
    { batch, jobs, isAtomic, exempt = 0, results }: NewBatch,
    { maxSubmitted, maxActiveOfCaller }: InsertLimits = {},
  ): Promise<BatchInserted> => {
    const { id, caller, idempotencyKey } = batch
    const name = idempotencyKey === undefined ? '-' : keyDigestOf(caller, idempotencyKey)
    const limits = [maxSubmitted ?? '', maxActiveOfCaller ?? '', isAtomic ? '1' : '', exempt]
    const records = jobs.flatMap((job) => [job.id, recordOf(job)])
    const parameters = [
      JSON.stringify(batch),
      results,
      positionOf(batch),
      digestOf(caller),
      name,
      ...limits,
      ...records,
    ]
    const answer = await scripts.writeAlone({ name: 'insertBatch', key: keys.batch(id), jobId: id, parameters })
    if (answer === 'full' || answer === 'caller-full') return { kind: answer }
    if (typeof answer === 'string') throw new Error(`batch ${id} was not inserted: ${answer}`)
    if (answer[0] === 'inserted') return { kind: 'inserted', batch: batchOf(batch, jobs.length, answer[1]) }
    const existing = batchOfHash(hashOf(answer[1]))
    if (!existing) throw new Error(`batch ${id} was not inserted`)
    return { kind: 'existing', batch: existing, results: answer[2] ?? '' }
  }

  return {
    insertBatch,
    getBatch: get,
    async findBatch(caller, idempotencyKey) {
      const id = await runCommand(redis, () => redis.get(keys.batchKey(keyDigestOf(caller, idempotencyKey))))
      if (id === null) return undefined
      const [batch, results] = await Promise.all([get(id), runCommand(redis, () => redis.get(keys.batchResults(id)))])
      return batch && results !== null ? { batch, results } : undefined
    },
    async listBatches({ caller, after, limit }) {
      const first = after ? boundAfter(positionOf(after)) : '+'
      const index = keys.batches(caller)
      const positions = await runCommand(redis, () =>
        redis.zrange(index, first, '-', 'BYLEX', 'REV', 'LIMIT', 0, limit),
      )
      const found = await Promise.all(positions.map((position) => get(position.slice(16))))
      return found.filter((batch) => batch !== undefined)
    },
  }
}

const keyDigestOf = (caller: string, idempotencyKey: string) => digestOf(JSON.stringify([caller, idempotencyKey]))

/** Names and values, which a script returns one after the other. */
function hashOf(flat: string | readonly string[]): Record<string, string> {
  const hash: Record<string, string> = {}
  for (let n = 0; n + 1 < flat.length; n += 2) hash[flat[n] ?? ''] = flat[n + 1] ?? ''
  return hash
}
