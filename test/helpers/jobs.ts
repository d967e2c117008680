import { randomUUID } from 'node:crypto'
import { applyEvent } from '../../src/jobs/apply-event.ts'
import type { Job, JobEvent } from '../../src/jobs/job.ts'

/** A fresh job, as a submit makes it, with what the test cares about. */
export const aJob = (change: Partial<Job> = {}): Job => ({
  id: randomUUID(),
  caller: 'anonymous',
  backend: 'modal',
  status: 'submitted',
  revision: 1,
  version: 'v15',
  input: { video_path: 'face.mp4', audio_path: 'speech.wav' },
  createdAt: 1_000,
  timeoutSeconds: 99,
  deadlineAt: 100_000,
  attempts: [{ attempt: 1 }],
  ...change,
})

/** The job after these events, all of which must be accepted. */
export function after(job: Job, ...events: JobEvent[]): Job {
  return events.reduce((current, event) => {
    const applied = applyEvent(current, event, event.type === 'expired' ? current.deadlineAt : 2_000)
    if (!applied.accepted) throw new Error(applied.reason)
    return applied.job
  }, job)
}

export const spawned = (attempt = 1, callId = `fc-${attempt}`): JobEvent => ({ type: 'spawned', attempt, callId })
export const started = (attempt = 1, at = 1_500): JobEvent => ({ type: 'started', attempt, at })
export const succeeded = (attempt = 1): JobEvent => ({
  type: 'succeeded',
  attempt,
  outputPath: '/shared/results/run/v15/output.mp4',
  runId: 'run',
})
/** As if the run of the job `from` made the output. */
export const reused = (attempt = 1, from = 'a job'): JobEvent => ({
  type: 'reused',
  attempt,
  from,
  outputPath: '/shared/results/run/v15/output.mp4',
  runId: 'run',
})
export const failed = (attempt = 1): JobEvent => ({
  type: 'failed',
  attempt,
  code: 'inference_failed',
  error: 'no face found',
})
export const interrupted = (attempt = 1, maxAttempts = 2): JobEvent => ({
  type: 'interrupted',
  attempt,
  error: 'the container died',
  maxAttempts,
})

/** The input of a job whose call at the stand-in does as `behaviour` says (see `steeredBehaviour`). */
export const asking = (behaviour: string) => ({
  video_url: `https://media.example/behave/${behaviour}.mp4`,
  audio_path: 'b.wav',
})
