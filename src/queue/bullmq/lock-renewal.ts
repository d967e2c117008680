import type { Worker } from 'bullmq'
import type { HeldRun, HeldRuns } from './held-runs.ts'

/** Locks renewed by one command: more would keep Redis from its other clients for too long. */
const RENEWED_AT_ONCE = 1_000

/**
 * Renews all locks for `lockDurationMs` from now, and aborts each run whose lock is gone.
 *
 * BullMQ could do this itself, with `lockRenewalFailed` and `cancelJob` for what is lost
 * (https://docs.bullmq.io/guide/workers/cancelling-jobs). But it keeps one lock and one signal for each entry, not for
 * each claim. When a process loses an entry and claims it again before a renewal has failed, the first run is never
 * aborted, and when it finishes BullMQ forgets the second lock: the entry then runs on two replicas, and both may spawn
 * its call. `test/unit/bullmq-renewal.test.ts` shows it. Hence `skipLockRenewal`, and locks extended by their tokens as
 * for jobs that are processed manually (https://docs.bullmq.io/patterns/manually-fetching-jobs).
 */
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
