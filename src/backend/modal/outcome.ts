import { inspect } from 'node:util'
import { FunctionTimeoutError, InternalFailure, InvalidError, NotFoundError, RemoteError, TimeoutError } from 'modal'
import { ClientError, Status } from 'nice-grpc'
import type { Outcome } from '../port.ts'

/** How a value returned by `run_inference` ends a job; anything that is not of the contract's shape is refused. */
export function outcomeOfValue(value: unknown): Outcome {
  if (typeof value !== 'object' || value === null) return invalidOutput('the function returned no object')
  const { status, output_path: outputPath, job_id: runId, error } = value as Record<string, unknown>
  if (status === 'failed' || status === 'unknown') {
    const words = typeof error === 'string' && error !== '' ? error : `the function reported '${status}'`
    return { kind: 'failed', code: 'inference_failed', error: words }
  }
  if (status !== 'succeeded') return invalidOutput(`the function's status is ${inspect(status)}`)
  if (typeof outputPath !== 'string' || outputPath === '') return invalidOutput("the function's output_path is missing")
  if (typeof runId !== 'string' || runId === '') return invalidOutput("the function's job_id is missing")
  return { kind: 'succeeded', outputPath, runId }
}

const invalidOutput = (detail: string): Outcome => ({ kind: 'failed', code: 'invalid_output', error: detail })

/**
 * What an error of `get` says about the call; undefined: it runs on. `answered`: Modal had given its end, so that what
 * failed is the reading of the result. Whatever else it is, a refused credential included, is thrown on: it runs on.
 */
export function outcomeOfError(error: unknown, answered = false): Outcome | undefined {
  // TimeoutError, our own wait running out, comes first: FunctionTimeoutError claims to match it too.
  if (error instanceof TimeoutError) return undefined
  if (error instanceof FunctionTimeoutError) return { kind: 'failed', code: 'timed_out', error: wordsOf(error) }
  if (error instanceof RemoteError) return { kind: 'failed', code: 'inference_failed', error: wordsOf(error) }
  if (error instanceof InternalFailure) return { kind: 'interrupted', error: wordsOf(error) }
  const code = grpcCode(error)
  if (code === Status.NOT_FOUND || code === Status.INVALID_ARGUMENT) {
    return { kind: 'failed', code: 'lost', error: `Modal does not know the call any more: ${wordsOf(error)}` }
  }
  const isCutOff = error instanceof Error && error.name === 'AbortError'
  if (answered && code === undefined && !isCutOff && !isPassing(error)) {
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

/** Modal's own words, without the client's prefixes. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof ClientError && error.details !== '') return error.details
  return error.message.replace(/^(Remote error|Internal failure|Timeout): /, '') || 'Modal gave no reason.'
}

/** Whether Modal refuses us, whatever is asked. */
export const isRefusal = (error: unknown): boolean =>
  grpcCode(error) === Status.UNAUTHENTICATED || grpcCode(error) === Status.PERMISSION_DENIED

/** Whether Modal knows no such function, or no such call. */
export const isNotFound = (error: unknown): boolean =>
  error instanceof NotFoundError || grpcCode(error) === Status.NOT_FOUND

/** Whether what an id names is unknown, or the id itself is none. */
export const isUnknown = (error: unknown): boolean => isNotFound(error) || grpcCode(error) === Status.INVALID_ARGUMENT
