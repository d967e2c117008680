import type { DegradedReason } from '../../jobs/job.ts'
import { createFifo } from '../../lib/collections.ts'
import { createTokenBucket } from '../../lib/limits.ts'

/** Spawns queue apart from everything else: a backend may reject new calls and still answer for those it has. */
export type LaneName = 'spawn' | 'call'

/** How many queued requests are admitted a second, unless a throttle has lowered that. */
export const ADMITTED_PER_SECOND = 100
/** How often some are admitted, in ms. */
const ADMIT_EVERY_MS = 100
/** How long a throttle is reported after it has passed, in ms: another one often follows. */
const THROTTLE_REPORTED_MS = 5_000

/** A queued request; `arrival` is its number. */
type Waiter = { readonly arrival: number; readonly admit: () => void }

/** One lane of the circuit breaker: its state, and the requests that wait for the backend. */
export type Lane = {
  /** `closed`: traffic flows. `open`: all wait, and a probe asks. `half-open`: one spawn was admitted to find out. */
  state: 'closed' | 'open' | 'half-open'
  /** Failures in a row. */
  failures: number
  /** Why it is not closed. */
  readonly reason: DegradedReason
  /** How many requests wait. */
  readonly size: number
  setReason(reason: DegradedReason): void
  /** Queues a request. `again`: it was admitted before, and goes ahead of new ones. What this returns dequeues it. */
  add(waiter: Waiter, again: boolean): () => void
  /** Admits the request that has waited longest; false when none waits. */
  admitNext(): boolean
  /** Admits as many as the rate allows by now. */
  admitSome(): void
  /** Admits all, unless paused. */
  admitAll(): void
  /** Admits none for so long, in ms; after that one at a time, at a lower rate, which recovers. */
  throttle(ms: number): void
  isPaused(): boolean
  /** Whether a throttle should be reported. */
  isThrottled(): boolean
  /** Whether the credentials have been rejected for longer than the grace period, so that spawns may fail. */
  isGraceOver(): boolean
  /** Whether requests may pass. */
  isPassable(): boolean
  /** How long until one may be admitted, in ms; infinite when none waits. */
  admitDelayMs(): number
}

/** `graceMs`: how long requests wait while the credentials are rejected, in ms; infinite: as long as that lasts. */
export function createLane(graceMs: number): Lane {
  /** Requests that were in flight when an outage started: few. */
  const returning: Waiter[] = []
  const arriving = createFifo<Waiter>()
  const bucket = createTokenBucket(ADMITTED_PER_SECOND)
  let reason: DegradedReason = 'unreachable'
  let reasonSince = -Infinity
  let pausedUntil = -Infinity
  let throttledUntil = -Infinity

  const insert = (waiter: Waiter) => {
    const at = returning.findLastIndex((other) => other.arrival < waiter.arrival)
    returning.splice(at + 1, 0, waiter)
    return () => {
      const index = returning.indexOf(waiter)
      if (index >= 0) returning.splice(index, 1)
    }
  }
  const graceEndsAt = () => (lane.state !== 'closed' && reason === 'credentials' ? reasonSince + graceMs : Infinity)
  const idleMs = () => (lane.size === 0 ? Infinity : Math.max(ADMIT_EVERY_MS, bucket.msUntil(1)))

  const lane: Lane = {
    state: 'closed',
    failures: 0,
    get reason() {
      return reason
    },
    get size() {
      return returning.length + arriving.size
    },
    setReason(next) {
      if (reason !== next || lane.state === 'closed') reasonSince = performance.now()
      reason = next
    },
    add: (waiter, again) => (again ? insert(waiter) : arriving.add(waiter)),
    admitNext() {
      const first = returning.shift() ?? arriving.shift()
      first?.admit()
      return first !== undefined
    },
    admitSome() {
      bucket.refill(ADMIT_EVERY_MS / 1_000)
      while (bucket.msUntil(1) === 0 && lane.admitNext()) bucket.take()
    },
    admitAll() {
      while (!lane.isPaused() && lane.admitNext());
    },
    throttle(ms) {
      bucket.pause(ms)
      pausedUntil = Math.max(pausedUntil, performance.now() + ms)
      throttledUntil = performance.now() + ms + THROTTLE_REPORTED_MS
    },
    isPaused: () => performance.now() < pausedUntil,
    isThrottled: () => performance.now() < throttledUntil,
    isGraceOver: () => graceEndsAt() <= performance.now(),
    isPassable: () => lane.state === 'closed' || lane.isGraceOver(),
    admitDelayMs() {
      if (lane.state === 'closed' || lane.size === 0) return idleMs()
      return Math.max(idleMs(), graceEndsAt() - performance.now())
    },
  }
  return lane
}

/** In the order in which an operator has to act on them. */
const BY_WEIGHT = ['credentials', 'spend_limit', 'unreachable'] as const

/** The main reason for degradation over all lanes. */
export function mainReason(lanes: readonly Lane[]): DegradedReason | undefined {
  const found = BY_WEIGHT.find((reason) => lanes.some((lane) => lane.state !== 'closed' && lane.reason === reason))
  return found ?? (lanes.some((lane) => lane.isThrottled()) ? 'throttled' : undefined)
}
