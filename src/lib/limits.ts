import { createFifo } from './collections.ts'

/** How fast a rate that was cut comes back: this factor a second. */
const RECOVERY_PER_SECOND = 1.1
/** A rate is never cut below this, per second. */
const MIN_PER_SECOND = 1

/** Limits how often something is done: each time costs a token, and tokens come at a rate. Full at first. */
export type TokenBucket = {
  /** Adds what has come in since the last time, up to `burstSeconds` worth of tokens, and one at least. */
  refill(burstSeconds: number): void
  take(): void
  /** How long until there are `wanted` tokens, in ms; infinite when it never holds so many. */
  msUntil(wanted: number): number
  /** Gives none for so long, in ms; after that they come one by one, at half the rate, which recovers gradually. */
  hold(ms: number): void
}

/** `now`: a clock that never goes back, in ms. */
export function createTokenBucket(perSecond: number, now: () => number = () => performance.now()): TokenBucket {
  let rate = perSecond
  let capacity = perSecond
  let tokens = perSecond
  let filledAt = now()
  let heldUntil = -Infinity

  return {
    refill(burstSeconds) {
      // Nothing comes in while it is held, and the rate does not recover.
      const elapsedSeconds = Math.max(0, now() - Math.max(filledAt, heldUntil)) / 1_000
      filledAt = now()
      rate = Math.min(perSecond, rate * RECOVERY_PER_SECOND ** elapsedSeconds)
      capacity = Math.max(1, rate * burstSeconds)
      tokens = Math.min(capacity, tokens + elapsedSeconds * rate)
    },
    take() {
      tokens--
    },
    msUntil(wanted) {
      if (wanted > capacity) return Infinity
      const heldMs = Math.max(0, heldUntil - now())
      return Math.max(heldMs, heldMs + ((wanted - tokens) * 1_000) / rate)
    },
    hold(ms) {
      // Requests that are refused together are one reason to slow down.
      if (now() >= heldUntil) rate = Math.max(MIN_PER_SECOND, rate / 2)
      heldUntil = Math.max(heldUntil, now() + ms)
      tokens = Math.min(tokens, 1)
    },
  }
}

/** Turns of the event loop, in each of which only so much is done, so that everything else is served in between. */
export type Turns = {
  /** Resolves at once where there is room in this turn, else in a later one; first come, first served. */
  next(): Promise<void>
}

/** `perTurn`: how many go on in one turn. */
export function createTurns(perTurn: number): Turns {
  const waiting = createFifo<() => void>()
  let used = 0

  const take = () => {
    if (used === 0) setImmediate(begin)
    used++
  }
  const begin = () => {
    used = 0
    while (used < perTurn && waiting.size > 0) {
      take()
      waiting.shift()?.()
    }
  }
  return {
    next() {
      if (used >= perTurn) return new Promise((resolve) => void waiting.add(resolve))
      take()
      return Promise.resolve()
    },
  }
}

/** A resource that many draw on, with a bound for each of them and one in all. */
export type Shares = {
  /** Whether one has its whole share already, or all have what there is; `keyOf` is called where it can matter. */
  isFull(keyOf: () => string): boolean
  /** Takes an amount, whether or not it is there. What it returns gives the amount back; idempotent. */
  take(key: string, amount: number): () => void
}

export type ShareLimits = { readonly perKey: number; readonly inAll: number }

export function createShares({ perKey, inAll }: ShareLimits): Shares {
  const taken = new Map<string, number>()
  let total = 0

  const change = (key: string, by: number) => {
    const now = (taken.get(key) ?? 0) + by
    if (now === 0) taken.delete(key)
    else taken.set(key, now)
    total += by
  }
  return {
    isFull: (keyOf) => total >= inAll || (total >= perKey && (taken.get(keyOf()) ?? 0) >= perKey),
    take(key, amount) {
      let held = amount
      change(key, held)
      return () => {
        change(key, -held)
        held = 0
      }
    },
  }
}
