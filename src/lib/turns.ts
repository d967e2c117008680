import { createFifo } from './fifo.ts'

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
