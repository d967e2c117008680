import type { Static } from '@sinclair/typebox'
import { type FieldError, invalidFields, missingScope } from '../../problems.ts'
import type { Caller } from '../../jobs/ports/access.ts'
import { isJobId, JOB_STATUSES, type JobStatus } from '../../jobs/job.ts'
import type { ListPosition, ListQuery } from '../../jobs/ports/store.ts'
import type { ListJobsQuery } from './parameters.ts'

/** RFC 3339 with a time zone. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i

/** The query of `GET /jobs` as the core takes it. Throws `invalid_request` naming every invalid parameter. */
export function listQueryOf(query: Static<typeof ListJobsQuery>, caller: Caller): ListQuery {
  const errors: FieldError[] = []
  const read = <T>(
    name: 'status' | 'created_after' | 'created_before' | 'cursor',
    parse: (text: string) => T | string,
  ) => {
    const text = query[name]
    const value = text === undefined ? undefined : parse(text)
    if (typeof value === 'string') errors.push({ path: `/${name}`, message: value })
    return typeof value === 'string' ? undefined : value
  }
  const statuses = read('status', parseStatuses)
  const createdAfter = read('created_after', parseTime)
  const createdBefore = read('created_before', parseTime)
  const after = read('cursor', parseCursor)
  if (errors.length > 0) throw invalidFields(errors)
  if (query.caller !== undefined && !caller.seesAll) throw missingScope('admin')
  const whose = caller.seesAll ? query.caller : caller.id
  return {
    limit: query.limit ?? 50,
    ...(whose !== undefined && { caller: whose }),
    ...(statuses && { statuses }),
    ...(createdAfter !== undefined && { createdAfter }),
    ...(createdBefore !== undefined && { createdBefore }),
    ...(after && { after }),
  }
}

/** Each parser gives a value, or what is wrong. */
function parseStatuses(text: string): JobStatus[] | string {
  const names = new Set(text.split(','))
  const known = JOB_STATUSES.filter((status) => names.has(status))
  return known.length === names.size ? known : `must be some of ${JOB_STATUSES.join(', ')}, separated by commas`
}

function parseTime(text: string): number | string {
  const time = TIME.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(time) ? 'must be a time of RFC 3339, such as 2026-01-31T12:00:00Z' : time
}

function parseCursor(text: string): ListPosition | string {
  const [, at, id = ''] = /^(\d{1,15})\.(.*)$/.exec(Buffer.from(text, 'base64url').toString()) ?? []
  if (at === undefined || !isJobId(id)) return 'must be a next_cursor of an earlier answer'
  return { createdAt: Number(at), id }
}

/** A position as callers see it: opaque. */
export const cursorOf = ({ createdAt, id }: ListPosition): string =>
  Buffer.from(`${createdAt}.${id}`).toString('base64url')
