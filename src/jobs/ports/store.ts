import { randomBytes } from 'node:crypto'
import type { Batch, BatchEnd } from '../batch.ts'
import type { Delivery, DueDelivery } from '../webhooks/delivery.ts'
import { type ErrorCode, type Job, JOB_STATUSES, type JobStatus, type ModelVersion } from '../job.ts'
import { uploadsOf } from './files.ts'
import type { UsageQuery, UsageRecord, UsageRow } from '../usage.ts'

/**
 * Pending work of a job: `run`, it is unfinished and needs an entry in the queue; `stop`, a call is to be stopped; `expiry`,
 * it is past `expiresAt`; `removal`, it finished before the retention.
 */
export type PendingWork = 'run' | 'stop' | 'expiry' | 'removal'

/**
 * `existing`: the caller has a job with this idempotency key already. `full`: the limit of submitted jobs is reached.
 * `caller-full`: the limit of the caller's unfinished jobs is reached.
 */
export type Inserted =
  { kind: 'inserted' } | { kind: 'existing'; job: Job } | { kind: 'full' } | { kind: 'caller-full' }

/** Maximum `submitted` jobs in total, and maximum unfinished jobs of one caller; undefined: no limit. */
export type InsertLimits = {
  readonly maxSubmitted?: number | undefined
  readonly maxActiveOfCaller?: number | undefined
}

/** The result of reopening a job; `stale`: its stored revision is another one. */
export type Reopened = 'reopened' | 'stale' | 'full' | 'caller-full'

/** The position of a job in the list, which is sorted by time of creation (epoch ms), then by id. */
export type ListPosition = { readonly createdAt: number; readonly id: string }

/** Newest last; the same millisecond is ordered by id. */
export function comparePositions(a: ListPosition, b: ListPosition): number {
  if (a.createdAt !== b.createdAt) return a.createdAt - b.createdAt
  if (a.id === b.id) return 0
  return a.id < b.id ? -1 : 1
}
export const compareNewestFirst = (a: ListPosition, b: ListPosition): number => comparePositions(b, a)

/** Labels of jobs, by which a list is filtered. The key is escaped, so that it ends at the first `=`. */
export const versionLabel = (version: ModelVersion): string => `version=${version}`
export const errorLabel = (code: ErrorCode): string => `error_code=${code}`
export const metadataLabel = (key: string, value: string): string =>
  `metadata.${key.replaceAll('%', '%25').replaceAll('=', '%3D')}=${value}`.toWellFormed()

export const batchLabel = (id: string): string => `batch=${id}`

/** By which the jobs are found that have a file which was sent ahead of them. */
export const uploadLabel = (name: string): string => `upload=${name}`

/** Of jobs with the same `contentKey`: those that have its output, run for it, or wait for one of these. */
export const contentLabel = (role: 'output' | 'run' | 'wait', contentKey: string): string =>
  `content.${role}=${contentKey}`

function contentLabelsOf({ contentKey, isWaiting, status }: Job): string[] {
  if (contentKey === undefined || status === 'failed' || status === 'canceled') return []
  const role = status === 'succeeded' ? 'output' : isWaiting ? 'wait' : 'run'
  return [contentLabel(role, contentKey)]
}

/** Those labels of a job that its events change. */
export const changingLabelsOf = (job: Job): string[] => [
  ...(job.status === 'failed' && job.errorCode !== undefined ? [errorLabel(job.errorCode)] : []),
  ...contentLabelsOf(job),
]

/** All labels of a job. */
export const labelsOf = (job: Job): string[] => [
  versionLabel(job.version),
  ...uploadsOf(job).map(uploadLabel),
  ...(job.batch ? [batchLabel(job.batch.id)] : []),
  ...Object.entries(job.metadata ?? {}).map(([key, value]) => metadataLabel(key, value)),
  ...changingLabelsOf(job),
]

/**
 * Times are epoch ms and exclusive. `labels`: the jobs have all of them. `after`: the last job of the page before. A field
 * that is not set does not restrict.
 */
export type ListQuery = {
  readonly caller?: string
  readonly statuses?: readonly JobStatus[] | undefined
  readonly labels?: readonly string[]
  readonly createdAfter?: number
  readonly createdBefore?: number
  readonly after?: ListPosition
  readonly limit: number
}

/** The indexes of a query: a job of the list is in one index of each group. The name of an index is a state or a label. */
export const filtersOf = ({ statuses, labels = [] }: Pick<ListQuery, 'statuses' | 'labels'>): string[][] => [
  ...labels.map((label) => [label]),
  ...(statuses || labels.length === 0 ? [[...new Set(statuses ?? JOB_STATUSES)]] : []),
]

/**
 * What an update writes beside the job: the new deliveries of the change, what the attempt that it ended adds, and what
 * follows if it is the last job of its batch to finish. `unlessLabel`: while a job of the caller has this label, the update
 * is refused as one of another revision is.
 */
export type Additions = {
  readonly unlessLabel?: string | undefined
  readonly deliveries?: readonly Delivery[]
  readonly usage?: UsageRecord | undefined
  readonly batchEnd?: BatchEnd | undefined
}

/** Where jobs are kept. Every write is atomic and, once it resolves, as durable as the adapter promises. */
export type JobStore = {
  /** Adds a new job: one step with the checks of its idempotency key and of the limits. Rejects when its id is taken. */
  insert(job: Job, limits?: InsertLimits): Promise<Inserted>
  /** The job as last written, or undefined. */
  get(id: string): Promise<Job | undefined>
  /**
   * Compare-and-set: replaces the job if its stored revision is `expectedRevision`; false, and no change, otherwise.
   * `additions` are written in the same step. Rejects when the number of a delivery is taken.
   */
  update(job: Job, expectedRevision: number, additions?: Additions): Promise<boolean>
  /**
   * As `update`, for a finished job that will run again; atomic with the check of the limits, which count the jobs of
   * all processes. Beyond a limit nothing changes.
   */
  reopen(job: Job, expectedRevision: number, limits?: InsertLimits): Promise<Reopened>
  /**
   * Removes a job with its idempotency key and its deliveries, if its stored revision is `expectedRevision`;
   * false otherwise.
   */
  remove(id: string, expectedRevision: number): Promise<boolean>
  /** Up to `limit` jobs, newest first. Jobs that come or go make no other job appear twice or not at all. */
  list(query: ListQuery): Promise<Job[]>
  /**
   * Every job with this pending work as of `now` (epoch ms), the oldest first; jobs may change while it is read. `removal`
   * lists jobs that finished at `now` or before and have no pending stop and no pending delivery.
   */
  pending(what: PendingWork, now: number): AsyncIterable<Job>
  /** The number of `submitted` jobs: accepted, and not yet at the backend. Cheap. Rejects while the store is unavailable. */
  countSubmitted(): Promise<number>
}

/**
 * The deliveries of webhooks and outputs, stored with their jobs. `JobStore.update` adds deliveries; `remove` deletes those
 * of a job. A delivery never changes its job's revision.
 */
export type DeliveryStore = {
  /** All deliveries of a job, by number. */
  deliveriesOf(jobId: string): Promise<Delivery[]>
  /** Every delivery that is due at `now` (epoch ms), the longest due first; they may change during the iteration. */
  dueDeliveries(now: number): AsyncIterable<DueDelivery>
  /** Compare-and-set, as for jobs: false, and no change, unless its stored revision is `expectedRevision`. */
  updateDelivery(delivery: Delivery, expectedRevision: number): Promise<boolean>
}

/** A batch, and for each job that was asked for what became of it, as the core writes it. */
export type StoredBatch = { readonly batch: Batch; readonly results: string }

/** As `Inserted`; of `inserted`, the batch has the jobs that the limits allow. */
export type BatchInserted =
  { kind: 'inserted'; batch: Batch } | ({ kind: 'existing' } & StoredBatch) | { kind: 'full' } | { kind: 'caller-full' }

/**
 * `isAtomic`: all jobs or none. Otherwise the first ones, as many as the limits allow; none of them is a refusal too. The
 * first `exempt` jobs are beside the limits, without which none is.
 */
export type NewBatch = StoredBatch & {
  readonly jobs: readonly Job[]
  readonly isAtomic: boolean
  readonly exempt?: number
}

/**
 * Batches of jobs, stored with them: each write of a job changes the counts of its batch too, and the removal of the last
 * one removes the batch.
 */
export type BatchStore = {
  /** Adds a batch and its jobs in one step with the checks of its idempotency key and of the limits. */
  insertBatch(batch: NewBatch, limits?: InsertLimits): Promise<BatchInserted>
  getBatch(id: string): Promise<Batch | undefined>
  /** The caller's batch with this idempotency key. */
  findBatch(caller: string, idempotencyKey: string): Promise<StoredBatch | undefined>
  /** Up to `limit` batches, newest first. */
  listBatches(query: Pick<ListQuery, 'caller' | 'after' | 'limit'>): Promise<Batch[]>
}

/**
 * Daily sums over the attempts that have finished, and samples of the last runs. `JobStore.update` adds to them; they
 * outlive their jobs. Processes that share jobs share them.
 */
export type UsageStore = {
  /** The sums of a day, such as `2026-11-26`, in no order. */
  usageOn(day: string, query: UsageQuery): Promise<UsageRow[]>
  /** Removes the sums of all days before `day`. */
  removeUsage(day: string): Promise<void>
  /** The last `SAMPLES_KEPT` runs that succeeded, each in ms for a second of speech, the newest first. */
  recentRuns(version: ModelVersion): Promise<number[]>
}

/** An adapter: all ports on the same data, so that one write can change several. */
export type Store = JobStore &
  BatchStore &
  DeliveryStore &
  UsageStore & {
    /** Releases what the store holds. Idempotent. */
    close(): Promise<void>
  }

/** Flags that are kept with the jobs. */
export type FlagKeeper = {
  /** Whether the flag of this name is set. */
  flag(name: string): Promise<boolean>
  setFlag(name: string, isSet: boolean): Promise<void>
}

/** Secrets that are kept with the jobs: the same in every process that shares these jobs. */
export type SecretKeeper = {
  /** The secret of this name, made at the first call. */
  secret(name: string): Promise<string>
}

/** A random secret of 256 bits, as text. */
export const newSecret = (): string => randomBytes(32).toString('base64url')
