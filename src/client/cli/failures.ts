import { ProblemError } from '../index.ts'
import { backOffMs, pause } from '../transport.ts'

/** What the command line exits with; after a signal it is 128 and the signal's number. */
export const EXIT_CODES = { ok: 0, jobFailed: 1, wrongUsage: 2, serverRefused: 3, fileNotWritten: 4 } as const

/** The command, the CSV or a file that it names is wrong; the message says what to do. */
export class UsageError extends Error {}

/** A job failed or was canceled. */
export class JobError extends Error {}

/** Statuses of a request that the server understood and found wrong: to send it again is of no use. */
const INVALID_REQUEST = [400, 413, 415, 422]
/** Statuses that a later request may not have. */
const TRANSIENT = [429, 502, 503, 504]
/** How long an unreachable server is tried again, in ms, once it has answered. */
export const UNREACHABLE_MS = 600_000
/** Work that took longer than this, in ms, before it failed had an answer. */
const LASTING_MS = 60_000

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT_CODES.wrongUsage
  if (error instanceof JobError) return EXIT_CODES.jobFailed
  if (isInvalidRequest(error)) return EXIT_CODES.wrongUsage
  return isFileError(error) ? EXIT_CODES.fileNotWritten : EXIT_CODES.serverRefused
}

/** The error in one line; `hasKey`: whether the requests had a credential. */
export function messageOf(error: unknown, url: string, hasKey = true): string {
  if (error instanceof ProblemError && error.status === 401 && !hasKey) return NEEDS_KEY
  if (error instanceof ProblemError) return problemMessageOf(error)
  if (isUnreachable(error)) return `cannot reach ${url} (${causeOf(error)}); start the server, or set MUSETALK_URL`
  return oneLine(error instanceof Error ? error.message : String(error))
}

const NEEDS_KEY = 'the server needs a key: set MUSETALK_API_KEY'

function problemMessageOf({ status, code, message, errors }: ProblemError): string {
  if (status === 401) return `the server refuses the credential; set MUSETALK_API_KEY to a valid key (${code ?? 401})`
  if (code === 'idempotency_key_reused') return 'the defaults of the server have changed since; --again makes a new job'
  // The message of an invalid request consists of its errors.
  const others = errors.filter((error) => !message.includes(error.message))
  return oneLine([message, ...others.map(({ path, message }) => `${path.slice(1)}: ${message}`)].join(' '))
}

const oneLine = (text: string) => text.replace(/\s*\n\s*/g, ' ')

export const isInvalidRequest = (error: unknown): boolean =>
  error instanceof ProblemError && INVALID_REQUEST.includes(error.status)

/** Whether no other request would fare better: an unreachable server, or a caller that may not do this. */
export const isFatal = (error: unknown): boolean =>
  isUnreachable(error) || isFileError(error) || (error instanceof ProblemError && [401, 403].includes(error.status))

/** `fetch` rejects with a TypeError that has a cause; the client with a TimeoutError, or where an answer is cut off. */
const isUnreachable = (error: unknown): error is Error =>
  error instanceof Error && !(error instanceof ProblemError) && (error.name === 'TimeoutError' || isCut(error))

const isCut = ({ name, message, cause }: Error) =>
  (name === 'TypeError' && cause !== undefined) || message === 'terminated' || /^the (video|answer) was/.test(message)

const isFileError = (error: unknown): boolean => error instanceof Error && 'syscall' in error && 'path' in error

function causeOf({ message, cause }: Error): string {
  if (!(cause instanceof Error)) return message
  return 'code' in cause ? String(cause.code) : cause.message
}

export type RetryOptions = {
  readonly signal: AbortSignal
  /** How long an unreachable server is tried again, in ms; 0: it has not answered yet. */
  readonly unreachableMs: number
  /** Called before each pause. */
  readonly onPause: (error: unknown, ms: number) => void
}

/**
 * Repeats `work`, beyond the repetitions of the client, as long as the server says when to come back, and for
 * `unreachableMs` while it is unreachable. Rejects with the last error.
 */
export async function retryTransient<T>(
  work: () => Promise<T>,
  { signal, unreachableMs, onPause }: RetryOptions,
): Promise<T> {
  let failingSince: number | undefined
  for (let failures = 0; ; failures++) {
    const startedAt = Date.now()
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      const retryAfterMs = error instanceof ProblemError ? error.retryAfterMs : undefined
      const isTransient = error instanceof ProblemError ? TRANSIENT.includes(error.status) : isUnreachable(error)
      if (failingSince === undefined || Date.now() - startedAt > LASTING_MS) {
        failingSince = Date.now()
        failures = 0
      }
      const mayRetry = retryAfterMs !== undefined || Date.now() - failingSince < unreachableMs
      if (!isTransient || !mayRetry) throw error
      const ms = retryAfterMs ?? backOffMs(failures)
      onPause(error, ms)
      await pause(ms, signal)
    }
  }
}
