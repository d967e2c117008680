import type { Redis } from 'ioredis'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { type Job, JOB_STATUSES } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import { closeRedis, runCommand } from '../../redis/connection.ts'
import {
  newSecret,
  type InsertLimits,
  type Inserted,
  type ListQuery,
  type PendingWork,
  type Reopened,
  type SecretKeeper,
  type Store,
  type DeliveryStore,
} from '../../jobs/ports/store.ts'
import { describeFault, openRedis } from './boot.ts'
import { createScripts, isDone, type Scripts } from './lua.ts'
import { createPages, OWED_PAGE, type Part } from './pages.ts'
import {
  behind,
  createKeys,
  deliveryOf,
  deliveryRecordOf,
  dueAtPlace,
  jobOf,
  type Keys,
  placeOf,
  recordOf,
  timeText,
  upTo,
} from './records.ts'

export type RedisStoreOptions = {
  /** What every key begins with; stores that share it share their jobs. */
  readonly prefix: string
  /** Told of records that cannot be read. */
  readonly log: Log
}

/**
 * The store on a connection of its own, which it closes. Rejects with a `BootError` where Redis refuses it, or does not
 * answer within `patienceMs`; the log is told of settings with which Redis would lose jobs.
 */
export async function openRedisStore(
  options: RedisStoreOptions & { readonly url: string; readonly patienceMs?: number },
): Promise<Store & SecretKeeper> {
  const redis = await openRedis({ ...options, name: 'store' })
  const store = createRedisStore(redis, options)
  try {
    await store.list({ limit: 1 })
  } catch (error) {
    await closeRedis(redis)
    throw describeFault(redis, error)
  }
  return { ...store, close: () => closeRedis(redis) }
}

/**
 * Jobs in Redis, for any number of processes: each write is one script, and acknowledged once Redis has carried it out,
 * as durably as Redis is set up to. A write whose answer is lost, or late, rejects with `store_unavailable` although it
 * may have been carried out, or may be yet: who tries it again finds out by its revision, or its idempotency key.
 * Whose the connection is, closes it.
 */
export function createRedisStore(redis: Redis, { prefix, log }: RedisStoreOptions): Store & SecretKeeper {
  const keys = createKeys(prefix)
  const scripts = createScripts(redis)
  const pages = createPages(scripts, { root: keys.root, log })

  const insert = async (job: Job, limits: InsertLimits): Promise<Inserted> => {
    const parameters = [keys.root, job.id, recordOf(job), ...textsOf(limits)]
    const [kind, , existing = ''] = await scripts.insert([keys.job(job.id)], parameters)
    if (kind === 'taken') throw new Error(`job ${job.id} exists already`)
    return kind === 'existing' ? { kind, job: jobOf(existing) } : { kind }
  }

  const update = async (job: Job, expectedRevision: number, delivery?: Delivery) => {
    const owed = delivery ? [delivery.number, deliveryRecordOf(delivery), delivery.body] : []
    return isDone(
      await scripts.update([keys.job(job.id)], [keys.root, job.id, expectedRevision, recordOf(job), ...owed]),
    )
  }

  const reopen = async (job: Job, expectedRevision: number, limits: InsertLimits): Promise<Reopened> => {
    const parameters = [keys.root, job.id, expectedRevision, recordOf(job), ...textsOf(limits)]
    const answer = await scripts.reopen([keys.job(job.id)], parameters)
    if (answer === 'full' || answer === 'caller-full') return answer
    return isDone(answer) ? 'reopened' : 'stale'
  }

  return {
    insert: (job, limits = {}) => insert(job, limits),
    async get(id) {
      const record = await runCommand(redis, () => redis.get(keys.job(id)))
      return record === null ? undefined : jobOf(record)
    },
    update,
    reopen: (job, expectedRevision, limits = {}) => reopen(job, expectedRevision, limits),
    async remove(id, expectedRevision) {
      return isDone(await scripts.remove([keys.job(id)], [keys.root, id, expectedRevision]))
    },
    list: (query) => pages.read(partOf(query, keys), query.limit),
    async *pending(what, now) {
      for (const part of partsOf(what, { now, keys })) yield* pages.walk(part)
    },
    ...createDeliveries(redis, { keys, scripts }),
    countSubmitted: () => runCommand(redis, () => redis.zcard(keys.timeline('submitted'))),
    ...createRedisSecrets(redis, keys),
    close: () => Promise.resolve(),
  }
}

/** Limits as the scripts take them: nothing stands for none. */
const textsOf = ({ maxSubmitted = Infinity, maxActiveOfCaller = Infinity }: InsertLimits) =>
  [maxSubmitted, maxActiveOfCaller].map((limit) => (limit === Infinity ? '' : limit))

/** One line per state, so that no filter ever walks over what it leaves out. */
function partOf({ statuses = JOB_STATUSES, caller, after, ...query }: ListQuery, keys: Keys): Part {
  const { createdAfter = -Infinity, createdBefore = Infinity } = query
  return {
    lines: [...new Set(statuses)].map((status) => keys.timeline(status, caller)),
    first: `(${after ? placeOf(after) : timeText(createdBefore)}`,
    last: `[${timeText(createdAfter + 1)}`,
    newestFirst: true,
  }
}

/** What runs already comes before what does not. */
function partsOf(what: PendingWork, { now, keys }: { now: number; keys: Keys }): Part[] {
  const all = { first: '-', last: '+' }
  const passed = { first: '-', last: upTo(now) }
  switch (what) {
    case 'run':
      return [keys.timeline('running'), keys.timeline('submitted')].map((line) => ({ lines: [line], ...all }))
    case 'stop':
      return [{ lines: [keys.stopping], ...all }]
    case 'end':
      return [{ lines: [keys.deadlines], ...passed }]
    case 'removal':
      return [{ lines: [keys.ended], ...passed }]
    default:
      return what satisfies never
  }
}

/** The outbox. A try writes a delivery's record, never its body again. */
function createDeliveries(redis: Redis, { keys, scripts }: { keys: Keys; scripts: Scripts }): DeliveryStore {
  const duePage = (first: string, last: string) =>
    runCommand(redis, () => redis.zrange(keys.due, first, last, 'BYLEX', 'LIMIT', 0, OWED_PAGE))

  async function* due(now: number): AsyncIterable<DueDelivery> {
    for (let first = '-'; ;) {
      const places = await duePage(first, upTo(now))
      yield* places.map(dueAtPlace)
      const last = places.at(-1)
      if (last === undefined || places.length < OWED_PAGE) return
      first = behind(last)
    }
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
      const parameters = [keys.root, jobId, number, expectedRevision, deliveryRecordOf(delivery)]
      return isDone(await scripts.updateDelivery([keys.deliveries(jobId)], parameters))
    },
  }
}

/** Secrets beside the jobs, the same for every process that has these jobs: the first of several to ask makes one. */
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
