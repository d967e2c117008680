import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { type FastifyBaseLogger, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import type { ChildLoggerOptions } from 'pino'
import { createLogThrottle } from '../../jobs/log.ts'
import { logFieldsOf, traceIdOf } from '../../jobs/trace.ts'
import { isKnown } from './caller.ts'
import { traceparentOf } from '../jobs/submit.ts'

/** What a line says of a request: what it was, whose, and how long it has taken so far, in ms. */
export const requestFieldsOf = (request: FastifyRequest, reply: FastifyReply) => ({
  req: request,
  duration_ms: Math.round(reply.elapsedTime * 10) / 10,
  ...(isKnown(request) && { caller: request.caller.id }),
})

/**
 * One line a request, when it is answered: what was asked, what was answered, in how many ms. Probes and scrapes, which
 * come every few seconds, have none, unless they are refused: then one a minute for each route, since nobody sees else
 * why a dashboard stays empty.
 */
export class RequestLog extends LogController {
  readonly #isDue = new Map<string, () => boolean>()

  constructor() {
    super({ requestIdLogLabel: 'request_id' })
  }

  override incomingRequest(): void {
    // Said with the answer.
  }

  override requestCompleted(error: Error | null, request: FastifyRequest, reply: FastifyReply): void {
    const { statusCode: status, log } = reply
    const fields = { ...requestFieldsOf(request, reply), status }
    if (error) log.error({ ...fields, err: error }, 'request broken off')
    else log.info(fields, 'request')
    // The log level of their routes leaves the line above out.
    if (status >= 400 && status < 500) this.#warnOfProbe(request, reply, fields)
  }

  #warnOfProbe({ routeOptions }: FastifyRequest, { log }: FastifyReply, fields: object): void {
    if (routeOptions.config.alwaysAnswered !== true || !this.#limitOf(routeOptions.url)()) return
    log.warn({ event: 'probe_refused', ...fields }, 'probe or scrape refused')
  }

  /** There are as many as routes. */
  #limitOf(url = ''): () => boolean {
    const limit = this.#isDue.get(url) ?? createLogThrottle()
    this.#isDue.set(url, limit)
    return limit
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
