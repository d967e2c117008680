import type { Backend } from './ports/backend.ts'
import { type Attempt, isStopPending, type Job } from './job.ts'
import { createThrottledWarning, type Log } from './log.ts'
import type { Transitions } from './transition.ts'
import { messageOf } from '../lib/errors.ts'

/** Timeout of one request to stop a call, in ms; then the reconciler's next pass repeats it. */
export const STOP_TIMEOUT_MS = 5_000

export type StopperDependencies = Pick<Transitions, 'transition'> & {
  readonly backend: Pick<Backend, 'name' | 'stop'>
  readonly log: Log
}

/** Stops calls whose stop is pending. Safe to repeat; done only once the backend confirms it. */
export type Stopper = {
  /** Stops every call of a job whose stop is pending, and records each that the backend confirms. */
  stopCalls(job: Job): Promise<void>
  /** Stops a call that no attempt has. Never rejects. */
  stopCall(jobId: string, callId: string): Promise<void>
  /** Aborts the requests that are open. Idempotent. */
  close(): Promise<void>
}

export function createStopper({ backend, transition, log }: StopperDependencies): Stopper {
  const closing = new AbortController()

  const warnRarely = createThrottledWarning(log)

  const requestStop = async (jobId: string, callId: string): Promise<boolean> => {
    try {
      await backend.stop(callId, AbortSignal.any([closing.signal, AbortSignal.timeout(STOP_TIMEOUT_MS)]))
      return true
    } catch (error) {
      const reason = messageOf(error)
      const fields = { event: 'stop_failed', job_id: jobId, call_id: callId, reason }
      warnRarely(fields, 'stopping a call failed; the reconciler will retry')
      return false
    }
  }

  const stopAttempt = async (job: Job, { attempt, callId }: Attempt) => {
    // A call of another backend cannot be stopped from here: its stop counts as done.
    const isOurs = callId !== undefined && job.backend === backend.name
    if (isOurs && !(await requestStop(job.id, callId))) return
    await transition(job, { type: 'stopped', attempt })
  }

  return {
    async stopCalls(job) {
      await Promise.all(job.attempts.filter(isStopPending).map((attempt) => stopAttempt(job, attempt)))
    },
    async stopCall(jobId, callId) {
      await requestStop(jobId, callId)
    },
    close() {
      closing.abort(new Error('the server is shutting down'))
      return Promise.resolve()
    },
  }
}
