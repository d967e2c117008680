import type { Job } from '../job.ts'

export type JobSubscriber = (job: Job) => void

/** Tells whoever listens, on every replica, how a job now is. Best effort: the store has the truth. */
export type ChangeBus = {
  /** Announces a job as just written. A listener that throws harms neither the publisher nor other listeners. */
  publish(job: Job): void
  /** Hears of one job, or of all when `id` is undefined, until the returned function is called. */
  subscribe(id: string | undefined, listener: JobSubscriber): () => void
  /**
   * Calls `listener` whenever messages may have been lost, and come again: what was heard before then has to be read
   * anew. Until the returned function is called.
   */
  onGap(listener: () => void): () => void
  /** Drops all listeners. Idempotent. */
  close(): Promise<void>
}
