import { Status } from 'nice-grpc'
import type { DegradedReason } from '../../jobs/job.ts'
import { grpcCode, isPassing, isRefusal, wordsOf } from './outcome.ts'
import type { Lane } from './lane.ts'

/** How long a poll or a cancel waits that is throttled without being told for how long, in ms. */
const UNTOLD_THROTTLE_MS = 1_000

/** What an error of an RPC says of Modal. No `reason`: it is about this one request, and the others may go on. */
export type Failure = {
  readonly reason?: DegradedReason
  /** How long Modal wants to be left alone; always there for `throttled`. */
  readonly holdMs?: number
  readonly words: string
}

const retryAfterMs = new WeakMap<object, number>()

/** Keeps with an error of an RPC how long Modal wants to be left alone, in ms. */
export function noteRetryAfter(error: unknown, ms: number | undefined): void {
  if (typeof error === 'object' && error !== null && ms !== undefined) retryAfterMs.set(error, ms)
}

/** How long Modal wants to be left alone, in ms, by an error that it answered an RPC with; undefined: it did not say. */
export const retryAfterOf = (error: unknown): number | undefined =>
  typeof error === 'object' && error !== null ? retryAfterMs.get(error) : undefined

/**
 * Sorts an error that did not end what was asked. Modal answers RESOURCE_EXHAUSTED to who is too fast, and then says for
 * how long, and to who has reached a limit of spending, which does not pass by itself.
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
  // A single call may be somebody else's: that is no word on all the others.
  const isAboutUs = lane === 'spawn' ? isRefusal(error) : code === Status.UNAUTHENTICATED
  if (isAboutUs) return { reason: 'credentials', words }
  return isPassing(error) ? { reason: 'unreachable', words } : { words }
}
