import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { JobService } from '../../jobs/service.ts'
import { resolvesWithin } from '../../lib/timing.ts'
import type { Operation } from '../docs/operation.ts'
import { callerOf } from '../plugins/auth.ts'
import type { OpenAnswers } from '../plugins/open-answers.ts'
import { ProblemReply, Whole } from '../schemas.ts'
import { JobParams } from './job-schema.ts'

/** Query of `GET /jobs/:id/logs`. */
const LogsQuery = Type.Object(
  {
    attempt: Type.Optional(
      Whole({ description: 'Which attempt; the current one by default.', example: 1, minimum: 1 }),
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

const docs: Operation = {
  operationId: 'getLogs',
  tag: 'jobs',
  summary: 'Read the log',
  description:
    'What the function has printed. While it runs, the answer is a stream that ends with the run. An answer that is cut off means an error of the backend.',
  answers: { 200: { description: 'The lines, as a stream.' } },
  problems: ['job_not_found', 'attempt_not_found', 'logs_unavailable', 'stream_limit_reached'],
}

/** How long the status waits for the first text, in ms. An error before that is still answered as a problem. */
export const FIRST_TEXT_MS = 5_000

export type LogRoutesOptions = { readonly service: JobService; readonly openAnswers: OpenAnswers }

/** `GET /jobs/:id/logs`: what an attempt printed, as text, streamed while it runs. After an error the answer is cut off. */
export const logRoutes: FastifyPluginAsyncTypebox<LogRoutesOptions> = (app, { service, openAnswers }) => {
  app.get(
    '/jobs/:id/logs',
    {
      config: { access: 'jobs:read', untimed: true, docs },
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
