import { hash } from 'node:crypto'
import { Problem } from '../../problems.ts'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { expiresAt, isFinished, type Job, hasPendingStop, type JobStatus } from '../../jobs/job.ts'
import type { ListPosition } from '../../jobs/ports/store.ts'

/**
 * The names of all that is kept. `{prefix}` is a hash tag: on a cluster everything lies on one node, where a script
 * may reach it. The scripts make the same names from `root`; a line is a sorted set whose members sort as text.
 *
 *   job:<id>                      the record of a job
 *   deliveries:<job id>           hash: `<number>` a delivery's record, `<number>:body` what it sends, `pending` how many are
 *   status:<status>               line of the jobs of this state, by time of creation
 *   caller:<digest>:<status>      the same of one caller
 *   deadlines                     line of unfinished jobs, by deadline
 *   stopping                      line of jobs that owe a stop, by time of creation
 *   ended                         line of jobs to which nothing is owed any more, by time of end
 *   due                           line of pending deliveries, by the time they are due
 *   idempotency:<digest>          the id of the job that a caller's key has made
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
    deadlines: `${root}deadlines`,
    stopping: `${root}stopping`,
    ended: `${root}ended`,
    due: `${root}due`,
    secrets: `${root}secrets`,
  }
}

/** Names of callers and their keys can be long and hold any character: in names of keys and lines stands this. */
export const digestOf = (text: string): string => hash('sha256', text, 'base64url')

/** Digits of a time in a line: enough for every `Date`. */
const TIME_DIGITS = 15
const LATEST = 10 ** TIME_DIGITS - 1

/** A time (epoch ms) as text that sorts as times do; one beyond what can be written is the first or the last that can. */
export const timeText = (at: number): string =>
  String(Math.min(Math.max(Math.floor(at), 0), LATEST)).padStart(TIME_DIGITS, '0')

/** A job's place in a line. */
export const placeOf = ({ createdAt, id }: ListPosition): string => `${timeText(createdAt)}:${id}`
/** The id of the job at a place. */
export const idAt = (place: string): string => place.slice(TIME_DIGITS + 1)

/** The bound of a line's part that holds every time up to this one. */
export const upTo = (at: number): string => `(${timeText(at + 1)}`
/** The bound of a line's part that goes on behind this place. */
export const behind = (place: string): string => `(${place}`

/** The form of the records that this release writes, and the only one it touches. Raised when the form changes. */
export const SCHEMA = 1

/** Nothing, where a line has to say something. */
const NONE = '-'

/**
 * A job's record: a line for the scripts, which need not parse JSON, then the job. Its words: schema, revision, state,
 * times of creation, expiry and end, whether a stop is owed, digests of the caller and of the idempotency key.
 */
export function recordOf(job: Job): string {
  const { caller, idempotencyKey } = job
  const end = isFinished(job) ? timeText(job.finishedAt ?? 0) : NONE
  const key = idempotencyKey === undefined ? NONE : digestOf(JSON.stringify([caller, idempotencyKey]))
  const times = [timeText(job.createdAt), timeText(expiresAt(job)), end]
  const words = [SCHEMA, job.revision, job.status, ...times, hasPendingStop(job) ? 1 : 0, digestOf(caller), key]
  return `${words.join(' ')}\n${JSON.stringify(job)}`
}

export const jobOf = (record: string | null): Job => parse(record) as Job

/** A delivery's record without its body, which never changes. The line: schema, revision, place among those due. */
export function deliveryRecordOf({ body, host, ...delivery }: Delivery): string {
  const { jobId, number, revision, caller, dueAt } = delivery
  const place = dueAt === undefined ? NONE : duePlaceOf({ jobId, number, caller, host, dueAt })
  return `${SCHEMA} ${revision} ${place}\n${JSON.stringify({ ...delivery, host })}`
}

export const deliveryOf = (record: string, body: string): Delivery => ({
  ...(parse(record) as Omit<Delivery, 'body'>),
  body,
})

/**
 * The host comes last, since it may hold colons; a caller, which may hold anything, is encoded. The number is filled up,
 * so that the second comes before the tenth.
 */
const duePlaceOf = ({ dueAt, jobId, number, caller, host }: DueDelivery): string =>
  [timeText(dueAt), jobId, String(number).padStart(10, '0'), encodeURIComponent(caller), host].join(':')

/** Places of an earlier release lack the caller: what they give for it is a part of the host, and shared out alike. */
export function dueAtPlace(place: string): DueDelivery {
  const [dueAt, jobId = '', number, caller = '', ...host] = place.split(':')
  return {
    dueAt: Number(dueAt),
    jobId,
    number: Number(number),
    caller: decodeURIComponent(caller),
    host: host.join(':'),
  }
}

/** A record that this release cannot read, and leaves alone. */
export class UnreadableRecord extends Problem {
  /** In words for an operator. */
  readonly reason: string

  constructor(reason: string, options: ErrorOptions = {}) {
    super('store_unavailable', { cause: new Error(reason, options) })
    this.reason = reason
  }
}

function parse(record: string | null): unknown {
  const [, schema] = /^(\d+) .*\n/.exec(record ?? '') ?? []
  if (record === null || schema === undefined) throw new UnreadableRecord('its record is damaged')
  if (Number(schema) !== SCHEMA) throw new UnreadableRecord(`its record is of another release (schema ${schema})`)
  try {
    return JSON.parse(record.slice(record.indexOf('\n') + 1)) as unknown
  } catch (cause) {
    throw new UnreadableRecord('its record is damaged', { cause })
  }
}
