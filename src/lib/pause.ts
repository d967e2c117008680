import { setTimeout as sleep } from 'node:timers/promises'

/** A time in which nobody should start anything, because it would fail alike. */
export type Pause = {
  /** Starts the pause, or starts it over. */
  start(): void
  /** Resolves when there is no pause. Rejects with the reason of `signal` if it aborts first. */
  over(signal: AbortSignal): Promise<void>
}

/** `lengthMs`: how long it lasts from its last start. */
export function createPause(lengthMs: number): Pause {
  let endsAt = -Infinity
  return {
    start: () => void (endsAt = performance.now() + lengthMs),
    async over(signal) {
      for (let left = endsAt - performance.now(); left > 0; left = endsAt - performance.now()) {
        await sleep(left, undefined, { signal }).catch(() => signal.throwIfAborted())
      }
    },
  }
}
