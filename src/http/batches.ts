import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import { type Batch, unfinishedIn } from '../jobs/batch.ts'
import type { Batches, BatchResult } from '../jobs/batches.ts'
import { JOB_STATUSES } from '../jobs/job.ts'
import { parseIdempotencyKey } from '../jobs/submit.ts'
import { formatNanos } from '../jobs/usage.ts'
import { formatTime } from '../jobs/view.ts'
import { createSerial } from '../lib/concurrency.ts'
import { invalidFields, isProblem, missingScope, PROBLEM_CODES } from '../problems.ts'
import { linesOf, readJobs } from './batch-jobs.ts'
import type { Operation } from './docs/operation.ts'
import { CostReply } from './jobs/job-schema.ts'
import { cursorOf, parseCursor } from './jobs/list.ts'
import { Metadata, WebhookUrl } from './jobs/submit-schema.ts'
import { linkNext } from './jobs/view.ts'
import { callerOf, limitKeyOf } from './plugins/auth.ts'
import type { OpenAnswers } from './plugins/open-answers.ts'
import type { ChargeSubmits } from './plugins/rate-limits.ts'
import { traceOf } from './plugins/request-log.ts'
import { Integer, NoBody, NoQuery, OneOf, ProblemReply, Text, Time } from './schemas.ts'

/** Most jobs of one batch, and the largest body of one, in bytes: two URLs of 2,048 characters fit into each job. */
const MAX_JOBS = 1_000
const MAX_BODY_BYTES = 5 * 1024 * 1024

const ID = '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13'
const BatchId = Text({ description: 'The id of the batch.', example: ID, maxLength: 100 })
export const BatchParams = Type.Object({ id: BatchId })

const AnyJob = (description: string, examples: object[]) =>
  Type.Unsafe<Record<string, unknown>>({ type: 'object', additionalProperties: true, description, examples })

const EXAMPLE_JOB = { audio_path: 'speech.wav' }

/** Body of `POST /batches`. Each job is checked by `NewJobBody`, so that its errors stay its own. */
const BatchBody = Type.Object(
  {
    jobs: Type.Array(AnyJob('A job, as the JSON of `POST /jobs`.', [EXAMPLE_JOB]), {
      minItems: 1,
      maxItems: MAX_JOBS,
      description: `The jobs, up to ${MAX_JOBS}, each as the JSON of \`POST /jobs\`: face and speech by name.`,
      examples: [[EXAMPLE_JOB]],
    }),
    defaults: Type.Optional(
      AnyJob('Fields for the jobs that do not have them; for a job with another face or speech, not that one.', [
        { video_path: 'face.mp4' },
      ]),
    ),
    metadata: Type.Optional({ ...Metadata, description: 'Your own labels of the batch. Jobs have their own.' }),
    webhook_url: Type.Optional(WebhookUrl),
    atomic: Type.Optional(
      Type.Boolean({
        description: 'Whether to create no job if one of them is refused. Otherwise the others are created.',
        examples: [true],
      }),
    ),
  },
  { $id: 'NewBatch', description: 'Jobs to submit together.', additionalProperties: false },
)

const Count = (description: string, example: number) => Integer({ description, example, minimum: 0 })
const Seconds = (description: string, example: number) => Type.Number({ description, examples: [example], minimum: 0 })

const BATCH_FIELDS = {
  batch_id: BatchId,
  created_at: Time({ description: 'When it was accepted.', example: '2026-01-31T12:00:00.000Z' }),
  finished: Type.Boolean({ description: 'Whether all its jobs have finished.', examples: [false] }),
  counts: Type.Object(
    Object.fromEntries(JOB_STATUSES.map((status) => [status, Count(`Jobs that are ${status}.`, 1)])),
    { description: 'Its jobs by state. A job that is deleted counts as what it was.' },
  ),
  total: Count('How many jobs it has.', 2),
  refused: Count('How many jobs were refused when it was submitted.', 0),
  usage: Type.Object(
    {
      queued_seconds: Seconds("In the backend's queue, as far as it is known.", 4.2),
      startup_seconds: Seconds('In the start of containers, as far as it is known.', 19),
      run_seconds: Seconds('In runs, as far as it is known.', 128.54),
    },
    { description: 'Sums over the attempts that have finished, those of deleted jobs included.' },
  ),
  costs: Type.Array(CostReply, {
    description: 'What they cost, in each currency of a price that applied; empty without a price.',
    examples: [[{ amount: '0.02853588', currency: 'USD' }]],
  }),
  estimated_finish_at: Type.Optional(
    Time({
      description:
        'When the last of its jobs is expected to finish, on `GET /batches/{id}` and in events: by recent runs, the progress, and the queue. Absent when nothing is known of one of them.',
      example: '2026-01-31T12:04:00.000Z',
    }),
  ),
  metadata: Type.Optional(Metadata),
  webhook_url: Type.Optional(
    Text({ description: 'Where its end is reported.', example: 'https://hooks.example.com/lip-sync' }),
  ),
  links: Type.Object(
    {
      self: Text({ description: 'This batch.', example: `/batches/${ID}` }),
      jobs: Text({ description: 'Its jobs.', example: `/jobs?batch=${ID}` }),
      events: Text({ description: 'Its counts as they change.', example: `/batches/${ID}/events` }),
    },
    { description: 'Paths below the server.' },
  ),
}
const BatchReply = Type.Object(BATCH_FIELDS, { $id: 'Batch', description: 'Jobs that were submitted together.' })

const ProblemOfJob = Type.Object(
  {
    code: OneOf(PROBLEM_CODES, { description: 'As of `POST /jobs`.', examples: ['invalid_request'] }),
    status: Integer({ description: 'The HTTP status that it would have.', example: 400, minimum: 400, maximum: 599 }),
    detail: Text({ description: 'What is wrong, in a sentence.', example: 'audio_url: must be an http or https URL' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          path: Text({ description: 'The field, as a JSON Pointer into the job.', example: '/audio_url' }),
          message: Text({ description: 'What is wrong with it.', example: 'must be an http or https URL' }),
        }),
        {
          description: 'Its invalid fields, up to 3.',
          examples: [[{ path: '/audio_url', message: 'must be an http or https URL' }]],
        },
      ),
    ),
  },
  { description: 'Why the job was not created.' },
)
const ResultReply = Type.Object(
  {
    job_id: Type.Optional(Text({ description: 'The id of the job.', example: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11' })),
    problem: Type.Optional(ProblemOfJob),
  },
  { $id: 'BatchResult', description: 'What became of one job: its id or its problem.' },
)
const EXAMPLE_RESULTS = [{ job_id: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11' }]
const SubmittedReply = Type.Object(
  {
    ...BATCH_FIELDS,
    results: Type.Array(ResultReply, {
      description: 'For each job of the request, in its order, the id or the problem.',
      examples: [EXAMPLE_RESULTS],
    }),
  },
  { $id: 'SubmittedBatch', description: 'A batch with what became of each job.' },
)
const OutcomeReply = Type.Object(
  {
    ...BATCH_FIELDS,
    changed: Count('How many jobs were changed.', 2),
    unchanged: Count('How many jobs could not be changed, since they had just finished or have reached a limit.', 0),
  },
  { $id: 'BatchOutcome', description: 'A batch, and to how many of its jobs the request applied.' },
)
const BatchesReply = Type.Object(
  {
    batches: Type.Array(BatchReply, { description: 'Newest first.' }),
    next_cursor: Type.Optional(Text({ description: 'Names the next page; absent on the last.', example: 'MTc2OTg2' })),
  },
  { $id: 'BatchList', description: 'One page of batches.' },
)

const ListQuery = Type.Object(
  {
    limit: Type.Optional(
      Integer({ description: 'Batches on a page, 50 by default.', example: 20, minimum: 1, maximum: 200 }),
    ),
    caller: Type.Optional(
      Text({
        description: 'Only batches of this caller; for administrators.',
        example: 'key:studio',
        minLength: 1,
        maxLength: 1024,
      }),
    ),
    cursor: Type.Optional(
      Text({ description: 'The `next_cursor` of the previous page.', example: 'MTc2OTg2', maxLength: 100 }),
    ),
  },
  { additionalProperties: false },
)
const WaitQuery = Type.Object(
  {
    wait: Type.Optional(
      Integer({
        description: 'Wait until all jobs have finished, for at most so many seconds.',
        example: 30,
        minimum: 0,
        maximum: 60,
      }),
    ),
  },
  { additionalProperties: false },
)
const BatchHeaders = Type.Object({
  'Idempotency-Key': Type.Optional(
    Text({
      description:
        'Makes the submit safe to repeat: the same batch with the same key is created once, as a whole. A key lives as long as its batch.',
      example: 'episode-7',
      maxLength: 512,
    }),
  ),
})

const EXAMPLE = {
  batch_id: ID,
  created_at: '2026-01-31T12:00:00.000Z',
  finished: false,
  counts: { submitted: 1, running: 0, succeeded: 0, failed: 0, canceled: 0 },
  total: 1,
  refused: 0,
  usage: { queued_seconds: 0, startup_seconds: 0, run_seconds: 0 },
  costs: [],
  links: { self: `/batches/${ID}`, jobs: `/jobs?batch=${ID}`, events: `/batches/${ID}/events` },
}
const exampleOf = (summary: string, value: object) => ({ batch: { summary, value } })

const docs: Record<'submit' | 'list' | 'get' | 'cancel' | 'retry' | 'remove', Operation> = {
  submit: {
    operationId: 'submitBatch',
    tag: 'batches',
    summary: 'Submit a batch of jobs',
    description: `Submits up to ${MAX_JOBS} jobs at once, in a body of at most ${MAX_BODY_BYTES / 1024 / 1024} MiB: JSON, or \`application/x-ndjson\` with one job a line. Jobs that are wrong, or beyond a limit, do not stop the others; \`results\` names the problem of each. With \`atomic\` all are created or none. Each job counts against the rate limit as a submit; a batch is accepted if one more submit is, and what it is beyond the limit delays the next submits. When the last job finishes, \`webhook_url\` gets the event \`batch.finished\` with the counts: \`{"type", "timestamp", "data": {"batch_id", "counts", "links"}}\`; again, if jobs are retried and finish again.`,
    headers: BatchHeaders,
    body: {
      example: {
        summary: 'One face, two speeches',
        value: { defaults: { video_path: 'face.mp4' }, jobs: [{ audio_path: 'a.wav' }, { audio_path: 'b.wav' }] },
      },
    },
    answers: {
      202: {
        description: 'The batch is accepted, now or earlier with this `Idempotency-Key`.',
        headers: ['Location', 'Idempotent-Replayed'],
        examples: exampleOf('A batch of one job', { ...EXAMPLE, results: EXAMPLE_RESULTS }),
      },
    },
    problems: [
      'batch_rejected',
      'invalid_idempotency_key',
      'idempotency_key_reused',
      'url_not_allowed',
      'webhooks_not_configured',
      'concurrency_limit_reached',
      'queue_full',
    ],
  },
  list: {
    operationId: 'listBatches',
    tag: 'batches',
    summary: 'List batches',
    description:
      'Your batches, newest first. For the next page, follow the `Link` of this one, or send its `next_cursor`.',
    answers: {
      200: {
        description: 'One page.',
        headers: ['Link'],
        examples: exampleOf('The only page', { batches: [EXAMPLE] }),
      },
    },
  },
  get: {
    operationId: 'getBatch',
    tag: 'batches',
    summary: 'Get a batch',
    description: 'How many of its jobs are in each state. `GET /jobs?batch=` lists them.',
    answers: { 200: { description: 'The batch.', examples: exampleOf('A batch of one job', EXAMPLE) } },
    problems: ['batch_not_found'],
  },
  cancel: {
    operationId: 'cancelBatch',
    tag: 'batches',
    summary: 'Cancel a batch',
    description: 'Cancels the jobs that have not finished. Safe to repeat.',
    answers: {
      200: { description: 'The batch.', examples: exampleOf('Canceled', { ...EXAMPLE, changed: 1, unchanged: 0 }) },
    },
    problems: ['batch_not_found'],
  },
  retry: {
    operationId: 'retryBatch',
    tag: 'batches',
    summary: 'Retry the failed jobs of a batch',
    description:
      'Starts the jobs that have failed over, each as `POST /jobs/{id}/retry`, also for the rate limit. Canceled jobs stay canceled.',
    answers: {
      200: { description: 'The batch.', examples: exampleOf('Retried', { ...EXAMPLE, changed: 1, unchanged: 0 }) },
    },
    problems: ['batch_not_found'],
  },
  remove: {
    operationId: 'deleteBatch',
    tag: 'batches',
    summary: 'Delete a batch',
    description:
      'Deletes all its jobs with their files, and with the last one the batch. Refused while a job has not finished. A batch also goes when the last of its jobs is deleted, or removed after the retention.',
    answers: { 204: { description: 'The batch is deleted.' } },
    problems: ['batch_not_found', 'job_not_finished'],
  },
}

export type BatchRoutesOptions = {
  readonly batches: Batches
  readonly openAnswers: OpenAnswers
  readonly chargeSubmits: ChargeSubmits
  readonly limits: { readonly bodyLimitBytes: number }
}

/** The routes of batches. One body of a caller is read and checked at a time: it may be large. */
export const batchRoutes: FastifyPluginAsyncTypebox<BatchRoutesOptions> = (app, options) => {
  const { batches, openAnswers, chargeSubmits, limits } = options
  const onePerCaller = createSerial()
  app.addContentTypeParser('application/x-ndjson', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, { jobs: linesOf(String(body)) })
    } catch (error) {
      done(error as Error)
    }
  })

  app.post(
    '/batches',
    {
      bodyLimit: MAX_BODY_BYTES,
      config: { access: 'jobs:write', bucket: 'submit', docs: docs.submit },
      schema: { body: BatchBody, querystring: NoQuery, response: { 202: SubmittedReply, ...PROBLEMS } },
    },
    async (request, reply) => {
      const { jobs, atomic = false, metadata, webhook_url: webhookUrl } = request.body
      const key = request.headers['idempotency-key']
      const submit = async () => ({
        ...(await readJobs(request.body, { maxBytes: limits.bodyLimitBytes, trace: traceOf(request.raw) })),
        isAtomic: atomic,
        ...(metadata && { metadata }),
        ...(webhookUrl !== undefined && { webhookUrl }),
        ...(key !== undefined && { idempotencyKey: parseIdempotencyKey(String(key)) }),
        async onNew() {
          await chargeSubmits.check(request)
          // The first one is counted already.
          await chargeSubmits.charge(request, reply, jobs.length - 1)
        },
      })
      const { batch, results, replayed } = await onePerCaller(limitKeyOf(request), async () =>
        batches.submit(await submit(), callerOf(request)),
      )
      if (replayed) reply.header('idempotent-replayed', 'true')
      reply.code(202).header('location', `/batches/${batch.id}`)
      return { ...presentBatch(batch), results: results.map(presentResult) }
    },
  )

  app.get(
    '/batches',
    {
      config: { access: 'jobs:read', docs: docs.list },
      schema: { querystring: ListQuery, response: { 200: BatchesReply, ...PROBLEMS } },
    },
    async (request, reply) => {
      const { limit = 50, caller, cursor } = request.query
      const by = callerOf(request)
      const after = cursor === undefined ? undefined : parseCursor(cursor)
      if (typeof after === 'string') throw invalidFields([{ path: '/cursor', message: after }])
      if (caller !== undefined && !by.seesAll) throw missingScope('admin')
      const whose = by.seesAll ? caller : by.id
      const page = await batches.list({ limit, ...(whose !== undefined && { caller: whose }), ...(after && { after }) })
      if (page.next) linkNext(request, reply, cursorOf(page.next))
      return {
        batches: page.batches.map((batch) => presentBatch(batch)),
        ...(page.next && { next_cursor: cursorOf(page.next) }),
      }
    },
  )

  app.get(
    '/batches/:id',
    {
      config: { access: 'jobs:read', docs: docs.get },
      schema: { params: BatchParams, querystring: WaitQuery, response: { 200: BatchReply, ...PROBLEMS } },
    },
    async (request, reply) => {
      const { wait = 0 } = request.query
      const batch = await batches.get(request.params.id, callerOf(request))
      const signal = wait === 0 ? undefined : openAnswers.openPoll(reply)
      if (!signal) return presentBatch(batch, await batches.estimateFinish(batch))
      const startedAt = performance.now()
      const latest = await batches.wait(batch, callerOf(request), { timeoutMs: wait * 1_000, signal })
      request.longPollMs += performance.now() - startedAt
      if (isProblem(signal.reason, 'unauthorized')) throw signal.reason
      return presentBatch(latest, await batches.estimateFinish(latest))
    },
  )

  for (const verb of ['cancel', 'retry'] as const) {
    app.post(
      `/batches/:id/${verb}`,
      {
        config: { access: 'jobs:write', docs: docs[verb], ...(verb === 'retry' && { bucket: 'submit' }) },
        schema: {
          params: BatchParams,
          querystring: NoQuery,
          body: NoBody,
          response: { 200: OutcomeReply, ...PROBLEMS },
        },
      },
      async (request, reply) => {
        const { batch, changed, refused } = await batches[verb](request.params.id, callerOf(request))
        if (verb === 'retry') await chargeSubmits.charge(request, reply, changed + refused.length - 1)
        return { ...presentBatch(batch), changed, unchanged: refused.length }
      },
    )
  }

  app.delete(
    '/batches/:id',
    {
      config: { access: 'jobs:write', docs: docs.remove },
      schema: { params: BatchParams, querystring: NoQuery, body: NoBody, response: { 204: Type.Null(), ...PROBLEMS } },
    },
    async (request, reply) => {
      await batches.remove(request.params.id, callerOf(request))
      reply.code(204)
      return null
    },
  )
  return Promise.resolve()
}

const PROBLEMS = { '4xx': ProblemReply, '5xx': ProblemReply } as const

/** A batch in its wire form. */
export function presentBatch(batch: Batch, estimatedFinishAt?: number): Static<typeof BatchReply> {
  const { id, counts, usage, nanos, metadata, webhookUrl } = batch
  return {
    batch_id: id,
    created_at: formatTime(batch.createdAt),
    finished: unfinishedIn(counts) === 0,
    counts,
    total: Object.values(counts).reduce((sum, count) => sum + count, 0),
    refused: batch.refused,
    usage: {
      queued_seconds: usage.queuedMs / 1_000,
      startup_seconds: usage.startupMs / 1_000,
      run_seconds: usage.runMs / 1_000,
    },
    costs: Object.entries(nanos).map(([currency, sum]) => ({ amount: formatNanos(BigInt(sum)), currency })),
    ...(estimatedFinishAt !== undefined && { estimated_finish_at: formatTime(estimatedFinishAt) }),
    ...(metadata && { metadata }),
    ...(webhookUrl !== undefined && { webhook_url: webhookUrl }),
    links: { self: `/batches/${id}`, jobs: `/jobs?batch=${id}`, events: `/batches/${id}/events` },
  }
}

const presentResult = (result: BatchResult): Static<typeof ResultReply> =>
  'jobId' in result
    ? { job_id: result.jobId }
    : {
        problem: {
          ...result.problem,
          errors: [...(result.problem.errors ?? [])],
        },
      }
