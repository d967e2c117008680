import { hash } from 'node:crypto'
import type { JobStatus } from '../../jobs/job.ts'
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
