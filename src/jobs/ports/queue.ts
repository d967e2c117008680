/** One attempt of one job, to be run or followed. */
export type QueueEntry = { readonly id: string; readonly attempt: number }

/** Names an entry. */
export const keyOfEntry = ({ id, attempt }: QueueEntry): string => `${id}-${attempt}`

/** Counted from 1; undefined for an entry that does not wait. */
export type Position = number | undefined

/**
 * Runs one entry. Resolves when nothing is left to do for it now. `signal` aborts when the entry was dequeued, when
 * another process has claimed it, or when the queue is closing. May be called twice for the same entry, also at the
 * same time, and for an attempt that is over: it must read the job before it acts.
 */
export type RunEntry = (entry: QueueEntry, signal: AbortSignal) => Promise<void>

/**
 * The attempts that are to be run: a bounded number at the same time, the others in order of arrival. An entry leaves
 * the queue when its run resolves; the reconciler enqueues again what got lost.
 */
export type JobQueue = {
  /** Starts to run entries. Called once, before or after the first `enqueue`. */
  start(run: RunEntry): Promise<void>
  /** An entry that already waits or runs stays as it is. */
  enqueue(entry: QueueEntry): Promise<void>
  /** For an attempt that is over: removes a waiting entry, aborts a running one wherever it runs, ignores an unknown one. */
  dequeue(entry: QueueEntry): Promise<void>
  /** How many waiting entries come before this one, plus one. No promise where the answer is in this process. */
  position(entry: QueueEntry): Position | Promise<Position>
  /** The entries that this process runs, of all that run. */
  running(): readonly QueueEntry[]
  /** Claims nothing more, aborts what runs here and waits until it has stopped. Idempotent. */
  close(): Promise<void>
}
