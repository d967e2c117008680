import type { FastifyPluginAsyncTypebox, TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { isFinished } from '../../jobs/job.ts'
import type { LinkSigner } from '../../jobs/links.ts'
import type { JobService } from '../../jobs/service.ts'
import type { Subscriptions } from '../../jobs/subscriptions.ts'
import { callerOf } from '../plugins/caller.ts'
import type { HeldAnswers } from '../plugins/held-answers.ts'
import { createJobPages, createShow } from './view.ts'
import { nameJob } from '../plugins/request-log.ts'
import { listQueryOf } from './list-query.ts'
import { newJobOf } from './submit.ts'
import { NewJobBody } from './submit-schema.ts'
import { JobReply, JobsReply, ResultReply } from './job-schema.ts'
import { JobParams, JobQuery, ListJobsQuery } from './parameters.ts'
import { NoBody, NoQuery, ProblemReply } from '../schemas.ts'
import type { ChargeAnswer } from '../plugins/rate-limits.ts'
import type { Unsent } from '../plugins/unsent.ts'
import { registerUploads, type UploadParts } from './uploads.ts'
import { createHold, preferredWait } from './long-poll.ts'

const READ = { access: 'jobs:read' } as const
const WRITE = { access: 'jobs:write' } as const
const SUBMIT = { access: 'jobs:write', bucket: 'submit' } as const

/** What Fastify calls the JSON that it makes itself. */
const JSON_TYPE = 'application/json; charset=utf-8'

export type JobParts = UploadParts & {
  readonly service: JobService
  readonly subscriptions: Subscriptions
  readonly links: LinkSigner
  readonly chargeAnswer: ChargeAnswer
  readonly unsent: Unsent
  readonly held: HeldAnswers
}

/** The routes of jobs. Handlers take the request apart, call one verb of the core and return its view. */
export const jobRoutes: FastifyPluginAsyncTypebox<JobParts> = (app, options) => {
  const { service, subscriptions, links, uploads, limits, chargeAnswer, unsent, held } = options
  const show = createShow({ service, links })
  const renderPage = createJobPages({ service, show, unsent })
  const hold = createHold(held, subscriptions)

  // A scope of its own: no other route takes files.
  void app.register(async (submits) => {
    await registerUploads(submits, { uploads, limits })
    submits.withTypeProvider<TypeBoxTypeProvider>().post(
      '/jobs',
      {
        config: SUBMIT,
        // The core refuses what the schema does, together with what it finds itself.
        attachValidation: true,
        schema: {
          body: NewJobBody,
          querystring: NoQuery,
          response: { 200: JobReply, 202: JobReply, '4xx': ProblemReply, '5xx': ProblemReply },
        },
      },
      async (request, reply) => {
        const asked = newJobOf(request)
        // From here on the service sees to the files.
        request.upload = null
        const { job, replayed } = await service.submit(asked, callerOf(request))
        if (replayed) reply.header('idempotent-replayed', 'true')
        nameJob(request, reply, job.id)
        reply.code(202).header('location', `/jobs/${job.id}`)
        const wait = preferredWait(request.headers.prefer)
        if (wait === undefined) return show(job, request)
        const latest = await hold(job, wait, reply)
        reply.code(isFinished(latest) ? 200 : 202).header('preference-applied', `wait=${wait}`)
        return show(latest, request)
      },
    )
  })

  app.get(
    '/jobs',
    { config: READ, schema: { querystring: ListJobsQuery, response: { 200: JobsReply, '4xx': ProblemReply } } },
    async (request, reply) => {
      const page = await renderPage(listQueryOf(request.query, callerOf(request)), request, reply)
      await chargeAnswer(request, reply, page.length)
      return reply.type(JSON_TYPE).send(page)
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
      schema: { params: JobParams, querystring: JobQuery, response: { 200: JobReply, '4xx': ProblemReply } },
    },
    async (request, reply) => {
      const job = await service.get(request.params.id, callerOf(request))
      const { wait = 0 } = request.query
      return show(wait > 0 ? await hold(job, wait, reply) : job, request)
    },
  )

  app.get(
    '/jobs/:id/result',
    {
      config: READ,
      schema: { params: JobParams, querystring: NoQuery, response: { 200: ResultReply, '4xx': ProblemReply } },
    },
    async (request) => {
      const job = await service.result(request.params.id, callerOf(request))
      const output = { output_path: job.outputPath, output_url: links.outputUrl(job) }
      return { job_id: job.id, status: 'succeeded' as const, ...output }
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
