import { type Client, type EndedJob, type Job, ProblemError } from '../index.ts'
import { pause } from '../transport.ts'
import { JobError, UNREACHABLE_MS, retryTransient } from './failures.ts'
import { type Journal, saveOutput } from './output-file.ts'
import type { Prepared } from './request.ts'

export type TaskDependencies = {
  readonly client: Client
  readonly signal: AbortSignal
  /** Called before each pause while the server is unavailable. */
  readonly onPause: (error: unknown, ms: number) => void
  /** Called with each state of a job that is seen, often the same. */
  readonly onJob: (job: Job) => void
  /** Between two looks at a job while it runs, in ms, beside waiting for its end; undefined: none. */
  readonly lookMs?: number
  readonly onBytes: (received: number, total: number | undefined) => void
}

/** A video and where it goes; the journal is that of its folder. */
export type Target = { readonly path: string; readonly journal: Journal }

/** `wasComplete`: an earlier run has made the output. */
export type Made = { readonly job?: Job; readonly wasComplete: boolean; readonly size?: number }

/**
 * Continues a request from where the last run of the same command left it: has its job made, unless it exists, or
 * started again, if it failed. Resolves once the server has accepted it.
 */
export async function startJob(
  prepared: Prepared,
  { client, signal, onPause, onJob }: TaskDependencies,
  { target, isReached }: { target: Target | undefined; isReached: boolean },
): Promise<Job> {
  const { request, key } = prepared
  const id = target?.journal.get(key).job_id
  const start = async () => {
    const known = id === undefined ? undefined : await existing(client, id, signal)
    const job = known ?? (await client.submit(request, { idempotencyKey: key, signal }))
    // A new job is not answered like this: an earlier one has come to nothing.
    return job.status === 'failed' || job.status === 'canceled' ? retry(client, job.job_id, signal) : job
  }
  const job = await retryTransient(start, { signal, onPause, unreachableMs: isReached ? UNREACHABLE_MS : 0 })
  if (job.job_id !== id) await target?.journal.add(key, { job_id: job.job_id })
  onJob(job)
  return job
}

const existing = (client: Client, id: string, signal: AbortSignal) =>
  client.get(id, { signal }).catch((error: unknown) => {
    if (error instanceof ProblemError && error.code === 'job_not_found') return undefined
    throw error
  })

/** Another run of the same command may have been faster. */
const retry = (client: Client, id: string, signal: AbortSignal) =>
  client.retry(id, { signal }).catch((error: unknown) => {
    if (error instanceof ProblemError && error.code === 'job_not_finished') return client.get(id, { signal })
    throw error
  })

/** The job once it has succeeded. Rejects with a `JobError` if it comes to another end. */
export async function waitForJob(id: string, dependencies: TaskDependencies): Promise<EndedJob> {
  const { client, signal, onPause, onJob, lookMs } = dependencies
  const finished = new AbortController()
  if (lookMs !== undefined) void look(id, { client, onJob, lookMs }, AbortSignal.any([signal, finished.signal]))
  const wait = () => client.wait(id, { signal })
  try {
    const job = await retryTransient(wait, { signal, onPause, unreachableMs: UNREACHABLE_MS })
    onJob(job)
    if (job.status !== 'succeeded') throw new JobError(endOf(job))
    return job
  } finally {
    finished.abort()
  }
}

/** Shows the job until it has finished. Errors are left to the wait for its end. */
async function look(
  id: string,
  { client, onJob, lookMs }: Pick<TaskDependencies, 'client' | 'onJob'> & { lookMs: number },
  signal: AbortSignal,
): Promise<void> {
  const show = (job: Job) => {
    if (!signal.aborted && (job.status === 'submitted' || job.status === 'running')) onJob(job)
  }
  while (!signal.aborted) {
    await client.get(id, { signal }).then(show, () => undefined)
    await pause(lookMs, signal).catch(() => undefined)
  }
}

function endOf({ job_id: id, status, error, error_code: code }: EndedJob): string {
  return status === 'canceled' ? `job ${id} was canceled` : `job ${id} failed (${code ?? 'unknown'}): ${error ?? ''}`
}

/** Downloads the output of a job that has succeeded. */
export async function fetchOutput(
  { id, key, target }: { id: string; key: string; target: Target },
  { client, signal, onPause, onBytes }: TaskDependencies,
): Promise<number> {
  const { path, journal } = target
  const save = () =>
    saveOutput({
      ...{ client, id, path, signal, onBytes },
      etag: journal.get(key).etag,
      onEtag: (etag) => journal.add(key, { etag }),
    })
  const size = await retryTransient(save, { signal, onPause, unreachableMs: UNREACHABLE_MS })
  await journal.addOutput(key, path, size)
  return size
}

/** Has a request done down to its output, or as far as an earlier run has left it. */
export async function makeOutput(prepared: Prepared, target: Target, dependencies: TaskDependencies): Promise<Made> {
  const { key } = prepared
  if (await target.journal.isComplete(key, target.path)) return { wasComplete: true }
  const started = await startJob(prepared, dependencies, { target, isReached: true })
  const job = await waitForJob(started.job_id, dependencies)
  const size = await fetchOutput({ id: job.job_id, key, target }, dependencies)
  return { job, wasComplete: false, size }
}
