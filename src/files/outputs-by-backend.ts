import { problem } from '../problems.ts'
import type { BackendName, Job } from '../jobs/job.ts'
import type { Outputs } from '../jobs/ports/files.ts'

/** Jobs keep the backend they were made with, also when the server is started with another. */
export function createOutputsByBackend(sources: Readonly<Partial<Record<BackendName, Outputs>>>): Outputs {
  const all = Object.values(sources)
  const sourceOf = (job: Job): Outputs | undefined => sources[job.backend]
  return {
    async open(job, wish) {
      const source = sourceOf(job)
      if (source) return source.open(job, wish)
      throw problem('output_unavailable', {
        detail: `The output is with the backend '${job.backend}', which this server does not use.`,
      })
    },
    prefetch: (job) => sourceOf(job)?.prefetch(job),
    forget: async (job) => sourceOf(job)?.forget(job),
    async sweep(sweep) {
      for (const source of all) await source.sweep(sweep)
    },
    async close() {
      await Promise.all(all.map((source) => source.close()))
    },
  }
}
