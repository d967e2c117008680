import type { Job } from '../jobs/job.ts'

/**
 * What a job can be owed by whoever has time:
 * `run` unfinished, so an entry belongs in the queue; `stop` a call to end; `end` the deadline has passed.
 */
export type Owed = 'run' | 'stop' | 'end'

/** Where jobs are kept. Every write is atomic and, once it resolves, as durable as the adapter promises. */
export type JobStore = {
  /** Keeps a new job. Rejects when its id is taken. */
  insert(job: Job): Promise<void>
  /** The job as last written, or undefined. */
  get(id: string): Promise<Job | undefined>
  /** Compare-and-set: replaces the job if its stored revision is `expectedRevision`; false, and no change, otherwise. */
  update(job: Job, expectedRevision: number): Promise<boolean>
  /** Every job that is owed this as of `now` (epoch ms), in order of creation; jobs may change while it is read. */
  owed(what: Owed, now: number): AsyncIterable<Job>
  /** How many jobs are `submitted`: accepted, and not yet at the backend. Cheap: it is asked at every submit. */
  countSubmitted(): Promise<number>
  /** Releases what the store holds. Idempotent. */
  close(): Promise<void>
}
