import type { Log } from '../../jobs/log.ts'
import type { QueueEntry, RunEntry } from '../../jobs/ports/queue.ts'
import type { Worker } from 'bullmq'

/** A run of this process, under a lock that other processes respect while it is renewed. */
type HeldRun = {
  readonly key: string
  /** What BullMQ has stored as the lock's value when this process claimed the entry. */
  readonly token: string
  readonly entry: QueueEntry
  /** The lock is lost: another process has the entry or will claim it, and this one must not finish it. */
  readonly isLost: boolean
  /** Resolves when the run has stopped; never rejects. */
  readonly done: Promise<void>
}

export type HeldRuns = {
  readonly size: number
  all(): HeldRun[]
  start(key: string, token: string): HeldRun
  /** Aborts the run of an entry that was dequeued. */
  abort(key: string): void
  /** Aborts the run with this lock, which is lost. */
  lose(key: string, token: string): void
  /** Aborts all runs, also those that start from now on, and waits until they have stopped. */
  close(): Promise<void>
}

type Held = { -readonly [K in keyof HeldRun]: HeldRun[K] } & { readonly abort: AbortController }

/** The runs of one process: at most one of each entry at the same time. */
export function createHeldRuns({ run, log }: { readonly run: RunEntry; readonly log: Log }): HeldRuns {
  const runs = new Map<string, Held>()
  let isClosing = false

  const runAfter = async (earlier: Promise<void> | undefined, { entry, abort: { signal } }: Held) => {
    await earlier
    if (signal.aborted) return
    try {
      await run(entry, signal)
    } catch (error) {
      // BullMQ finishes the entry; the reconciler enqueues it again if the job is still unfinished.
      const fields = { event: 'run_failed', job_id: entry.id, attempt: entry.attempt, err: error }
      log.error(fields, 'running a job failed unexpectedly')
    }
  }

  const lose = (held: Held) => {
    held.isLost = true
    held.abort.abort(new Error('another process has claimed the entry'))
  }

  return {
    get size() {
      return runs.size
    },
    all: () => [...runs.values()],
    start(key, token) {
      const earlier = runs.get(key)
      // This process had lost the entry and claimed it again before a renewal failed.
      if (earlier) lose(earlier)
      const held: Held = {
        key,
        token,
        entry: entryOf(key),
        isLost: false,
        done: Promise.resolve(),
        abort: new AbortController(),
      }
      if (isClosing) held.abort.abort(new Error('the queue is closing'))
      runs.set(key, held)
      held.done = runAfter(earlier?.done, held).finally(() => {
        if (runs.get(key) === held) runs.delete(key)
      })
      return held
    },
    abort: (key) => runs.get(key)?.abort.abort(new Error('the entry was dequeued')),
    lose(key, token) {
      const held = runs.get(key)
      if (held?.token === token) lose(held)
    },
    async close() {
      isClosing = true
      // The newest first: BullMQ searches its list of active entries from that end.
      for (const { abort } of [...runs.values()].reverse()) abort.abort(new Error('the queue is closing'))
      while (runs.size > 0) await Promise.all([...runs.values()].map(({ done }) => done))
    },
  }
}

function entryOf(key: string): QueueEntry {
  const end = key.lastIndexOf('-')
  return { id: key.slice(0, end), attempt: Number(key.slice(end + 1)) }
}

/** Locks renewed by one command: more would block Redis for too long. */
const RENEWAL_BATCH = 1_000

/**
 * Renews all locks for `lockDurationMs` from now, and aborts each run whose lock is lost.
 *
 * BullMQ could do this itself, with `lockRenewalFailed` and `cancelJob` for what is lost
 * (https://docs.bullmq.io/guide/workers/cancelling-jobs). But it keeps one lock and one signal for each entry, not for
 * each claim. When a process loses an entry and claims it again before a renewal has failed, the first run is never
 * aborted, and when it finishes BullMQ forgets the second lock: the entry then runs on two replicas, and both may spawn
 * its call. `test/integration/bullmq-renewal.test.ts` shows it. Hence `skipLockRenewal`, and locks extended by their
 * tokens as for jobs that are processed manually (https://docs.bullmq.io/patterns/manually-fetching-jobs).
 */
export async function renewLocks(worker: Worker, runs: HeldRuns, lockDurationMs: number): Promise<void> {
  const held = runs.all()
  for (let from = 0; from < held.length; from += RENEWAL_BATCH) {
    const batch = held.slice(from, from + RENEWAL_BATCH)
    const [keys, tokens] = [batch.map(({ key }) => key), batch.map(({ token }) => token)]
    const lost = new Set(await worker.extendJobLocks(keys, tokens, lockDurationMs))
    for (const { key, token } of batch) if (lost.has(key)) runs.lose(key, token)
  }
}
