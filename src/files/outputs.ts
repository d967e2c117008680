import { opendir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type BackendName, currentAttempt, type Job } from '../jobs/job.ts'
import type { Outputs, SucceededJob, Sweep } from '../jobs/ports/files.ts'
import { problem } from '../problems.ts'

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

/** What a file or folder of one attempt of a job is called, without an extension. */
export const nameOf = (job: Pick<Job, 'id'>, attempt: number): string => `${job.id}-${attempt}`

/** The names of all attempts of a job, those included that it no longer lists. */
export const namesOf = (job: Job): string[] =>
  Array.from({ length: currentAttempt(job).attempt }, (_, index) => nameOf(job, index + 1))

const JOB_ID = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d+(\.\w+)?$/

/** Removes those entries of a folder, which need not be there, that are named after a job and meet the sweep. */
export async function sweepFolder(folder: string, { before, isKnown }: Sweep): Promise<void> {
  const entries = await opendir(folder).catch(() => [])
  for await (const { name } of entries) {
    const jobId = JOB_ID.exec(name)?.[1]
    if (jobId === undefined) continue
    const path = join(folder, name)
    const found = await stat(path).catch(() => undefined)
    if (found && found.mtimeMs < before && !(await isKnown(jobId))) await rm(path, { recursive: true, force: true })
  }
}

/** Where the deployed function sees the volume that it writes outputs to. */
const MOUNT = '/shared/'

/** An output's path within that volume; undefined where it is not in there. */
export function sharedPathOf({ outputPath }: SucceededJob): string | undefined {
  if (!outputPath.startsWith(MOUNT)) return undefined
  const path = outputPath.slice(MOUNT.length)
  return path.split('/').some((part) => part === '' || part === '.' || part === '..') ? undefined : path
}
