import type { Backend } from './ports/backend.ts'
import type { Attempt, Job } from './job.ts'
import { createRareWarning, type Log } from './log.ts'
import type { Transitions } from './transition.ts'

/** How long one try to stop a call may take, in ms; after that the reconciler's next pass goes on. */
export const STOP_TRY_MS = 5_000

export type StopperDependencies = Pick<Transitions, 'transition'> & {
  readonly backend: Pick<Backend, 'name' | 'stop'>
  readonly log: Log
}

/** Carries out the durable intent to stop: safe to repeat, and done only when the backend has confirmed it. */
export type Stopper = {
  /** Tries to end every call of a job that is owed a stop, and records each that was ended. Never rejects. */
  stopCalls(job: Job): Promise<void>
  /** Tries to end a call that no attempt has a place for. Never rejects. */
  stopCall(jobId: string, callId: string): Promise<void>
  /** Gives up what is being tried. Idempotent. */
  close(): Promise<void>
}

export function createStopper({ backend, transition, log }: StopperDependencies): Stopper {
  const closing = new AbortController()

  const warnRarely = createRareWarning(log)

  /** False: not this time. */
  const tryStop = async (jobId: string, callId: string): Promise<boolean> => {
    try {
      await backend.stop(callId, AbortSignal.any([closing.signal, AbortSignal.timeout(STOP_TRY_MS)]))
      return true
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      warnRarely({ job_id: jobId, call_id: callId, reason }, 'a call could not be stopped yet; it will be tried again')
      return false
    }
  }

  const stopAttempt = async (job: Job, { attempt, callId }: Attempt) => {
    // A call of another backend cannot be reached from here; nothing is owed to it any more.
    const isOurs = callId !== undefined && job.backend === backend.name
    if (isOurs && !(await tryStop(job.id, callId))) return
    await transition(job, { type: 'stopped', attempt })
  }

  return {
    async stopCalls(job) {
      const owed = job.attempts.filter((attempt) => attempt.stop === 'owed')
      await Promise.all(owed.map((attempt) => stopAttempt(job, attempt)))
    },
    async stopCall(jobId, callId) {
      await tryStop(jobId, callId)
    },
    close() {
      closing.abort(new Error('the server is ending'))
      return Promise.resolve()
    },
  }
}
