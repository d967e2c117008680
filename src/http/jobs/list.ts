import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ERROR_CODES, isJobId, type Job, JOB_STATUSES, type JobStatus } from '../../jobs/job.ts'
import type { Caller } from '../../jobs/ports/access.ts'
import {
  batchLabel,
  errorLabel,
  type ListPosition,
  type ListQuery,
  metadataLabel,
  versionLabel,
} from '../../jobs/ports/store.ts'
import type { JobService } from '../../jobs/service.ts'
import { createSerial } from '../../lib/concurrency.ts'
import { createTurns } from '../../lib/limits.ts'
import { type FieldError, invalidFields, missingScope } from '../../problems.ts'
import type { Operation } from '../docs/operation.ts'
import { callerOf, limitKeyOf } from '../plugins/auth.ts'
import type { Unsent } from '../plugins/open-answers.ts'
import type { ChargeAnswer } from '../plugins/rate-limits.ts'
import { Integer, OneOf, ProblemReply, Text } from '../schemas.ts'
import { IfNoneMatch, JobReply, JOBS, NOT_MODIFIED } from './job-schema.ts'
import { Metadata, Version } from './submit-schema.ts'
import { linkNext, type Renderer, type Rendering, sendTagged, tagOf } from './view.ts'

/** Sent as `metadata[KEY]=VALUE`; `gatherMetadata` makes the object. */
const LabelFilter = {
  ...Metadata,
  maxProperties: 3,
  examples: undefined,
  description: 'Only jobs with this label: `metadata[KEY]=VALUE`, up to three times. For example `metadata[scene]=12`.',
}

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
    metadata: Type.Optional(LabelFilter),
    batch: Type.Optional(
      Text({
        description: 'Only jobs of this batch.',
        example: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13',
        maxLength: 100,
      }),
    ),
    error_code: Type.Optional(
      OneOf(ERROR_CODES, { description: 'Only jobs that failed with this code.', examples: ['face_not_found'] }),
    ),
    version: Type.Optional({ ...Version, description: 'Only jobs of this model.' }),
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
  description:
    'Your jobs, newest first. For the next page, follow the `Link` of this one, or send its `next_cursor` with the same filters. All filters that are given apply. Every page is read along the indexes of its filters: only of labels that many jobs have, but few together, a page takes longer the more jobs there are.',
  headers: IfNoneMatch,
  answers: {
    200: {
      description: 'One page.',
      headers: ['ETag', 'Link'],
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
    304: { ...NOT_MODIFIED, headers: ['ETag', 'Link'] },
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
      preValidation: (request, _reply, done) => {
        request.query = gatherMetadata(request.query)
        done()
      },
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

/** A query with its `metadata[KEY]` as one object. A key may have any character, also a bracket. */
function gatherMetadata(query: object): object {
  const plain: [string, unknown][] = []
  const pairs: [string, unknown][] = []
  for (const [name, value] of Object.entries(query) as [string, unknown][]) {
    const key = /^metadata\[(.*)\]$/s.exec(name)?.[1]
    if (key === undefined) plain.push([name, value])
    else pairs.push([key, value])
  }
  // A plain `metadata` is refused, also beside pairs.
  return { ...(pairs.length > 0 && { metadata: Object.fromEntries(pairs) as object }), ...Object.fromEntries(plain) }
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
  const labels = labelsIn(query)
  return {
    limit: query.limit ?? 50,
    ...(labels.length > 0 && { labels }),
    ...(whose !== undefined && { caller: whose }),
    ...(statuses && { statuses }),
    ...(createdAfter !== undefined && { createdAfter }),
    ...(createdBefore !== undefined && { createdBefore }),
    ...(after && { after }),
  }
}

const labelsIn = ({ metadata = {}, error_code: code, version, batch }: Static<typeof ListJobsQuery>): string[] => [
  ...Object.entries(metadata).map(([key, value]) => metadataLabel(key, value)),
  ...(batch === undefined ? [] : [batchLabel(batch)]),
  ...(code === undefined ? [] : [errorLabel(code)]),
  ...(version === undefined ? [] : [versionLabel(version)]),
]

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

/** Largest page, in bytes, whatever its `limit`; a single job may be larger. */
export const MAX_PAGE_BYTES = 1024 * 1024

/** Jobs read and rendered in one turn of the event loop: about 5 ms of work with the largest metadata. */
const JOBS_PER_TURN = 25

type PageDependencies = {
  readonly service: Pick<JobService, 'list'>
  readonly renderer: Pick<Renderer, 'render'>
  readonly unsent: Unsent
}

/** Renders one page of jobs as JSON, as `GET /jobs` answers it. Rejects with `overloaded` if too much of earlier answers is unsent. */
type RenderPage = (query: ListQuery, request: FastifyRequest, reply: FastifyReply) => Promise<Buffer>

/**
 * Renders one page at a time for each caller, and one part of a page in each turn of the event loop for all of them. So
 * other requests never wait for more than a part, and one caller's pages neither fill the memory nor delay those of
 * others.
 */
function createJobPages({ service, renderer, unsent }: PageDependencies): RenderPage {
  const turns = createTurns(1)
  const onePerCaller = createSerial()

  /** The query's jobs, part by part, each in its turn; stops when the client leaves. */
  async function* readParts({ limit, ...query }: ListQuery, { raw }: FastifyReply) {
    let { after } = query
    for (let missing = limit; missing > 0 && !raw.destroyed;) {
      await turns.next()
      const part = await service.list({ ...query, limit: Math.min(missing, JOBS_PER_TURN), ...(after && { after }) })
      await turns.next()
      yield part
      if (!part.next) return
      missing -= part.jobs.length
      after = part.next
    }
  }

  const renderWithinShare: RenderPage = async (query, request, reply) => {
    // Earlier pages may be unread.
    unsent.admit(request)
    const page = await render(query, request, reply)
    unsent.count(request, reply, page.length)
    return page
  }

  /** Whether there are more jobs than those of the page. */
  const fill = async (page: Page, query: ListQuery, { caller }: FastifyRequest, reply: FastifyReply) => {
    let hasMore = false
    for await (const { jobs, next } of readParts(query, reply)) {
      for (const job of jobs) if (!page.add(job, await renderer.render(job, caller))) return true
      hasMore = next !== undefined
    }
    return hasMore
  }

  const render: RenderPage = async (query, request, reply) => {
    const page = createPage()
    const hasMore = await fill(page, query, request, reply)
    const cursor = hasMore ? page.nextCursor() : undefined
    if (cursor !== undefined) linkNext(request, reply, cursor)
    return page.body(cursor)
  }
  return (query, request, reply) => onePerCaller(limitKeyOf(request), () => renderWithinShare(query, request, reply))
}

/** Collects the jobs of a page as JSON, up to `MAX_PAGE_BYTES`; the first always fits. */
function createPage() {
  const rows: string[] = []
  let bytes = 0
  let last: Job | undefined
  return {
    /** False if the job does not fit. */
    add(job: Job, row: Rendering): boolean {
      if (last && bytes + row.bytes > MAX_PAGE_BYTES) return false
      rows.push(row.text)
      bytes += row.bytes + 1
      last = job
      return true
    },
    /** Undefined if the page is empty. */
    nextCursor: () => last && cursorOf(last),
    body(cursor: string | undefined): Buffer {
      const next = cursor === undefined ? '' : `,"next_cursor":${JSON.stringify(cursor)}`
      return Buffer.from(`{"jobs":[${rows.join(',')}]${next}}`)
    },
  }
}

type Page = ReturnType<typeof createPage>

/** The position that a cursor names, or the error as text. */
export function parseCursor(text: string): ListPosition | string {
  const [, at, id = ''] = /^(\d{1,15})\.(.*)$/.exec(Buffer.from(text, 'base64url').toString()) ?? []
  if (at === undefined || !isJobId(id)) return 'must be a next_cursor of an earlier answer'
  return { createdAt: Number(at), id }
}

/** A position in its wire form, opaque to clients. */
export const cursorOf = ({ createdAt, id }: ListPosition): string =>
  Buffer.from(`${createdAt}.${id}`).toString('base64url')
