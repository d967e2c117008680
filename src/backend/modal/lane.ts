import { createFifo } from '../../lib/fifo.ts'
import { createTokenBucket } from '../../lib/token-bucket.ts'

/** Spawns wait apart from everything else: a backend may refuse new calls and still answer for those it has. */
export type Lane = 'spawn' | 'call'

/** How fast those who had to wait are let in, where nothing has made that slower. */
export const ADMITTED_PER_SECOND = 100
/** How often they are let in, in ms. */
export const ADMIT_EVERY_MS = 100

/** One who waits. */
type Waiter = { readonly arrival: number; readonly admit: () => void }

/** Those who wait to ask the backend for something, in order of arrival. */
export type WaitingLine = {
  readonly size: number
  /** `again`: has been let in before, and goes before who comes now. What it returns takes the waiter out again. */
  add(waiter: Waiter, again: boolean): () => void
  /** Lets the longest waiting one in; false when nobody waits. */
  admitNext(): boolean
  /** Lets in as many as the rate allows by now. */
  admitSome(): void
  /** Lets nobody in for so long, in ms; after that one by one, at a lower rate, which recovers. */
  hold(ms: number): void
  /** How long until somebody may be let in, in ms; infinite when nobody waits. */
  idleMs(): number
  isHeld(): boolean
}

export function createWaitingLine(): WaitingLine {
  /** Those who come back are few, the ones under way when an outage began. */
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
      bucket.hold(ms)
      heldUntil = Math.max(heldUntil, performance.now() + ms)
    },
    idleMs: () => (line.size === 0 ? Infinity : Math.max(ADMIT_EVERY_MS, bucket.msUntil(1))),
    isHeld: () => performance.now() < heldUntil,
  }
  return line
}
