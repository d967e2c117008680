import type { Socket } from 'node:net'
import type { FastifyBaseLogger, FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type FieldError, invalidFields, isProblem, type Problem, problem, type ProblemCode } from '../../problems.ts'
import { createLogThrottle, errorFieldsOf } from '../../jobs/log.ts'
import { shortageOf } from '../../lib/errors.ts'
import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { countUnreadable } from '../monitoring.ts'
import { fieldErrorsOf } from '../schemas.ts'
import { failBody } from './bodies.ts'
import { commonHeaders } from './browsers.ts'
import { abandonInput, closeAfterAnswers, isAnswered, pendingAnswer } from './lingering-close.ts'
import { type AddressLimit, announceJobLimit } from './rate-limits.ts'

// An import would load all of Node's undici, for the names that `node:http` exports from it: 40 ms of the boot.
const { STATUS_CODES } = process.getBuiltinModule('node:http')

/**
 * A problem document (RFC 9457). `type` leads to the code on the page of problems, below the server's root; `instance`
 * names the request. `path` and `message` of an error say the same as `pointer` and `detail`, which are the names in the
 * example of RFC 9457 3.
 */
export type ProblemDocument = {
  type: string
  title: string
  status: number
  detail: string
  instance?: string
  code: ProblemCode
  errors?: (FieldError & { pointer: string; detail: string })[]
}

export const PROBLEM_TYPE = 'application/problem+json'

/** The name of a status. */
export const titleOf = (status: number): string => STATUS_CODES[status] ?? 'Error'

/** Where `GET /docs/problems` is. */
export const PROBLEMS_PATH = '/docs/problems'

/** `requestId`: undefined if the request has none, as in an example. */
export const documentOf = ({ code, status, message, errors }: Problem, requestId?: string): ProblemDocument => ({
  type: `${PROBLEMS_PATH}#${code}`,
  title: titleOf(status),
  status,
  detail: message,
  ...(requestId !== undefined && { instance: `urn:request:${requestId}` }),
  code,
  ...(errors && { errors: errors.map(presentFieldError) }),
})

const presentFieldError = ({ path, message }: FieldError) => ({
  path,
  message,
  pointer: `#${path
    .split('/')
    .map((part) => encodeURIComponent(part.toWellFormed()))
    .join('/')}`,
  detail: message,
})

/** For a body of another type on a route that accepts both. */
export const neitherJsonNorForm = (): Problem =>
  problem('unsupported_media_type', { detail: 'The body must be application/json or multipart/form-data.' })

/** Answers every error of a route, and every unknown route, as a problem document. */
export function registerProblems(app: FastifyInstance): void {
  const isLineDue = createLogThrottle()
  app.setErrorHandler<FastifyError>((error, request, reply) => answerError(error, request, reply, isLineDue))
  app.setNotFoundHandler((_request, reply) => send(reply, problem('route_not_found')))
}

/** Also Fastify's `frameworkErrors`: errors before a route is found, such as a malformed URL. */
export function answerError(
  thrown: FastifyError | Problem,
  request: FastifyRequest,
  reply: FastifyReply,
  isLineDue: () => boolean = () => true,
): void {
  const error = problemOfShortage(thrown) ?? problemOf(thrown)
  logProblem(error, request.log, isLineDue)
  send(reply, isUnknownType(thrown) && acceptsForms(request) ? neitherJsonNorForm() : error)
}

/** A shortage on this machine is not the client's error, even if it surfaced as one. */
function problemOfShortage(error: FastifyError | Problem): Problem | undefined {
  const shortage = shortageOf(error)
  if (shortage === undefined || isProblem(error, 'store_unavailable')) return undefined
  if (shortage !== 'disk space') return problem('overloaded', { cause: error })
  return isProblem(error) ? undefined : problem('storage_full', { cause: error })
}

const NOT_SERVED = 'the request cannot be served now'

/** `isLineDue`: whether a line about the store or this machine may be logged, since all requests that need them fail alike. */
function logProblem(error: Problem, log: FastifyBaseLogger, isLineDue: () => boolean): void {
  const { code, message: detail, status, cause } = error
  if (code === 'internal_error') log.error({ event: 'request_failed', err: cause }, 'request failed')
  else if (code === 'store_unavailable' || shortageOf(error)) {
    // An unavailable store has its own event.
    log[isLineDue() ? 'warn' : 'debug']({ event: 'request_not_served', code, ...errorFieldsOf(error) }, NOT_SERVED)
  } else if (status >= 500 && cause !== undefined && code !== 'issuer_unavailable') {
    // The authenticator logs that the issuer is unavailable, once and not for each request.
    log.warn({ event: 'request_not_served', code, err: cause }, NOT_SERVED)
  } else log.debug({ event: 'request_refused', code, detail }, 'request refused')
}

const isUnknownType = ({ code }: FastifyError | Problem) => code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE'

/** The parsers of the route's Fastify scope. */
const acceptsForms = ({ server }: FastifyRequest) => server.hasContentTypeParser('multipart/form-data')

function send(reply: FastifyReply, error: Problem) {
  const { code, status, retryAfterSeconds, challenge } = error
  if (code === 'concurrency_limit_reached') announceJobLimit(reply)
  if (retryAfterSeconds) reply.header('retry-after', retryAfterSeconds)
  if (challenge) reply.header('www-authenticate', challenge)
  // The rest of these requests may never arrive: after 408 it did not, and with 417 the client waits before it sends it.
  if (status === 408 || status === 417) reply.header('connection', 'close')
  // Without a route no hook has set these headers, and a route may have set others for its own answer.
  const { id } = reply.request
  reply.code(status).headers(commonHeaders(id)).type(PROBLEM_TYPE).send(documentOf(error, id))
}

/** Problems for Fastify's own error codes; any other is a `bad_request` with Fastify's status. */
const FRAMEWORK_ERRORS: Readonly<Record<string, () => Problem>> = {
  FST_ERR_BAD_URL: () => problem('malformed_url'),
  FST_ERR_CTP_BODY_TOO_LARGE: () => problem('body_too_large'),
  FST_ERR_CTP_EMPTY_JSON_BODY: () =>
    problem('invalid_json', { detail: 'The body is empty; a JSON object is expected.' }),
  FST_ERR_CTP_INVALID_JSON_BODY: () => problem('invalid_json'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => problem('unsupported_media_type'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () =>
    problem('malformed_request', { detail: 'The body is not as long as its Content-Length.' }),
}

/** Any error as the problem that a client gets. A defect reveals nothing. */
export function problemOf(error: FastifyError | Problem): Problem {
  if (isProblem(error)) return error
  if (error.validation) return invalidFields(fieldErrorsOf(error.validation))
  const status = error.statusCode ?? 500
  if (status >= 500) return problem('internal_error', { cause: error })
  return FRAMEWORK_ERRORS[error.code]?.() ?? problem('bad_request', { status, detail: error.message })
}

/** Node's code for a client that closes its side in the middle of a request. */
const CUT_OFF = 'HPE_INVALID_EOF_STATE'

export type UnreadableOptions = {
  readonly recordMetric: RecordMetric
  readonly countAddress: AddressLimit
  /** Makes the id of a request, whose headers are not known. */
  readonly createRequestId: () => string
}

/**
 * Answers unreadable requests (Node's `clientError`), one for each connection, which it closes. They are counted, and
 * limited by address, like other requests.
 */
export function answerUnreadable(
  app: FastifyInstance,
  { recordMetric, countAddress, createRequestId }: UnreadableOptions,
): void {
  // Replaces Fastify's listener, which destroys the connection.
  app.server.removeAllListeners('clientError')
  app.server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET' || socket.destroyed || abandonInput(socket)) return
    const [pending, unreadable] = [pendingAnswer(socket), unreadableError(error.code)]
    if (pending && (pending.headersSent || error.code !== CUT_OFF)) {
      // The error is in the body of an admitted request, or in what follows it.
      failBody(pending.req, unreadable)
      closeAfterAnswers(socket)
    } else if (isAnswered(socket)) socket.destroySoon()
    // A request that is cut off before its answer is counted elsewhere, and a connection without a byte is no request.
    else if (pending || socket.bytesRead === 0) answerOn(socket, unreadable)
    else void refuse(socket, unreadable)
  })

  const answerOn = (socket: Socket, error: Problem) => {
    const requestId = createRequestId()
    const { code, message: detail } = error
    app.log.debug({ event: 'request_refused', request_id: requestId, code, detail }, 'request refused')
    writeAnswer(socket, error, requestId)
  }

  const refuse = async (socket: Socket, error: Problem) => {
    const answered: Problem = (await countAddress(socket.remoteAddress)) ?? error
    countUnreadable(recordMetric, { method: '' }, answered.status)
    answerOn(socket, answered)
  }
}

/** Writes a whole answer directly to the connection, and closes it. */
function writeAnswer(socket: Socket, error: Problem, requestId: string): void {
  const { status, retryAfterSeconds } = error
  const body = JSON.stringify(documentOf(error, requestId))
  const headers = {
    'content-type': PROBLEM_TYPE,
    'content-length': Buffer.byteLength(body),
    ...commonHeaders(requestId),
    ...(retryAfterSeconds && { 'retry-after': retryAfterSeconds }),
    connection: 'close',
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  if (socket.writable) socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
  socket.destroySoon()
}

/** The problem of an unreadable request, by Node's error code. */
function unreadableError(code = ''): Problem {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return problem('headers_too_large')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return problem('request_timeout')
    default:
      return problem('malformed_request')
  }
}
