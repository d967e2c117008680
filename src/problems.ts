/** Every `code` of a problem document. What each means to a caller stands in `http/reference/problems.ts`. */
export const PROBLEM_CODES = [
  ...(['attempt_not_found', 'bad_request', 'body_too_large', 'concurrency_limit_reached'] as const),
  ...(['cross_site_refused', 'delivery_in_progress', 'delivery_not_found', 'expectation_failed'] as const),
  ...(['headers_too_large', 'idempotency_key_reused', 'input_not_found', 'insufficient_scope'] as const),
  ...(['internal_error', 'invalid_idempotency_key', 'invalid_json', 'invalid_multipart'] as const),
  ...(['invalid_request', 'issuer_unavailable', 'job_canceled', 'job_failed'] as const),
  ...(['job_finished', 'job_not_finished', 'job_not_found', 'link_invalid'] as const),
  ...(['logs_unavailable', 'malformed_request', 'malformed_url', 'method_not_allowed'] as const),
  ...(['not_acceptable', 'output_unavailable', 'overloaded', 'precondition_failed'] as const),
  ...(['queue_full', 'range_not_satisfiable', 'rate_limited', 'request_timeout'] as const),
  ...(['retry_limit_reached'] as const),
  ...(['route_not_found', 'server_ending', 'storage_full', 'store_unavailable', 'stream_limit_reached'] as const),
  ...(['unauthorized', 'unsupported_media', 'unsupported_media_type', 'uploads_need_public_url'] as const),
  ...([
    'uploads_need_shared_storage',
    'url_not_allowed',
    'webhook_secret_not_shown',
    'webhooks_not_configured',
  ] as const),
]
export type ProblemCode = (typeof PROBLEM_CODES)[number]

/** One fault in a request body or query. `path` is a JSON Pointer (RFC 6901) into it, such as `/video_url`. */
export type FieldFault = { path: string; message: string }

type AppErrorOptions = ErrorOptions & { faults?: FieldFault[]; retryAfterSeconds?: number; challenge?: string }

/**
 * A refusal with an HTTP meaning: `code` is the stable machine-readable name, `status` the HTTP status,
 * `message` the sentence a caller reads. Everything else thrown at a request is a defect and answers 500.
 */
export class AppError extends Error {
  readonly code: ProblemCode
  readonly status: number
  readonly faults: FieldFault[] | undefined
  /** When asking again may help, in s. */
  readonly retryAfterSeconds: number | undefined
  /** The value of `WWW-Authenticate` (RFC 9110 11.6.1). */
  readonly challenge: string | undefined

  constructor(code: ProblemCode, status: number, message: string, options: AppErrorOptions = {}) {
    super(message, options)
    this.name = new.target.name
    this.code = code
    this.status = status
    this.faults = options.faults
    this.retryAfterSeconds = options.retryAfterSeconds
    this.challenge = options.challenge
  }
}

/** Field errors that one answer names: a body of a thousand unknown fields must not make an answer of that size. */
export const MAX_FIELD_ERRORS = 20

/** 400: the request's fields are at fault, the first `MAX_FIELD_ERRORS` of them named. */
export class InvalidRequest extends AppError {
  constructor(all: FieldFault[], code: ProblemCode = 'invalid_request') {
    const faults = all.slice(0, MAX_FIELD_ERRORS)
    const sentences = faults.map((fault) => `${fault.path.slice(1) || 'body'}: ${fault.message}`)
    if (all.length > faults.length) sentences.push(`and ${all.length - faults.length} more`)
    super(code, 400, sentences.join('; '), { faults })
  }
}

/** 404: no such job, or not this caller's, or not an id at all; the three are not told apart. */
export class JobNotFound extends AppError {
  constructor() {
    super('job_not_found', 404, 'There is no job with this id.')
  }
}

/** 409: the job is in a state in which this cannot be done. */
export class JobConflict extends AppError {
  constructor(code: ProblemCode, message: string) {
    super(code, 409, message)
  }
}

/** 409: the job has been retried as often as one may be. */
export class RetryLimitReached extends AppError {
  constructor(limit: number) {
    super(
      'retry_limit_reached',
      409,
      `The job has been retried ${limit} times, as often as a job may be; submit a new one.`,
    )
  }
}

/** 422: an idempotency key that was used before, with another request. */
export class IdempotencyConflict extends AppError {
  constructor() {
    super('idempotency_key_reused', 422, 'This Idempotency-Key was used with another request; take a new one.')
  }
}

/** 503: as many jobs are waiting for the backend as the operator allows; `retryAfterSeconds` becomes `Retry-After`. */
export class QueueFull extends AppError {
  constructor() {
    super('queue_full', 503, 'Too many jobs are waiting already; try again later.', { retryAfterSeconds: 30 })
  }
}

/** 404: the job has no attempt of this number. */
export class AttemptNotFound extends AppError {
  constructor(attempt: number) {
    super('attempt_not_found', 404, `The job has no attempt ${attempt}.`)
  }
}

/** No log: 409 of a job of another backend, 410 nobody has it any more, 502 the backend failed, 503 too many are read. */
export class LogsUnavailable extends AppError {
  constructor(status: 409 | 410 | 502 | 503, message: string, options?: ErrorOptions) {
    super('logs_unavailable', status, message, { ...options, ...(status === 503 && { retryAfterSeconds: 10 }) })
  }
}

/** 502: the output cannot be had from where it is kept; with `retryAfterSeconds` where it may be later. */
export class OutputUnavailable extends AppError {
  constructor(message: string, options: ErrorOptions & { retryAfterSeconds?: number } = {}) {
    super('output_unavailable', 502, message, options)
  }
}

/** 502: the output is larger than all outputs that this server may keep; asking again does not help. */
export class OutputTooLarge extends OutputUnavailable {
  constructor() {
    super('The output is larger than the outputs that the server keeps (see OUTPUT_CACHE_BYTES).')
  }
}

/** 416: the file has no bytes in the range that was asked for. */
export class RangeNotSatisfiable extends AppError {
  constructor() {
    super('range_not_satisfiable', 416, 'The file has no bytes in this range.')
  }
}

/** 412: `If-Match` or `If-Unmodified-Since` speaks of another file. */
export class PreconditionFailed extends AppError {
  constructor() {
    super('precondition_failed', 412, 'The file is not the one that was asked for.')
  }
}

/** 404: the job came without such a file, or the file is not there any more. */
export class InputNotFound extends AppError {
  constructor() {
    super('input_not_found', 404, 'The job has no such file.')
  }
}

/** 400: the body is cut off, or not readable multipart/form-data. */
export class InvalidMultipart extends AppError {
  constructor(message = 'The body is not readable multipart/form-data, or is cut off.', options?: ErrorOptions) {
    super('invalid_multipart', 400, message, options)
  }
}

/** 413: the files of one request are larger than the server takes. */
export class UploadTooLarge extends AppError {
  constructor(maxBytes: number) {
    super('body_too_large', 413, `The files of one request may have ${maxBytes} bytes together.`)
  }
}

/** 415: a file is, by its content, not what its field is for; `message` reads on from the name of the field. */
export class UnsupportedMedia extends AppError {
  constructor(field: string, message: string) {
    super('unsupported_media', 415, `${field}: ${message}`, { faults: [{ path: `/${field}`, message }] })
  }
}

/** 400: the backend fetches uploaded files by link, and the server does not know where it can be reached. */
export class UploadsNeedPublicUrl extends AppError {
  constructor() {
    const message = 'Files cannot be uploaded: the backend could not fetch them, as the server has no PUBLIC_URL.'
    super('uploads_need_public_url', 400, message)
  }
}

/** 400: the job may be run by another replica than the one that has its files. */
export class UploadsNeedSharedStorage extends AppError {
  constructor() {
    const message = 'Files cannot be uploaded: the replicas of this server share no folder (see DATA_DIR_SHARED).'
    super('uploads_need_shared_storage', 400, message)
  }
}

/** 507: there is no room for the files of the request; nothing of it was kept. */
export class StorageFull extends AppError {
  constructor(options: ErrorOptions = {}) {
    const retry = { ...options, retryAfterSeconds: 60 }
    super('storage_full', 507, 'There is no room for the files at the moment; try again later.', retry)
  }
}

/** 403: a signed link that was changed, has expired, or is of something else; which of these is not told. */
export class LinkInvalid extends AppError {
  constructor() {
    super('link_invalid', 403, 'The link is not valid, or not any more; a new one stands in the job.')
  }
}

/** The operator has set up no secret to sign webhooks with. 400 of a submit that wants one, 404 of a look at it. */
export class WebhooksNotConfigured extends AppError {
  constructor(status: 400 | 404) {
    const message = 'This server sends no webhooks: its operator has not set WEBHOOK_SECRET.'
    const faults = [{ path: '/webhook_url', message: 'this server sends no webhooks' }]
    super('webhooks_not_configured', status, message, status === 400 ? { faults } : {})
  }
}

/** 403: without authentication webhooks are signed with the operator's own secret, which is not told to strangers. */
export class WebhookSecretNotShown extends AppError {
  constructor() {
    const message = 'Without authentication webhooks are signed with WEBHOOK_SECRET itself; ask whoever set it.'
    super('webhook_secret_not_shown', 403, message)
  }
}

/** 404: the job has no delivery of this number. */
export class DeliveryNotFound extends AppError {
  constructor() {
    super('delivery_not_found', 404, 'The job has no delivery of this number.')
  }
}

/** 409: the delivery is being tried already, or about to be. */
export class DeliveryInProgress extends AppError {
  constructor() {
    super('delivery_in_progress', 409, 'The delivery is being tried just now; look at it again in a moment.')
  }
}

/** 503: the store does not answer, or cannot write. Where its answer was lost, what was asked may have been done. */
export class StoreUnavailable extends AppError {
  /** A write was sent, and what became of it is not known: it may have been made, or may be yet. */
  readonly isUncertain: boolean

  constructor({ isUncertain = false, ...options }: ErrorOptions & { readonly isUncertain?: boolean } = {}) {
    super('store_unavailable', 503, 'The job store does not answer at the moment; try again later.', {
      ...options,
      retryAfterSeconds: 10,
    })
    this.isUncertain = isUncertain
  }
}

/** 429: too many requests, or wrong credentials, of one caller or address; `retryAfterSeconds` becomes `Retry-After`. */
export class RateLimited extends AppError {
  constructor(message: string, retryAfterSeconds: number) {
    super('rate_limited', 429, `${message} Try again in ${retryAfterSeconds} s.`, { retryAfterSeconds })
  }
}

/** 503: the process has more to do than it can. */
export class Overloaded extends AppError {
  constructor(message = 'The server is overloaded; try again later.', options?: ErrorOptions) {
    super('overloaded', 503, message, { ...options, retryAfterSeconds: 10 })
  }
}

/** 503: the process has been told to end. */
export class ServerEnding extends AppError {
  constructor() {
    super('server_ending', 503, 'The server is ending; ask again, and another one answers.', { retryAfterSeconds: 1 })
  }
}

/** 403: a page of another site asks for something to be done. */
export class CrossSiteRefused extends AppError {
  constructor() {
    super('cross_site_refused', 403, 'Pages of this origin may not use the server; its operator can allow them.')
  }
}

const CHALLENGE = 'Bearer realm="musetalk-orchestrator"'

/** 401: there is no credential, or it is not good; a wrong one and one that nobody has are not told apart. */
export class Unauthorized extends AppError {
  constructor(why: 'missing' | 'invalid') {
    const [message, challenge] =
      why === 'missing'
        ? ['Give an API key or an access token: Authorization: Bearer ..., or X-API-Key.', CHALLENGE]
        : ['The API key or access token is not valid.', `${CHALLENGE}, error="invalid_token"`]
    super('unauthorized', 401, message, { challenge })
  }
}

/** 403: the caller is known and may not do this. */
export class Forbidden extends AppError {
  constructor(scope: string) {
    const challenge = `${CHALLENGE}, error="insufficient_scope", scope="${scope}"`
    super('insufficient_scope', 403, `This needs the scope ${scope}.`, { challenge })
  }
}

/** 429: the caller has as many unfinished jobs as one may have. */
export class ConcurrencyLimitReached extends AppError {
  constructor(limit: number) {
    const message = `You have ${limit} unfinished jobs, as many as one caller may have; wait for one to end.`
    super('concurrency_limit_reached', 429, message, { retryAfterSeconds: 10 })
  }
}

/** 429: the caller has as many streams of events and of logs open as one may have. */
export class TooManyStreams extends AppError {
  constructor(limit: number) {
    const message = `You have ${limit} streams of events and logs open, as many as one caller may have; close one first.`
    super('stream_limit_reached', 429, message, { retryAfterSeconds: 10 })
  }
}

/** 406: the resource has one representation only, and the request's `Accept` excludes it. */
export class NotAcceptable extends AppError {
  constructor(type: string) {
    super('not_acceptable', 406, `There is only ${type} here, and the Accept header excludes it.`)
  }
}

/** 503: whether a token is good cannot be told while its issuer does not answer. */
export class IssuerUnavailable extends AppError {
  constructor(options: ErrorOptions = {}) {
    super('issuer_unavailable', 503, 'The issuer of the token cannot be reached; try again later.', {
      ...options,
      retryAfterSeconds: 10,
    })
  }
}

/** What keeps the server from starting, in words for an operator. */
export class BootError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}
