import { Problem } from '../../problems.ts'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { expiresAt, isFinished, type Job, hasPendingStop } from '../../jobs/job.ts'
import { digestOf, timeText } from './keys.ts'

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
