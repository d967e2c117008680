import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import type { Caller } from '../jobs/ports/access.ts'
import type { JobService, UsageRequest } from '../jobs/service.ts'
import { MAX_GROUPS, MAX_REPORT_DAYS, METADATA, type UsageTotal, VALUES_PER_DIMENSION } from '../jobs/usage.ts'
import { createSerial } from '../lib/concurrency.ts'
import { type FieldError, invalidFields, missingScope } from '../problems.ts'
import type { Operation } from './docs/operation.ts'
import { CostReply, IfNoneMatch, NOT_MODIFIED } from './jobs/job-schema.ts'
import { sendTagged, tagOf } from './jobs/view.ts'
import { callerOf, limitKeyOf } from './plugins/auth.ts'
import type { Unsent } from './plugins/open-answers.ts'
import type { ChargeAnswer } from './plugins/rate-limits.ts'
import { compileSerializer, Integer, ProblemReply, Text } from './schemas.ts'

const GROUPS = ['day', 'caller', 'status'] as const

/** Query of `GET /usage`. `usageRequestOf` checks the texts. */
const UsageQuery = Type.Object(
  {
    from: Type.Optional(
      Text({
        description: 'The first day, in UTC; 29 days before the last one by default.',
        example: '2026-01-01',
        maxLength: 10,
      }),
    ),
    to: Type.Optional(
      Text({
        description: `The last day, in UTC; today by default. At most ${MAX_REPORT_DAYS} days in all.`,
        example: '2026-01-31',
        maxLength: 10,
      }),
    ),
    group_by: Type.Optional(
      Text({
        description:
          'What the groups are: `day` (by default), `caller`, `status` (how attempts ended) or `metadata.` and a key of your labels.',
        example: 'metadata.scene',
        maxLength: METADATA.length + 64,
      }),
    ),
    caller: Type.Optional(
      Text({
        description: 'Only what jobs of this caller used; for administrators.',
        example: 'key:studio',
        minLength: 1,
        maxLength: 1024,
      }),
    ),
  },
  { additionalProperties: false },
)

const Seconds = (description: string, example: number) => Type.Number({ description, examples: [example] })

const SUMS = {
  jobs: Integer({
    description: 'How often a job finished. One that is retried and finishes again counts again.',
    example: 41,
    minimum: 0,
  }),
  attempts: Integer({
    description: 'How many attempts finished, interrupted ones included: each once.',
    example: 43,
    minimum: 0,
  }),
  queued_seconds: Seconds("Their time in the backend's queue, as far as it is known.", 86.1),
  startup_seconds: Seconds('Their time in the start of containers, as far as it is known.', 389.5),
  run_seconds: Seconds('Their time in runs, as far as it is known.', 2635.07),
  costs: Type.Array(CostReply, {
    description: 'What their runs cost, in each currency of a price that applied; empty without a price.',
    examples: [[{ amount: '0.58498554', currency: 'USD' }]],
  }),
}

const GroupReply = Type.Object(
  {
    group: Type.Optional(
      Text({
        description: 'The day, caller, outcome or value. Absent: all that is in no other group.',
        example: '2026-01-31',
      }),
    ),
    ...SUMS,
  },
  { $id: 'UsageGroup', description: 'The sums of one group.' },
)

/** Answer of `GET /usage`; the route renders the JSON itself, to know its size. */
const UsageReply = Type.Object(
  {
    from: Text({ description: 'The first day.', example: '2026-01-01' }),
    to: Text({ description: 'The last day.', example: '2026-01-31' }),
    groups: Type.Array(GroupReply, {
      description: `Days in order; other groups by their time in runs, the longest first, up to ${MAX_GROUPS}. What is in none of them comes last.`,
    }),
    total: Type.Object(SUMS, { $id: 'UsageTotal', description: 'The sums of all.' }),
  },
  { $id: 'Usage', description: 'What attempts used that finished on these days.' },
)

const A_DAY = {
  jobs: 41,
  attempts: 43,
  queued_seconds: 86.1,
  startup_seconds: 389.5,
  run_seconds: 2635.07,
  costs: [{ amount: '0.58498554', currency: 'USD' }],
}

const docs: Operation = {
  operationId: 'getUsage',
  tag: 'jobs',
  summary: 'Read usage and cost',
  description: [
    'What your jobs used, by the day on which each attempt finished; administrators read that of all callers. It is exact, and stays when jobs are removed.',
    `Of one metadata key the first ${VALUES_PER_DIMENSION} values of a caller and day have groups; others are in the group without a name, like jobs without the label.`,
  ].join(' '),
  headers: IfNoneMatch,
  answers: {
    200: {
      description: 'The sums.',
      headers: ['ETag'],
      examples: {
        day: {
          summary: 'One day',
          value: { from: '2026-01-31', to: '2026-01-31', groups: [{ group: '2026-01-31', ...A_DAY }], total: A_DAY },
        },
      },
    },
    304: NOT_MODIFIED,
  },
}

export type UsageRoutesOptions = {
  readonly service: Pick<JobService, 'usage'>
  readonly unsent: Unsent
  readonly chargeAnswer: ChargeAnswer
}

/** `GET /usage`: one report at a time of each caller. */
export const usageRoutes: FastifyPluginAsyncTypebox<UsageRoutesOptions> = (app, { service, unsent, chargeAnswer }) => {
  const onePerCaller = createSerial()
  const serialize = compileSerializer({ schema: UsageReply, method: 'GET', url: '' })

  app.get(
    '/usage',
    {
      config: { access: 'jobs:read', docs },
      schema: {
        querystring: UsageQuery,
        response: { 200: Type.Unsafe<Buffer>(UsageReply), 304: Type.Null(), '4xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const query = usageRequestOf(request.query, callerOf(request))
      unsent.admit(request)
      const { from, to, groups, rest, total } = await onePerCaller(limitKeyOf(request), () => service.usage(query))
      const shown = groups.map(({ group, sums }) => ({ group, ...presentSums(sums) }))
      const all = [...shown, ...(rest ? [presentSums(rest)] : [])]
      const body = Buffer.from(serialize({ from, to, groups: all, total: presentSums(total) }))
      unsent.count(request, reply, body.length)
      await chargeAnswer(request, reply, body.length)
      return sendTagged(request, reply, { text: body, etag: tagOf(body) })
    },
  )
  return Promise.resolve()
}

const presentSums = ({ jobs, attempts, queuedMs, startupMs, runMs, costs }: UsageTotal) => ({
  jobs,
  attempts,
  queued_seconds: queuedMs / 1_000,
  startup_seconds: startupMs / 1_000,
  run_seconds: runMs / 1_000,
  costs,
})

/** The query as the core takes it. Throws `invalid_request` naming every invalid parameter. */
function usageRequestOf(
  { from, to, group_by: groupBy = 'day', caller }: Static<typeof UsageQuery>,
  by: Caller,
): UsageRequest {
  const errors: FieldError[] = []
  for (const [name, day] of Object.entries({ from, to })) {
    if (day !== undefined && !isDay(day))
      errors.push({ path: `/${name}`, message: 'must be a day, such as 2026-01-31' })
  }
  const isKnown = GROUPS.some((name) => name === groupBy) || (groupBy.startsWith(METADATA) && groupBy !== METADATA)
  if (!isKnown) errors.push({ path: '/group_by', message: `must be one of ${GROUPS.join(', ')}, or ${METADATA}KEY` })
  if (errors.length > 0) throw invalidFields(errors)
  if (caller !== undefined && !by.seesAll) throw missingScope('admin')
  return { from, to, groupBy, caller: by.seesAll ? caller : by.id }
}

/** A full-date of RFC 3339 that exists. */
function isDay(text: string): boolean {
  const time = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(text) : Number.NaN
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text)
}
