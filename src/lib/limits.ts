import { createFifo, createLru } from './collections.ts'

/** How fast a rate that was cut comes back: this factor a second. */
const RECOVERY_PER_SECOND = 1.1
/** A rate is never cut below this, per second. */
const MIN_PER_SECOND = 1

/** Limits how often something is done: each time costs a token, and tokens come at a rate. Full at first. */
export type TokenBucket = {
  /** Adds what has come in since the last time, up to `burstSeconds` worth of tokens, and one at least. */
  refill(burstSeconds: number): void
  take(): void
  /** Time until `wanted` tokens are available, in ms; infinite if the bucket is too small. */
  msUntil(wanted: number): number
  /** Gives no tokens for this long, in ms; after that they come one by one, at half the rate, which recovers gradually. */
  pause(ms: number): void
}

/** `now`: a clock that never goes back, in ms. */
export function createTokenBucket(perSecond: number, now: () => number = () => performance.now()): TokenBucket {
  let rate = perSecond
  let capacity = perSecond
  let tokens = perSecond
  let filledAt = now()
  let pausedUntil = -Infinity

  return {
    refill(burstSeconds) {
      // During a pause no tokens come in, and the rate does not recover.
      const elapsedSeconds = Math.max(0, now() - Math.max(filledAt, pausedUntil)) / 1_000
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
      const pausedMs = Math.max(0, pausedUntil - now())
      return Math.max(pausedMs, pausedMs + ((wanted - tokens) * 1_000) / rate)
    },
    pause(ms) {
      // Requests that are refused together are one reason to slow down.
      if (now() >= pausedUntil) rate = Math.max(MIN_PER_SECOND, rate / 2)
      pausedUntil = Math.max(pausedUntil, now() + ms)
      tokens = Math.min(tokens, 1)
    },
  }
}

/** Bounds the work in one turn of the event loop, so that everything else runs in between. */
export type Turns = {
  /** Resolves at once if this turn has room, else in a later turn; first come, first served. */
  next(): Promise<void>
}

/** `perTurn`: how many calls of `next` resolve in one turn. */
export function createTurns(perTurn: number): Turns {
  const waiting = createFifo<() => void>()
  let used = 0

  const take = () => {
    if (used === 0) setImmediate(startTurn)
    used++
  }
  const startTurn = () => {
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

/** A shared resource, with a limit for each key and one for all keys together. */
export type Shares = {
  /** Whether the key, or all keys together, have reached their limit; `keyOf` is called only if it can matter. */
  isFull(keyOf: () => string): boolean
  /** Takes an amount, even beyond the limits. The function that it returns gives the amount back; idempotent. */
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

/** A count, and the time until its window ends, in ms. */
export type Count = { readonly current: number; readonly ttlMs: number }

/**
 * What is counted at once. With `max`, what is beyond it prolongs the window by the time that so many take, so that it is
 * not forgotten with the window.
 */
export type Charge = { readonly amount: number; readonly max?: number }

/** Counts by key, each in a window of time that starts with its first count. */
export type Windows = { count(key: string, windowMs: number, charge?: Charge): Count }

/** Of about `maxKeys` keys; the least recently used are forgotten. `now`: epoch ms. */
export function createWindows(maxKeys: number, now = () => Date.now()): Windows {
  const windows = createLru<{ current: number; endsAt: number }>(maxKeys)
  return {
    count(key, windowMs, { amount, max = Infinity } = { amount: 1 }) {
      const known = windows.get(key)
      const window = known && known.endsAt > now() ? known : { current: 0, endsAt: now() + windowMs }
      if (window !== known) windows.set(key, window, 1)
      const excess = () => Math.max(0, window.current - max)
      const before = excess()
      window.current += amount
      window.endsAt += Math.ceil((windowMs * (excess() - before)) / max)
      return { current: window.current, ttlMs: window.endsAt - now() }
    },
  }
}
