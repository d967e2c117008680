import { createFifo } from './fifo.ts'

/** Runs work of the same key one after the other, in order; work of other keys goes on meanwhile. */
export type Serial = <T>(key: string, work: () => Promise<T>) => Promise<T>

export function createSerial(): Serial {
  const last = new Map<string, Promise<unknown>>()
  return async (key, work) => {
    // One that failed holds up nobody.
    const run = (last.get(key) ?? Promise.resolve()).then(work, work)
    last.set(key, run)
    try {
      return await run
    } finally {
      if (last.get(key) === run) last.delete(key)
    }
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
