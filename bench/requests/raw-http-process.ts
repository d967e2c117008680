import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { type PlainJob, plainJobOf } from './plain-job.ts'

// `node raw-http-process.ts`: the same answers by node:http and JSON alone, on a free port, which it sends to its
// parent: nothing is checked and nothing logged. It ends with its parent.
const jobs = new Map<string, PlainJob>()

const answer = (response: ServerResponse, status: number, job: PlainJob) => {
  const body = JSON.stringify(job)
  const headers = { 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(body) }
  response.writeHead(status, headers).end(body)
}

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    answer(response, 200, jobs.get(request.url!.slice('/jobs/'.length))!)
    return
  }
  void json(request).then((body) => {
    const job = plainJobOf(randomUUID(), body as object)
    jobs.set(job.job_id, job)
    answer(response, 202, job)
  })
}).listen(0, '127.0.0.1')
await once(server, 'listening')
process.once('disconnect', () => process.exit())
process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
