import { statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { problem } from '../../problems.ts'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { expiresAt, isFinished, type Job, JOB_STATUSES, hasPendingStop } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import { createGroupCommit } from './group-commit.ts'
import { codeOf, describeFault, openSqliteFile } from './file.ts'
import { createLru } from '../../lib/collections.ts'
import {
  comparePositions,
  type InsertLimits,
  type Inserted,
  type ListPosition,
  type ListQuery,
  type PendingWork,
  type Reopened,
  type SecretKeeper,
  type Store,
} from '../../jobs/ports/store.ts'
import { createSqliteSecrets } from './secrets.ts'
import { createDeliveryRows, type DeliveryRows, prepareDeliveries } from './deliveries.ts'

/** Jobs read at once while looking for what is owed: enough to be quick, few enough not to hold up the loop. */
const OWED_PAGE = 200

/**
 * How much of the jobs is kept parsed, as last written, in characters of their documents, of which most have under
 * 1,000: those that callers ask for are nearly always among them.
 */
const RECENT_CHARACTERS = 20_000_000

export type SqliteOptions = {
  /** Path of the file; `:memory:` for tests. */
  readonly path: string
  readonly lockWaitMs?: number
  /** Told of records that cannot be read. */
  readonly log?: Log
}

/**
 * Jobs in one SQLite file, for one process: a write is acknowledged once it is on disk. Rejects with a `BootError`
 * where the file cannot be used; a write that the disk refuses later rejects with `store_unavailable`, and reads go on.
 */
export async function createSqliteStore({ path, log, ...options }: SqliteOptions): Promise<Store & SecretKeeper> {
  const db = await openSqliteFile(path, options)
  try {
    const store = createStoreOn(db, log)
    const isThere = path === ':memory:' ? () => Promise.resolve() : watchFile(path)
    return {
      ...store,
      ...createSqliteSecrets(db, path),
      async countSubmitted() {
        await isThere()
        return store.countSubmitted()
      },
    }
  } catch (error) {
    db.close()
    throw describeFault(path, error)
  }
}

/** Rejects once the file is gone, or another: SQLite would go on with what it holds in memory, and keep nothing. */
function watchFile(path: string): () => Promise<void> {
  const { ino } = statSync(path)
  return async () => {
    const now = await stat(path).catch((cause: unknown) => Promise.reject(problem('store_unavailable', { cause })))
    if (now.ino !== ino || now.size === 0) {
      throw problem('store_unavailable', { cause: new Error(`${path} is not the file that was opened`) })
    }
  }
}

/** The store on an open database, whose schema is up to date. */
export function createStoreOn(db: DatabaseSync, log?: Log): Store {
  const sql = prepare(db)
  const deliveries = createDeliveryRows(sql.deliveries)
  const commits = createGroupCommit(db, () => (pending = 0))
  let submitted = Number(sql.countSubmitted.get()?.count)
  /** By how much the writes of the open transaction change that. */
  let pending = 0
  // Nobody else writes to the file, so what was committed last is what is in it.
  const recent = createLru<Job>(RECENT_CHARACTERS)
  const readJob = createReader(log)
  let closing: Promise<void> | undefined

  /** `delta`: by how much the number of submitted jobs changes, which counts only once it is on disk. */
  const write = async <T>(work: () => Change<T>): Promise<T> => {
    const doIt = () => {
      const done = work()
      pending += done.delta
      return done
    }
    const committed = ({ delta, forget, keep }: Change<T>) => {
      submitted += delta
      if (forget !== undefined) recent.delete(forget)
      if (keep) recent.set(keep.job.id, keep.job, keep.characters)
    }
    try {
      return (await commits.write(doIt, committed)).value
    } catch (error) {
      throw unavailable(error)
    }
  }

  /** Counted no further than `limit`, so that it costs no more than that. */
  const countActive = (caller: string, limit: number) =>
    ACTIVE_STATUSES.reduce((sum, status) => sum + Number(sql.countOf.get(caller, status, limit)?.count), 0)

  const limitReached = ({ caller }: Job, { maxSubmitted = Infinity, maxActiveOfCaller }: InsertLimits) => {
    if (submitted + pending >= maxSubmitted) return 'full'
    const isCallerFull = maxActiveOfCaller !== undefined && countActive(caller, maxActiveOfCaller) >= maxActiveOfCaller
    return isCallerFull ? 'caller-full' : undefined
  }

  const insert = (job: Job, limits: InsertLimits): Change<Inserted> => {
    const existing = job.idempotencyKey === undefined ? undefined : sql.byKey.get(job.caller, job.idempotencyKey)
    if (existing) return { value: { kind: 'existing', job: jobOf(existing) }, delta: 0 }
    const full = limitReached(job, limits)
    if (full) return { value: { kind: full }, delta: 0 }
    const document = JSON.stringify(job)
    sql.insert.run(...columnsOf(job), document, job.caller, job.createdAt, job.idempotencyKey ?? null, job.id)
    return { value: { kind: 'inserted' }, delta: isSubmitted(job), keep: { job, characters: document.length } }
  }

  const update = (job: Job, revision: number, delivery?: Delivery): Change<boolean> => {
    const before = sql.stateOf.get(job.id)
    if (before?.revision !== revision) return { value: false, delta: 0 }
    const document = JSON.stringify(job)
    sql.update.run(...columnsOf(job), document, job.id)
    if (delivery) deliveries.insert(delivery)
    const delta = isSubmitted(job) - wasSubmitted(before)
    return { value: true, delta, keep: { job, characters: document.length } }
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
    sql.remove.run(id)
    return { value: true, delta: -wasSubmitted(before), forget: id }
  }

  const updateDelivery = (delivery: Delivery, revision: number): Change<boolean> => ({
    value: deliveries.update(delivery, revision),
    delta: 0,
  })

  const positionsOf = (query: ListQuery): ListPosition[] => {
    const from = query.after ?? { createdAt: query.createdBefore ?? Number.MAX_SAFE_INTEGER, id: '' }
    const range = [query.createdAfter ?? -1, from.createdAt, from.id, query.limit] as const
    // One look per state, each along an index, put together here: no filter ever walks over what it leaves out.
    const rows = (query.statuses ?? JOB_STATUSES).flatMap((status) =>
      query.caller === undefined ? sql.list.all(status, ...range) : sql.listOf.all(query.caller, status, ...range),
    )
    const newestFirst = rows.map(positionOf).toSorted((a, b) => comparePositions(b, a))
    return newestFirst.slice(0, query.limit)
  }

  /** None of a job whose record is damaged. */
  const jobsAt = ({ id }: ListPosition): Job[] => {
    const known = recent.get(id)
    if (known) return [known]
    const row = sql.get.get(id)
    return row ? readJob(row) : []
  }

  const list = (query: ListQuery): Job[] => {
    const jobs: Job[] = []
    let { after } = query
    // A second look only where a record was left out: a short page would mean that no more follow.
    for (;;) {
      const limit = query.limit - jobs.length
      const positions = positionsOf({ ...query, limit, ...(after && { after }) })
      jobs.push(...positions.flatMap(jobsAt))
      after = positions.at(-1)
      if (positions.length < limit || jobs.length >= query.limit) return jobs
    }
  }

  const closeFile = async () => {
    await commits.settled()
    db.close()
  }

  return {
    insert: (job, limits = {}) => write(() => insert(job, limits)),
    get: (id) =>
      read(() => {
        const known = recent.get(id)
        if (known) return known
        const row = sql.get.get(id)
        if (!row) return undefined
        const job = jobOf(row)
        recent.set(id, job, String(row.document).length)
        return job
      }),
    update: (job, expectedRevision, delivery) => write(() => update(job, expectedRevision, delivery)),
    reopen: (job, expectedRevision, limits = {}) => write(() => reopen(job, expectedRevision, limits)),
    remove: (id, expectedRevision) => write(() => remove(id, expectedRevision)),
    list: (query) => read(() => list(query)),
    pending: (what, now) => pages(sql.owed[what], { what, now, readJob }),
    deliveriesOf: (jobId) => read(() => deliveries.of(jobId)),
    dueDeliveries: (now) => duePages(deliveries, now),
    updateDelivery: (delivery, expectedRevision) => write(() => updateDelivery(delivery, expectedRevision)),
    countSubmitted: () => read(() => (sql.probe.get(), submitted)),
    close: () => (closing ??= closeFile()),
  }
}

/** Page by page along the index, so that what changes meanwhile is neither missed nor met twice. */
async function* pages(statements: readonly StatementSync[], { what, now, readJob }: Look): AsyncIterable<Job> {
  for (const statement of statements) {
    let [at, id] = [-1, '']
    for (;;) {
      const until = what === 'end' || what === 'removal' ? now : Number.MAX_SAFE_INTEGER
      const [after, name] = [at, id]
      const rows = await read(() => statement.all(after, name, until, OWED_PAGE))
      for (const row of rows) {
        if (row.is_awaited !== 1) yield* readJob(row)
      }
      const last = rows.at(-1)
      if (!last || rows.length < OWED_PAGE) break
      ;[at, id] = [Number(last.at), String(last.id)]
      await new Promise(setImmediate)
    }
  }
}

async function* duePages(deliveries: DeliveryRows, now: number): AsyncIterable<DueDelivery> {
  let after: DueDelivery | undefined = { dueAt: -1, jobId: '', number: 0, caller: '', host: '' }
  while (after) {
    const from: DueDelivery = after
    const page = await read(() => deliveries.due(from, now, OWED_PAGE))
    yield* page
    after = page.length < OWED_PAGE ? undefined : page.at(-1)
    await new Promise(setImmediate)
  }
}

type Look = { readonly what: PendingWork; readonly now: number; readonly readJob: ReadJob }

/** The job of a row; none where its record is damaged, so that the others are still served. */
type ReadJob = (row: Row) => Job[]

/** About so many damaged records are remembered as logged. */
const LOGGED = 10_000

/** Reads jobs and logs each damaged record once. */
function createReader(log: Log | undefined): ReadJob {
  const logged = createLru<true>(LOGGED)
  return (row) => {
    const id = String(row.id)
    try {
      return [jobOf(row)]
    } catch (error) {
      if (!logged.get(id)) log?.error({ job_id: id, err: error }, 'a job cannot be read: its record is damaged')
      logged.set(id, true, 1)
      return []
    }
  }
}

/** What the disk refuses, or gives back damaged, is for an operator to mend, and no fault of the request. */
const unavailable = (error: unknown) =>
  codeOf(error) === undefined && !(error instanceof SyntaxError)
    ? error
    : problem('store_unavailable', { cause: error })

async function read<T>(look: () => T): Promise<T> {
  try {
    return await Promise.resolve(look())
  } catch (error) {
    throw unavailable(error)
  }
}

/** What a write did: its value, by how much it changes the number of submitted jobs, what it leaves to be read. */
type Change<T> = { readonly value: T; readonly delta: number; readonly keep?: Kept; readonly forget?: string }
type Kept = { readonly job: Job; readonly characters: number }

const ACTIVE_STATUSES = ['submitted', 'running'] as const

type Row = Record<string, unknown>
const jobOf = (row: Row) => JSON.parse(String(row.document)) as Job
const positionOf = (row: Row): ListPosition => ({ createdAt: Number(row.at), id: String(row.id) })
const wasSubmitted = (row: Row) => (row.status === 'submitted' ? 1 : 0)
const isSubmitted = (job: Job) => (job.status === 'submitted' ? 1 : 0)

const columnsOf = (job: Job) =>
  [
    ...[job.revision, job.status, expiresAt(job)],
    ...[isFinished(job) ? (job.finishedAt ?? 0) : null, hasPendingStop(job) ? 1 : 0],
  ] as const

/** Every statement, prepared once. The tests ask the query planner about each. */
export function prepare(db: DatabaseSync) {
  const page = 'ORDER BY at, id LIMIT ?'
  const owed = (column: string, condition: string, more = '') =>
    db.prepare(
      `SELECT document, id, ${column} AS at${more} FROM jobs WHERE ${condition} AND (${column}, id) > (?, ?) AND ${column} <= ? ${page}`,
    )
  // Told of each row rather than left out: looking for a page must not walk over thousands that are awaited.
  const awaited = `, EXISTS (SELECT 1 FROM deliveries WHERE job_id = jobs.id AND due_at IS NOT NULL) AS is_awaited`
  const range = 'created_at > ? AND (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?'
  return {
    get: db.prepare('SELECT document, id FROM jobs WHERE id = ?'),
    byKey: db.prepare('SELECT document FROM jobs WHERE caller = ? AND idempotency_key = ?'),
    stateOf: db.prepare('SELECT revision, status FROM jobs WHERE id = ?'),
    insert: db.prepare(
      `INSERT INTO jobs (revision, status, deadline_at, finished_at, stop_owed, document, caller, created_at, idempotency_key, id)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    update: db.prepare(
      'UPDATE jobs SET revision = ?, status = ?, deadline_at = ?, finished_at = ?, stop_owed = ?, document = ? WHERE id = ?',
    ),
    remove: db.prepare('DELETE FROM jobs WHERE id = ?'),
    probe: db.prepare('SELECT id FROM jobs WHERE id = 0'),
    countSubmitted: db.prepare("SELECT count(*) AS count FROM jobs WHERE status = 'submitted'"),
    countOf: db.prepare(
      'SELECT count(*) AS count FROM (SELECT 1 FROM jobs INDEXED BY jobs_by_caller WHERE caller = ? AND status = ? LIMIT ?)',
    ),
    list: db.prepare(`SELECT id, created_at AS at FROM jobs WHERE status = ? AND ${range}`),
    // Named, since the planner takes the other index, and walks over everybody else's jobs.
    listOf: db.prepare(
      `SELECT id, created_at AS at FROM jobs INDEXED BY jobs_by_caller WHERE caller = ? AND status = ? AND ${range}`,
    ),
    owed: {
      run: [owed('created_at', "status = 'running'"), owed('created_at', "status = 'submitted'")],
      stop: [owed('created_at', 'stop_owed = 1')],
      end: [owed('deadline_at', 'finished_at IS NULL')],
      removal: [owed('finished_at', 'finished_at IS NOT NULL AND stop_owed = 0', awaited)],
    } satisfies Record<PendingWork, StatementSync[]>,
    deliveries: prepareDeliveries(db),
  }
}
