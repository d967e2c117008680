import { opendir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type BackendName, currentAttempt, type Job } from '../jobs/job.ts'
import type { Outputs, SucceededJob, Sweep } from '../jobs/ports/files.ts'
import { problem } from '../problems.ts'

/** A job keeps the backend it was submitted with, also when the server is started with another. */
export function createOutputsByBackend(sources: Readonly<Partial<Record<BackendName, Outputs>>>): Outputs {
  const all = Object.values(sources)
  const sourceOf = (job: Job): Outputs | undefined => sources[job.backend]
  return {
    async open(job, options) {
      const source = sourceOf(job)
      if (source) return source.open(job, options)
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

/** The name of a file or folder of one attempt of a job, without an extension. */
export const nameOf = (job: Pick<Job, 'id'>, attempt: number): string => `${job.id}-${attempt}`

/** The names of all attempts of a job, also those that it no longer lists. */
export const namesOf = (job: Job): string[] =>
  Array.from({ length: currentAttempt(job).attempt }, (_, index) => nameOf(job, index + 1))

const JOB_ID = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d+(\.\w+)?$/

/** Removes the entries of a folder that are named after a job and match the sweep. The folder may be missing. */
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

/** Where the deployed function mounts the volume that it writes outputs to. */
const MOUNT = '/shared/'

/** An output's path within that volume; undefined if it is elsewhere. */
export function sharedPathOf({ outputPath }: SucceededJob): string | undefined {
  if (!outputPath.startsWith(MOUNT)) return undefined
  const path = outputPath.slice(MOUNT.length)
  return path.split('/').some((part) => part === '' || part === '.' || part === '..') ? undefined : path
}
