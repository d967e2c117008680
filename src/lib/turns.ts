import { createFifo } from './fifo.ts'

/** Turns of the event loop, in which work is done a little at a time, so that everything else is served in between. */
export type Turns = {
  /** Resolves in a turn of its own, or in one shared with a few others; first come, first served. */
  next(): Promise<void>
}

/** `perTurn`: how many go on in one turn. */
export function createTurns(perTurn: number): Turns {
  const waiting = createFifo<() => void>()
  let isScheduled = false

  const schedule = () => {
    isScheduled = waiting.size > 0
    if (isScheduled) setImmediate(run)
  }
  const run = () => {
    for (let n = 0; n < perTurn; n++) waiting.shift()?.()
    schedule()
  }
  return {
    next: () =>
      new Promise((resolve) => {
        waiting.add(resolve)
        if (!isScheduled) schedule()
      }),
  }
}
