import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { JobService } from '../jobs/service.ts'
import type { Operation } from './docs/operation.ts'
import { callerOf } from './plugins/auth.ts'
import { NoBody, NoQuery, ProblemReply } from './schemas.ts'

/** Answer of `POST /admin/pause` and `POST /admin/resume`. */
const PauseReply = Type.Object(
  { paused: Type.Boolean({ description: 'Whether the start of jobs is paused now.', examples: [true] }) },
  { $id: 'Pause', description: 'Whether jobs start.' },
)

const docsOf = (paused: boolean, texts: Pick<Operation, 'operationId' | 'summary' | 'description'>): Operation => ({
  ...texts,
  tag: 'jobs',
  answers: {
    200: {
      description: 'Done, or it was so already.',
      examples: { done: { summary: paused ? 'Paused' : 'Resumed', value: { paused } } },
    },
  },
  problems: ['store_unavailable'],
})

const docs = {
  pause: docsOf(true, {
    operationId: 'pauseJobs',
    summary: 'Pause the start of jobs',
    description:
      'From now on no waiting job starts, on any replica, and also after a restart (unless jobs are only in memory). Submits are accepted, and jobs that the backend has already go on. The deadlines of waiting jobs stay as they are.',
  }),
  resume: docsOf(false, {
    operationId: 'resumeJobs',
    summary: 'Let jobs start again',
    description: 'Ends a pause: waiting jobs start as their turn comes.',
  }),
}

/** `POST /admin/pause` and `POST /admin/resume`. */
export const adminRoutes: FastifyPluginAsyncTypebox<{ readonly service: Pick<JobService, 'setPaused'> }> = (
  app,
  { service },
) => {
  for (const [verb, paused] of [
    ['pause', true],
    ['resume', false],
  ] as const) {
    app.post(
      `/admin/${verb}`,
      {
        config: { access: 'admin', docs: docs[verb] },
        schema: {
          querystring: NoQuery,
          body: NoBody,
          response: { 200: PauseReply, '4xx': ProblemReply, '5xx': ProblemReply },
        },
      },
      async (request) => {
        await service.setPaused(paused, callerOf(request))
        return { paused }
      },
    )
  }
  return Promise.resolve()
}
