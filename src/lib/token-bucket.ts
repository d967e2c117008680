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
