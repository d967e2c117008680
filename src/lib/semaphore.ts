import { createFifo, type Fifo } from './collections.ts'
import { untilAborted } from './timing.ts'

/** A number of places; tasks that find none free wait, first come, first served. */
export type Semaphore = {
  /** Runs the task once a place is free. Rejects with the signal's reason if it aborts while waiting. */
  use<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T>
}

export function createSemaphore(count: number): Semaphore {
  let free = count
  const waiting = createFifo<() => void>()

  const take = async (signal: AbortSignal) => {
    signal.throwIfAborted()
    if (free > 0) {
      free--
      return
    }
    const { promise, resolve } = Promise.withResolvers<undefined>()
    let hasPlace = false as boolean
    const enter = () => {
      hasPlace = true
      resolve(undefined)
    }
    const leave = waiting.add(enter)
    try {
      await untilAborted(promise, signal)
    } catch (error) {
      // A place that was given in the very moment of the abort is passed on.
      if (hasPlace) release()
      else leave()
      throw error
    }
  }

  const release = () => {
    const next = waiting.shift()
    if (next) next()
    else free++
  }

  return {
    async use(signal, task) {
      await take(signal)
      try {
        return await task()
      } finally {
        release()
      }
    },
  }
}

/** Places that are shared between keys, such as callers. */
export type FairSemaphore = {
  /** Takes a place if the key's share has one now. Call what it returns to give the place back; idempotent. */
  tryAcquire(key: string): (() => void) | undefined
  /**
   * Runs the task once the key's share has a place; keys that wait take turns. Rejects with the signal's reason if it
   * aborts while waiting.
   */
  use<T>(key: string, signal: AbortSignal, task: () => Promise<T>): Promise<T>
  /** Whether nobody has a place or waits for one. */
  readonly isIdle: boolean
  /** Whether every place is taken. */
  readonly isFull: boolean
  /** Whether every place is taken and somebody waits for one. */
  readonly isContended: boolean
}

type Waiting = Fifo<(release: () => void) => void>

/**
 * A key may hold at most as many places as are left free (dynamic thresholds, Choudhury and Hahne 1998). So a key that
 * is alone gets half of them, two get a third each, and a key that comes later still finds a place. With `mayHoldAll`
 * no place stays free while a key waits: one that comes later gets the next place instead.
 */
export function createFairSemaphore(count: number, { mayHoldAll = false } = {}): FairSemaphore {
  let free = count
  const held = new Map<string, number>()
  const waiting = new Map<string, Waiting>()
  /** The keys that wait, in the order of their turns. */
  const turns = createFifo<string>()

  const isWithinShare = (key: string) => (held.get(key) ?? 0) < free
  const hasPlace = mayHoldAll ? () => free > 0 : isWithinShare

  const acquire = (key: string) => {
    let isHeld = true
    free--
    held.set(key, (held.get(key) ?? 0) + 1)
    return () => {
      if (!isHeld) return
      isHeld = false
      free++
      // The place still counts for its key here, so that those without any come before it.
      if (mayHoldAll) serve(isWithinShare)
      const left = (held.get(key) ?? 0) - 1
      if (left > 0) held.set(key, left)
      else held.delete(key)
      serve(hasPlace)
    }
  }

  /** Gives a key whose turn it is one place, and puts it at the end of the turns while it waits for more. */
  const serveNext = (mayEnter: (key: string) => boolean): boolean => {
    const key = turns.shift() ?? ''
    const line = waiting.get(key)
    const enter = line && mayEnter(key) ? line.shift() : undefined
    enter?.(acquire(key))
    if (line && line.size > 0) turns.add(key)
    else waiting.delete(key)
    return enter !== undefined
  }

  const serve = (mayEnter: (key: string) => boolean) => {
    // A key that waits no more leaves the turns, so that it is those still to be asked that are counted.
    for (let left = turns.size; free > 0 && left > 0;) left = serveNext(mayEnter) ? turns.size : left - 1
  }

  const wait = async (key: string, signal: AbortSignal): Promise<() => void> => {
    const { promise, resolve } = Promise.withResolvers<() => void>()
    const line = waiting.get(key) ?? createFifo()
    if (!waiting.has(key)) turns.add(key)
    waiting.set(key, line)
    const leave = line.add(resolve)
    try {
      return await untilAborted(promise, signal)
    } catch (error) {
      leave()
      // A place that was given in the very moment of the abort is passed on.
      resolve(() => undefined)
      ;(await promise)()
      throw error
    }
  }

  return {
    get isIdle() {
      return free === count && turns.size === 0
    },
    get isFull() {
      return free === 0
    },
    get isContended() {
      return free === 0 && turns.size > 0
    },
    tryAcquire: (key) => (hasPlace(key) ? acquire(key) : undefined),
    async use(key, signal, task) {
      signal.throwIfAborted()
      const release = hasPlace(key) ? acquire(key) : await wait(key, signal)
      try {
        return await task()
      } finally {
        release()
      }
    },
  }
}
