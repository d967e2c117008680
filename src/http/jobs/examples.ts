import { applyEvent } from '../../jobs/apply-event.ts'
import type { Job, JobEvent } from '../../jobs/job.ts'
import { presentJob } from '../../jobs/view.ts'

const submitted: Job = {
  id: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11',
  caller: 'key:studio',
  backend: 'modal',
  status: 'submitted',
  revision: 1,
  version: 'v15',
  input: { video_url: 'https://media.example.com/face.mp4', audio_url: 'https://media.example.com/speech.wav' },
  metadata: { scene: '12' },
  createdAt: Date.parse('2026-01-31T12:00:00Z'),
  timeoutSeconds: 7200,
  deadlineAt: Date.parse('2026-01-31T14:00:00Z'),
  attempts: [{ attempt: 1 }],
}

/** The job after an event, so many seconds after its submit. */
function after(job: Job, seconds: number, event: JobEvent): Job {
  const applied = applyEvent(job, event, submitted.createdAt + seconds * 1000)
  if (!applied.accepted) throw new Error(`an example of the reference cannot be: ${applied.reason}`)
  return applied.job
}

const running = after(submitted, 1, { type: 'spawned', attempt: 1, callId: 'fc-01K3QJ8Z5W' })
const succeeded = after(running, 90, {
  ...({ type: 'succeeded', attempt: 1 } as const),
  outputPath: '/shared/results/0198a6f0/v15/output.mp4',
})
const failed = after(running, 30, {
  ...({ type: 'failed', attempt: 1, code: 'inference_failed' } as const),
  error: 'No face was found in the first frame.',
})
const canceled = after(running, 20, { type: 'canceled' })

const OUTPUT_URL = `https://jobs.example.com/jobs/${submitted.id}/output?expires=1769864490&signature=2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM`

/** One job through its life, made by the code that makes jobs and their answers. */
export const JOBS = {
  submitted: { summary: 'Accepted', value: presentJob(submitted) },
  running: { summary: 'The backend has it', value: presentJob(running) },
  succeeded: { summary: 'It succeeded', value: { ...presentJob(succeeded), output_url: OUTPUT_URL } },
  failed: { summary: 'It failed', value: presentJob(failed) },
  canceled: { summary: 'It was canceled', value: presentJob(canceled) },
  retried: { summary: 'It starts over', value: presentJob(after(failed, 60, { type: 'retried' })) },
} as const
