import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import { JOB_STATUSES, type JobStatus } from '../../jobs/job.ts'
import type { Caller } from '../../jobs/ports/access.ts'
import type { ListQuery } from '../../jobs/ports/store.ts'
import { type FieldError, invalidFields, missingScope } from '../../problems.ts'
import type { Operation } from '../docs/operation.ts'
import { callerOf } from '../plugins/auth.ts'
import type { ChargeAnswer } from '../plugins/rate-limits.ts'
import { ProblemReply, Text, Integer } from '../schemas.ts'
import { IfNoneMatch, JobReply, JOBS, NOT_MODIFIED } from './job-schema.ts'
import { createJobPages, type PageDependencies, parseCursor } from './pages.ts'
import { sendTagged, tagOf } from './view.ts'

/** Query of `GET /jobs`. `listQueryOf` checks the texts. */
const ListJobsQuery = Type.Object(
  {
    status: Type.Optional(
      Text({ description: 'States, separated by commas.', example: 'submitted,running', maxLength: 100 }),
    ),
    created_after: Type.Optional(
      Text({
        description: 'Only jobs accepted after this time (RFC 3339).',
        example: '2026-01-31T00:00:00Z',
        format: 'date-time',
        maxLength: 40,
      }),
    ),
    created_before: Type.Optional(
      Text({
        description: 'Only jobs accepted before this time (RFC 3339).',
        example: '2026-02-01T00:00:00Z',
        format: 'date-time',
        maxLength: 40,
      }),
    ),
    limit: Type.Optional(
      Integer({
        description: 'Jobs on a page, 50 by default; fewer if they have more than 1 MiB.',
        example: 20,
        minimum: 1,
        maximum: 200,
      }),
    ),
    caller: Type.Optional(
      Text({
        description: 'Only jobs of this caller; for administrators.',
        example: 'key:studio',
        minLength: 1,
        maxLength: 1024,
      }),
    ),
    cursor: Type.Optional(
      Text({
        description: 'The `next_cursor` of the previous page.',
        example: 'MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE',
        maxLength: 100,
      }),
    ),
  },
  { additionalProperties: false },
)

/** Answer of `GET /jobs`, newest first; the route renders the JSON itself, job by job. */
const JobsReply = Type.Unsafe<Buffer>(
  Type.Object(
    {
      jobs: Type.Array(JobReply, { description: 'Newest first.' }),
      next_cursor: Type.Optional(
        Text({
          description: 'Names the next page; absent on the last.',
          example: 'MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE',
        }),
      ),
    },
    { $id: 'JobList', description: 'One page of jobs.' },
  ),
)

const docs: Operation = {
  operationId: 'listJobs',
  tag: 'jobs',
  summary: 'List jobs',
  description: 'Your jobs, newest first. For the next page, send the `next_cursor` of this one and the same filters.',
  headers: IfNoneMatch,
  answers: {
    200: {
      description: 'One page.',
      headers: ['ETag'],
      examples: {
        page: {
          summary: 'A page that is not the last',
          value: {
            jobs: [JOBS.running.value],
            next_cursor: 'MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE',
          },
        },
      },
    },
    304: NOT_MODIFIED,
  },
}

export type ListRoutesOptions = PageDependencies & { readonly chargeAnswer: ChargeAnswer }

/** `GET /jobs`: the caller's jobs, page by page. */
export const listRoutes: FastifyPluginAsyncTypebox<ListRoutesOptions> = (app, { chargeAnswer, ...options }) => {
  const renderPage = createJobPages(options)

  app.get(
    '/jobs',
    {
      config: { access: 'jobs:read', docs },
      schema: { querystring: ListJobsQuery, response: { 200: JobsReply, 304: Type.Null(), '4xx': ProblemReply } },
    },
    async (request, reply) => {
      const page = await renderPage(listQueryOf(request.query, callerOf(request)), request, reply)
      await chargeAnswer(request, reply, page.length)
      return sendTagged(request, reply, { text: page, etag: tagOf(page) })
    },
  )
  return Promise.resolve()
}

/** RFC 3339 with a time zone. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i

/** The query of `GET /jobs` as the core takes it. Throws `invalid_request` naming every invalid parameter. */
function listQueryOf(query: Static<typeof ListJobsQuery>, caller: Caller): ListQuery {
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

/** Each parser returns a value, or the error as text. */
function parseStatuses(text: string): JobStatus[] | string {
  const names = new Set(text.split(','))
  const known = JOB_STATUSES.filter((status) => names.has(status))
  return known.length === names.size ? known : `must be some of ${JOB_STATUSES.join(', ')}, separated by commas`
}

function parseTime(text: string): number | string {
  const time = TIME.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(time) ? 'must be a time of RFC 3339, such as 2026-01-31T12:00:00Z' : time
}
