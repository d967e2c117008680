import type { DatabaseSync } from 'node:sqlite'
import type { Delivery } from '../../jobs/webhooks/delivery.ts'
import { batchOf, deliveryOfEnd } from '../../jobs/batch.ts'
import { type Job, JOB_STATUSES, type JobStatus } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import { createBatchRows } from './batches.ts'
import { bootErrorOf, createGroupCommit, openSqliteFile, watchFile } from './file.ts'
import { createLru } from '../../lib/collections.ts'
import { intersect, type SortedSet } from '../../lib/intersection.ts'
import {
  compareNewestFirst,
  filtersOf,
  changingLabelsOf,
  labelsOf,
  newSecret,
  type Additions,
  type BatchInserted,
  type InsertLimits,
  type Inserted,
  type ListPosition,
  type ListQuery,
  type NewBatch,
  type Reopened,
  type FlagKeeper,
  type SecretKeeper,
  type Store,
} from '../../jobs/ports/store.ts'
import {
  columnsOf,
  createDeliveryRows,
  createReader,
  createUsageRows,
  dueDeliveries,
  jobOf,
  pendingJobs,
  positionOf,
  prepare,
  read,
  type Row,
  toProblem,
} from './statements.ts'

/**
 * Size of the cache of parsed jobs, in characters of their documents, most of which have under 1,000: it nearly always has
 * the jobs that clients ask for.
 */
const CACHE_CHARACTERS = 20_000_000

type SqliteOptions = {
  /** Path of the file; `:memory:` for tests. */
  readonly path: string
  readonly lockWaitMs?: number
  /** Gets one line for each damaged record. */
  readonly log?: Log
}

/**
 * Jobs in one SQLite file, for one process: a write is acknowledged once it is on disk. Rejects with a `BootError` if the
 * file cannot be used. While the disk refuses writes, they reject with `store_unavailable`, and reads go on.
 */
export async function createSqliteStore({
  path,
  log,
  ...options
}: SqliteOptions): Promise<Store & SecretKeeper & FlagKeeper> {
  const db = await openSqliteFile(path, options)
  try {
    const store = createStoreOn(db, log)
    const checkFile = path === ':memory:' ? () => Promise.resolve() : watchFile(path)
    return {
      ...store,
      ...createSqliteSecrets(db, path),
      async countSubmitted() {
        await checkFile()
        return store.countSubmitted()
      },
    }
  } catch (error) {
    db.close()
    throw bootErrorOf(path, error)
  }
}

/** The store on an open database, whose schema is up to date. */
export function createStoreOn(db: DatabaseSync, log?: Log): Store & FlagKeeper {
  const sql = prepare(db)
  const deliveries = createDeliveryRows(sql.deliveries)
  const sums = createUsageRows(sql.usage)
  const batches = createBatchRows(sql.batches)
  const commits = createGroupCommit(db, () => (pending = 0))
  let submitted = Number(sql.countSubmitted.get()?.count)
  /** By how much the open transaction changes that number. */
  let pending = 0
  // No other process writes to the file, so the job committed last is the job in the file.
  const cache = createLru<Job>(CACHE_CHARACTERS)
  const readJob = createReader(log)
  let closing: Promise<void> | undefined

  const write = async <T>(work: () => Change<T>): Promise<T> => {
    const run = () => {
      const change = work()
      pending += change.delta
      return change
    }
    const onCommit = ({ delta, removed, written }: Change<T>) => {
      submitted += delta
      if (removed !== undefined) cache.delete(removed)
      if (written) cache.set(written.job.id, written.job, written.characters)
    }
    try {
      return (await commits.write(run, onCommit)).value
    } catch (error) {
      throw toProblem(error)
    }
  }

  /** Counts up to `limit` of each state: counting further would only take longer. */
  const countActive = (caller: string, limit: number) =>
    ACTIVE_STATUSES.reduce((sum, status) => sum + Number(sql.countOf.get(caller, status, limit)?.count), 0)

  const limitReached = ({ caller }: Job, { maxSubmitted = Infinity, maxActiveOfCaller }: InsertLimits) => {
    if (submitted + pending >= maxSubmitted) return 'full'
    const isCallerFull = maxActiveOfCaller !== undefined && countActive(caller, maxActiveOfCaller) >= maxActiveOfCaller
    return isCallerFull ? 'caller-full' : undefined
  }

  const addJob = (job: Job): Written => {
    const document = JSON.stringify(job)
    sql.insert.run(...columnsOf(job), document, job.caller, job.createdAt, job.idempotencyKey ?? null, job.id)
    for (const label of labelsOf(job)) sql.addLabel.run(job.caller, label, job.createdAt, job.id)
    return { job, characters: document.length }
  }

  const insertBatch = (
    { batch, jobs, isAtomic, exempt = 0, results }: NewBatch,
    limits: InsertLimits,
  ): Change<BatchInserted> => {
    const key = batch.idempotencyKey
    const existing = key === undefined ? undefined : batches.find(batch.caller, key)
    if (existing) return { value: { kind: 'existing', ...existing }, delta: 0 }
    const { maxSubmitted = Infinity, maxActiveOfCaller = Infinity } = limits
    const active = maxActiveOfCaller === Infinity ? 0 : countActive(batch.caller, maxActiveOfCaller)
    const [inAll, ofCaller] = [maxSubmitted - submitted - pending, maxActiveOfCaller - active]
    const room = exempt + Math.max(Math.min(inAll, ofCaller), 0)
    if (room < (isAtomic ? jobs.length : 1)) {
      return { value: { kind: inAll <= ofCaller ? 'full' : 'caller-full' }, delta: 0 }
    }
    const added = batchOf(batch, jobs.length, room)
    batches.add({ batch: added, results })
    const accepted = jobs.slice(0, room)
    for (const job of accepted) addJob(job)
    return { value: { kind: 'inserted', batch: added }, delta: accepted.length }
  }

  const insert = (job: Job, limits: InsertLimits): Change<Inserted> => {
    const existing = job.idempotencyKey === undefined ? undefined : sql.byKey.get(job.caller, job.idempotencyKey)
    if (existing) return { value: { kind: 'existing', job: jobOf(existing) }, delta: 0 }
    const full = limitReached(job, limits)
    if (full) return { value: { kind: full }, delta: 0 }
    return { value: { kind: 'inserted' }, delta: isSubmitted(job), written: addJob(job) }
  }

  /** As the transaction has it; none if its record is damaged. */
  const storedJob = (id: string): Job[] => {
    const row = sql.get.get(id)
    return row ? readJob(row) : []
  }
  const removeLabels = ({ caller, createdAt, id }: Job, labels: readonly string[]) => {
    for (const label of labels) sql.removeLabel.run(caller, label, createdAt, id)
  }
  /** Replaces the labels of the stored job by those of its next state. */
  const relabel = (job: Job, revision: number) => {
    const known = cache.get(job.id)
    const stored = known?.revision === revision ? [known] : storedJob(job.id)
    const [before, after] = [stored.flatMap(changingLabelsOf), changingLabelsOf(job)]
    removeLabels(
      job,
      before.filter((label) => !after.includes(label)),
    )
    for (const label of after) {
      if (!before.includes(label)) sql.addLabel.run(job.caller, label, job.createdAt, job.id)
    }
  }

  const hasLabel = (caller: string, label: string) =>
    sql.labeled.get(caller, label, -1, Number.MAX_SAFE_INTEGER, '', 1) !== undefined

  const update = (job: Job, revision: number, additions: Additions = {}): Change<boolean> => {
    const { deliveries: added = [], usage, batchEnd, unlessLabel } = additions
    const before = sql.stateOf.get(job.id)
    const isRefused = unlessLabel !== undefined && hasLabel(job.caller, unlessLabel)
    if (before?.revision !== revision || isRefused) return { value: false, delta: 0 }
    const canChangeLabels = job.contentKey !== undefined || before.status === 'failed' || job.status === 'failed'
    if (canChangeLabels) relabel(job, revision)
    const document = JSON.stringify(job)
    sql.update.run(...columnsOf(job), document, job.id)
    for (const delivery of added) deliveries.insert(delivery)
    if (usage) sums.add(usage)
    const batch = batches.change({ ...job, status: before.status as JobStatus }, job, usage)
    const end = batchEnd && batch && deliveryOfEnd(batchEnd, batch.counts)
    if (end) deliveries.insert(end)
    const delta = isSubmitted(job) - wasSubmitted(before)
    return { value: true, delta, written: { job, characters: document.length } }
  }

  const reopen = (job: Job, revision: number, limits: InsertLimits): Change<Reopened> => {
    if (sql.stateOf.get(job.id)?.revision !== revision) return { value: 'stale', delta: 0 }
    const full = limitReached(job, limits)
    return full ? { value: full, delta: 0 } : { ...update(job, revision), value: 'reopened' }
  }

  const remove = (id: string, revision: number): Change<boolean> => {
    const before = sql.stateOf.get(id)
    if (before?.revision !== revision) return { value: false, delta: 0 }
    deliveries.remove(id)
    for (const job of storedJob(id)) {
      removeLabels(job, labelsOf(job))
      batches.change(job, undefined)
    }
    sql.remove.run(id)
    return { value: true, delta: -wasSubmitted(before), removed: id }
  }

  const updateDelivery = (delivery: Delivery, revision: number): Change<boolean> => ({
    value: deliveries.update(delivery, revision),
    delta: 0,
  })

  /** An index of a list, by its name in `filtersOf`. */
  const indexOf = (name: string, { caller, createdAfter = -1 }: ListQuery): SortedSet<ListPosition> => {
    const isStatus = (JOB_STATUSES as readonly string[]).includes(name)
    const statement = isStatus ? (caller === undefined ? sql.list : sql.listOf) : sql.labeled
    const index = isStatus && caller === undefined ? [name] : [caller ?? ALL_CALLERS, name]
    return (start, size) => {
      const { createdAt, id } = start?.at ?? { createdAt: Number.MAX_SAFE_INTEGER, id: '' }
      // No id comes between this one and itself with a suffix.
      const end = start?.isIncluded ? `${id}~` : id
      return statement.all(...index, createdAfter, createdAt, end, size).map(positionOf)
    }
  }

  /** The job at a position, or none if its record is damaged. */
  const jobsAt = ({ id }: ListPosition): Job[] => {
    const known = cache.get(id)
    if (known) return [known]
    const row = sql.get.get(id)
    return row ? readJob(row) : []
  }

  const list = (query: ListQuery): Promise<Job[]> => {
    const { createdBefore, limit } = query
    const at = query.after ?? (createdBefore === undefined ? undefined : { createdAt: createdBefore, id: '' })
    return intersect(
      filtersOf(query).map((group) => group.map((name) => indexOf(name, query))),
      {
        compare: compareNewestFirst,
        start: at && { at, isIncluded: false },
        limit,
        find: (positions) => positions.flatMap(jobsAt),
      },
    )
  }

  const closeFile = async () => {
    await commits.settled()
    db.close()
  }

  return {
    insert: (job, limits = {}) => write(() => insert(job, limits)),
    get: (id) =>
      read(() => {
        const known = cache.get(id)
        if (known) return known
        const row = sql.get.get(id)
        if (!row) return undefined
        const job = jobOf(row)
        cache.set(id, job, String(row.document).length)
        return job
      }),
    update: (job, expectedRevision, additions) => write(() => update(job, expectedRevision, additions)),
    reopen: (job, expectedRevision, limits = {}) => write(() => reopen(job, expectedRevision, limits)),
    remove: (id, expectedRevision) => write(() => remove(id, expectedRevision)),
    list: (query) => read(() => list(query)),
    pending: (what, now) => pendingJobs(sql.pending[what], { what, now, readJob }),
    insertBatch: (batch, limits = {}) => write(() => insertBatch(batch, limits)),
    getBatch: (id) => read(() => batches.get(id)),
    findBatch: (caller, key) => read(() => batches.find(caller, key)),
    listBatches: (query) => read(() => batches.list(query)),
    deliveriesOf: (jobId) => read(() => deliveries.of(jobId)),
    dueDeliveries: (now) => dueDeliveries(deliveries, now),
    updateDelivery: (delivery, expectedRevision) => write(() => updateDelivery(delivery, expectedRevision)),
    usageOn: (day, query) => read(() => sums.on(day, query)),
    removeUsage: (day) =>
      write(() => {
        sums.removeBefore(day)
        return { value: undefined, delta: 0 }
      }),
    recentRuns: (version) => read(() => sums.recentRuns(version)),
    flag: (name) => read(() => sql.flags.find.get(name) !== undefined),
    setFlag: (name, isSet) =>
      write(() => {
        sql.flags[isSet ? 'set' : 'clear'].run(name)
        return { value: undefined, delta: 0 }
      }),
    countSubmitted: () => read(() => (sql.probe.get(), submitted)),
    close: () => (closing ??= closeFile()),
  }
}

/** `delta`: by how much a write changes the number of submitted jobs. `removed`: the id of the job that it removed. */
type Change<T> = { readonly value: T; readonly delta: number; readonly written?: Written; readonly removed?: string }
type Written = { readonly job: Job; readonly characters: number }

/** Stands for all callers in the table of labels. */
const ALL_CALLERS = '*'

const ACTIVE_STATUSES = ['submitted', 'running'] as const

const wasSubmitted = (row: Row) => (row.status === 'submitted' ? 1 : 0)
const isSubmitted = (job: Job) => (job.status === 'submitted' ? 1 : 0)

/** Secrets in the file of the jobs. They are read at boot: an error of the file is a `BootError`. */
function createSqliteSecrets(db: DatabaseSync, path: string): SecretKeeper {
  const insert = db.prepare('INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING')
  const find = db.prepare('SELECT value FROM secrets WHERE name = ?')
  const valueOf = (name: string) => find.get(name)?.value
  return {
    secret: async (name) => {
      try {
        // Writes only where it must: a server that has its secrets starts on a full disk too.
        if (valueOf(name) === undefined) insert.run(name, newSecret())
        return await Promise.resolve(String(valueOf(name)))
      } catch (error) {
        throw bootErrorOf(path, error)
      }
    },
  }
}
