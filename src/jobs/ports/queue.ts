/** One attempt of one job, to be run or followed. */
export type QueueEntry = { readonly id: string; readonly attempt: number }

/** The key of an entry in a queue. */
export const keyOfEntry = ({ id, attempt }: QueueEntry): string => `${id}-${attempt}`

/** 1 for the waiting entry that runs next; undefined for an entry that does not wait. */
export type Position = number | undefined

/**
 * Runs one entry. Resolves when there is nothing left to do for it now. `signal` aborts when the entry was dequeued, when
 * another process has claimed it, or when the queue is closing. May be called twice for the same entry, also at the
 * same time, and for a finished attempt: it must read the job before it acts.
 */
export type RunEntry = (entry: QueueEntry, signal: AbortSignal) => Promise<void>

/**
 * The attempts to run: a bounded number at the same time, the others in order of arrival. An entry leaves the queue when
 * its run resolves. The reconciler enqueues lost entries again.
 */
export type JobQueue = {
  /** Starts running entries. Called once, before or after the first `enqueue`. */
  start(run: RunEntry): Promise<void>
  /** Adds an entry, unless it waits or runs already. */
  enqueue(entry: QueueEntry): Promise<void>
  /** For a finished attempt: removes a waiting entry, aborts a running one on any replica, ignores an unknown one. */
  dequeue(entry: QueueEntry): Promise<void>
  /** A promise only if the answer is not in this process. */
  position(entry: QueueEntry): Position | Promise<Position>
  /** The entries that this process runs. */
  running(): readonly QueueEntry[]
  /** Claims no more entries, aborts those that run here and waits until they have stopped. Idempotent. */
  close(): Promise<void>
}
