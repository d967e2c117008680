import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import type { IncomingHttpHeaders } from 'node:http'
import { type Static, Type } from '@sinclair/typebox'
import { isAdmin } from '../jobs/caller.ts'
import type { Job } from '../jobs/job.ts'
import { parseIdempotencyKey } from '../jobs/idempotency.ts'
import type { JobService, NewJob } from '../jobs/service.ts'
import { viewOf } from '../jobs/view.ts'
import { callerOf } from './caller.ts'
import { logJobId } from './request-log.ts'
import { cursorOf, listQueryOf } from './list-query.ts'
import {
  JobParams,
  JobsReply,
  ListJobsQuery,
  JobReply,
  NewJobBody,
  NoBody,
  NoQuery,
  ProblemReply,
  ResultReply,
} from './schemas.ts'

function newJobOf({ body, headers }: { body: Static<typeof NewJobBody>; headers: IncomingHttpHeaders }): NewJob {
  const { version = 'v15', metadata, timeout_seconds: timeoutSeconds, ...others } = body
  const { webhook_url: webhookUrl, webhook_events: webhookEvents, ...input } = others
  const key = headers['idempotency-key']
  return {
    ...{ input, version },
    ...(metadata && { metadata }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(webhookUrl !== undefined && { webhookUrl }),
    ...(webhookEvents && { webhookEvents }),
    ...(key !== undefined && { idempotencyKey: parseIdempotencyKey(String(key)) }),
  }
}

const READ = { access: 'jobs:read' } as const
const WRITE = { access: 'jobs:write' } as const
const SUBMIT = { access: 'jobs:write', bucket: 'submit' } as const

/** The routes of jobs. Handlers take the request apart, call one verb of the core and return its view. */
export const jobRoutes: FastifyPluginAsyncTypebox<{ service: JobService }> = (app, { service }) => {
  const show = async (job: Job, { caller }: FastifyRequest) =>
    viewOf(job, { queuePosition: await service.queuePosition(job), withCaller: caller ? isAdmin(caller) : false })

  app.addHook('onRequest', logJobId)

  app.post(
    '/jobs',
    {
      config: SUBMIT,
      schema: {
        body: NewJobBody,
        querystring: NoQuery,
        response: { 202: JobReply, '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const { job, replayed } = await service.submit(newJobOf(request), callerOf(request))
      if (replayed) reply.header('idempotent-replayed', 'true')
      reply.log = request.log = request.log.child({ job_id: job.id })
      return reply
        .code(202)
        .header('location', `/jobs/${job.id}`)
        .send(await show(job, request))
    },
  )

  app.get(
    '/jobs',
    { config: READ, schema: { querystring: ListJobsQuery, response: { 200: JobsReply, '4xx': ProblemReply } } },
    async (request) => {
      const { jobs, next } = await service.list(listQueryOf(request.query, callerOf(request)))
      return {
        jobs: await Promise.all(jobs.map((job) => show(job, request))),
        ...(next && { next_cursor: cursorOf(next) }),
      }
    },
  )

  app.delete(
    '/jobs/:id',
    {
      config: WRITE,
      schema: {
        params: JobParams,
        querystring: NoQuery,
        body: NoBody,
        response: { 204: Type.Null(), '4xx': ProblemReply },
      },
    },
    async (request, reply) => {
      await service.remove(request.params.id, callerOf(request))
      reply.code(204)
      return null
    },
  )

  app.get(
    '/jobs/:id',
    {
      config: READ,
      schema: { params: JobParams, querystring: NoQuery, response: { 200: JobReply, '4xx': ProblemReply } },
    },
    async (request) => show(await service.get(request.params.id, callerOf(request)), request),
  )

  app.get(
    '/jobs/:id/result',
    {
      config: READ,
      schema: { params: JobParams, querystring: NoQuery, response: { 200: ResultReply, '4xx': ProblemReply } },
    },
    async (request) => {
      const { id, outputPath } = await service.result(request.params.id, callerOf(request))
      return { job_id: id, status: 'succeeded' as const, output_path: outputPath }
    },
  )

  app.post(
    '/jobs/:id/cancel',
    {
      config: WRITE,
      schema: {
        params: JobParams,
        querystring: NoQuery,
        body: NoBody,
        response: { 200: JobReply, '4xx': ProblemReply },
      },
    },
    async (request) => show(await service.cancel(request.params.id, callerOf(request)), request),
  )

  app.post(
    '/jobs/:id/retry',
    {
      config: SUBMIT,
      schema: {
        params: JobParams,
        querystring: NoQuery,
        body: NoBody,
        response: { 202: JobReply, '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) =>
      reply.code(202).send(await show(await service.retry(request.params.id, callerOf(request)), request)),
  )

  return Promise.resolve()
}
