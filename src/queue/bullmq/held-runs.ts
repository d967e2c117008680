import type { Log } from '../../jobs/log.ts'
import { createLru } from '../../lib/lru.ts'
import type { QueueEntry, RunEntry } from '../port.ts'

/** A run of this process, under a lock that other processes respect while it is renewed. */
export type HeldRun = {
  readonly key: string
  /** The lock's own name, another at each take of the entry. */
  readonly token: string
  readonly entry: QueueEntry
  /** The lock is gone: another process has the entry, or will have it, and this one has no say in it any more. */
  readonly isLost: boolean
  /** Settles when the run has let go; never rejects. */
  readonly done: Promise<void>
}

export type HeldRuns = {
  readonly size: number
  all(): HeldRun[]
  begin(key: string, token: string): HeldRun
  /** Aborts a run; with `token` only the one that is held under it, also where that has yet to begin. */
  drop(key: string, token?: string): void
  /** Aborts a run whose lock is gone. */
  lose(key: string, token: string): void
  /** Aborts all, also those that begin from now on, and waits for them to let go. */
  close(): Promise<void>
}

type Held = { -readonly [K in keyof HeldRun]: HeldRun[K] } & { readonly abort: AbortController }

/** Drops of runs that have yet to begin, as many as are remembered. */
const REMEMBERED_DROPS = 1_000

/** The runs of one process, at most one of each entry at a time. */
export function createHeldRuns({ run, log }: { readonly run: RunEntry; readonly log: Log }): HeldRuns {
  const runs = new Map<string, Held>()
  const dropped = createLru<string>(REMEMBERED_DROPS)
  let isClosing = false

  const work = async ({ entry, abort: { signal } }: Held, before: Promise<void> | undefined) => {
    await before
    if (signal.aborted) return
    try {
      await run(entry, signal)
    } catch (error) {
      // The entry is gone; the reconciler adds it again if the job is still unfinished.
      log.error({ job_id: entry.id, attempt: entry.attempt, err: error }, 'running a job failed unexpectedly')
    }
  }

  const lose = (held: Held) => {
    held.isLost = true
    held.abort.abort(new Error('another process has the entry'))
  }

  return {
    get size() {
      return runs.size
    },
    all: () => [...runs.values()],
    begin(key, token) {
      const earlier = runs.get(key)
      // Lost, and taken again by the same process before it has heard of the loss.
      if (earlier) lose(earlier)
      const fresh = { key, token, entry: entryOf(key), isLost: false, done: Promise.resolve() }
      const held: Held = { ...fresh, abort: new AbortController() }
      if (isClosing) held.abort.abort(new Error('the queue is closing'))
      else if (dropped.get(key) === token) held.abort.abort(new Error('the entry was dropped'))
      runs.set(key, held)
      held.done = work(held, earlier?.done).finally(() => {
        if (runs.get(key) === held) runs.delete(key)
      })
      return held
    },
    drop(key, token) {
      const held = runs.get(key)
      if (token === undefined || held?.token === token) held?.abort.abort(new Error('the entry was dropped'))
      else dropped.set(key, token, 1)
    },
    lose(key, token) {
      const held = runs.get(key)
      if (held?.token === token) lose(held)
    },
    async close() {
      isClosing = true
      // The newest first: BullMQ finds an entry that is handed back from this end of its list.
      for (const { abort } of [...runs.values()].reverse()) abort.abort(new Error('the queue is closing'))
      while (runs.size > 0) await Promise.all([...runs.values()].map(({ done }) => done))
    },
  }
}

/** BullMQ's id of an entry. */
export const keyOf = (entry: QueueEntry): string => `${entry.id}-${entry.attempt}`

function entryOf(key: string): QueueEntry {
  const end = key.lastIndexOf('-')
  return { id: key.slice(0, end), attempt: Number(key.slice(end + 1)) }
}
