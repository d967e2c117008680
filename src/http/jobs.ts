import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { JobService } from '../jobs/service.ts'
import { viewOf } from '../jobs/view.ts'
import { JobParams, JobReply, NewJobBody, NoBody, NoQuery, ProblemReply, ResultReply } from './schemas.ts'

const ANONYMOUS = 'anonymous'

/** The routes of jobs. Handlers take the request apart, call one verb of the core and return its view. */
export const jobRoutes: FastifyPluginAsyncTypebox<{ service: JobService }> = (app, { service }) => {
  // The job id goes on every line of its requests.
  app.addHook('onRequest', (request, reply, done) => {
    const { id } = request.params as { id?: string }
    if (id !== undefined) reply.log = request.log = request.log.child({ job_id: id })
    done()
  })

  app.post(
    '/jobs',
    { schema: { body: NewJobBody, querystring: NoQuery, response: { 202: JobReply, '4xx': ProblemReply } } },
    async (request, reply) => {
      const { version = 'v15', metadata, ...input } = request.body
      const job = await service.submit({ input, version, ...(metadata && { metadata }) }, ANONYMOUS)
      reply.log = request.log = request.log.child({ job_id: job.id })
      return reply.code(202).header('location', `/jobs/${job.id}`).send(viewOf(job))
    },
  )

  app.get(
    '/jobs/:id',
    { schema: { params: JobParams, querystring: NoQuery, response: { 200: JobReply, '4xx': ProblemReply } } },
    async (request) => viewOf(await service.get(request.params.id, ANONYMOUS)),
  )

  app.get(
    '/jobs/:id/result',
    { schema: { params: JobParams, querystring: NoQuery, response: { 200: ResultReply, '4xx': ProblemReply } } },
    async (request) => {
      const { id, outputPath } = await service.result(request.params.id, ANONYMOUS)
      return { job_id: id, status: 'succeeded' as const, output_path: outputPath }
    },
  )

  app.post(
    '/jobs/:id/cancel',
    {
      schema: {
        params: JobParams,
        querystring: NoQuery,
        body: NoBody,
        response: { 200: JobReply, '4xx': ProblemReply },
      },
    },
    async (request) => viewOf(await service.cancel(request.params.id, ANONYMOUS)),
  )

  return Promise.resolve()
}
