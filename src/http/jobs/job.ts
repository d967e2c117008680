import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { ProgressFollower } from '../../jobs/progress-follower.ts'
import type { JobService } from '../../jobs/service.ts'
import type { Operation } from '../docs/operation.ts'
import { callerOf } from '../plugins/auth.ts'
import { NoBody, NoQuery, ProblemReply, Integer } from '../schemas.ts'
import { IfNoneMatch, JobParams, JobReply, JOBS, NOT_MODIFIED, ResultReply } from './job-schema.ts'
import { createLongPoll, type LongPollDependencies, type Renderer, sendTagged } from './view.ts'
import { Readable } from 'node:stream'
import { resolvesWithin } from '../../lib/timing.ts'
import type { OpenAnswers } from '../plugins/open-answers.ts'

/** Query of `GET /jobs/:id`. */
export const JobQuery = Type.Object(
  {
    wait: Type.Optional(
      Integer({
        description: 'Seconds that the answer may wait for the job to finish.',
        example: 30,
        minimum: 0,
        maximum: 60,
      }),
    ),
  },
  { additionalProperties: false },
)

const docs: Record<'get' | 'remove' | 'result' | 'cancel' | 'retry' | 'logs', Operation> = {
  get: {
    operationId: 'getJob',
    tag: 'jobs',
    summary: 'Get a job',
    description:
      'The job as it is now; with `wait`, as it is when it finishes or the time is up. A running job has its `progress` from the second request on, while less than 30 s pass between two of them. With `If-None-Match` a long poll that ends with the job as you have it is answered 304.',
    headers: IfNoneMatch,
    answers: {
      200: {
        description: 'The job.',
        headers: ['ETag'],
        examples: { running: JOBS.running, succeeded: JOBS.succeeded, failed: JOBS.failed },
      },
      304: NOT_MODIFIED,
    },
    problems: ['job_not_found'],
  },

  remove: {
    operationId: 'deleteJob',
    tag: 'jobs',
    summary: 'Delete a job',
    description:
      'Deletes a finished job, its uploaded files, and its video on this server; files at Modal stay until they expire there. Its `Idempotency-Key` can be used again.',
    answers: { 204: { description: 'The job is deleted.' } },
    problems: ['job_not_found', 'job_not_finished'],
  },

  result: {
    operationId: 'getResult',
    tag: 'jobs',
    summary: 'Get the result',
    description: 'The result of a job that succeeded.',
    headers: IfNoneMatch,
    answers: {
      200: {
        description: 'The result.',
        headers: ['ETag'],
        examples: {
          result: {
            summary: 'Where the video is',
            value: {
              job_id: JOBS.succeeded.value.job_id,
              status: 'succeeded',
              output_path: JOBS.succeeded.value.output_path,
              output_url: JOBS.succeeded.value.output_url,
            },
          },
        },
      },
      304: NOT_MODIFIED,
    },
    problems: ['job_not_found', 'job_not_finished', 'job_failed', 'job_canceled'],
  },

  cancel: {
    operationId: 'cancelJob',
    tag: 'jobs',
    summary: 'Cancel a job',
    description: 'Cancels the job at once; its call is stopped in the background. Canceling again is no error.',
    answers: { 200: { description: 'The job is canceled.', examples: { canceled: JOBS.canceled } } },
    problems: ['job_not_found', 'job_finished'],
  },

  retry: {
    operationId: 'retryJob',
    tag: 'jobs',
    summary: 'Retry a job',
    description:
      'Starts a failed or canceled job again: the same id, the next attempt, a new deadline. A job may be retried `MAX_RETRIES` times (100 by default).',
    answers: { 202: { description: 'The job starts again.', examples: { retried: JOBS.retried } } },
    problems: [
      'job_not_found',
      'job_not_finished',
      'job_finished',
      'retry_limit_reached',
      'concurrency_limit_reached',
      'queue_full',
    ],
  },

  logs: {
    operationId: 'getLogs',
    tag: 'jobs',
    summary: 'Read the log',
    description:
      'What the function has printed. While it runs, the answer is a stream that ends with the run. An answer that is cut off means an error of the backend.',
    answers: { 200: { description: 'The lines, as a stream.' } },
    problems: ['job_not_found', 'attempt_not_found', 'logs_unavailable', 'stream_limit_reached'],
  },
}

export type JobRoutesOptions = LongPollDependencies & {
  readonly service: JobService
  readonly renderer: Renderer
  readonly progress: Pick<ProgressFollower, 'look' | 'watch'>
}

/** The routes of one job. A handler takes the request apart, calls one verb of the core and presents the result. */
export const jobRoutes: FastifyPluginAsyncTypebox<JobRoutesOptions> = (app, options) => {
  const { service, renderer, progress } = options
  const longPoll = createLongPoll(options)

  app.get(
    '/jobs/:id',
    {
      config: { access: 'jobs:read', docs: docs.get },
      schema: {
        params: JobParams,
        querystring: JobQuery,
        response: { 200: JobReply, 304: Type.Null(), '4xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const job = await service.get(request.params.id, callerOf(request))
      const { wait = 0 } = request.query
      const latest = wait > 0 ? await longPoll(job, wait, reply) : job
      progress.look(latest)
      const rendering = renderer.render(latest, request.caller)
      return sendTagged(request, reply, rendering instanceof Promise ? await rendering : rendering)
    },
  )

  app.delete(
    '/jobs/:id',
    {
      config: { access: 'jobs:write', docs: docs.remove },
      schema: {
        params: JobParams,
        querystring: NoQuery,
        body: NoBody,
        response: { 204: Type.Null(), '4xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      await service.remove(id, callerOf(request))
      renderer.forget(id)
      reply.code(204)
      return null
    },
  )

  app.get(
    '/jobs/:id/result',
    {
      config: { access: 'jobs:read', docs: docs.result },
      schema: {
        params: JobParams,
        querystring: NoQuery,
        response: { 200: ResultReply, 304: Type.Null(), '4xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const job = await service.result(request.params.id, callerOf(request))
      return sendTagged(request, reply, renderer.renderResult(job))
    },
  )

  app.post(
    '/jobs/:id/cancel',
    {
      config: { access: 'jobs:write', docs: docs.cancel },
      schema: {
        params: JobParams,
        querystring: NoQuery,
        body: NoBody,
        response: { 200: JobReply, '4xx': ProblemReply },
      },
    },
    async (request) => renderer.present(await service.cancel(request.params.id, callerOf(request)), request.caller),
  )

  app.post(
    '/jobs/:id/retry',
    {
      config: { access: 'jobs:write', bucket: 'submit', docs: docs.retry },
      schema: {
        params: JobParams,
        querystring: NoQuery,
        body: NoBody,
        response: { 202: JobReply, '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) =>
      reply
        .code(202)
        .send(await renderer.present(await service.retry(request.params.id, callerOf(request)), request.caller)),
  )

  return Promise.resolve()
}

/** Query of `GET /jobs/:id/logs`. */
const LogsQuery = Type.Object(
  {
    attempt: Type.Optional(
      Integer({ description: 'Which attempt; the current one by default.', example: 1, minimum: 1 }),
    ),
  },
  { additionalProperties: false },
)

/** Lines, streamed as they come. */
const TextReply = Type.Unsafe<Readable>({
  content: {
    'text/plain': {
      schema: { type: 'string', description: 'The lines.', examples: ['load the model\nframe 1 of 250\n'] },
    },
  },
})

/** How long the status waits for the first text, in ms. An error before that is still answered as a problem. */
export const FIRST_TEXT_MS = 5_000

export type LogRoutesOptions = { readonly service: JobService; readonly openAnswers: OpenAnswers }

/** `GET /jobs/:id/logs`: what an attempt printed, as text, streamed while it runs. After an error the answer is cut off. */
export const logRoutes: FastifyPluginAsyncTypebox<LogRoutesOptions> = (app, { service, openAnswers }) => {
  app.get(
    '/jobs/:id/logs',
    {
      config: { access: 'jobs:read', untimed: true, docs: docs.logs },
      schema: {
        params: JobParams,
        querystring: LogsQuery,
        response: { 200: TextReply, '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const query = { id: request.params.id, attempt: request.query.attempt }
      const text = await service.logs(query, callerOf(request), openAnswers.openStream(reply))
      reply.type('text/plain; charset=utf-8').header('cache-control', 'no-store')
      return reply.send(Readable.from(request.method === 'HEAD' ? [] : startedInTime(text)))
    },
  )
  return Promise.resolve()
}

/** The pieces. If the first takes long, an empty one comes before it, so that status and headers are sent. */
async function* startedInTime(text: AsyncIterable<string>): AsyncGenerator<string> {
  const pieces = text[Symbol.asyncIterator]()
  try {
    const first = pieces.next()
    if (!(await resolvesWithin(first, FIRST_TEXT_MS))) yield ''
    for (let piece = await first; !piece.done; piece = await pieces.next()) yield piece.value
  } finally {
    await pieces.return?.()
  }
}
