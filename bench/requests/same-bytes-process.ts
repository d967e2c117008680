import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import { RequestLog } from '../../src/http/plugins/request-log.ts'
import { NewJobBody } from '../../src/http/jobs/submit-schema.ts'
import { JobQuery } from '../../src/http/jobs/job.ts'
import { JobParams, JobReply } from '../../src/http/jobs/job-schema.ts'
import { compileValidator, JSON_TYPE, NoQuery } from '../../src/http/schemas.ts'
import { createLogger } from '../../src/process/log.ts'
import { plainJobOf } from './plain-job.ts'

/** What the server answered, byte by byte, less what Node and Fastify add by themselves. */
export type Recorded = {
  readonly key: string
  /** By id. */
  readonly answers: Readonly<
    Record<string, { readonly headers: Readonly<Record<string, string>>; readonly body: string }>
  >
  /** Of a submit. */
  readonly posted: Readonly<Record<string, string>>
}

// `node same-bytes-process.ts`: two routes of the server in Fastify alone, with the answers that the server gave, which
// its parent sends: the same headers and bytes from a Map, the same schemas of requests, the same logger with the same
// line a request, and a key that a hook compares. It ends with its parent.
const [{ key, answers, posted }] = (await once(process, 'message')) as [Recorded]
const log = await createLogger({ LOG_LEVEL: 'info', NODE_ENV: 'production' })
const app = Fastify({ loggerInstance: log, logController: new RequestLog(log) }).withTypeProvider<TypeBoxTypeProvider>()
app.setValidatorCompiler(compileValidator)
const jobs = new Map<string, unknown>(Object.entries(answers))
const credential = `Bearer ${key}`

app.addHook('onRequest', (request, reply, done) => {
  if (request.headers.authorization === credential) done()
  else void reply.code(401).send()
})
app.get('/jobs/:id', { schema: { params: JobParams, querystring: JobQuery } }, async (request, reply) => {
  const { headers, body } = jobs.get(request.params.id) as Recorded['answers'][string]
  const isKnown = request.headers['if-none-match'] === headers.etag
  reply.headers(headers)
  return isKnown ? reply.code(304).send() : reply.type(JSON_TYPE).send(body)
})
app.post(
  '/jobs',
  { schema: { body: NewJobBody, querystring: NoQuery, response: { 202: JobReply } } },
  async (request, reply) => {
    const job = plainJobOf(randomUUID(), request.body)
    jobs.set(job.job_id, job)
    reply.code(202).headers(posted).header('location', job.links.self)
    return job
  },
)

const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.once('disconnect', () => process.exit())
process.send?.(url)
