import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { ChildLoggerOptions, Logger } from 'pino'
import { createLogThrottle } from '../../jobs/log.ts'
import {
  childTraceparent,
  newTraceparent,
  readTraceparent,
  readTracestate,
  type Span,
  spanIdOf,
  traceFieldsOf,
  traceIdOf,
  type Tracer,
} from '../../jobs/trace.ts'
import { addressOf, isAuthenticated } from './auth.ts'

/** The subject of a log line: a caller, or the address of an unauthenticated client. */
export type Subject = { readonly caller: string } | { readonly remote_address: string }

export type LineLimits = {
  /** Maximum lines in a window for one subject, and for all. */
  readonly perSubject: number
  readonly inAll: number
  /** Maximum subjects counted separately in a window; the others count as one. */
  readonly maxSubjects: number
  readonly windowMs: number
}

/** The suppressed lines of a subject in a window, in all and by kind. */
export type Suppressed = { readonly count: number; readonly byKind: Readonly<Record<string, number>> }

/**
 * Limits log lines that clients can cause as often as they like. Lines beyond the limit are counted, and summarized once
 * per window for each subject.
 */
export type LineLimit = {
  /** Whether to write a line; if not, it is counted under `kind`, of which there are few. */
  admits(subject: Subject, kind: string | number): boolean
  /** Ends the window and writes its summaries. */
  flush(): void
}

/** The key of all subjects beyond `maxSubjects`. */
const OTHERS = ''

type Counted = { readonly subject: Subject | undefined; written: number; count: number; byKind: Record<string, number> }

/** `summarize` writes the summary of a subject; an undefined subject stands for all beyond `maxSubjects`. */
export function createLineLimit(
  { perSubject, inAll, maxSubjects, windowMs }: LineLimits,
  summarize: (subject: Subject | undefined, suppressed: Suppressed) => void,
): LineLimit {
  let subjects = new Map<string, Counted>()
  let written = 0
  let timer: NodeJS.Timeout | undefined

  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    const counted = subjects
    subjects = new Map()
    written = 0
    for (const { subject, count, byKind } of counted.values()) if (count > 0) summarize(subject, { count, byKind })
  }

  const countedOf = (subject: Subject): Counted => {
    const key = JSON.stringify(subject)
    const isOther = subjects.size >= maxSubjects && !subjects.has(key)
    const known = subjects.get(isOther ? OTHERS : key)
    if (known) return known
    const counted = { subject: isOther ? undefined : subject, written: 0, count: 0, byKind: {} }
    subjects.set(isOther ? OTHERS : key, counted)
    return counted
  }

  return {
    flush,
    admits(subject, kind) {
      // The window starts with the first line, so that no timer runs without one.
      timer ??= setTimeout(flush, windowMs).unref()
      const counted = countedOf(subject)
      if (counted.written < perSubject && written < inAll) {
        counted.written++
        written++
        return true
      }
      counted.count++
      counted.byKind[kind] = (counted.byKind[kind] ?? 0) + 1
      return false
    },
  }
}

/** The fields of a request in a log line: the request, its duration so far in ms, and its caller. */
export const requestFieldsOf = (request: FastifyRequest, reply: FastifyReply) => ({
  req: request,
  duration_ms: Math.round(reply.elapsedTime * 10) / 10,
  ...(isAuthenticated(request) && { caller: request.caller.id }),
})

/** Maximum log lines of refused requests: enough of each caller or address, and of all together, to see what happens. */
export const REFUSED_LINES = { perSubject: 60, inAll: 600, maxSubjects: 200, windowMs: 60_000 } as const

/** Statuses that a client can cause as often as it likes, at no cost. */
const REFUSED: ReadonlySet<number> = new Set([401, 403, 408, 429, 431, 503])

/**
 * Logs one line for each request when it is answered, with status and duration. The lines of refused requests are
 * limited, and the rest summarized, so that no client fills the disk. Probes and scrapes come every few seconds and have
 * no line, unless they are refused: then one a minute for each route, which explains an empty dashboard.
 */
export class RequestLog extends LogController {
  readonly #probeThrottles = new Map<string, () => boolean>()
  readonly #callers: LineLimit
  /** Separate: unauthenticated clients may be many, and must not use up the lines of callers. */
  readonly #unauthenticated: LineLimit

  constructor(log: Pick<FastifyBaseLogger, 'info'>) {
    super({ requestIdLogLabel: 'request_id' })
    const createLimit = () =>
      createLineLimit(REFUSED_LINES, (subject, { count, byKind }) => {
        const fields = { event: 'requests_suppressed', ...subject, count, by_status: byKind }
        log.info(fields, 'log lines of refused requests suppressed')
      })
    this.#callers = createLimit()
    this.#unauthenticated = createLimit()
  }

  override incomingRequest(): void {
    // Logged with the answer.
  }

  override requestCompleted(error: Error | null, request: FastifyRequest, reply: FastifyReply): void {
    const { statusCode: status, log } = reply
    const isProbe = status >= 400 && request.routeOptions.config.alwaysAnswered === true
    if (!isProbe && !this.#admits(request, status)) return
    const fields = { event: 'request', ...requestFieldsOf(request, reply), status }
    if (error) log.error({ ...fields, event: 'request_broken_off', err: error }, 'request broken off')
    else log.info(fields, 'request')
    // The log level of probe routes suppresses the line above.
    // A browser is no probe: the console tries what its user may not see.
    const isBrowser = request.headers['sec-fetch-site'] !== undefined
    if (isProbe && status < 500 && !isBrowser) this.#warnAboutProbe(request, reply, fields)
  }

  /** Logs the summaries of the last window when the application closes. */
  flushOnClose(app: FastifyInstance): void {
    app.addHook('onClose', (_app, done) => {
      this.#callers.flush()
      this.#unauthenticated.flush()
      done()
    })
  }

  /** Errors of unauthenticated clients, which are all clients of a public server, never have an unlimited number of lines. */
  #admits(request: FastifyRequest, status: number): boolean {
    if (status < 400 || (isAuthenticated(request) && !REFUSED.has(status))) return true
    if (isAuthenticated(request)) return this.#callers.admits({ caller: request.caller.id }, status)
    return this.#unauthenticated.admits({ remote_address: addressOf(request) }, status)
  }

  #warnAboutProbe({ routeOptions }: FastifyRequest, { log }: FastifyReply, fields: object): void {
    if (!this.#isProbeLineDue(routeOptions.url)) return
    log.warn({ ...fields, event: 'probe_refused' }, 'probe or scrape refused')
  }

  /** One throttle for each route. */
  #isProbeLineDue(url = ''): boolean {
    const isLineDue = this.#probeThrottles.get(url) ?? createLogThrottle()
    this.#probeThrottles.set(url, isLineDue)
    return isLineDue()
  }
}

/**
 * An `X-Request-Id` that is taken over. Each character may stand in a URN (RFC 8141 2), and none changes the meaning of
 * a header or a log line.
 */
const REQUEST_ID = /^[\w.~:=+@-][\w.~:=+@/-]{0,127}$/

/**
 * Fastify's `genReqId`: the id that the client or a proxy gave, if it is well-formed, else one that is unique over all
 * servers. A random prefix and a counter: a UUID for each request would be slower.
 */
export function requestIds(): (request?: Pick<IncomingMessage, 'headers'>) => string {
  const server = randomBytes(6).toString('hex')
  let count = 0
  return (request) => {
    const given = request?.headers['x-request-id']
    return typeof given === 'string' && REQUEST_ID.test(given) ? given : `${server}-${(++count).toString(36)}`
  }
}

/** The path of a job and of its subresources. */
const JOB_PATH = /^\/jobs\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=[/?]|$)/

/** Fastify's `childLoggerFactory`: adds the ids of the job and of the trace to every line of a request. */
export const createRequestLogger =
  (tracer: Tracer | undefined) =>
  (
    log: FastifyBaseLogger,
    bindings: Record<string, unknown>,
    options: ChildLoggerOptions,
    raw: IncomingMessage,
  ): FastifyBaseLogger => {
    const id = JOB_PATH.exec(raw.url ?? '')?.[1]
    // Safe to change: Fastify made the bindings for this request alone.
    if (id !== undefined) bindings.job_id = id
    if (tracer) Object.assign(bindings, traceFieldsOf(startSpan(raw, tracer).traceparent))
    else {
      const traceparent = traceparentOf(raw.headers)
      if (traceparent !== undefined) bindings.trace_id = traceIdOf(traceparent)
    }
    return log.child(bindings, options)
  }

/** Adds the id of a job to the lines of a request from now on. */
export function nameJob(request: FastifyRequest, id: string): void {
  // The logger is pino's, of which Fastify's type shows less. Another child for the job would cost several times as much.
  const log = request.log as FastifyBaseLogger & Pick<Logger, 'setBindings'>
  log.setBindings({ job_id: id })
}

/** The span of a request that is recorded: `parentId` is the client's. */
type RequestSpan = Pick<Span, 'traceparent' | 'tracestate' | 'parentId'>

const spans = new WeakMap<IncomingMessage, RequestSpan>()

function startSpan(raw: IncomingMessage, tracer: Tracer): RequestSpan {
  const parent = traceparentOf(raw.headers)
  const span = parent
    ? { traceparent: childTraceparent(parent), parentId: spanIdOf(parent), tracestate: tracestateOf(raw.headers) }
    : { traceparent: newTraceparent(tracer.isSampled()) }
  spans.set(raw, span)
  return span
}

/** Records the span of each answered request, but not of probes and scrapes. Call it before any route is added. */
export function traceRequests(app: FastifyInstance, tracer: Tracer): void {
  app.addHook('onRequest', (request, reply, done) => {
    const span = spans.get(request.raw)
    // Fastify runs no `onResponse` when a client leaves.
    if (span && request.routeOptions.config.alwaysAnswered !== true) {
      reply.raw.on('close', () => tracer.record({ ...span, ...describeRequest(request, reply) }))
    }
    done()
  })
}

function describeRequest(request: FastifyRequest, reply: FastifyReply): Omit<Span, 'traceparent'> {
  const { method, routeOptions, raw } = request
  const status = reply.raw.headersSent ? reply.statusCode : undefined
  const endedAt = Date.now()
  return {
    name: routeOptions.url === undefined ? method : `${method} ${routeOptions.url}`,
    kind: 'server',
    startedAt: endedAt - reply.elapsedTime,
    endedAt,
    attributes: {
      'http.request.method': method,
      'http.route': routeOptions.url,
      // Without the query, which may have a signature.
      'url.path': raw.url?.split('?', 1)[0],
      'http.response.status_code': status,
      'musetalk.request.id': request.id,
      ...(isAuthenticated(request) && { 'musetalk.caller': request.caller.id }),
    },
    error: status === undefined ? 'the client disconnected' : status >= 500 ? String(status) : undefined,
  }
}

/** The trace that a job continues: the span of its request where that is recorded, else the one of the client. */
export function traceOf(raw: IncomingMessage): Partial<Record<'traceparent' | 'tracestate', string>> {
  const span = spans.get(raw)
  const traceparent = span?.traceparent ?? traceparentOf(raw.headers)
  if (traceparent === undefined) return {}
  const tracestate = span ? span.tracestate : tracestateOf(raw.headers)
  return { traceparent, ...(tracestate !== undefined && { tracestate }) }
}

const tracestateOf = ({ tracestate }: IncomingHttpHeaders): string | undefined =>
  tracestate === undefined ? undefined : readTracestate(String(tracestate))

/** The `traceparent` of a request; undefined if it is missing or malformed. */
const traceparentOf = ({ traceparent }: IncomingHttpHeaders): string | undefined =>
  traceparent === undefined ? undefined : readTraceparent(String(traceparent))
