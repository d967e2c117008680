import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { JobService } from '../../jobs/service.ts'
import { callerOf } from '../plugins/caller.ts'
import type { HeldAnswers } from '../plugins/held-answers.ts'
import { TextReply } from './job-schema.ts'
import { JobParams, LogsQuery } from './parameters.ts'
import { ProblemReply } from '../schemas.ts'
import { resolvesWithin } from '../../lib/timing.ts'

/** How long the status may wait for the first text, in ms: an error until then is a problem document. */
export const FIRST_TEXT_MS = 5_000

export type LogRoutesOptions = { readonly service: JobService; readonly held: HeldAnswers }

/** `GET /jobs/:id/logs`: what an attempt printed, as text, streamed while it runs. An end that is cut is an error. */
export const logRoutes: FastifyPluginAsyncTypebox<LogRoutesOptions> = (app, { service, held }) => {
  app.get(
    '/jobs/:id/logs',
    {
      config: { access: 'jobs:read', untimed: true },
      schema: {
        params: JobParams,
        querystring: LogsQuery,
        response: { 200: TextReply, '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const query = { id: request.params.id, attempt: request.query.attempt }
      const text = await service.logs(query, callerOf(request), held.openStream(reply))
      reply.type('text/plain; charset=utf-8').header('cache-control', 'no-store')
      return reply.send(Readable.from(request.method === 'HEAD' ? [] : begunInTime(text)))
    },
  )
  return Promise.resolve()
}

/** The pieces; before the first an empty one where it takes long, which sends status and headers. */
async function* begunInTime(text: AsyncIterable<string>): AsyncGenerator<string> {
  const pieces = text[Symbol.asyncIterator]()
  try {
    const first = pieces.next()
    if (!(await resolvesWithin(first, FIRST_TEXT_MS))) yield ''
    for (let piece = await first; !piece.done; piece = await pieces.next()) yield piece.value
  } finally {
    await pieces.return?.()
  }
}
