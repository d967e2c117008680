import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { type FastifyBaseLogger, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import type { ChildLoggerOptions } from 'pino'
import { logFieldsOf, traceIdOf } from '../jobs/trace.ts'
import { traceparentOf } from './trace.ts'

/** One line a request, when it is answered: what was asked, what was answered, in how many ms. */
export class RequestLog extends LogController {
  constructor() {
    super({ requestIdLogLabel: 'request_id' })
  }

  override incomingRequest(): void {
    // Said with the answer.
  }

  override requestCompleted(error: Error | null, request: FastifyRequest, reply: FastifyReply): void {
    const fields = { req: request, status: reply.statusCode, duration_ms: Math.round(reply.elapsedTime * 10) / 10 }
    if (error) reply.log.error({ ...fields, err: error }, 'request broken off')
    else reply.log.info(fields, 'request')
  }
}

/**
 * Fastify's `genReqId`: ids that no other request of any server has. They are counted, since a UUID is put together from
 * twenty pieces for each request.
 */
export function requestIds(): () => string {
  const server = randomBytes(6).toString('hex')
  let count = 0
  return () => `${server}-${(++count).toString(36)}`
}

/** The path of a job, and of what it has. */
const JOB_PATH = /^\/jobs\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=[/?]|$)/

/** Fastify's `childLoggerFactory`: the ids of its job and of its trace go on every line of a request. */
export function logOfRequest(
  log: FastifyBaseLogger,
  bindings: Record<string, unknown>,
  options: ChildLoggerOptions,
  { url = '', headers }: IncomingMessage,
): FastifyBaseLogger {
  const id = JOB_PATH.exec(url)?.[1]
  const traceparent = traceparentOf(headers)
  // Fastify made the bindings for this request alone.
  if (id !== undefined) bindings.job_id = id
  if (traceparent !== undefined) bindings.trace_id = traceIdOf(traceparent)
  return log.child(bindings, options)
}

/**
 * Puts the id of a job on the lines of a request from here on. Its logger is again a child of the server's and not of
 * its own: each child of a child is of a kind of its own for V8, which makes every use of any logger slow.
 */
export function nameJob(request: FastifyRequest, reply: FastifyReply, id: string): void {
  reply.log = request.log = request.server.log.child({
    request_id: request.id,
    ...logFieldsOf({ id, traceparent: traceparentOf(request.headers) }),
  })
}
