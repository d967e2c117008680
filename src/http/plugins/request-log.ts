import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { ChildLoggerOptions } from 'pino'
import { createLogThrottle, logFieldsOf, readTraceparent, traceIdOf } from '../../jobs/log.ts'
import { addressOf, isAuthenticated } from './caller.ts'
import { createLineLimit, type LineLimit } from './line-limit.ts'

/** What a line says of a request: what it was, whose, and how long it has taken so far, in ms. */
export const requestFieldsOf = (request: FastifyRequest, reply: FastifyReply) => ({
  req: request,
  duration_ms: Math.round(reply.elapsedTime * 10) / 10,
  ...(isAuthenticated(request) && { caller: request.caller.id }),
})

/**
 * What the lines of refused requests are bounded by: as many of each caller or address, and of all together, as let a
 * reader see what happens, however often they come.
 */
export const REFUSED_LINES = { perSubject: 60, inAll: 600, maxSubjects: 200, windowMs: 60_000 } as const

/** Answers that cost a client nothing, and that no limit keeps it from causing. */
const REFUSED: ReadonlySet<number> = new Set([401, 403, 408, 429, 431, 503])

/**
 * One line a request, when it is answered: what was asked, what was answered, in how many ms. Those of refused requests
 * are bounded, and the rest of them summarized, so that nobody fills the disk with them. Probes and scrapes, which
 * come every few seconds, have none, unless they are refused: then one a minute for each route, since nobody sees else
 * why a dashboard stays empty.
 */
export class RequestLog extends LogController {
  readonly #isDue = new Map<string, () => boolean>()
  readonly #callers: LineLimit
  /** Of their own: strangers, who may be many, must not use up the lines of callers. */
  readonly #strangers: LineLimit

  constructor(log: Pick<FastifyBaseLogger, 'info'>) {
    super({ requestIdLogLabel: 'request_id' })
    const createLimit = () =>
      createLineLimit(REFUSED_LINES, (subject, { count, byKind }) => {
        const fields = { event: 'requests_suppressed', ...subject, count, by_status: byKind }
        log.info(fields, 'refused requests without a line of their own')
      })
    this.#callers = createLimit()
    this.#strangers = createLimit()
  }

  override incomingRequest(): void {
    // Said with the answer.
  }

  override requestCompleted(error: Error | null, request: FastifyRequest, reply: FastifyReply): void {
    const { statusCode: status, log } = reply
    const isProbe = status >= 400 && request.routeOptions.config.alwaysAnswered === true
    if (!isProbe && !this.#admits(request, status)) return
    const fields = { ...requestFieldsOf(request, reply), status }
    if (error) log.error({ ...fields, err: error }, 'request broken off')
    else log.info(fields, 'request')
    // The log level of their routes leaves the line above out.
    if (isProbe && status < 500) this.#warnOfProbe(request, reply, fields)
  }

  /** Writes the summaries of the last window when the application is closed. */
  flushOnClose(app: FastifyInstance): void {
    app.addHook('onClose', (_app, done) => {
      this.#callers.flush()
      this.#strangers.flush()
      done()
    })
  }

  /** Nobody without a credential gets far enough for an error that is worth a line each time. */
  #admits(request: FastifyRequest, status: number): boolean {
    if (status < 400 || (request.caller !== undefined && !REFUSED.has(status))) return true
    if (isAuthenticated(request)) return this.#callers.admits({ caller: request.caller.id }, status)
    return this.#strangers.admits({ remote_address: addressOf(request) }, status)
  }

  #warnOfProbe({ routeOptions }: FastifyRequest, { log }: FastifyReply, fields: object): void {
    if (!this.#limitOf(routeOptions.url)()) return
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

/** The trace that a request is a part of, where it names one. A malformed `traceparent` counts as none. */
export const traceparentOf = ({ traceparent }: IncomingHttpHeaders): string | undefined =>
  traceparent === undefined ? undefined : readTraceparent(String(traceparent))
