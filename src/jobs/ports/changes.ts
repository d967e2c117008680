import type { Job } from '../job.ts'

export type JobSubscriber = (job: Job) => void

/** Publishes changes of jobs to subscribers on every replica. Messages may be lost: the store has the current state. */
export type ChangeBus = {
  /** Publishes a job as just written. A subscriber that throws affects neither the publisher nor other subscribers. */
  publish(job: Job): void
  /** Subscribes to one job, or to all when `id` is undefined, until the returned function is called. */
  subscribe(id: string | undefined, listener: JobSubscriber): () => void
  /**
   * Calls `listener` when messages may have been lost and arrive again, until the returned function is called: what was
   * received before may be stale and must be read again.
   */
  onGap(listener: () => void): () => void
  /** Removes all subscribers. Idempotent. */
  close(): Promise<void>
}
