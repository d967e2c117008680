import { Status } from 'nice-grpc'
import type { DegradedReason } from '../../jobs/job.ts'
import { grpcCode, isPassing, isRefusal, wordsOf } from './outcome.ts'
import type { Lane } from './lane.ts'

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
