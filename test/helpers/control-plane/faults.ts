import { status } from '@grpc/grpc-js'

import { retryAfterTrailer, RpcError } from './wire.ts'

/**
 * What goes wrong with the next RPCs of one method. With a `code` (or nothing but a `method`) the RPC fails before any
 * work is done. With `loseAnswer` the work is done, then the RPC fails without its answer. `dropConnection` destroys
 * the connection with every stream on it instead of answering a failure. `delayMs` holds the answer or failure back;
 * alone it is only slow, and the work is done on arrival. The download of a blob, which is no RPC, has the method
 * `DOWNLOAD`: it is answered with 503, or with `dropConnection` not at all.
 *
 * With `empty` the answer comes at once and holds nothing: FunctionMap makes a call and takes no input, FunctionPutInputs
 * takes none, FunctionGetOutputs gives no output, whatever the call does; with `expired` it gives none either, and says
 * that no input is unfinished.
 *
 * What Modal means by a failure: RESOURCE_EXHAUSTED with `retryAfterSeconds` is a throttle, without it a spend limit;
 * UNAUTHENTICATED, PERMISSION_DENIED are refused credentials (see also `revokeTokens`); FAILED_PRECONDITION, ABORTED an
 * app that is stopped.
 */
export type Fault = {
  /** `*`: every RPC. */
  readonly method: string
  /** Only RPCs about this call. */
  readonly callId?: string
  /** How many RPCs it meets; every one by default. */
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
  /** Meets only the RPCs beyond so many a second, with a burst of one second's worth. */
  readonly perSecond?: number
}

/** The injected faults. The oldest that matches an RPC is applied to it. */
export class Faults {
  #faults: { readonly fault: Fault; left: number; allowed: number; allowedAt: number }[] = []

  add(fault: Fault): void {
    const allowed = fault.perSecond ?? 0
    this.#faults.push({ fault, left: fault.times ?? Infinity, allowed, allowedAt: performance.now() })
  }

  clear(): void {
    this.#faults = []
  }

  /** The fault that this RPC meets, if any. */
  take(method: string, callId?: string): Fault | undefined {
    const meets = ({ fault }: { readonly fault: Fault }) =>
      (fault.method === method || fault.method === '*') && (fault.callId ?? callId) === callId
    const found = this.#faults.find(meets)
    if (!found) return undefined
    const { perSecond = 0 } = found.fault
    const now = performance.now()
    found.allowed = Math.min(perSecond, found.allowed + ((now - found.allowedAt) / 1_000) * perSecond)
    found.allowedAt = now
    if (found.allowed >= 1) {
      found.allowed -= 1
      return undefined
    }
    found.left -= 1
    if (found.left <= 0) this.#faults = this.#faults.filter((entry) => entry !== found)
    return found.fault
  }
}

/** Whether the RPC is to be done at all. */
export function doesWork(fault: Fault | undefined): boolean {
  return fault === undefined || answers(fault) || fault.loseAnswer === true
}

/** Whether the RPC is answered in the end. */
export function answers(fault: Fault): boolean {
  return (fault.delayMs !== undefined || fault.empty === true || fault.expired === true) && !fails(fault)
}

function fails({ code, message, loseAnswer, dropConnection, retryAfterSeconds }: Fault): boolean {
  return Boolean(code ?? message ?? retryAfterSeconds) || loseAnswer === true || dropConnection === true
}

/** The failure that the client sees. */
export function failureOf(fault: Fault): RpcError {
  const { code, retryAfterSeconds, message = 'A fault of the stand-in.' } = fault
  if (retryAfterSeconds === undefined) return new RpcError(code ?? status.UNAVAILABLE, message)
  const throttled = code ?? status.RESOURCE_EXHAUSTED
  return new RpcError(throttled, message, retryAfterTrailer(throttled, message, retryAfterSeconds))
}
