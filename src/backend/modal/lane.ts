import { createFifo } from '../../lib/collections.ts'
import type { DegradedReason } from '../../jobs/job.ts'
import { createTokenBucket } from '../../lib/limits.ts'

/** Spawns wait apart from everything else: a backend may refuse new calls and still answer for those it has. */
export type Lane = 'spawn' | 'call'

/** How many of those that wait are admitted a second, unless a throttle has lowered that. */
export const ADMITTED_PER_SECOND = 100
/** How often some are admitted, in ms. */
export const ADMIT_EVERY_MS = 100

/** A request that waits; `arrival` is its number. */
type Waiter = { readonly arrival: number; readonly admit: () => void }

/** Requests that wait for the backend, in order of arrival. */
type WaitingLine = {
  readonly size: number
  /** `again`: it was admitted before, and goes ahead of new ones. What this returns takes the request out again. */
  add(waiter: Waiter, again: boolean): () => void
  /** Admits the one that has waited longest; false when none waits. */
  admitNext(): boolean
  /** Admits as many as the rate allows by now. */
  admitSome(): void
  /** Admits none for so long, in ms; after that one at a time, at a lower rate, which recovers. */
  hold(ms: number): void
  /** How long until one may be admitted, in ms; infinite when none waits. */
  idleMs(): number
  isHeld(): boolean
}

function createWaitingLine(): WaitingLine {
  /** Few: those that were under way when an outage began. */
  const returning: Waiter[] = []
  const arriving = createFifo<Waiter>()
  const bucket = createTokenBucket(ADMITTED_PER_SECOND)
  let heldUntil = -Infinity

  const insert = (waiter: Waiter) => {
    const at = returning.findLastIndex((other) => other.arrival < waiter.arrival)
    returning.splice(at + 1, 0, waiter)
    return () => {
      const index = returning.indexOf(waiter)
      if (index >= 0) returning.splice(index, 1)
    }
  }

  const line: WaitingLine = {
    get size() {
      return returning.length + arriving.size
    },
    add: (waiter, again) => (again ? insert(waiter) : arriving.add(waiter)),
    admitNext() {
      const first = returning.shift() ?? arriving.shift()
      first?.admit()
      return first !== undefined
    },
    admitSome() {
      bucket.refill(ADMIT_EVERY_MS / 1_000)
      while (bucket.msUntil(1) === 0 && line.admitNext()) bucket.take()
    },
    hold(ms) {
      bucket.pause(ms)
      heldUntil = Math.max(heldUntil, performance.now() + ms)
    },
    idleMs: () => (line.size === 0 ? Infinity : Math.max(ADMIT_EVERY_MS, bucket.msUntil(1))),
    isHeld: () => performance.now() < heldUntil,
  }
  return line
}

/**
 * The states of a circuit breaker: `closed`, traffic flows; `open`, all wait and a probe looks; `half-open`, one of those
 * who wait has been let in to find out.
 */
export type LaneState = {
  state: 'closed' | 'open' | 'half-open'
  failures: number
  /** Why it is not closed, and since when. */
  reason: DegradedReason
  reasonSince: number
  throttledUntil: number
  readonly line: WaitingLine
}

export const createLane = (): LaneState => ({
  state: 'closed',
  failures: 0,
  reason: 'unreachable',
  reasonSince: 0,
  throttledUntil: -Infinity,
  line: createWaitingLine(),
})

/** In the order in which an operator has to act on them. */
const BY_WEIGHT = ['credentials', 'spend_limit', 'unreachable'] as const

export function mainReason(lanes: readonly LaneState[]): DegradedReason | undefined {
  const found = BY_WEIGHT.find((reason) => lanes.some((lane) => lane.state !== 'closed' && lane.reason === reason))
  const isThrottled = lanes.some(({ throttledUntil }) => performance.now() < throttledUntil)
  return found ?? (isThrottled ? 'throttled' : undefined)
}
