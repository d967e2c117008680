import { onTestFinished } from 'vitest'
import { createEmitterBus } from '../../src/changes/bus.ts'
import type { Backend } from '../../src/jobs/ports/backend.ts'
import type { JobProgress } from '../../src/jobs/progress.ts'
import { createProgressFollower } from '../../src/jobs/progress-follower.ts'
import { createStages } from '../../src/jobs/subscriptions.ts'
import { aJob, after } from './jobs.ts'
import { silentLog } from './log.ts'

/** Watches a job whose current call is this one: every progress so far. */
export function watchProgress(backend: Backend, callId: string): JobProgress[] {
  const log = silentLog()
  const seen: JobProgress[] = []
  const follower = createProgressFollower({ backend, changes: createEmitterBus(log), stages: createStages(), log })
  onTestFinished(() => follower.close())
  const job = after(aJob({ backend: backend.name }), { type: 'spawned', attempt: 1, callId })
  follower.watch(job, (progress) => seen.push(progress))
  return seen
}
