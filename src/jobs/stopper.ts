import type { Backend } from '../backend/port.ts'
import type { Attempt, Job } from './job.ts'
import type { JobService } from './service.ts'

/** How long one try to stop a job's calls may take, in ms; after that the reconciler's next pass goes on. */
export const STOP_TRY_MS = 5_000

export type Stopper = {
  /** Ends every call of a job that is owed a stop and records each as done. Rejects with the reason of `signal`. */
  stopCalls(job: Job, signal: AbortSignal): Promise<void>
}

/** Carries out the durable intent to stop: safe to repeat, and done only when the backend has confirmed it. */
export function createStopper(backend: Pick<Backend, 'name' | 'stop'>, service: Pick<JobService, 'record'>): Stopper {
  const stopOne = async (job: Job, attempt: Attempt, signal: AbortSignal) => {
    // A call of another backend cannot be reached from here; nothing is owed to it any more.
    if (attempt.callId !== undefined && job.backend === backend.name) await backend.stop(attempt.callId, signal)
    await service.record(job.id, { type: 'stopped', attempt: attempt.attempt })
  }

  return {
    async stopCalls(job, signal) {
      const owed = job.attempts.filter((attempt) => attempt.stop === 'owed')
      await Promise.all(owed.map((attempt) => stopOne(job, attempt, signal)))
    },
  }
}
