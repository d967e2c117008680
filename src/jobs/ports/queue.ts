import { currentAttempt, type Job, type Priority } from '../job.ts'

/** One attempt of one job. */
export type AttemptId = { readonly id: string; readonly attempt: number }

/** An attempt to be run or followed, with what decides when. */
export type QueueEntry = AttemptId & { readonly caller: string; readonly priority: Priority }

/** The entry of an attempt of a job, by default the current one. */
export const entryOf = (job: Job, attempt = currentAttempt(job).attempt): QueueEntry => ({
  id: job.id,
  attempt,
  caller: job.caller,
  priority: job.priority ?? 'normal',
})

/** The key of an entry in a queue. */
export const keyOfEntry = ({ id, attempt }: AttemptId): string => `${id}-${attempt}`

/** A caller's share of the runs: `weight` beside the other callers, from 1; `maxRunning` at the same time, undefined: all. */
export type Share = { readonly weight: number; readonly maxRunning?: number | undefined }
/** The share of each caller as of now: it may change while entries wait. */
export type ShareOf = (caller: string) => Share
export const equalShares: ShareOf = () => ({ weight: 1 })

/** 1 for the waiting entry that runs next; undefined for an entry that does not wait. */
export type Position = number | undefined

/**
 * Runs one entry. Resolves when there is nothing left to do for it now. `signal` aborts when the entry was dequeued, when
 * another process has claimed it, or when the queue is closing. May be called twice for the same entry, also at the
 * same time, and for a finished attempt: it must read the job before it acts.
 */
export type RunEntry = (entry: AttemptId, signal: AbortSignal) => Promise<void>

/**
 * The attempts to run: a bounded number at the same time. The others start by start-time fair queueing over callers, each
 * in proportion to its share; those of one caller by priority, then in order of arrival. An entry leaves the queue when
 * its run resolves. The reconciler resumes lost entries.
 */
export type JobQueue = {
  /** Starts running entries. Called once, before or after the first `enqueue`. */
  start(run: RunEntry): Promise<void>
  /** Adds an entry, unless it waits or runs already. */
  enqueue(entry: QueueEntry): Promise<void>
  /**
   * As `enqueue`, for an entry that probably waits or runs already. An entry whose job has a call comes before all others
   * and whatever the share of its caller: it runs already.
   */
  resume(entry: QueueEntry, options: { readonly hasCall: boolean }): Promise<void>
  /** For a finished attempt: removes a waiting entry, aborts a running one on any replica, ignores an unknown one. */
  dequeue(entry: QueueEntry): Promise<void>
  /** A promise only if the answer is not in this process. */
  position(entry: QueueEntry): Position | Promise<Position>
  /** The entries that this process runs. */
  running(): readonly QueueEntry[]
  /**
   * While it is paused, no entry starts whose job has no call, on any replica, also after a restart if the jobs outlive it.
   * Entries whose jobs have a call are followed nevertheless. Rejects with `store_unavailable`.
   */
  setPaused(paused: boolean): Promise<void>
  /** As far as this process knows. */
  isPaused(): boolean
  /**
   * Runs `spawn`, which gives a job its call: an entry may have been claimed before the pause. While paused it waits, and
   * its signal aborts when a pause begins; if it then rejects, it is run again after the pause.
   */
  whenNotPaused<T>(signal: AbortSignal, spawn: (signal: AbortSignal) => Promise<T>): Promise<T>
  /** Claims no more entries, aborts those that run here and waits until they have stopped. Idempotent. */
  close(): Promise<void>
}
