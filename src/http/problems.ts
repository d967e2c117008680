import { STATUS_CODES } from 'node:http'
import type { FastifyBaseLogger, FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  AppError,
  IssuerUnavailable,
  Overloaded,
  type FieldFault,
  InvalidRequest,
  type ProblemCode,
  StorageFull,
  StoreUnavailable,
} from '../problems.ts'
import { createLineLimit, errorFieldsOf } from '../jobs/log.ts'
import { shortageOf } from '../lib/shortage.ts'
import { SAFE_HEADERS } from './browsers.ts'
import { faultsOf } from './validation.ts'

/** A problem document (RFC 9457). `type` is `about:blank`: `code` tells problems of one status apart. */
export type Problem = {
  type: 'about:blank'
  title: string
  status: number
  detail: string
  code: ProblemCode
  errors?: FieldFault[]
}

export const PROBLEM_TYPE = 'application/problem+json'

const problem = (status: number, code: ProblemCode, detail: string, errors?: FieldFault[]): Problem => ({
  type: 'about:blank',
  title: STATUS_CODES[status] ?? 'Error',
  status,
  detail,
  code,
  ...(errors && { errors }),
})

/** For a path that is none. */
export const ROUTE_NOT_FOUND = problem(404, 'route_not_found', 'There is no such route.')

/** For a body of another type where both are taken. */
export const NEITHER_JSON_NOR_FORM = problem(
  415,
  'unsupported_media_type',
  'The body must be application/json or multipart/form-data.',
)

/** Answers every error of a route, and every unknown route, as a problem document. */
export function registerProblems(app: FastifyInstance): void {
  const isLineDue = createLineLimit()
  app.setErrorHandler<FastifyError>((error, request, reply) => answerError(error, request, reply, isLineDue))
  app.setNotFoundHandler((_request, reply) => send(reply, ROUTE_NOT_FOUND))
}

/** Fastify's `frameworkErrors`: what goes wrong before a route is found, such as a malformed URL. */
export function answerError(
  thrown: FastifyError | AppError,
  request: FastifyRequest,
  reply: FastifyReply,
  isLineDue: () => boolean = () => true,
): void {
  const error = blameMachine(thrown)
  const document = isUnknownType(error) && takesForms(request) ? NEITHER_JSON_NOR_FORM : problemOf(error)
  logProblem(error, document, request.log, isLineDue)
  if (error instanceof AppError && error.retryAfterSeconds) reply.header('retry-after', error.retryAfterSeconds)
  if (error instanceof AppError && error.challenge) reply.header('www-authenticate', error.challenge)
  // Of these requests the rest may never come: with 408 it has not, with 417 its client waits for a leave to send it.
  if (document.status === 408 || document.status === 417) reply.header('connection', 'close')
  send(reply, document)
}

/** What this machine is short of is no fault of the request, whatever was made of it on the way. */
function blameMachine(error: FastifyError | AppError): FastifyError | AppError {
  const shortage = shortageOf(error)
  if (shortage === undefined || error instanceof StoreUnavailable) return error
  if (shortage !== 'disk space') return new Overloaded(undefined, { cause: error })
  return error instanceof AppError ? error : new StorageFull({ cause: error })
}

/** `isLineDue`: whether a line about the store or about this machine is. All requests that need them fail alike. */
function logProblem(
  error: FastifyError | AppError,
  { code, detail, status }: Problem,
  log: FastifyBaseLogger,
  isLineDue: () => boolean,
): void {
  if (code === 'internal_error') log.error({ err: error }, 'a request failed')
  else if (error instanceof StoreUnavailable || shortageOf(error)) {
    log[isLineDue() ? 'warn' : 'debug']({ code, ...errorFieldsOf(error) }, 'a request could not be answered')
  } else if (status >= 500 && error.cause !== undefined && !(error instanceof IssuerUnavailable)) {
    // An issuer that is away is told of once, by what asks it, and not by everybody who comes with a token.
    log.warn({ code, err: error.cause }, 'a request could not be answered')
  } else log.debug({ code, detail }, 'a request was refused')
}

const isUnknownType = ({ code }: FastifyError | AppError) => code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE'

/** Parsers are those of the scope that the route was registered in. */
const takesForms = ({ server }: FastifyRequest) => server.hasContentTypeParser('multipart/form-data')

function send(reply: FastifyReply, document: Problem) {
  // Without a route no hook has set them, and a route may have set others for what it meant to send.
  reply.code(document.status).headers(SAFE_HEADERS).type(PROBLEM_TYPE).send(document)
}

/** The problem of a request that Node could not read; `code` is Node's for what is wrong with it. */
export function unreadableError(code = ''): AppError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new AppError('headers_too_large', 431, 'URL and headers are larger than the server accepts.')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new AppError('request_timeout', 408, 'The request took too long to arrive.')
    default:
      return new AppError('malformed_request', 400, 'The request is not readable HTTP.')
  }
}

/** Fastify's own codes in our words; what is not listed keeps its status. */
const FRAMEWORK_ERRORS: Record<string, [code: ProblemCode, detail: string]> = {
  FST_ERR_BAD_URL: ['malformed_url', 'The URL is not valid percent-encoded UTF-8.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['body_too_large', 'The body is larger than the server accepts.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_json', 'The body is empty; a JSON object is expected.'],
  FST_ERR_CTP_INVALID_JSON_BODY: [
    'invalid_json',
    'The body is not valid JSON, or has a key `__proto__` or `constructor`.',
  ],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'The body must be application/json.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['malformed_request', 'The body is not as long as Content-Length says.'],
}

/** An error as callers see it. Of a defect it tells nothing. */
export function problemOf(error: FastifyError | AppError): Problem {
  if (error instanceof AppError) return problem(error.status, error.code, error.message, error.faults)
  if (error.validation) {
    const faults = faultsOf(error.validation)
    return problemOf(new InvalidRequest(faults))
  }
  const status = error.statusCode ?? 500
  if (status >= 500) return problem(500, 'internal_error', 'The server failed to answer; the fault is in its log.')
  const [code, detail] = FRAMEWORK_ERRORS[error.code] ?? ['bad_request', error.message]
  return problem(status, code, detail)
}
