import { randomUUID } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import { RequestLog } from '../../src/http/plugins/request-log.ts'
import { NewJobBody } from '../../src/http/jobs/submit-schema.ts'
import { JobQuery } from '../../src/http/jobs/job.ts'
import { JobParams, JobReply } from '../../src/http/jobs/job-schema.ts'
import { compileValidator, NoQuery } from '../../src/http/schemas.ts'
import { createLogger } from '../../src/process/log.ts'
import { type PlainJob, plainJobOf } from './plain-job.ts'

// `node bare-fastify-process.ts`: two routes of the server in Fastify alone, on a free port, which it sends to its
// parent: the same schemas, the same logger with the same line a request, and a Map. It ends with its parent.
const log = await createLogger({ LOG_LEVEL: 'info', NODE_ENV: 'production' })
const app = Fastify({ loggerInstance: log, logController: new RequestLog(log) }).withTypeProvider<TypeBoxTypeProvider>()
app.setValidatorCompiler(compileValidator)
const jobs = new Map<string, PlainJob>()

app.get(
  '/jobs/:id',
  { schema: { params: JobParams, querystring: JobQuery, response: { 200: JobReply } } },
  async (request) => jobs.get(request.params.id)!,
)
app.post(
  '/jobs',
  { schema: { body: NewJobBody, querystring: NoQuery, response: { 202: JobReply } } },
  async (request, reply) => {
    const job = plainJobOf(randomUUID(), request.body)
    jobs.set(job.job_id, job)
    reply.code(202).header('location', job.links.self)
    return job
  },
)

const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.once('disconnect', () => process.exit())
process.send?.(url)
