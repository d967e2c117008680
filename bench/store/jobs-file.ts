import { randomBytes, randomUUID } from 'node:crypto'
import { applyEvent } from '../../src/jobs/apply-event.ts'
import type { Job, JobEvent } from '../../src/jobs/job.ts'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'

/** Jobs whose writes share a transaction. */
const BATCH = 5_000
/** Over so long a time, up to now, the jobs were accepted, in ms. */
const DAY_MS = 86_400_000

type Jobs = { readonly finished?: number; readonly submitted?: number; readonly running?: readonly string[] }

/**
 * Adds jobs to a file as a server would have: `finished` that ended in the last day, `submitted` of this moment, and
 * `running` with these call ids.
 */
export async function addJobs(path: string, { finished = 0, submitted = 0, running = [] }: Jobs): Promise<void> {
  const store = await createSqliteStore({ path })
  const from = Date.now() - DAY_MS
  let batch: Promise<unknown>[] = []
  const add = async (job: Job) => {
    if (batch.push(store.insert(job)) < BATCH) return
    await Promise.all(batch)
    batch = []
  }
  for (let n = 0; n < finished; n++) await add(finishedJob(from + Math.floor((n / finished) * (DAY_MS - 60_000)), n))
  for (let n = 0; n < submitted; n++) await add(newJob(Date.now()))
  for (const callId of running)
    await add(applied(newJob(Date.now()), { type: 'spawned', attempt: 1, callId }, Date.now()))
  await Promise.all(batch)
  await store.close()
}

/** As the service makes it. */
const newJob = (createdAt: number): Job => ({
  id: randomUUID(),
  caller: 'anonymous',
  backend: 'modal',
  status: 'submitted',
  revision: 1,
  version: 'v15',
  input: { video_url: 'https://media.example/behave/end=never.mp4', audio_path: 'data/audio/yongen.wav' },
  metadata: { project: 'trailer', scene: '12' },
  createdAt,
  timeoutSeconds: 604_800,
  deadlineAt: createdAt + 604_800_000,
  attempts: [{ attempt: 1 }],
})

/** Of ten jobs eight succeeded, one failed and one was canceled before it began; every third has a key. */
function finishedJob(createdAt: number, n: number): Job {
  const key = n % 3 === 0 && { idempotencyKey: `order-${n}`, fingerprint: randomBytes(32).toString('hex') }
  return eventsOf(n).reduce((job, event, index) => applied(job, event, createdAt + (index + 1) * 20_000), {
    ...newJob(createdAt),
    ...key,
  })
}

function applied(job: Job, event: JobEvent, at: number): Job {
  const result = applyEvent(job, event, at)
  if (!result.accepted) throw new Error(result.reason)
  return result.job
}

function eventsOf(n: number): JobEvent[] {
  const spawned = { type: 'spawned', attempt: 1, callId: `fc-${randomUUID()}` } as const
  const runId = randomUUID()
  const outputPath = `/shared/results/${runId}/v15/output.mp4`
  if (n % 10 === 8) return [spawned, { type: 'failed', attempt: 1, code: 'inference_failed', error: 'no face found' }]
  if (n % 10 === 9) return [{ type: 'canceled' }]
  return [spawned, { type: 'succeeded', attempt: 1, outputPath, runId }]
}
