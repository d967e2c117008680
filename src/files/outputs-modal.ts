import { join } from 'node:path'
import { isProblem, problem } from '../problems.ts'
import { currentAttempt, type ModelVersion } from '../jobs/job.ts'
import type { Log } from '../jobs/log.ts'
import { createLru } from '../lib/collections.ts'
import { createFileCache } from './cache.ts'
import { nameOf, namesOf, readFile, storedOutputOf, sweepFolder } from './outputs.ts'
import { type OutputBytes, OutputTooLarge, type Outputs, type SucceededJob } from '../jobs/ports/files.ts'

/** A run of the deployed function, by its own id, and the caller whose job it was. */
export type ModalRun = { readonly runId: string; readonly version: ModelVersion; readonly caller: string }

export type ModalOutputsOptions = {
  /** Writes the output of a run to a file. Rejects with `output_unavailable`, or with the error of the disk. */
  readonly download: (run: ModalRun, path: string, signal: AbortSignal) => Promise<void>
  /** Gives the bytes of the output of a run to `use`, without a file. Rejects likewise, or as `use` does. */
  readonly read: <T>(run: ModalRun, signal: AbortSignal, use: (output: OutputBytes) => Promise<T>) => Promise<T>
  /** Outputs are kept in its folder `outputs`. */
  readonly dataDir: string
  readonly maxBytes: number
  /** Whether an output is fetched when its job succeeds, not when it is first requested. */
  readonly prefetches: boolean
  readonly log: Log
}

/** About how many outputs beyond the size limit are remembered, and as many that are gone. */
const REMEMBERED = 10_000

/** `Retry-After` of an output that could not be stored, in seconds. */
const DISK_RETRY_SECONDS = 60

/** Outputs stored at Modal: each is fetched once for all requests, and cached on disk while there is room. */
export function createModalOutputs(options: ModalOutputsOptions): Outputs {
  const { download, read, dataDir, maxBytes, prefetches, log } = options
  const folder = join(dataDir, 'outputs')
  const cache = createFileCache({ folder, maxBytes })
  /** By file: another fetch would be another call of the function, with the same result. */
  const tooLarge = createLru<OutputTooLarge>(REMEMBERED)
  /** By run: Modal has no output of it. Jobs share the output of a run. */
  const gone = createLru<true>(REMEMBERED)
  const fileOf = (name: string) => `${name}.mp4`

  const runOf = ({ runId, version, caller }: SucceededJob): ModalRun => {
    if (runId !== undefined) return { runId, version, caller }
    throw problem('output_unavailable', { detail: 'The job has no run id, so its output at Modal cannot be found.' })
  }
  const fileNameOf = (job: SucceededJob) => fileOf(nameOf(job, currentAttempt(job).attempt))

  const use = async (job: SucceededJob) => {
    const { id, finishedAt = job.createdAt } = job
    const run = runOf(job)
    const fill = async (path: string, signal: AbortSignal) => {
      const startedAt = performance.now()
      await download(run, path, signal)
      log.info({ job_id: id, duration_ms: Math.round(performance.now() - startedAt) }, 'output fetched from Modal')
    }
    const file = fileNameOf(job)
    const known = tooLarge.get(file)
    if (known) throw known
    try {
      const output = await cache.use(file, { fill, modifiedAt: finishedAt })
      gone.delete(run.runId)
      return output
    } catch (error) {
      if (isProblem(error, 'output_unavailable') && error.status === 410) gone.set(run.runId, true, 1)
      if (error instanceof OutputTooLarge) tooLarge.set(file, error, 1)
      if (isProblem(error, 'output_unavailable')) throw error
      const retry = { cause: error, retryAfterSeconds: DISK_RETRY_SECONDS }
      throw problem('output_unavailable', { detail: 'The output could not be stored on this server.', ...retry })
    }
  }

  const has = ({ runId }: SucceededJob) => Promise.resolve(runId !== undefined && !gone.get(runId))

  return {
    open: async (job) => ({ kind: 'file', ...(await use(job)) }),
    async read(job, signal, give) {
      const run = runOf(job)
      const cached = await cache.find(fileNameOf(job))
      if (!cached) return read(run, signal, give)
      try {
        return await readFile(cached.path, signal, give)
      } finally {
        cached.release()
      }
    },
    prefetch(job) {
      if (!prefetches) return
      const failed = (error: unknown) => {
        const fields = { event: 'prefetch_failed', job_id: job.id, err: error }
        log.warn(fields, 'prefetching the output failed; the first request will fetch it')
      }
      use(job).then(({ release }) => release(), failed)
    },
    has,
    share: async (from) => ((await has(from)) ? storedOutputOf(from) : undefined),
    async forget(job) {
      for (const name of namesOf(job)) await cache.forget(fileOf(name))
    },
    sweep: (sweep) => sweepFolder(folder, sweep),
    close: () => cache.close(),
  }
}
