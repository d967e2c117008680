/** One attempt of one job, due to be run or followed. */
export type QueueEntry = { readonly id: string; readonly attempt: number }

/** A place in line, from 1; undefined: none. */
export type Position = number | undefined

/**
 * Does the work of one entry. Resolves when nothing is left to do for it now. `signal` aborts when the entry
 * was dropped or the process is closing. May run twice for the same entry and must bear it.
 */
export type RunEntry = (entry: QueueEntry, signal: AbortSignal) => Promise<void>

/** Who works on what, a bounded number at a time and the others in order of arrival. Entries leave the queue when their run resolves; the reconciler adds again what got lost. */
export type JobQueue = {
  /** Begins to run entries. Called once, before or after the first `add`. */
  start(run: RunEntry): Promise<void>
  /** Adds an entry. An entry already waiting or running is left as it is. */
  add(entry: QueueEntry): Promise<void>
  /** Takes a waiting entry out; aborts a running one, wherever it runs. Unknown entries are ignored. */
  drop(entry: QueueEntry): Promise<void>
  /** How many waiting entries come before this one, plus one; undefined where it does not wait. At once where it can. */
  position(entry: QueueEntry): Position | Promise<Position>
  /** What this process runs now, of all that runs. */
  running(): readonly QueueEntry[]
  /** Takes no more, aborts what runs and waits for it to let go. Idempotent. */
  close(): Promise<void>
}
