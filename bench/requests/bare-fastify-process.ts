import { JobQuery } from '../../src/http/jobs/job.ts'
import { JobParams, JobReply } from '../../src/http/jobs/job-schema.ts'
import type { PlainJob } from './plain-job.ts'
import { addSubmit, createPlainServer, serveParent } from './plain-server.ts'

// `node bare-fastify-process.ts`: two routes of the server in Fastify alone, on a free port, which it sends to its
// parent: the same schemas, the same logger with the same line a request, and a Map. It ends with its parent.
const { app } = await createPlainServer()
const jobs = new Map<string, PlainJob>()

app.get(
  '/jobs/:id',
  { schema: { params: JobParams, querystring: JobQuery, response: { 200: JobReply } } },
  async (request) => jobs.get(request.params.id)!,
)
addSubmit(app, jobs)
await serveParent(app)
