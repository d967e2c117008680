import { errorCodes } from 'fastify'
import {
  AppError,
  AttemptNotFound,
  ConcurrencyLimitReached,
  CrossSiteRefused,
  DeliveryInProgress,
  DeliveryNotFound,
  Forbidden,
  IdempotencyConflict,
  InputNotFound,
  InvalidMultipart,
  InvalidRequest,
  IssuerUnavailable,
  JobConflict,
  JobNotFound,
  LinkInvalid,
  LogsUnavailable,
  NotAcceptable,
  OutputUnavailable,
  Overloaded,
  PreconditionFailed,
  type ProblemCode,
  QueueFull,
  RangeNotSatisfiable,
  RateLimited,
  RetryLimitReached,
  ServerEnding,
  StorageFull,
  StoreUnavailable,
  TooManyStreams,
  Unauthorized,
  UnsupportedMedia,
  UploadsNeedPublicUrl,
  UploadsNeedSharedStorage,
  WebhookSecretNotShown,
  WebhooksNotConfigured,
} from '../../problems.ts'
import { expectationFailed } from '../bodies.ts'
import { type Problem, problemOf, ROUTE_NOT_FOUND, unreadableError } from '../problems.ts'

/** A problem as it looks, and the headers that come with it. */
export type ProblemExample = {
  readonly problem: Problem
  readonly headers: readonly ('Retry-After' | 'WWW-Authenticate')[]
}

type Entry = { readonly when: string; readonly examples: readonly ProblemExample[] }

const entry = (when: string, ...errors: (AppError | Problem)[]): Entry => ({ when, examples: errors.map(exampleOf) })

const exampleOf = (error: AppError | Problem): ProblemExample =>
  error instanceof AppError
    ? {
        problem: problemOf(error),
        headers: [
          ...(error.retryAfterSeconds === undefined ? [] : (['Retry-After'] as const)),
          ...(error.challenge === undefined ? [] : (['WWW-Authenticate'] as const)),
        ],
      }
    : { problem: error, headers: [] }

/**
 * When each problem comes, and how it looks with each status it has. The examples are made by what makes the answers,
 * so that they cannot differ. Adding a code to `PROBLEM_CODES` asks for its line here.
 */
export const PROBLEMS: Readonly<Record<ProblemCode, Entry>> = {
  attempt_not_found: entry('The job has no attempt of that number.', new AttemptNotFound(2)),
  bad_request: entry(
    'The request is at fault in a way that has no name of its own.',
    problemOf(new errorCodes.FST_ERR_VALIDATION('The request is at fault.')),
  ),
  body_too_large: entry(
    'The body is larger than the server accepts.',
    problemOf(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE()),
  ),
  concurrency_limit_reached: entry(
    'You have as many unfinished jobs as one caller may have.',
    new ConcurrencyLimitReached(20),
  ),
  cross_site_refused: entry(
    'A page of another site asks for a change, and its origin is not allowed to.',
    new CrossSiteRefused(),
  ),
  delivery_in_progress: entry('The delivery is being tried, or about to be.', new DeliveryInProgress()),
  delivery_not_found: entry('The job has no delivery of that number.', new DeliveryNotFound()),
  expectation_failed: entry('The `Expect` header is none that the server knows.', expectationFailed()),
  headers_too_large: entry('URL and headers are too large.', unreadableError('HPE_HEADER_OVERFLOW')),
  idempotency_key_reused: entry('The `Idempotency-Key` was used with another request.', new IdempotencyConflict()),
  input_not_found: entry('The job came without such a file.', new InputNotFound()),
  insufficient_scope: entry('The credential lacks the scope that this needs.', new Forbidden('jobs:write')),
  internal_error: entry(
    'The server failed; the fault is in its log.',
    problemOf(new errorCodes.FST_ERR_SEND_UNDEFINED_ERR()),
  ),
  invalid_idempotency_key: entry(
    'The `Idempotency-Key` is not readable.',
    new InvalidRequest(
      [{ path: '/Idempotency-Key', message: 'must be 1 to 255 visible ASCII characters, bare or in double quotes' }],
      'invalid_idempotency_key',
    ),
  ),
  invalid_json: entry('The body is not JSON.', problemOf(new errorCodes.FST_ERR_CTP_INVALID_JSON_BODY())),
  invalid_multipart: entry('The body is not multipart/form-data, or is cut off.', new InvalidMultipart()),
  invalid_request: entry(
    'Fields of body or query are at fault, each named in `errors`; or there are two credentials.',
    new InvalidRequest([{ path: '/version', message: 'must be one of v15, v1' }]),
  ),
  issuer_unavailable: entry(
    'Whether an access token is good cannot be told, as its issuer does not answer.',
    new IssuerUnavailable(),
  ),
  job_canceled: entry('The job was canceled.', new JobConflict('job_canceled', 'The job was canceled.')),
  job_failed: entry(
    'The job failed.',
    new JobConflict('job_failed', 'The job failed (timed_out): The deadline has passed.'),
  ),
  job_finished: entry('The job has ended.', new JobConflict('job_finished', 'The job has already succeeded.')),
  job_not_finished: entry('The job has not ended.', new JobConflict('job_not_finished', 'The job is running.')),
  job_not_found: entry('You have no job with this id.', new JobNotFound()),
  link_invalid: entry('The signed link was changed, has expired, or is of something else.', new LinkInvalid()),
  logs_unavailable: entry(
    'There is no log: the job is of another backend (409), nobody has the log any more (410), the backend failed (502), or too many logs are being read (503).',
    new LogsUnavailable(409, "The job belongs to the backend 'local', which this server does not use."),
    new LogsUnavailable(410, 'The log is not there any more.'),
    new LogsUnavailable(502, 'The backend did not give the log.'),
    new LogsUnavailable(503, 'Too many logs are being read; try again later.'),
  ),
  malformed_request: entry(
    'The request is not readable HTTP, has no `Host`, or has two of `Host` or `Authorization`.',
    unreadableError(),
  ),
  malformed_url: entry('The URL is not valid percent-encoded UTF-8.', problemOf(new errorCodes.FST_ERR_BAD_URL())),
  method_not_allowed: entry(
    'The path does not take this method; `Allow` says which it takes.',
    new AppError('method_not_allowed', 405, 'This path takes GET, HEAD.'),
  ),
  not_acceptable: entry('What there is here, `Accept` excludes.', new NotAcceptable('text/event-stream')),
  output_unavailable: entry(
    'The video cannot be had from where it is kept.',
    new OutputUnavailable('The output cannot be fetched at the moment.', { retryAfterSeconds: 10 }),
  ),
  overloaded: entry(
    'The server has more to do than it can, or too much of earlier answers is unread.',
    new Overloaded(),
  ),
  precondition_failed: entry('`If-Match` or `If-Unmodified-Since` does not hold.', new PreconditionFailed()),
  queue_full: entry('As many jobs are waiting as the server takes.', new QueueFull()),
  range_not_satisfiable: entry(
    'The file has no such range; `Content-Range` says how long it is.',
    new RangeNotSatisfiable(),
  ),
  rate_limited: entry(
    'More requests, or wrong credentials, came in a minute than may.',
    new RateLimited('This is more than 600 submits a minute.', 27),
  ),
  request_timeout: entry('The request took too long to arrive.', unreadableError('ERR_HTTP_REQUEST_TIMEOUT')),
  retry_limit_reached: entry('The job has been retried as often as a job may be.', new RetryLimitReached(100)),
  route_not_found: entry('There is no such path.', ROUTE_NOT_FOUND),
  server_ending: entry('The server has been told to end, and answers nothing new.', new ServerEnding()),
  storage_full: entry('There is no room for the files; nothing was kept.', new StorageFull()),
  store_unavailable: entry('The store does not answer just now; try again later.', new StoreUnavailable()),
  stream_limit_reached: entry(
    'You have as many streams of events and logs open as one caller may have.',
    new TooManyStreams(10),
  ),
  unauthorized: entry('There is no credential, or it is not good.', new Unauthorized('missing')),
  unsupported_media: entry(
    'A file is, by its content, not what its field is for.',
    new UnsupportedMedia('image', 'is image/heic, which is not supported; send JPEG, PNG, WebP, BMP, TIFF or GIF'),
  ),
  unsupported_media_type: entry(
    'The body is of a type that is not taken here, not in UTF-8, or compressed.',
    problemOf(new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE()),
  ),
  uploads_need_public_url: entry(
    'The server takes no files, as it does not know where the backend could fetch them.',
    new UploadsNeedPublicUrl(),
  ),
  uploads_need_shared_storage: entry(
    'The server takes no files, as its replicas share no folder for them.',
    new UploadsNeedSharedStorage(),
  ),
  url_not_allowed: entry(
    'A URL is one that the server may not fetch.',
    new InvalidRequest([{ path: '/video_url', message: 'must be on one of the allowed hosts' }], 'url_not_allowed'),
  ),
  webhook_secret_not_shown: entry(
    'Without authentication the secret of webhooks is the operator’s own, and not told.',
    new WebhookSecretNotShown(),
  ),
  webhooks_not_configured: entry(
    'The server sends no webhooks: a submit that wants one is refused (400), and there is no secret (404).',
    new WebhooksNotConfigured(400),
    new WebhooksNotConfigured(404),
  ),
}
