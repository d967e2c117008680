import { EventEmitter } from 'node:events'
import type { Job, JobStage } from './job.ts'

/** Called with each new stage of a job, as it was when its run began. */
export type StageSubscriber = (job: Job, stage: JobStage) => unknown

/**
 * Where the running jobs of this process are at their backend. A hint: it is neither stored nor sent to other replicas,
 * so only the process that follows a job's call knows its stage.
 */
export type Stages = {
  /** Undefined: the stage is not known, or not any more. */
  set(job: Job, stage: JobStage | undefined): void
  /** Undefined for a job that is not running here. */
  get(job: Pick<Job, 'id' | 'status'>): JobStage | undefined
  /** How many jobs are in each stage. */
  counts(): Readonly<Record<JobStage, number>>
  /** Notifies of the stages of one job, or of all when `id` is undefined, until the returned function is called. */
  subscribe(id: string | undefined, subscriber: StageSubscriber): () => void
}

const ALL = Symbol('every job')

export function createStages(): Stages {
  const stages = new Map<string, JobStage>()
  const counts: Record<JobStage, number> = { queued: 0, starting: 0, running: 0 }
  const emitter = new EventEmitter().setMaxListeners(0)

  return {
    set(job, stage) {
      const before = stages.get(job.id)
      if (before === stage) return
      if (before !== undefined) counts[before]--
      if (stage === undefined) {
        stages.delete(job.id)
        return
      }
      counts[stage]++
      stages.set(job.id, stage)
      emitter.emit(job.id, job, stage)
      emitter.emit(ALL, job, stage)
    },
    get: ({ id, status }) => (status === 'running' ? stages.get(id) : undefined),
    counts: () => ({ ...counts }),
    subscribe(id, subscriber) {
      emitter.on(id ?? ALL, subscriber)
      return () => emitter.off(id ?? ALL, subscriber)
    },
  }
}
