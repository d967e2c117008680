import { hash } from 'node:crypto'
import { Problem } from '../../problems.ts'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { expiresAt, isFinished, type Job, hasPendingStop, type JobStatus, type ModelVersion } from '../../jobs/job.ts'
import { labelsOf, type ListPosition } from '../../jobs/ports/store.ts'

/**
 * The names of all keys. `{prefix}` is a hash tag: on a cluster all keys are on one node, as a script requires. The
 * scripts build the same names from `root`. An index is a sorted set whose members all have the score 0 and sort as text;
 * a member, `<time>:<job id>`, is a job's position in it.
 *
 *   job:<id>                      the record of a job
 *   deliveries:<job id>           hash: `<number>` a delivery's record, `<number>:body` its body, `pending` the number of pending ones
 *   status:<status>               index of the jobs of this state, by time of creation
 *   caller:<digest>:<status>      the same of one caller
 *   label:<digest>                index of the jobs with this label, by time of creation
 *   label:<caller digest>:<digest>   the same of one caller
 *   batch:<id>                    hash: a batch; `doc` as it was first, and its counts
 *   batch-results:<id>            what became of each job of its request: large, and read for a repeated submit only
 *   batches                       index of the batches, by time of creation
 *   batches:<caller digest>       the same of one caller
 *   batch-key:<digest>            the id of the batch that was made with a caller's key
 *   deadlines                     index of unfinished jobs, by expiry
 *   stopping                      index of jobs with a pending stop, by time of creation
 *   ended                         index of finished jobs without pending work, by time of finish
 *   due                           index of pending deliveries, by the time they are due; see `duePositionOf`
 *   idempotency:<digest>          the id of the job that was made with a caller's key
 *   usage                         sorted set of the days that have sums
 *   usage:<day>                   set of the callers that have sums of this day
 *   usage:<day>:<caller digest>   hash: how many values each dimension has, and all (`values`)
 *   usage:<day>:<caller digest>:<dimension>   hash: `<sum> <group>`, see `usageArgument`
 *   runs:<version>                list of the last runs of a model, in ms for a second of speech
 *   secrets                       hash: secrets by name
 */
export type Keys = ReturnType<typeof createKeys>

export function createKeys(prefix: string) {
  const root = `{${prefix}}:`
  return {
    root,
    job: (id: string) => `${root}job:${id}`,
    deliveries: (jobId: string) => `${root}deliveries:${jobId}`,
    timeline: (status: JobStatus, caller?: string) =>
      caller === undefined ? `${root}status:${status}` : `${root}caller:${digestOf(caller)}:${status}`,
    label: (digest: string, caller?: string) =>
      caller === undefined ? `${root}label:${digest}` : `${root}label:${digestOf(caller)}:${digest}`,
    batch: (id: string) => `${root}batch:${id}`,
    batches: (caller?: string) => (caller === undefined ? `${root}batches` : `${root}batches:${digestOf(caller)}`),
    batchResults: (id: string) => `${root}batch-results:${id}`,
    batchKey: (digest: string) => `${root}batch-key:${digest}`,
    deadlines: `${root}deadlines`,
    stopping: `${root}stopping`,
    ended: `${root}ended`,
    due: `${root}due`,
    usageDays: `${root}usage`,
    usageCallers: (day: string) => `${root}usage:${day}`,
    usageDimensions: (day: string, caller: string) => `${root}usage:${day}:${digestOf(caller)}`,
    usage: (day: string, caller: string, dimension: string) => `${root}usage:${day}:${digestOf(caller)}:${dimension}`,
    runs: (version: ModelVersion) => `${root}runs:${version}`,
    secrets: `${root}secrets`,
  }
}

/** Stands for callers and idempotency keys, which may be long and hold any character. */
export const digestOf = (text: string): string => hash('sha256', text, 'base64url')

/** Stands for a label: shorter, since a record has the labels of its job, and long enough to be the only one. */
export const labelDigestOf = (label: string): string => digestOf(label).slice(0, 22)

/** Digits of a time in a position: enough for every `Date`. */
const TIME_DIGITS = 15
const LATEST = 10 ** TIME_DIGITS - 1

/** A time (epoch ms) as text that sorts as times do, limited to what `TIME_DIGITS` can express. */
export const timeText = (at: number): string =>
  String(Math.min(Math.max(Math.floor(at), 0), LATEST)).padStart(TIME_DIGITS, '0')

/** A job's position in an index by time of creation. */
export const positionOf = ({ createdAt, id }: ListPosition): string => `${timeText(createdAt)}:${id}`
/** The id of the job at a position. */
export const idAt = (position: string): string => position.slice(TIME_DIGITS + 1)

/** A `BYLEX` bound: up to and with this time. */
export const boundUpTo = (at: number): string => `(${timeText(at + 1)}`
/** A `BYLEX` bound: after this position. */
export const boundAfter = (position: string): string => `(${position}`

/** The version of the records that this release writes, and the only one that it reads or replaces. */
export const SCHEMA = 1

/** Stands for a field without a value. */
const NONE = '-'

/**
 * A job's record: a header line for the scripts, which then need not parse JSON, and the job. The fields of the header:
 * schema, revision, status, times of creation, expiry and finish, whether a stop is pending, digests of the caller and of
 * the idempotency key, digests of the labels, the id of the batch. Records of earlier releases
 * have no labels; a job without a batch has no id of one.
 */
export function recordOf(job: Job): string {
  const { caller, idempotencyKey } = job
  const finished = isFinished(job) ? timeText(job.finishedAt ?? 0) : NONE
  const key = idempotencyKey === undefined ? NONE : digestOf(JSON.stringify([caller, idempotencyKey]))
  const times = [timeText(job.createdAt), timeText(expiresAt(job)), finished]
  const header = [SCHEMA, job.revision, job.status, ...times, hasPendingStop(job) ? 1 : 0]
  const digests = [digestOf(caller), key, labelsOf(job).map(labelDigestOf).join(), ...(job.batch ? [job.batch.id] : [])]
  return `${[...header, ...digests].join(' ')}\n${JSON.stringify(job)}`
}

export const jobOf = (record: string | null): Job => parse(record) as Job

/** A delivery's record, without its body, which never changes. The header: schema, revision, position in `due`. */
export function deliveryRecordOf({ body, host, ...delivery }: Delivery): string {
  const { jobId, number, revision, caller, dueAt } = delivery
  const position = dueAt === undefined ? NONE : duePositionOf({ jobId, number, caller, host, dueAt })
  return `${SCHEMA} ${revision} ${position}\n${JSON.stringify({ ...delivery, host })}`
}

export const deliveryOf = (record: string, body: string): Delivery => ({
  ...(parse(record) as Omit<Delivery, 'body'>),
  body,
})

/**
 * The host comes last, since it may contain colons; a caller may contain any character and is encoded. The number is
 * padded, so that the second comes before the tenth.
 */
const duePositionOf = ({ dueAt, jobId, number, caller, host }: DueDelivery): string =>
  [timeText(dueAt), jobId, String(number).padStart(10, '0'), encodeURIComponent(caller), host].join(':')

/** Positions written by an earlier release lack the caller: the first part of the host stands for it. */
export function dueDeliveryAt(position: string): DueDelivery {
  const [dueAt, jobId = '', number, caller = '', ...host] = position.split(':')
  return {
    dueAt: Number(dueAt),
    jobId,
    number: Number(number),
    caller: decodeURIComponent(caller),
    host: host.join(':'),
  }
}

/** A record that this release cannot read; it is neither replaced nor removed. */
export class UnreadableRecord extends Problem {
  /** For the operator. */
  readonly reason: string

  constructor(reason: string, options: ErrorOptions = {}) {
    super('store_unavailable', { cause: new Error(reason, options) })
    this.reason = reason
  }
}

function parse(record: string | null): unknown {
  const [, schema] = /^(\d+) .*\n/.exec(record ?? '') ?? []
  if (record === null || schema === undefined) throw new UnreadableRecord('its record is damaged')
  if (Number(schema) !== SCHEMA)
    throw new UnreadableRecord(`its record was written by another release (schema ${schema})`)
  try {
    return JSON.parse(record.slice(record.indexOf('\n') + 1)) as unknown
  } catch (cause) {
    throw new UnreadableRecord('its record is damaged', { cause })
  }
}
