/** Waits under way, which can all be ended together. */
export type Waits = {
  /**
   * Waits until what `begin` is given is called. Rejects with the signal's reason, or with that of `rejectAll`, after
   * calling what `begin` returned, which undoes it.
   */
  until(signal: AbortSignal, begin: (release: () => void) => () => void): Promise<void>
  /** Waits for so long, in ms, likewise. */
  pause(ms: number, signal: AbortSignal): Promise<void>
  /** Ends every wait under way. */
  rejectAll(reason: Error): void
}

export function createWaits(): Waits {
  const rejections = new Set<(reason: Error) => void>()

  const until: Waits['until'] = (signal, begin) =>
    new Promise((resolve, reject) => {
      const settle = () => {
        signal.removeEventListener('abort', onAbort)
        rejections.delete(fail)
      }
      const fail = (reason: Error) => {
        settle()
        undo()
        reject(reason)
      }
      const onAbort = () => fail(signal.reason as Error)
      const undo = begin(() => {
        settle()
        resolve()
      })
      signal.addEventListener('abort', onAbort, { once: true })
      rejections.add(fail)
    })

  return {
    until,
    pause: (ms, signal) =>
      until(signal, (release) => {
        const timer = setTimeout(release, ms)
        return () => clearTimeout(timer)
      }),
    rejectAll(reason) {
      for (const reject of rejections) reject(reason)
    },
  }
}
