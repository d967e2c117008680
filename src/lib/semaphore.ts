import { createFifo } from './fifo.ts'
import { untilAborted } from './until-aborted.ts'

/** A number of places; whoever finds none free waits, first come first served. */
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
