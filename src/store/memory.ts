import { isFinished, isOverdue, owesStop, type Job } from '../jobs/job.ts'
import type { JobStore, Owed } from './port.ts'

/**
 * Jobs in a `Map`, gone with the process. What is owed is kept beside it in two small indexes, so that looking for
 * work never walks over the finished jobs.
 */
export function createMemoryStore(): JobStore {
  const jobs = new Map<string, Job>()
  const unfinished = new Map<string, Job>()
  const stopping = new Map<string, Job>()
  const submitted = new Set<string>()

  const write = (job: Job) => {
    jobs.set(job.id, job)
    keep(unfinished, job, !isFinished(job))
    keep(stopping, job, owesStop(job))
    if (job.status === 'submitted') submitted.add(job.id)
    else submitted.delete(job.id)
  }

  return {
    insert(job) {
      if (jobs.has(job.id)) return Promise.reject(new Error(`job ${job.id} exists already`))
      write(job)
      return Promise.resolve()
    },
    get: (id) => Promise.resolve(jobs.get(id)),
    update(job, expectedRevision) {
      if (jobs.get(job.id)?.revision !== expectedRevision) return Promise.resolve(false)
      write(job)
      return Promise.resolve(true)
    },
    async *owed(what, now) {
      const candidates = [...(what === 'stop' ? stopping : unfinished).values()]
      for (const job of candidates) if (isOwed(what, job, now)) yield await Promise.resolve(job)
    },
    countSubmitted: () => Promise.resolve(submitted.size),
    close: () => Promise.resolve(),
  }
}

const isOwed = (what: Owed, job: Job, now: number) => what !== 'end' || isOverdue(job, now)

// A value set again keeps its place in a Map, so iteration stays in order of creation.
function keep(index: Map<string, Job>, job: Job, belongs: boolean) {
  if (belongs) index.set(job.id, job)
  else index.delete(job.id)
}
