import type { Worker } from 'bullmq'
import type { HeldRun, HeldRuns } from './held-runs.ts'

/** How many locks are renewed with one command, which nobody can overtake. */
const RENEWED_AT_ONCE = 1_000

/** Renews all locks for `lockDurationMs` from now; a run whose lock is gone is told. */
export async function renewLocks(worker: Worker, runs: HeldRuns, lockDurationMs: number): Promise<void> {
  const held = runs.all()
  for (let from = 0; from < held.length; from += RENEWED_AT_ONCE) {
    const batch = held.slice(from, from + RENEWED_AT_ONCE)
    const of = <T>(part: (one: HeldRun) => T) => batch.map(part)
    const lost = new Set(
      await worker.extendJobLocks(
        of(({ key }) => key),
        of(({ token }) => token),
        lockDurationMs,
      ),
    )
    for (const { key, token } of batch) if (lost.has(key)) runs.lose(key, token)
  }
}

/** Does something again and again, never beside itself. */
export function repeat(everyMs: number, work: () => Promise<void>) {
  let timer: NodeJS.Timeout | undefined
  let isOver = false
  const turn = async () => {
    await work()
    if (!isOver) next()
  }
  const next = () => (timer = setTimeout(() => void turn(), everyMs).unref())
  next()
  return {
    stop() {
      isOver = true
      clearTimeout(timer)
    },
  }
}
