import { randomUUID } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import { RequestLog } from '../../src/http/plugins/request-log.ts'
import { JobReply } from '../../src/http/jobs/job-schema.ts'
import { NewJobBody } from '../../src/http/jobs/submit-schema.ts'
import { compileValidator, NoQuery } from '../../src/http/schemas.ts'
import { createLogger } from '../../src/process/log.ts'
import { plainJobOf } from './plain-job.ts'

/** Bare Fastify with the server's schemas, and its logger with the same line a request. */
export async function createPlainServer() {
  const log = await createLogger({ LOG_LEVEL: 'info', NODE_ENV: 'production' })
  const options = { loggerInstance: log, logController: new RequestLog(log) }
  const app = Fastify(options).withTypeProvider<TypeBoxTypeProvider>()
  app.setValidatorCompiler(compileValidator)
  // Not bare: an app is thenable, and to await it is to boot it.
  return { app }
}

type PlainServer = Awaited<ReturnType<typeof createPlainServer>>['app']

/** `POST /jobs`, which puts a job into a Map and answers with these headers. */
export function addSubmit(
  app: PlainServer,
  jobs: Map<string, unknown>,
  headers: Readonly<Record<string, string>> = {},
): void {
  app.post(
    '/jobs',
    { schema: { body: NewJobBody, querystring: NoQuery, response: { 202: JobReply } } },
    async (request, reply) => {
      const job = plainJobOf(randomUUID(), request.body)
      jobs.set(job.job_id, job)
      reply.code(202).headers(headers).header('location', job.links.self)
      return job
    },
  )
}

/** Listens on a free port, which it sends to the parent process, and ends with that. */
export async function serveParent(app: PlainServer): Promise<void> {
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  process.once('disconnect', () => process.exit())
  process.send?.(url)
}
