import { status } from '@grpc/grpc-js'

import { retryAfterTrailer, RpcError } from './wire.ts'

/**
 * What goes wrong with the next RPCs of a method. With a `code` (or nothing but a `method`) the RPC fails before any
 * work is done. With `loseAnswer` the work is done, then the RPC fails without its answer. `dropConnection` destroys
 * the connection with every stream on it instead of answering a failure. `delayMs` delays the answer or failure;
 * alone it only slows the answer: the work is done on arrival. The download of a blob, which is no RPC, has the method
 * `DOWNLOAD`: it is answered with 503, or with `dropConnection` not at all. Its upload has the method `UPLOAD`: it is
 * answered with 503, or later with `delayMs`.
 *
 * With `empty` the answer comes at once and holds nothing: FunctionMap makes a call and accepts no input, FunctionPutInputs
 * accepts none, FunctionGetOutputs returns no output, whatever the call does; with `expired` it returns none either, and says
 * that no input is unfinished.
 *
 * What a failure of Modal means: RESOURCE_EXHAUSTED with `retryAfterSeconds` is a throttle, without it a spend limit;
 * UNAUTHENTICATED, PERMISSION_DENIED are refused credentials (see also `revokeTokens`); FAILED_PRECONDITION, ABORTED an
 * app that is stopped.
 */
export type Disruption = {
  /** `*`: every RPC. */
  readonly method: string
  /** Only RPCs about this call. */
  readonly callId?: string
  /** How many RPCs it affects; all by default. */
  readonly times?: number
  /** gRPC status; UNAVAILABLE (14) by default, RESOURCE_EXHAUSTED (8) with a `retryAfterSeconds`. */
  readonly code?: status
  readonly message?: string
  readonly delayMs?: number
  readonly loseAnswer?: boolean
  readonly empty?: boolean
  readonly expired?: boolean
  readonly dropConnection?: boolean
  /** Asks the client, as Modal does, to retry only after so many seconds. */
  readonly retryAfterSeconds?: number
  /** Affects only the RPCs beyond so many a second, with a burst of one second's worth. */
  readonly perSecond?: number
}

/** The injected disruptions. The oldest that matches an RPC is applied to it. */
export class Disruptions {
  #disruptions: { readonly disruption: Disruption; left: number; allowed: number; allowedAt: number }[] = []

  add(disruption: Disruption): void {
    const allowed = disruption.perSecond ?? 0
    this.#disruptions.push({ disruption, left: disruption.times ?? Infinity, allowed, allowedAt: performance.now() })
  }

  clear(): void {
    this.#disruptions = []
  }

  /** The disruption of this RPC, if any. */
  take(method: string, callId?: string): Disruption | undefined {
    const matches = ({ disruption }: { readonly disruption: Disruption }) =>
      (disruption.method === method || disruption.method === '*') && (disruption.callId ?? callId) === callId
    const found = this.#disruptions.find(matches)
    if (!found) return undefined
    const { perSecond = 0 } = found.disruption
    const now = performance.now()
    found.allowed = Math.min(perSecond, found.allowed + ((now - found.allowedAt) / 1_000) * perSecond)
    found.allowedAt = now
    if (found.allowed >= 1) {
      found.allowed -= 1
      return undefined
    }
    found.left -= 1
    if (found.left <= 0) this.#disruptions = this.#disruptions.filter((entry) => entry !== found)
    return found.disruption
  }
}

/** Whether the RPC is to be done at all. */
export function doesWork(disruption: Disruption | undefined): boolean {
  return disruption === undefined || answers(disruption) || disruption.loseAnswer === true
}

/** Whether the RPC is answered in the end. */
export function answers(disruption: Disruption): boolean {
  return (
    (disruption.delayMs !== undefined || disruption.empty === true || disruption.expired === true) && !fails(disruption)
  )
}

function fails({ code, message, loseAnswer, dropConnection, retryAfterSeconds }: Disruption): boolean {
  return Boolean(code ?? message ?? retryAfterSeconds) || loseAnswer === true || dropConnection === true
}

/** The failure that the client sees. */
export function failureOf(disruption: Disruption): RpcError {
  const { code, retryAfterSeconds, message = 'An injected failure of the stand-in.' } = disruption
  if (retryAfterSeconds === undefined) return new RpcError(code ?? status.UNAVAILABLE, message)
  const throttled = code ?? status.RESOURCE_EXHAUSTED
  return new RpcError(throttled, message, retryAfterTrailer(throttled, message, retryAfterSeconds))
}
