import type { Redis } from 'ioredis'
import type { DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { type Job, JOB_STATUSES, type JobStatus } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import { createLru, readPages } from '../../lib/collections.ts'
import { createBatch } from '../../lib/concurrency.ts'
import { closeRedis, runBatch, runCommand } from '../../redis/connection.ts'
import {
  filtersOf,
  newSecret,
  type Additions,
  type InsertLimits,
  type Inserted,
  type ListQuery,
  type PendingWork,
  type Reopened,
  type SecretKeeper,
  type Store,
  type DeliveryStore,
} from '../../jobs/ports/store.ts'
import { bootErrorOf, openRedis } from './boot.ts'
import { createBatches } from './batches.ts'
import { createScripts, isDone, type Scripts } from './lua.ts'
import { createPages, PAGE_SIZE, type Range } from './pages.ts'
import {
  boundAfter,
  boundUpTo,
  createKeys,
  deliveryOf,
  deliveryRecordOf,
  digestOf,
  dueDeliveryAt,
  jobOf,
  type Keys,
  labelDigestOf,
  positionOf,
  recordOf,
  timeText,
} from './records.ts'
import { createUsage, usageArgument } from './usage.ts'

type RedisStoreOptions = {
  /** The prefix of all keys: stores with the same prefix share their jobs. */
  readonly prefix: string
  /** Gets one line for each record that cannot be read. */
  readonly log: Log
}

/**
 * A store with a connection of its own, which it closes. Rejects with a `BootError` if Redis refuses the connection, or
 * does not answer within `bootTimeoutMs`. Logs settings with which Redis can lose jobs.
 */
export async function openRedisStore(
  options: RedisStoreOptions & { readonly url: string; readonly bootTimeoutMs?: number },
): Promise<Store & SecretKeeper> {
  const redis = await openRedis({ ...options, name: 'store' })
  const store = createRedisStore(redis, options)
  try {
    await labelOlderJobs(redis, options)
  } catch (error) {
    await closeRedis(redis)
    throw bootErrorOf(redis, error)
  }
  return { ...store, close: () => closeRedis(redis) }
}

/**
 * Jobs in Redis, for any number of processes. All writes of a turn of the event loop share one script, in which each is
 * atomic. A write is acknowledged once Redis has executed it, and as durable as Redis is configured to be. A write whose
 * answer is lost or late rejects with `store_unavailable`, although Redis may have executed it, or may still do so: a
 * retry finds out by the revision or the idempotency key. The caller closes the connection.
 */
export function createRedisStore(redis: Redis, { prefix, log }: RedisStoreOptions): Store & SecretKeeper {
  const keys = createKeys(prefix)
  const scripts = createScripts(redis, keys.root)
  const pages = createPages(redis, { root: keys.root, log })
  const readJob = createReader(redis)

  const write = (name: 'insert' | 'update' | 'reopen' | 'remove', jobId: string, parameters: (string | number)[]) =>
    scripts.write({ name, key: keys.job(jobId), jobId, parameters })

  const insert = async (job: Job, limits: InsertLimits): Promise<Inserted> => {
    const answer = await write('insert', job.id, [recordOf(job), ...limitArguments(limits)])
    if (answer === 'full' || answer === 'caller-full') return { kind: answer }
    if (typeof answer === 'object') return { kind: 'existing', job: jobOf(String(answer[1])) }
    if (!isDone(answer)) throw new Error(`job ${job.id} was not inserted`)
    return { kind: 'inserted' }
  }

  const update = async (job: Job, expectedRevision: number, additions: Additions = {}) => {
    const { deliveries = [], usage, batchEnd, unlessLabel } = additions
    const unless = unlessLabel === undefined ? '' : `${digestOf(job.caller)}:${labelDigestOf(unlessLabel)}`
    const added = deliveries.flatMap((one) => [one.number, deliveryRecordOf(one), one.body])
    const end = batchEnd?.delivery
    const ended = batchEnd && end ? [end.number, deliveryRecordOf(end), ...batchEnd.body] : ['', '', '', '']
    const parameters = [expectedRevision, recordOf(job), usage ? usageArgument(usage) : '', unless, ...ended, ...added]
    return isDone(await write('update', job.id, parameters))
  }

  const reopen = async (job: Job, expectedRevision: number, limits: InsertLimits): Promise<Reopened> => {
    const parameters = [expectedRevision, recordOf(job), ...limitArguments(limits)]
    const answer = await write('reopen', job.id, parameters)
    if (answer === 'full' || answer === 'caller-full') return answer
    return isDone(answer) ? 'reopened' : 'stale'
  }

  return {
    insert: (job, limits = {}) => insert(job, limits),
    get: (id) => readJob(keys.job(id)),
    update,
    reopen: (job, expectedRevision, limits = {}) => reopen(job, expectedRevision, limits),
    async remove(id, expectedRevision) {
      return isDone(await write('remove', id, [expectedRevision]))
    },
    list: (query) => pages.read(rangeOf(query, keys), query.limit),
    async *pending(what, now) {
      for (const range of rangesOf(what, { now, keys })) yield* pages.walk(range)
    },
    ...createDeliveries(redis, { keys, scripts }),
    ...createBatches(redis, { keys, scripts }),
    ...createUsage(redis, keys),
    countSubmitted: () => runCommand(redis, () => redis.zcard(keys.timeline('submitted'))),
    ...createRedisSecrets(redis, keys),
    close: () => Promise.resolve(),
  }
}

/**
 * Adds their labels to the jobs of releases that had none. A replica of such a release does not touch them afterwards,
 * and those that it still makes are found when the next replica starts. Only headers are read where nothing is missing.
 */
async function labelOlderJobs(redis: Redis, { prefix, log }: RedisStoreOptions): Promise<void> {
  const keys = createKeys(prefix)
  const [pages, scripts] = [createPages(redis, { root: keys.root, log }), createScripts(redis, keys.root)]
  for (const status of JOB_STATUSES) {
    for await (const job of pages.unlabeled(keys.timeline(status))) {
      // At the same revision it is the same job.
      const parameters = [job.revision, recordOf(job), '', '', '', '', '', '']
      await scripts.write({ name: 'update', key: keys.job(job.id), jobId: job.id, parameters })
    }
  }
}

/** Jobs read by one command: more would block Redis for too long. */
const MAX_READS = 200
/**
 * Size of the cache of parsed jobs, in characters of their records, most of which have under 1,000: it nearly always has the
 * jobs that clients ask for.
 */
const CACHE_CHARACTERS = 20_000_000

/**
 * Reads the job under a key, in one round trip with the other reads of the turn. Every read asks Redis, since other
 * processes write to it too; a record that has not changed is not parsed again.
 */
function createReader(redis: Redis): (key: string) => Promise<Job | undefined> {
  const cache = createLru<{ readonly record: string; readonly job: Job }>(CACHE_CHARACTERS)
  const readRecord = createBatch<string, string | null>((keys) => runBatch(redis, () => redis.mget(...keys)), MAX_READS)
  return async (key) => {
    const record = await readRecord(key)
    if (record === null) return undefined
    const known = cache.get(key)
    if (known?.record === record) return known.job
    const job = jobOf(record)
    cache.set(key, { record, job }, record.length)
    return job
  }
}

/** Limits as arguments of a script; an empty text means no limit. */
const limitArguments = ({ maxSubmitted = Infinity, maxActiveOfCaller = Infinity }: InsertLimits) =>
  [maxSubmitted, maxActiveOfCaller].map((limit) => (limit === Infinity ? '' : limit))

/** One index for each state and label: no filter walks over jobs that it leaves out. */
function rangeOf({ caller, after, ...query }: ListQuery, keys: Keys): Range {
  const { createdAfter = -Infinity, createdBefore = Infinity } = query
  const indexOf = (name: string) =>
    isStatus(name) ? keys.timeline(name, caller) : keys.label(labelDigestOf(name), caller)
  return {
    groups: filtersOf(query).map((names) => names.map(indexOf)),
    first: `(${after ? positionOf(after) : timeText(createdBefore)}`,
    last: `[${timeText(createdAfter + 1)}`,
    newestFirst: true,
  }
}

const isStatus = (name: string): name is JobStatus => (JOB_STATUSES as readonly string[]).includes(name)

/** Running jobs come before submitted ones. */
function rangesOf(what: PendingWork, { now, keys }: { now: number; keys: Keys }): Range[] {
  const all = { first: '-', last: '+' }
  const past = { first: '-', last: boundUpTo(now) }
  switch (what) {
    case 'run':
      return [keys.timeline('running'), keys.timeline('submitted')].map((index) => ({ groups: [[index]], ...all }))
    case 'stop':
      return [{ groups: [[keys.stopping]], ...all }]
    case 'expiry':
      return [{ groups: [[keys.deadlines]], ...past }]
    case 'removal':
      return [{ groups: [[keys.ended]], ...past }]
    default:
      return what satisfies never
  }
}

/** The outbox. A delivery attempt rewrites the record of a delivery, not its body. */
function createDeliveries(redis: Redis, { keys, scripts }: { keys: Keys; scripts: Scripts }): DeliveryStore {
  async function* due(now: number): AsyncIterable<DueDelivery> {
    const positions = readPages<string>(PAGE_SIZE, (after) => {
      const first = after === undefined ? '-' : boundAfter(after)
      return runCommand(redis, () => redis.zrange(keys.due, first, boundUpTo(now), 'BYLEX', 'LIMIT', 0, PAGE_SIZE))
    })
    for await (const position of positions) yield dueDeliveryAt(position)
  }

  return {
    async deliveriesOf(jobId) {
      const fields = await runCommand(redis, () => redis.hgetall(keys.deliveries(jobId)))
      const numbers = Object.keys(fields).filter((field) => /^\d+$/.test(field))
      const deliveries = numbers.map((number) => deliveryOf(fields[number] ?? '', fields[`${number}:body`] ?? ''))
      return deliveries.sort((a, b) => a.number - b.number)
    },
    dueDeliveries: due,
    async updateDelivery(delivery, expectedRevision) {
      const { jobId, number } = delivery
      const parameters = [number, expectedRevision, deliveryRecordOf(delivery)]
      return isDone(await scripts.write({ name: 'updateDelivery', key: keys.deliveries(jobId), jobId, parameters }))
    },
  }
}

/** Secrets beside the jobs. When several processes need a new one at once, the first makes it. */
function createRedisSecrets(redis: Redis, { secrets }: Keys): SecretKeeper {
  const find = (name: string) => runCommand(redis, () => redis.hget(secrets, name))
  return {
    async secret(name) {
      const known = await find(name)
      if (known !== null) return known
      await runCommand(redis, () => redis.hsetnx(secrets, name, newSecret()))
      return String(await find(name))
    },
  }
}
