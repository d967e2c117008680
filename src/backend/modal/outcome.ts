import { inspect } from 'node:util'
import { InvalidError, NotFoundError, TimeoutError } from 'modal'
import { ClientError, Status } from 'nice-grpc'
import { reduceUrls } from '../../net/url-rule.ts'
import type { ErrorCode, DegradedReason } from '../../jobs/job.ts'
import type { Outcome } from '../../jobs/ports/backend.ts'
import type { Lane } from './lane.ts'

/** How Modal says a call ended, as it stands in the answer to a poll: the client keeps little of it. */
export type CallResult = {
  readonly status: number
  /** Python's `repr` of what was raised, or Modal's own words; often empty. */
  readonly exception: string
  readonly traceback: string
  readonly exitcode: number
}

/** How a call ended. `isUnexplained`: its error names no reason, which may stand in the call's log. */
export type CallEnd = { readonly outcome: Outcome; readonly isUnexplained?: boolean }

/** `GenericResult.GenericStatus` of Modal's protocol, as far as it means anything to a job. */
export const RESULT_STATUS = {
  ...{ success: 1, failure: 2, terminated: 3, timeout: 4 },
  ...{ initFailure: 5, internalFailure: 6, memoryManagerEviction: 8 },
} as const

/** Modal has answered that a call has neither a result nor anything unfinished. */
export class CallExpired extends Error {
  override readonly name = 'CallExpired'
  constructor() {
    super('Modal has no result of the call any more; it keeps one for seven days')
  }
}

/** A traceback ends in what was raised: its last characters are kept, this many. */
const TRACEBACK_MAX_LENGTH = 8_000
/** What Modal raises inside an image without the package that values travel by. */
const CBOR_MISSING = 'CBOR support requires'
const CBOR_ADVICE =
  "The image of the Modal function lacks the Python package 'cbor2': add it to the image (pip_install('cbor2')), deploy the app and submit the job again"

/** Longest path, as on Linux, and id of a run that a job keeps, in characters. */
const OUTPUT_PATH_MAX_LENGTH = 4096
const RUN_ID_MAX_LENGTH = 255

/** Whether a value is text that a job may keep and its views may show. */
const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === 'string' && value !== '' && value.length <= maxLength && !/\p{Cc}/u.test(value)

const notText = (field: string, maxLength: number) =>
  `the function's ${field} is missing or not a text of at most ${maxLength} printable characters`

/** How a value returned by `run_inference` ends a job; anything that is not of the contract's shape is refused. */
export function endOfValue(value: unknown): CallEnd {
  if (typeof value !== 'object' || value === null) return invalidOutput('the function returned no object')
  const { status, output_path: outputPath, job_id: runId, error } = value as Record<string, unknown>
  if (status === 'failed' || status === 'unknown') {
    const said = typeof error === 'string' ? error.trim() : ''
    return failed('inference_failed', said || `the function reported '${status}'`, said === '')
  }
  if (status !== 'succeeded') return invalidOutput(`the function's status is ${inspect(status)}`)
  if (!isText(outputPath, OUTPUT_PATH_MAX_LENGTH)) return invalidOutput(notText('output_path', OUTPUT_PATH_MAX_LENGTH))
  if (!isText(runId, RUN_ID_MAX_LENGTH)) return invalidOutput(notText('job_id', RUN_ID_MAX_LENGTH))
  return { outcome: { kind: 'succeeded', outputPath, runId } }
}

/** How a result other than a success ends a job. Its words are never empty, whatever Modal says. */
export function endOfResult({ status, exception, traceback, exitcode }: CallResult): CallEnd {
  const said = exception.trim()
  const { outcome, isUnexplained } = endOfStatus(status, said, exitcode)
  const kept = traceback.trim().slice(-TRACEBACK_MAX_LENGTH)
  return { outcome: { ...outcome, ...(kept !== '' && { traceback: kept }) }, ...(isUnexplained && { isUnexplained }) }
}

function endOfStatus(status: number, said: string, exitcode: number): CallEnd {
  switch (status) {
    case RESULT_STATUS.failure: {
      if (said.includes(CBOR_MISSING)) return failed('backend_rejected', because(CBOR_ADVICE, said))
      const words = `the function failed without a reason${exitcode === 0 ? '' : ` (exit code ${exitcode})`}`
      return failed('inference_failed', said || words, said === '')
    }
    case RESULT_STATUS.terminated:
      return interrupted(because('the run was stopped at Modal', said))
    case RESULT_STATUS.timeout:
      return failed('timed_out', said || "the run exceeded the function's own time limit at Modal")
    case RESULT_STATUS.initFailure:
      return failed('backend_rejected', because('the container of the Modal function cannot start', said), said === '')
    case RESULT_STATUS.internalFailure:
      return interrupted(said || 'Modal lost the run')
    case RESULT_STATUS.memoryManagerEviction:
      return interrupted(because('Modal stopped the run, as its worker ran out of memory', said))
    default:
      return interrupted(because(`Modal ended the run with status ${status}, which says nothing of its result`, said))
  }
}

const because = (words: string, said: string): string => (said === '' ? words : `${words}: ${said}`)

const interrupted = (error: string): CallEnd => ({ outcome: { kind: 'interrupted', error } })

const failed = (code: ErrorCode, error: string, isUnexplained = false): CallEnd => ({
  outcome: { kind: 'failed', code, error },
  ...(isUnexplained && { isUnexplained }),
})

const invalidOutput = (detail: string): CallEnd => failed('invalid_output', detail)

/**
 * What an error of `get` says about the call; undefined: it runs on. `result`: Modal had given its end. Whatever else
 * it is, a refused credential included, is thrown on: the call runs on.
 */
export function endOfError(error: unknown, result?: CallResult): CallEnd | undefined {
  if (result && result.status !== RESULT_STATUS.success) return endOfResult(result)
  // Our own wait ran out.
  if (error instanceof TimeoutError) return undefined
  if (error instanceof CallExpired) return failed('lost', error.message)
  const code = grpcCode(error)
  if (code === Status.NOT_FOUND || code === Status.INVALID_ARGUMENT) {
    return failed('lost', `Modal does not know the call any more: ${wordsOf(error)}`)
  }
  const isCutOff = error instanceof Error && error.name === 'AbortError'
  // What failed is the reading of the value.
  if (result && code === undefined && !isCutOff && !isPassing(error)) {
    return invalidOutput(`the function's result cannot be read: ${wordsOf(error)}`)
  }
  throw error
}

/** gRPC codes after which the same request may work; UNKNOWN and INTERNAL are also what a proxy's 5xx turns into. */
const PASSING_CODES: ReadonlySet<number> = new Set([
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

/** Whether asking again may help. Undici reports a broken blob download as a `TypeError` with a cause. */
export function isPassing(error: unknown): boolean {
  if (error instanceof NotFoundError || error instanceof InvalidError) return false
  const code = grpcCode(error)
  if (code !== undefined) return PASSING_CODES.has(code)
  return error instanceof Error && (error.cause instanceof Error || error.message.startsWith('Failed to download blob'))
}

/** Modal's own words, without the client's prefixes and with URLs reduced to their hosts. Never empty. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const words = error instanceof ClientError && error.details !== '' ? error.details : error.message
  return reduceUrls(words.replace(/^(Remote error|Internal failure|Timeout): /, '')) || 'Modal gave no reason'
}

/** Whether Modal refuses us, whatever is asked. */
export const isRefusal = (error: unknown): boolean =>
  grpcCode(error) === Status.UNAUTHENTICATED || grpcCode(error) === Status.PERMISSION_DENIED

/** Whether an error of a spawn may be that of a deployment that is gone or stopped, where another has taken its place. */
export const isOfDeployment = (error: unknown): boolean =>
  isNotFound(error) || grpcCode(error) === Status.FAILED_PRECONDITION || grpcCode(error) === Status.ABORTED

/** Whether Modal knows no such function, or no such call. */
export const isNotFound = (error: unknown): boolean =>
  error instanceof NotFoundError || grpcCode(error) === Status.NOT_FOUND

/** Whether what an id names is unknown, or the id itself is none. */
export const isUnknown = (error: unknown): boolean => isNotFound(error) || grpcCode(error) === Status.INVALID_ARGUMENT

/** How long a throttled poll or cancel waits where Modal does not say for how long, in ms. */
const UNTOLD_THROTTLE_MS = 1_000

/** What an error of an RPC says of Modal. No `reason`: it is about this one request, and the others may go on. */
export type Failure = {
  readonly reason?: DegradedReason
  /** How long Modal wants no requests, in ms; always there for `throttled`. */
  readonly holdMs?: number
  readonly words: string
}

const retryAfterMs = new WeakMap<object, number>()

/** Keeps with an error of an RPC how long Modal wants no requests, in ms. */
export function noteRetryAfter(error: unknown, ms: number | undefined): void {
  if (typeof error === 'object' && error !== null && ms !== undefined) retryAfterMs.set(error, ms)
}

/** How long Modal wants no requests, in ms, by an error that it answered an RPC with; undefined: it did not say. */
export const retryAfterOf = (error: unknown): number | undefined =>
  typeof error === 'object' && error !== null ? retryAfterMs.get(error) : undefined

/**
 * Classifies an error after which the same request may work. RESOURCE_EXHAUSTED is a throttle where Modal says for how
 * long; to a spawn it is else the spend limit of the workspace, which does not pass by itself.
 */
export function failureOf(error: unknown, lane: Lane): Failure {
  const words = wordsOf(error)
  const holdMs = retryAfterOf(error)
  if (holdMs !== undefined) return { reason: 'throttled', holdMs, words }
  const code = grpcCode(error)
  if (code === Status.RESOURCE_EXHAUSTED) {
    return lane === 'spawn'
      ? { reason: 'spend_limit', words }
      : { reason: 'throttled', holdMs: UNTOLD_THROTTLE_MS, words }
  }
  // PERMISSION_DENIED to a poll is about its call, which may be of another workspace.
  const isAboutUs = lane === 'spawn' ? isRefusal(error) : code === Status.UNAUTHENTICATED
  if (isAboutUs) return { reason: 'credentials', words }
  return isPassing(error) ? { reason: 'unreachable', words } : { words }
}
