/** Work that is repeated. */
export type Repeated = {
  /** Runs the work now, unless it is running. */
  run(): void
  /** Starts no further run, and resolves when the one under way has finished. */
  stop(): Promise<void>
}

/** Repeats work at an interval, in ms, without overlap: a run that takes longer skips turns. `work` must not reject. */
export function every(intervalMs: number, work: () => Promise<void>): Repeated {
  let underWay: Promise<void> | undefined
  let isStopped = false
  const run = () => {
    if (!isStopped) underWay ??= work().finally(() => (underWay = undefined))
  }
  const timer = setInterval(run, intervalMs).unref()
  return {
    run,
    async stop() {
      isStopped = true
      clearInterval(timer)
      await underWay
    },
  }
}
