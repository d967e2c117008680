import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { expiresAt, hasPendingStop, isFinished, type Job, type ModelVersion } from '../../jobs/job.ts'
import { createUnreadableLog, type Log } from '../../jobs/log.ts'
import type { ListPosition, PendingWork, UsageStore } from '../../jobs/ports/store.ts'
import {
  OUTCOME_DIMENSION,
  SAMPLES_KEPT,
  type UsageGroup,
  type UsageRecord,
  type UsageRow,
  VALUES_PER_DAY,
  VALUES_PER_DIMENSION,
} from '../../jobs/usage.ts'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { readPages } from '../../lib/collections.ts'
import { messageOf } from '../../lib/errors.ts'
import { problem } from '../../problems.ts'
import { prepareBatches } from './batches.ts'
import { sqliteCodeOf } from './file.ts'

/** Jobs or deliveries read at once: a compromise between speed and the time for which the event loop is blocked. */
const PAGE_SIZE = 200

/** Every statement, prepared once. The tests ask the query planner about each. */
export function prepare(db: DatabaseSync) {
  const page = 'ORDER BY at, id LIMIT ?'
  const pending = (column: string, condition: string, more = '') =>
    db.prepare(
      `SELECT document, id, ${column} AS at${more} FROM jobs WHERE ${condition} AND (${column}, id) > (?, ?) AND ${column} <= ? ${page}`,
    )
  // A column, not a condition: reading a page must not walk over thousands of jobs with pending deliveries.
  const hasDelivery = `, EXISTS (SELECT 1 FROM deliveries WHERE job_id = jobs.id AND due_at IS NOT NULL) AS has_pending_delivery`
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
    flags: {
      find: db.prepare('SELECT name FROM flags WHERE name = ?'),
      set: db.prepare('INSERT INTO flags (name) VALUES (?) ON CONFLICT DO NOTHING'),
      clear: db.prepare('DELETE FROM flags WHERE name = ?'),
    },
    countSubmitted: db.prepare("SELECT count(*) AS count FROM jobs WHERE status = 'submitted'"),
    countOf: db.prepare(
      'SELECT count(*) AS count FROM (SELECT 1 FROM jobs INDEXED BY jobs_by_caller WHERE caller = ? AND status = ? LIMIT ?)',
    ),
    list: db.prepare(`SELECT id, created_at AS at FROM jobs WHERE status = ? AND ${range}`),
    // Names the index: the planner would take the other one and walk over the jobs of all callers.
    listOf: db.prepare(
      `SELECT id, created_at AS at FROM jobs INDEXED BY jobs_by_caller WHERE caller = ? AND status = ? AND ${range}`,
    ),
    labeled: db.prepare(`SELECT id, created_at AS at FROM labels WHERE caller = ? AND label = ? AND ${range}`),
    addLabel: db.prepare(
      "INSERT INTO labels (caller, label, created_at, id) VALUES (?1, ?2, ?3, ?4), ('*', ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    ),
    removeLabel: db.prepare("DELETE FROM labels WHERE caller IN (?, '*') AND label = ? AND created_at = ? AND id = ?"),
    pending: {
      run: [pending('created_at', "status = 'running'"), pending('created_at', "status = 'submitted'")],
      stop: [pending('created_at', 'stop_owed = 1')],
      expiry: [pending('deadline_at', 'finished_at IS NULL')],
      removal: [pending('finished_at', 'finished_at IS NOT NULL AND stop_owed = 0', hasDelivery)],
    } satisfies Record<PendingWork, StatementSync[]>,
    deliveries: prepareDeliveries(db),
    usage: prepareUsage(db),
    batches: prepareBatches(db),
  }
}

const prepareDeliveries = (db: DatabaseSync) => ({
  of: db.prepare('SELECT document, job_id, number, host, body FROM deliveries WHERE job_id = ? ORDER BY number'),
  insert: db.prepare(
    'INSERT INTO deliveries (revision, due_at, document, job_id, number, host, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
  ),
  update: db.prepare(
    'UPDATE deliveries SET revision = ?, due_at = ?, document = ? WHERE job_id = ? AND number = ? AND revision = ?',
  ),
  remove: db.prepare('DELETE FROM deliveries WHERE job_id = ?'),
  due: db.prepare(
    `SELECT due_at, job_id, number, host, caller FROM deliveries JOIN jobs ON jobs.id = job_id
     WHERE (due_at, job_id, number) > (?, ?, ?) AND due_at <= ? ORDER BY due_at, job_id, number LIMIT ?`,
  ),
})

export type Row = Record<string, unknown>
export const jobOf = (row: Row) => JSON.parse(String(row.document)) as Job
export const positionOf = (row: Row): ListPosition => ({ createdAt: Number(row.at), id: String(row.id) })

/** In the order of the statements `insert` and `update`. */
export const columnsOf = (job: Job) =>
  [
    job.revision,
    job.status,
    expiresAt(job),
    isFinished(job) ? (job.finishedAt ?? 0) : null,
    hasPendingStop(job) ? 1 : 0,
  ] as const

/** The job of a row, or none if its record is damaged: the others must still be served. */
type ReadJob = (row: Row) => Job[]

/** Reads jobs and logs each damaged record once. */
export function createReader(log: Log | undefined): ReadJob {
  const logUnreadable = createUnreadableLog(log)
  return (row) => {
    try {
      return [jobOf(row)]
    } catch (error) {
      logUnreadable(String(row.id), `its record is damaged: ${messageOf(error)}`)
      return []
    }
  }
}

/** The deliveries in the file. Writes belong to the transaction of their caller. */
type DeliveryRows = {
  /** Throws if the number is taken. */
  insert(delivery: Delivery): void
  of(jobId: string): Delivery[]
  /** False, and no change, unless the stored revision is the expected one. */
  update(delivery: Delivery, expectedRevision: number): boolean
  remove(jobId: string): void
  /** One page of the deliveries due by `now`, after `after`. */
  due(after: DueDelivery | undefined, now: number, limit: number): DueDelivery[]
}

export function createDeliveryRows(sql: ReturnType<typeof prepareDeliveries>): DeliveryRows {
  return {
    insert(delivery) {
      const { jobId, number, host, body, ...document } = delivery
      sql.insert.run(...deliveryColumnsOf(delivery), JSON.stringify(document), jobId, number, host, body)
    },
    of: (jobId) => sql.of.all(jobId).map(deliveryOf),
    update(delivery, expectedRevision) {
      const { jobId, number, host, body, ...document } = delivery
      const { changes } = sql.update.run(
        ...deliveryColumnsOf(delivery),
        JSON.stringify(document),
        jobId,
        number,
        expectedRevision,
      )
      return Number(changes) === 1
    },
    remove: (jobId) => void sql.remove.run(jobId),
    due: (after, now, limit) =>
      sql.due.all(after?.dueAt ?? -1, after?.jobId ?? '', after?.number ?? 0, now, limit).map((row) => ({
        jobId: String(row.job_id),
        number: Number(row.number),
        caller: String(row.caller),
        host: String(row.host),
        dueAt: Number(row.due_at),
      })),
  }
}

const deliveryColumnsOf = ({ revision, dueAt }: Delivery) => [revision, dueAt ?? null] as const

const deliveryOf = ({ document, job_id: jobId, number, host, body }: Row) =>
  ({ jobId, number, host, body, ...(JSON.parse(String(document)) as object) }) as Delivery

type PendingQuery = { readonly what: PendingWork; readonly now: number; readonly readJob: ReadJob }

/** Page by page along an index: a job that changes meanwhile is neither missed nor listed twice. */
export async function* pendingJobs(
  statements: readonly StatementSync[],
  { what, now, readJob }: PendingQuery,
): AsyncIterable<Job> {
  const until = what === 'expiry' || what === 'removal' ? now : Number.MAX_SAFE_INTEGER
  for (const statement of statements) {
    const rows = readPages<Row>(PAGE_SIZE, (after) => {
      const { createdAt: at, id } = after ? positionOf(after) : { createdAt: -1, id: '' }
      return read(() => statement.all(at, id, until, PAGE_SIZE))
    })
    for await (const row of rows) if (row.has_pending_delivery !== 1) yield* readJob(row)
  }
}

export const dueDeliveries = (deliveries: DeliveryRows, now: number): AsyncIterable<DueDelivery> =>
  readPages<DueDelivery>(PAGE_SIZE, (after) => read(() => deliveries.due(after, now, PAGE_SIZE)))

/** Errors of the disk and damaged records become `store_unavailable`: the operator has to act, the client did nothing wrong. */
export const toProblem = (error: unknown) =>
  sqliteCodeOf(error) === undefined && !(error instanceof SyntaxError)
    ? error
    : problem('store_unavailable', { cause: error })

/** Runs a read, and rejects as `toProblem` says. */
export async function read<T>(query: () => T | Promise<T>): Promise<T> {
  try {
    return await query()
  } catch (error) {
    throw toProblem(error)
  }
}

/** The largest integer of a column: a sum beyond would become a float, and the write would fail. */
const MAX_INTEGER = '9223372036854775807'
const SUMS = ['jobs', 'attempts', 'queued_ms', 'startup_ms', 'run_ms', 'nanos'] as const
const COLUMNS = `day, caller, dimension, value, currency, ${SUMS.join(', ')}`

function prepareUsage(db: DatabaseSync) {
  const ofCaller = 'FROM usage WHERE day = ? AND caller = ?'
  const sql = {
    add: db.prepare(
      `INSERT INTO usage (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET ${SUMS.map((sum) => `${sum} = min(${sum} + excluded.${sum}, ${MAX_INTEGER})`).join(', ')}`,
    ),
    has: db.prepare(`SELECT 1 ${ofCaller} AND dimension = ? AND value = ?`),
    countValues: db.prepare(`SELECT count(*) AS count ${ofCaller} AND dimension = ?`),
    countRows: db.prepare(`SELECT count(*) AS count ${ofCaller}`),
    of: db.prepare(`SELECT ${COLUMNS} ${ofCaller} AND dimension = ?`),
    ofAll: db.prepare(`SELECT ${COLUMNS} FROM usage WHERE day = ? AND dimension = ?`),
    remove: db.prepare('DELETE FROM usage WHERE day < ?'),
    lastSample: db.prepare('SELECT max(number) AS number FROM recent_runs WHERE version = ?'),
    addSample: db.prepare('INSERT INTO recent_runs (version, number, ms_per_second) VALUES (?, ?, ?)'),
    trimSamples: db.prepare('DELETE FROM recent_runs WHERE version = ? AND number <= ?'),
    samples: db.prepare('SELECT ms_per_second FROM recent_runs WHERE version = ? ORDER BY number DESC'),
  }
  // Sums of nano-units exceed what a number can hold exactly.
  sql.of.setReadBigInts(true)
  sql.ofAll.setReadBigInts(true)
  return sql
}

/** The sums in the file. Writes belong to the transaction of their caller. */
type UsageRows = {
  add(record: UsageRecord): void
  on(...query: Parameters<UsageStore['usageOn']>): UsageRow[]
  removeBefore(day: string): void
  recentRuns(version: ModelVersion): number[]
}

export function createUsageRows(sql: ReturnType<typeof prepareUsage>): UsageRows {
  const hasRoom = ({ day, caller }: UsageRecord, { dimension, value }: UsageGroup) =>
    dimension === OUTCOME_DIMENSION ||
    sql.has.get(day, caller, dimension, value) !== undefined ||
    (Number(sql.countValues.get(day, caller, dimension)?.count) < VALUES_PER_DIMENSION &&
      Number(sql.countRows.get(day, caller)?.count) < VALUES_PER_DAY)

  return {
    add(record) {
      const { day, caller, currency, jobs, attempts, queuedMs, startupMs, runMs, nanos, sample } = record
      const sums = [jobs, attempts, queuedMs, startupMs, runMs, nanos] as const
      for (const group of record.groups) {
        if (hasRoom(record, group)) sql.add.run(day, caller, group.dimension, group.value, currency, ...sums)
      }
      if (!sample) return
      const number = Number(sql.lastSample.get(sample.version)?.number ?? 0) + 1
      sql.addSample.run(sample.version, number, sample.msPerSecond)
      sql.trimSamples.run(sample.version, number - SAMPLES_KEPT)
    },
    on(day, { dimension, caller }) {
      const rows = caller === undefined ? sql.ofAll.all(day, dimension) : sql.of.all(day, caller, dimension)
      return rows.map((row) => ({
        day: String(row.day),
        caller: String(row.caller),
        dimension: String(row.dimension),
        value: String(row.value),
        currency: String(row.currency),
        jobs: Number(row.jobs),
        attempts: Number(row.attempts),
        queuedMs: Number(row.queued_ms),
        startupMs: Number(row.startup_ms),
        runMs: Number(row.run_ms),
        nanos: row.nanos as bigint,
      }))
    },
    removeBefore: (day) => void sql.remove.run(day),
    recentRuns: (version) => sql.samples.all(version).map((row) => Number(row.ms_per_second)),
  }
}
