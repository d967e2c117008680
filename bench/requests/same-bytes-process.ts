import { once } from 'node:events'
import { JobQuery } from '../../src/http/jobs/job.ts'
import { JobParams } from '../../src/http/jobs/job-schema.ts'
import { JSON_TYPE } from '../../src/http/schemas.ts'
import { addSubmit, createPlainServer, serveParent } from './plain-server.ts'

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
const { app } = await createPlainServer()
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
addSubmit(app, jobs, posted)
await serveParent(app)
