/** One invalid field of a body or query. `path` is a JSON Pointer (RFC 6901) into it, such as `/video_url`. */
export type FieldError = { path: string; message: string }

/** What an occurrence of a problem adds to the table. */
export type ProblemOptions = {
  /** One of the statuses of the code; by default the first. */
  readonly status?: number
  readonly detail?: string
  readonly errors?: FieldError[]
  /** When a new request may succeed, in seconds. */
  readonly retryAfterSeconds?: number
  /** The value of `WWW-Authenticate` (RFC 9110 11.6.1). */
  readonly challenge?: string
  /** A write was sent and its answer was lost: it may have been applied, or may be applied later. */
  readonly isAmbiguousWrite?: boolean
  readonly cause?: unknown
}

type Variant = {
  readonly status: number
  readonly detail: string
  readonly retryAfterSeconds?: number
  readonly errors?: FieldError[]
}

type Definition = Variant & {
  /** When it occurs, for the reference. */
  readonly when: string
  /** The other statuses of the code. */
  readonly also?: readonly Variant[]
  /** The options of the reference's example, if occurrences have their own `detail`. */
  readonly example?: ProblemOptions
}

/** Maximum field errors in one answer: a body with a thousand unknown fields must not cause an answer of that size. */
export const MAX_FIELD_ERRORS = 20

const CHALLENGE = 'Bearer realm="musetalk-orchestrator"'

/**
 * Every problem by its `code`. A new problem is one entry here: errors, the reference and the page of problems are made
 * from it. The title is the phrase of the status.
 */
const DEFINITIONS = {
  attempt_not_found: {
    status: 404,
    detail: 'The job has no attempt of this number.',
    when: 'The job has no attempt of that number.',
  },
  bad_request: {
    status: 400,
    detail: 'The request is not valid.',
    when: 'The request is wrong in a way that has no code of its own.',
  },
  batch_not_found: {
    status: 404,
    // The same for another caller's batch and for a malformed id, as for jobs.
    detail: 'There is no batch with this id.',
    when: 'You have no batch with this id.',
  },
  batch_rejected: {
    status: 422,
    detail: 'No job was created: see the errors of the jobs.',
    when: 'No job of the batch is right, or one is not and the batch is atomic. `errors` names job and field, up to 20.',
    example: { errors: [{ path: '/jobs/3/audio_url', message: 'must be an http or https URL' }] },
  },
  body_too_large: {
    status: 413,
    detail: 'The body is larger than the server accepts.',
    when: 'The body is larger than the server accepts.',
  },
  concurrency_limit_reached: {
    status: 429,
    detail: 'You have as many unfinished jobs as one caller may have. Wait for one to finish.',
    retryAfterSeconds: 10,
    when: 'You have as many unfinished jobs as one caller may have.',
  },
  cross_site_refused: {
    status: 403,
    detail: 'Pages of this origin may not change anything here. The operator of the server can allow the origin.',
    when: 'A page of another site asks for a change, and its origin is not allowed to.',
  },
  delivery_in_progress: {
    status: 409,
    detail: 'The delivery is being attempted now. Read it again in a moment.',
    when: 'The delivery is being attempted, or about to be.',
  },
  delivery_not_found: {
    status: 404,
    detail: 'The job has no delivery of this number.',
    when: 'The job has no delivery of that number.',
  },
  expectation_failed: {
    status: 417,
    detail: 'The server supports no expectation but 100-continue.',
    when: 'The server does not support the expectation of the `Expect` header.',
  },
  headers_too_large: {
    status: 431,
    detail: 'URL and headers are larger than the server accepts.',
    when: 'URL and headers are too large.',
  },
  idempotency_key_reused: {
    status: 422,
    detail: 'This Idempotency-Key was used with another request. Use a new key.',
    when: 'The `Idempotency-Key` was used with another request.',
  },
  input_not_found: {
    status: 404,
    detail: 'The job has no such file, or the file has been deleted.',
    when: 'The job has no such file.',
  },
  insufficient_scope: {
    status: 403,
    detail: 'The credential lacks a scope.',
    when: 'The credential lacks the scope that this needs.',
    example: missingScopeOptions('jobs:write'),
  },
  internal_error: {
    status: 500,
    detail: 'The server failed to answer. Its log has the error.',
    when: 'The server failed; its log has the error.',
  },
  invalid_idempotency_key: {
    status: 400,
    detail: 'The Idempotency-Key is not valid.',
    when: 'The `Idempotency-Key` is not valid.',
    example: errorOptions([
      { path: '/Idempotency-Key', message: 'must be 1 to 255 visible ASCII characters, bare or in double quotes' },
    ]),
  },
  invalid_json: {
    status: 400,
    detail: 'The body is not valid JSON, or has a key `__proto__` or `constructor`.',
    when: 'The body is not JSON.',
  },
  invalid_multipart: {
    status: 400,
    detail: 'The body is not readable multipart/form-data, or is cut off.',
    when: 'The body is not multipart/form-data, or is cut off.',
  },
  invalid_request: {
    status: 400,
    detail: 'The request is not valid.',
    when: 'Fields of body or query are wrong, each named in `errors`; or there are two different credentials.',
    example: errorOptions([{ path: '/version', message: 'must be one of v15, v1' }]),
  },
  issuer_unavailable: {
    status: 503,
    detail: 'The issuer of the token cannot be reached. Try again later.',
    retryAfterSeconds: 10,
    when: 'The server cannot check the access token, because its issuer cannot be reached.',
  },
  job_canceled: { status: 409, detail: 'The job was canceled.', when: 'The job was canceled.' },
  job_failed: {
    status: 409,
    detail: 'The job failed.',
    when: 'The job failed.',
    example: { detail: 'The job failed (timed_out): The deadline has passed.' },
  },
  job_finished: {
    status: 409,
    detail: 'The job has already finished.',
    when: 'The job has finished.',
    example: { detail: 'The job has already succeeded.' },
  },
  job_not_finished: {
    status: 409,
    detail: 'The job has not finished.',
    when: 'The job has not finished.',
    example: { detail: 'The job is running.' },
  },
  job_not_found: {
    status: 404,
    // The same for another caller's job and for a malformed id, so that a client cannot distinguish the three.
    detail: 'There is no job with this id.',
    when: 'You have no job with this id.',
  },
  link_invalid: {
    status: 403,
    detail: 'The link is invalid or has expired. Get a new one from the job.',
    when: 'The signed link was changed, has expired, or belongs to something else.',
  },
  logs_unavailable: {
    status: 502,
    detail: 'The backend failed to return the log.',
    when: 'There is no log: the job belongs to another backend (409), the log has been deleted (410), the backend failed (502), or too many logs are being read (503).',
    also: [
      { status: 409, detail: 'The job belongs to a backend that this server does not use.' },
      { status: 410, detail: 'The log has been deleted.' },
      { status: 503, detail: 'Too many logs are being read. Try again later.', retryAfterSeconds: 10 },
    ],
  },
  malformed_request: {
    status: 400,
    detail: 'The request is not readable HTTP.',
    when: 'The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.',
  },
  malformed_url: {
    status: 400,
    detail: 'The URL is not valid percent-encoded UTF-8.',
    when: 'The URL is not valid percent-encoded UTF-8.',
  },
  media_rejected: {
    status: 422,
    detail: 'A face or a speech will not do.',
    when: 'A face has no picture or is larger than the server accepts, or a speech has no sound, has none to hear, or is longer than the server accepts; `errors` names each field, the fact and the limit.',
    example: errorOptions([{ path: '/audio', message: 'lasts 75.2 s, more than the limit of 60 s' }]),
  },
  method_not_allowed: {
    status: 405,
    detail: 'This path does not support the method.',
    when: 'The path does not support this method; `Allow` lists those it supports.',
    example: { detail: 'This path supports GET, HEAD.' },
  },
  not_acceptable: {
    status: 406,
    detail: 'The Accept header excludes every type that this path has.',
    when: 'The `Accept` header excludes the only type that this path has.',
    example: { detail: 'This path has only text/event-stream, and the Accept header excludes it.' },
  },
  output_unavailable: {
    status: 502,
    detail: 'The output cannot be fetched.',
    when: 'The video cannot be fetched from where it is kept (502), or has been deleted there (410).',
    also: [{ status: 410, detail: 'The output has been deleted.' }],
    example: { detail: 'The output cannot be fetched at the moment.', retryAfterSeconds: 10 },
  },
  overloaded: {
    status: 503,
    detail: 'The server is overloaded. Try again later.',
    retryAfterSeconds: 10,
    when: 'The server has more to do than it can, or too much of your earlier answers is still unread.',
  },
  parameter_not_supported: {
    status: 422,
    detail: 'The backend does not take a parameter.',
    when: 'The deployed function, or the program of the local backend, does not take one of the parameters.',
    example: errorOptions([{ path: '/parameters/fps', message: 'is not taken by the deployed function' }]),
  },
  precondition_failed: {
    status: 412,
    detail: 'The file is not the one that If-Match or If-Unmodified-Since names.',
    when: '`If-Match` or `If-Unmodified-Since` does not hold.',
  },
  queue_full: {
    status: 503,
    detail: 'Too many jobs are queued already. Try again later.',
    retryAfterSeconds: 30,
    when: 'As many jobs are queued as the server accepts.',
  },
  range_not_satisfiable: {
    status: 416,
    detail: 'The file has no bytes in this range.',
    when: 'The file has no such range; `Content-Range` says how long it is.',
  },
  rate_limited: {
    status: 429,
    detail: 'Too many requests. Try again later.',
    when: 'You sent more requests, or wrong credentials, than a minute allows.',
    example: { detail: 'The limit is 600 submits a minute. Try again in 27 s.', retryAfterSeconds: 27 },
  },
  request_timeout: {
    status: 408,
    detail: 'The request took too long to arrive.',
    when: 'The request took too long to arrive.',
  },
  retry_limit_reached: {
    status: 409,
    detail: 'The job has been retried as often as a job may be. Submit a new one.',
    when: 'The job has been retried as often as a job may be.',
  },
  route_not_found: { status: 404, detail: 'There is no such route.', when: 'There is no such path.' },
  server_ending: {
    status: 503,
    detail: 'The server is shutting down. Send the request again, and another server answers.',
    retryAfterSeconds: 1,
    when: 'The server is shutting down and accepts nothing new.',
  },
  storage_full: {
    status: 507,
    detail: 'There is no room for the files at the moment. Try again later.',
    retryAfterSeconds: 60,
    when: 'There is no room for the files; nothing was kept.',
  },
  store_unavailable: {
    status: 503,
    detail: 'The job store is unavailable at the moment. Try again later.',
    retryAfterSeconds: 10,
    when: 'The job store is unavailable; try again later.',
  },
  stream_limit_reached: {
    status: 429,
    detail: 'You have as many streams of events and logs open as one caller may have. Close one first.',
    retryAfterSeconds: 10,
    when: 'You have as many streams of events and logs open as one caller may have.',
  },
  unauthorized: {
    status: 401,
    detail: 'Give an API key or an access token: Authorization: Bearer ..., or X-API-Key.',
    when: 'There is no credential, or it is not valid.',
    example: { challenge: CHALLENGE },
  },
  unsupported_media: {
    status: 415,
    detail: 'A file is not of a type that its field accepts.',
    when: 'The content of a file is not of a type that its field accepts.',
    example: errorOptions([
      {
        path: '/image',
        message: 'is image/heic, which is not supported; send JPEG, PNG, WebP, BMP, TIFF or GIF',
      },
    ]),
  },
  unsupported_media_type: {
    status: 415,
    detail: 'The body must be application/json.',
    when: 'The body is of a type that this path does not accept, not in UTF-8, or compressed.',
  },
  uploads_need_public_url: {
    status: 400,
    detail:
      'Files cannot get to the deployed function: set PUBLIC_URL, from which it can fetch them, or MODAL_INLINE_BYTES, with which they go with the call.',
    when: 'The deployed function can neither fetch files, as the server has no PUBLIC_URL, nor get them with its call, as they are too large or as it does not take them.',
  },
  uploads_need_shared_storage: {
    status: 400,
    detail: 'Files cannot be uploaded: the replicas of this server share no folder (see DATA_DIR_SHARED).',
    when: 'The server accepts no files, because its replicas share no folder for them.',
  },
  upload_rejected: {
    status: 422,
    detail: 'An upload cannot be used.',
    when: 'A file that was sent ahead is not there, is not what its upload said, has expired, or belongs to somebody else; `errors` names each field.',
    example: errorOptions([{ path: '/video', message: 'has not been uploaded' }]),
  },
  upload_store_unavailable: {
    status: 503,
    detail: 'The store of uploads is unavailable at the moment. Try again later.',
    retryAfterSeconds: 10,
    when: 'The bucket of uploads cannot be read; try again later.',
  },
  uploads_limit_reached: {
    status: 429,
    detail: 'You have as many unused uploads as one caller may have. Use them in jobs, or wait until they expire.',
    retryAfterSeconds: 60,
    when: 'You have as many unused uploads as one caller may have.',
  },
  url_not_allowed: {
    status: 400,
    detail: 'The server may not fetch this URL.',
    when: 'The server may not fetch one of the URLs.',
    example: errorOptions([{ path: '/video_url', message: 'must be on one of the allowed hosts' }]),
  },
  webhook_secret_not_shown: {
    status: 403,
    detail:
      'Without authentication webhooks are signed with WEBHOOK_SECRET itself. Ask the operator of the server for it.',
    when: 'Without authentication the webhook secret is the operator’s own, and is not shown.',
  },
  webhooks_not_configured: {
    status: 404,
    detail: 'This server sends no webhooks: its operator has not set WEBHOOK_SECRET.',
    when: 'The server sends no webhooks: a submit that asks for one is refused (400), and there is no secret (404).',
    also: [
      {
        status: 400,
        detail: 'This server sends no webhooks: its operator has not set WEBHOOK_SECRET.',
        errors: [{ path: '/webhook_url', message: 'this server sends no webhooks' }],
      },
    ],
  },
} as const satisfies Record<string, Definition>

export type ProblemCode = keyof typeof DEFINITIONS

export const PROBLEMS: Readonly<Record<ProblemCode, Definition>> = DEFINITIONS

export const PROBLEM_CODES = Object.keys(PROBLEMS) as ProblemCode[]

/** An error as sent to a client (RFC 9457). Any other error during a request is a defect and answered 500. */
export class Problem extends Error {
  readonly code: ProblemCode
  readonly status: number
  readonly errors: FieldError[] | undefined
  readonly retryAfterSeconds: number | undefined
  readonly challenge: string | undefined
  readonly isAmbiguousWrite: boolean

  constructor(code: ProblemCode, { cause, ...options }: ProblemOptions = {}) {
    const { also = [], ...first }: Definition = PROBLEMS[code]
    const variant = also.find(({ status }) => status === options.status) ?? first
    super(options.detail ?? variant.detail, cause === undefined ? {} : { cause })
    this.name = new.target.name
    this.code = code
    this.status = options.status ?? variant.status
    this.errors = options.errors ?? variant.errors
    this.retryAfterSeconds = options.retryAfterSeconds ?? variant.retryAfterSeconds
    this.challenge = options.challenge
    this.isAmbiguousWrite = options.isAmbiguousWrite ?? false
  }
}

/** A problem by its code, to be thrown or passed to a reply. */
export const problem = (code: ProblemCode, options?: ProblemOptions): Problem => new Problem(code, options)

/** Whether an error is a problem, and has this code if one is given. */
export const isProblem = (error: unknown, code?: ProblemCode): error is Problem =>
  error instanceof Problem && (code === undefined || error.code === code)

/** A problem with field errors, the first `MAX_FIELD_ERRORS` of which are in its detail. */
export const invalidFields = (errors: FieldError[], code: ProblemCode = 'invalid_request'): Problem =>
  problem(code, errorOptions(errors))

function errorOptions(all: FieldError[]) {
  const errors = all.slice(0, MAX_FIELD_ERRORS)
  const sentences = errors.map(({ path, message }) => `${path.slice(1) || 'body'}: ${message}`)
  if (all.length > errors.length) sentences.push(`and ${all.length - errors.length} more`)
  return { errors, detail: sentences.join('; ') }
}

/** The error of files that are too large for a call and that the deployed function cannot fetch; `inlineBytes`: the limit. */
export const needsPublicUrl = (inlineBytes: number): string =>
  `cannot get to the deployed function: the files of one request are larger than MODAL_INLINE_BYTES (${inlineBytes} bytes together); set PUBLIC_URL, from which it can fetch them, or send smaller ones`

/** 401 of a request without a credential. */
export const missingCredential = (): Problem => problem('unauthorized', { challenge: CHALLENGE })

/** 401 of a request whose credential is unknown, wrong, expired or revoked; a client cannot tell which. */
export const invalidCredential = (): Problem =>
  problem('unauthorized', {
    detail: 'The API key or access token is not valid.',
    challenge: `${CHALLENGE}, error="invalid_token"`,
  })

/** 403 of a caller whose credential lacks a scope. */
export const missingScope = (scope: string): Problem => problem('insufficient_scope', missingScopeOptions(scope))

function missingScopeOptions(scope: string) {
  const challenge = `${CHALLENGE}, error="insufficient_scope", scope="${scope}"`
  return { detail: `This needs the scope ${scope}.`, challenge }
}

/** The server cannot start; the message is for the operator. */
export class BootError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}
