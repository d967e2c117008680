import { inspect } from 'node:util'
import { InvalidError, NotFoundError, TimeoutError } from 'modal'
import { ClientError, Status } from 'nice-grpc'
import { reduceUrls } from '../../net/url-rule.ts'
import type { ErrorCode, DegradedReason, RunTimes } from '../../jobs/job.ts'
import type { Outcome } from '../../jobs/ports/backend.ts'
import { errorCodeOf } from '../failures.ts'
import type { LaneName } from './lane.ts'

/** How a call finished, as Modal answers a poll: the client keeps little of it. */
export type CallResult = {
  readonly status: number
  /** Python's `repr` of what was raised, or Modal's own message; often empty. */
  readonly exception: string
  readonly traceback: string
  readonly exitcode: number
}

/** How a call finished. `isUnexplained`: its error names no reason; the call's log may. */
export type CallOutcome = { readonly outcome: Outcome; readonly isUnexplained?: boolean }

/** When a call was spawned, queued and started. Epoch ms; `enqueuedAt` by Modal's clock if it `isListed`, `spawnedAt` by ours. */
type WayToRun = {
  readonly enqueuedAt: number
  readonly isListed: boolean
  readonly startupMs: number | undefined
  readonly spawnedAt: number | undefined
}

/** How far Modal's times may differ from our clock, in ms; beyond it they are not used. */
const CLOCK_TOLERANCE_MS = 60_000

/**
 * The times of a call that has finished. `now` in epoch ms: Modal cannot have taken longer than the time since the spawn.
 * The start of a container is part of `queuedMs` unless a listing showed it.
 */
export function runTimesOf(
  { runStartedAt = NaN, runEndedAt = NaN }: { readonly runStartedAt?: number; readonly runEndedAt?: number },
  { enqueuedAt, isListed, startupMs = 0, spawnedAt }: WayToRun,
  now = Date.now(),
): RunTimes {
  const mostMs = spawnedAt === undefined ? Infinity : now - spawnedAt + CLOCK_TOLERANCE_MS
  const runMs = runEndedAt - runStartedAt
  // Without a listing the two times are by different clocks.
  const waitedMs = runStartedAt - (isListed ? enqueuedAt : (spawnedAt ?? NaN))
  const hasWaited = waitedMs >= (isListed ? 0 : -CLOCK_TOLERANCE_MS) && waitedMs <= mostMs
  const hasStartup = hasWaited && startupMs > 0 && startupMs <= waitedMs
  return {
    ...(hasWaited && { queuedMs: Math.max(0, waitedMs - (hasStartup ? startupMs : 0)) }),
    ...(hasStartup && { startupMs }),
    ...(runMs >= 0 && runMs <= mostMs && { runMs }),
  }
}

/** The values of `GenericResult.GenericStatus` in Modal's protocol that matter to a job. */
export const RESULT_STATUS = {
  success: 1,
  failure: 2,
  terminated: 3,
  timeout: 4,
  initFailure: 5,
  internalFailure: 6,
  memoryManagerEviction: 8,
} as const

/** Modal answered that it has no result of a call, and that the call is not running. */
export class CallExpired extends Error {
  override readonly name = 'CallExpired'
  constructor() {
    super('Modal has no result of the call any more; it keeps one for seven days')
  }
}

/** How many characters of a traceback are kept: the last ones, since it ends with the exception. */
const TRACEBACK_MAX_LENGTH = 8_000
/** Modal's message in an image without the package that encodes values. */
const CBOR_MISSING = 'CBOR support requires'
const CBOR_ADVICE =
  "The image of the Modal function lacks the Python package 'cbor2': add it to the image (pip_install('cbor2')), deploy the app and submit the job again"

/** Python's `repr` of an exception without a message: `AssertionError()`, `ValueError('')`. */
const EMPTY_EXCEPTION = /^[\w.]+\((?:(['"])\s*\1,?|None)?\)$/

/** Longest path (as on Linux) and run id that a job keeps, in characters. */
const OUTPUT_PATH_MAX_LENGTH = 4096
const RUN_ID_MAX_LENGTH = 255

/** Whether a value is text that a job may keep and present. */
const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === 'string' && value !== '' && value.length <= maxLength && !/\p{Cc}/u.test(value)

const notText = (field: string, maxLength: number) =>
  `the function's ${field} is missing or not a text of at most ${maxLength} printable characters`

/** What a value returned by `run_inference` means for a job; anything not of the contract's shape is `invalid_output`. */
export function outcomeOfValue(value: unknown): CallOutcome {
  if (typeof value !== 'object' || value === null) return invalidOutput('the function returned no object')
  const { status, output_path: outputPath, job_id: runId, error } = value as Record<string, unknown>
  if (status === 'failed' || status === 'unknown') {
    const reason = typeof error === 'string' ? error.trim() : ''
    return reason === ''
      ? failed('inference_failed', `the function reported '${status}'`, true)
      : failed(errorCodeOf(reason), reason)
  }
  if (status !== 'succeeded') return invalidOutput(`the function's status is ${inspect(status)}`)
  if (!isText(outputPath, OUTPUT_PATH_MAX_LENGTH)) return invalidOutput(notText('output_path', OUTPUT_PATH_MAX_LENGTH))
  if (!isText(runId, RUN_ID_MAX_LENGTH)) return invalidOutput(notText('job_id', RUN_ID_MAX_LENGTH))
  return { outcome: { kind: 'succeeded', outputPath, runId } }
}

/** What a result other than a success means for a job. The error is never empty, whatever Modal says. */
export function outcomeOfResult({ status, exception, traceback, exitcode }: CallResult): CallOutcome {
  const reason = exception.trim()
  const { outcome, isUnexplained } = outcomeOfStatus(status, reason, exitcode)
  const kept = traceback.trim().slice(-TRACEBACK_MAX_LENGTH)
  return { outcome: { ...outcome, ...(kept !== '' && { traceback: kept }) }, ...(isUnexplained && { isUnexplained }) }
}

function outcomeOfStatus(status: number, reason: string, exitcode: number): CallOutcome {
  switch (status) {
    case RESULT_STATUS.failure: {
      if (reason.includes(CBOR_MISSING)) return failed('backend_rejected', because(CBOR_ADVICE, reason))
      const message = `the function failed without a reason${exitcode === 0 ? '' : ` (exit code ${exitcode})`}`
      return failed(errorCodeOf(reason), reason || message, reason === '' || EMPTY_EXCEPTION.test(reason))
    }
    case RESULT_STATUS.terminated:
      return interrupted(because('the run was stopped at Modal', reason))
    case RESULT_STATUS.timeout:
      return failed('timed_out', reason || "the run exceeded the function's own time limit at Modal")
    case RESULT_STATUS.initFailure:
      return failed(
        'backend_rejected',
        because('the container of the Modal function cannot start', reason),
        reason === '',
      )
    case RESULT_STATUS.internalFailure:
      return interrupted(reason || 'Modal lost the run')
    case RESULT_STATUS.memoryManagerEviction:
      return interrupted(because('Modal stopped the run, as its worker ran out of memory', reason))
    default:
      return interrupted(because(`Modal ended the run with status ${status}, which says nothing of its result`, reason))
  }
}

const because = (message: string, reason: string): string => (reason === '' ? message : `${message}: ${reason}`)

const interrupted = (error: string): CallOutcome => ({ outcome: { kind: 'interrupted', error } })

const failed = (code: ErrorCode, error: string, isUnexplained = false): CallOutcome => ({
  outcome: { kind: 'failed', code, error },
  ...(isUnexplained && { isUnexplained }),
})

const invalidOutput = (detail: string): CallOutcome => failed('invalid_output', detail)

/**
 * What an error of `get` says about the call; undefined: it is still running. `result`: Modal had answered that the call
 * finished. Any other error, of the credentials for instance, is rethrown: the call is still running.
 */
export function outcomeOfError(error: unknown, result?: CallResult): CallOutcome | undefined {
  if (result && result.status !== RESULT_STATUS.success) return outcomeOfResult(result)
  // Our own wait ran out.
  if (error instanceof TimeoutError) return undefined
  if (error instanceof CallExpired) return failed('lost', error.message)
  const code = grpcCode(error)
  if (code === Status.NOT_FOUND || code === Status.INVALID_ARGUMENT) {
    return failed('lost', `Modal does not know the call any more: ${modalMessageOf(error)}`)
  }
  const isCutOff = error instanceof Error && error.name === 'AbortError'
  // Only reading the value failed.
  if (result && code === undefined && !isCutOff && !isTransient(error)) {
    return invalidOutput(`the function's result cannot be read: ${modalMessageOf(error)}`)
  }
  throw error
}

/** gRPC codes of transient errors; a proxy's 5xx becomes UNKNOWN or INTERNAL too. */
const TRANSIENT_CODES: ReadonlySet<number> = new Set([
  Status.CANCELLED,
  Status.UNKNOWN,
  Status.DEADLINE_EXCEEDED,
  Status.RESOURCE_EXHAUSTED,
  Status.ABORTED,
  Status.INTERNAL,
  Status.UNAVAILABLE,
])

/** The gRPC status of an error, where it has one. */
export const grpcCode = (error: unknown): number | undefined => (error instanceof ClientError ? error.code : undefined)

/** Whether another attempt may work. Undici reports a broken blob download as a `TypeError` with a cause. */
export function isTransient(error: unknown): boolean {
  if (error instanceof NotFoundError || error instanceof InvalidError) return false
  const code = grpcCode(error)
  if (code !== undefined) return TRANSIENT_CODES.has(code)
  return (
    error instanceof Error &&
    (error.cause instanceof Error || /^Failed (to download blob|blob upload)/.test(error.message))
  )
}

/** Modal's own message, without the client's prefixes and with URLs reduced to their hosts. Never empty. */
export function modalMessageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const message = error instanceof ClientError && error.details !== '' ? error.details : error.message
  return reduceUrls(message.replace(/^(Remote error|Internal failure|Timeout): /, '')) || 'Modal gave no reason'
}

/** Whether Modal refuses the credentials, whatever the request. */
export const isCredentialsError = (error: unknown): boolean =>
  grpcCode(error) === Status.UNAUTHENTICATED || grpcCode(error) === Status.PERMISSION_DENIED

/** Whether an error of a spawn may come from a stopped or replaced deployment, so that a new look-up may help. */
export const isDeploymentError = (error: unknown): boolean =>
  isNotFound(error) || grpcCode(error) === Status.FAILED_PRECONDITION || grpcCode(error) === Status.ABORTED

/** Whether Modal knows no such function, or no such call. */
export const isNotFound = (error: unknown): boolean =>
  error instanceof NotFoundError || grpcCode(error) === Status.NOT_FOUND

/** Whether Modal does not know the call, or its id is not valid. */
export const isUnknownCall = (error: unknown): boolean =>
  isNotFound(error) || grpcCode(error) === Status.INVALID_ARGUMENT

/** How long a throttled poll or cancel waits if Modal does not say, in ms. */
const DEFAULT_THROTTLE_MS = 1_000

/** What an error of an RPC means for other requests. No `reason`: the error concerns this request only. */
export type Failure = {
  readonly reason?: DegradedReason
  /** How long to send no requests, in ms; always set for `throttled`. */
  readonly retryAfterMs?: number
  /** Modal's own message. */
  readonly message: string
}

/**
 * Whether a connection refused one more stream with ENHANCE_YOUR_CALM (RFC 9113 7), in grpc-js's words: the server counts
 * a poll that was aborted until it learns of that. It says nothing of the call, nor of what Modal allows an account.
 */
export const isStreamRefused = (error: unknown): boolean =>
  error instanceof ClientError &&
  error.code === Status.RESOURCE_EXHAUSTED &&
  error.details === 'Bandwidth exhausted or memory limit exceeded'

const retryAfters = new WeakMap<object, number>()

/** Attaches to an error of an RPC how long Modal asks to send no requests, in ms. */
export function attachRetryAfter(error: unknown, ms: number | undefined): void {
  if (typeof error === 'object' && error !== null && ms !== undefined) retryAfters.set(error, ms)
}

/** How long Modal asks to send no requests, in ms, as attached to an error of an RPC; undefined: it did not say. */
export const retryAfterMsOf = (error: unknown): number | undefined =>
  typeof error === 'object' && error !== null ? retryAfters.get(error) : undefined

/**
 * Classifies an error of an RPC. RESOURCE_EXHAUSTED is a throttle if Modal says for how long; otherwise, for a spawn, it
 * is the spend limit of the workspace, which does not end by itself.
 */
export function classifyError(error: unknown, lane: LaneName): Failure {
  const message = modalMessageOf(error)
  const retryAfterMs = retryAfterMsOf(error)
  if (retryAfterMs !== undefined) return { reason: 'throttled', retryAfterMs, message }
  if (isStreamRefused(error)) return { reason: 'unreachable', message }
  const code = grpcCode(error)
  if (code === Status.RESOURCE_EXHAUSTED) {
    return lane === 'spawn'
      ? { reason: 'spend_limit', message }
      : { reason: 'throttled', retryAfterMs: DEFAULT_THROTTLE_MS, message }
  }
  // PERMISSION_DENIED to a poll is about its call, which may be of another workspace.
  const isAboutUs = lane === 'spawn' ? isCredentialsError(error) : code === Status.UNAUTHENTICATED
  if (isAboutUs) return { reason: 'credentials', message }
  return isTransient(error) ? { reason: 'unreachable', message } : { message }
}
