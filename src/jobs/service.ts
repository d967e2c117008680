import { randomUUID } from 'node:crypto'
import type { MediaReader, Outputs, Uploads } from './ports/files.ts'
import type { Backend } from './ports/backend.ts'
import { invalidFields, isProblem, type Problem, problem } from '../problems.ts'
import type { ChangeBus } from './ports/notifications.ts'
import { entryOf, type JobQueue, type Position } from './ports/queue.ts'
import type { JobStore, ListPosition, ListQuery, UsageStore } from './ports/store.ts'
import { type Caller, maySee } from './ports/access.ts'
import { checkMedia, checkSubmit, type MediaLimits, newJob, type NewJob } from './submit.ts'
import {
  currentAttempt,
  isFinished,
  isJobId,
  hasPendingStop,
  type Job,
  type JobInput,
  type JobStage,
  type UploadedFile,
} from './job.ts'
import { type Log, logFieldsOf } from './log.ts'
import type { Estimator, SubmitEstimate } from './estimate.ts'
import { openLogs } from './logs.ts'
import { type Reuse, withContentKey } from './reuse.ts'
import type { Stages } from './subscriptions.ts'
import type { Transitions } from './transition.ts'
import { MAX_REPORT_DAYS, rangeOfDays, reportUsage, type UsageReport, type UsageReportQuery } from './usage.ts'
import type { UploadService } from './uploads.ts'
import type { Outbox } from './webhooks/outbox.ts'

/** `replayed`: an earlier submit with this idempotency key made the job. */
export type Submitted = { readonly job: Job; readonly replayed: boolean }

/** The result of a dry run. `reusedFrom`: the job would get the output of that one. */
export type Checked = { readonly job: Job; readonly estimate: SubmitEstimate; readonly reusedFrom?: string }

/** A job that may be stored. `isExempt`: from the limits on numbers of jobs. `discard` removes its files, if it is not. */
export type PreparedJob = { readonly job: Job; readonly isExempt: boolean; discard(): Promise<void> }

export type JobPage = { readonly jobs: Job[]; readonly next?: ListPosition }

/** Days that are not given: the last ones. */
export type UsageRequest = Omit<UsageReportQuery, 'from' | 'to'> & {
  readonly from?: string | undefined
  readonly to?: string | undefined
}

export type ServiceDependencies = Pick<Transitions, 'insert' | 'transition'> & {
  readonly store: Pick<JobStore, 'get' | 'list' | 'remove'> & Pick<UsageStore, 'usageOn'>
  readonly queue: Pick<JobQueue, 'position' | 'setPaused' | 'isPaused'>
  readonly changes: ChangeBus
  readonly backend: Pick<Backend, 'name' | 'check' | 'logs'>
  readonly outputs: Pick<Outputs, 'forget'>
  readonly uploads: Pick<Uploads, 'forget'>
  readonly ahead: Pick<UploadService, 'open' | 'forget'>
  readonly media: Pick<MediaReader, 'read'>
  readonly webhooks: Pick<Outbox, 'secretsOf' | 'check' | 'checkOutput'>
  readonly stages: Pick<Stages, 'get'>
  readonly estimator: Pick<Estimator, 'finishOf' | 'ofSubmit'>
  readonly reuse: Pick<Reuse, 'find'>
  readonly log: Log
  readonly timeoutSeconds: number
  readonly runTimeoutSeconds?: number | undefined
  readonly mediaLimits: MediaLimits
  /** Whether a job gets the output of an identical one, unless the request says. */
  readonly reuseResults: boolean
  /** What makes the videos: see `withContentKey`. */
  readonly engine: string
  /** How often one job may be retried. */
  readonly maxRetries: number
  /** Makes the id of a job: a UUID (RFC 9562). */
  readonly newId?: () => string
  /** Epoch ms. */
  readonly now?: () => number
}

/** What callers can do with jobs. */
export type JobService = {
  /**
   * Stores a new job and enqueues it, or gives back the job that an earlier submit with its idempotency key made. Rejects
   * as `check` does, and with `idempotency_key_reused` (same key, another request), `queue_full`, or
   * `concurrency_limit_reached`.
   */
  submit(request: NewJob, caller: Caller): Promise<Submitted>
  /**
   * The job that a submit would make, and what it would take. Nothing is stored, and its files are discarded; its idempotency key and the limits
   * on numbers of jobs do not matter. Rejects with `invalid_request`, `url_not_allowed`, `parameter_not_supported` or
   * `media_rejected` and an error for each field, or with `webhooks_not_configured`.
   */
  check(request: NewJob, caller: Caller): Promise<Checked>
  /** As `check`, without the estimate, for a request without files in it. Those sent ahead are kept for the job. */
  prepare(request: NewJob, caller: Caller): Promise<PreparedJob>
  /** One page, newest first, with the position of its last job where more follow. */
  list(query: ListQuery): Promise<JobPage>
  /** Deletes a finished job. Rejects with `job_not_finished` for any other, and while its call is still being stopped. */
  remove(id: string, caller: Caller): Promise<void>
  /** Rejects with `job_not_found`, also for another caller's job. */
  get(id: string, caller: Caller): Promise<Job>
  /** The job if it succeeded. Rejects with `job_failed`, `job_canceled` or `job_not_finished`. */
  result(id: string, caller: Caller): Promise<Job & { outputPath: string }>
  /** Cancels a job at once; its call is stopped in the background. Idempotent. Rejects with `job_finished`. */
  cancel(id: string, caller: Caller): Promise<Job>
  /**
   * Starts a failed or canceled job over: same id, next attempt. Rejects with `job_finished` or `job_not_finished` in any
   * other state, with `retry_limit_reached`, and at the limits of a submit as that does.
   */
  retry(id: string, caller: Caller): Promise<Job>
  /** Where a running job is at its backend, if this process follows it and knows. */
  stageOf(job: Job): JobStage | undefined
  /** When an unfinished job is expected to finish, in epoch ms, by its position in the queue: see `estimateFinish`. */
  estimateFinish(job: Job, position: Position): number | undefined
  /** Pauses the start of jobs, or ends the pause: see `JobQueue.setPaused`. */
  setPaused(paused: boolean, caller: Caller): Promise<void>
  /** The job's position in the queue, from 1; undefined if it is not queued. */
  queuePosition(job: Job): Position | Promise<Position>
  /** What jobs have used, those that are removed included. Rejects with `invalid_request` for a range that is none. */
  usage(query: UsageRequest): Promise<UsageReport>
  /** The log of an attempt, by default the current one: see `openLogs`. */
  logs(
    query: { readonly id: string; readonly attempt?: number | undefined },
    caller: Caller,
    signal: AbortSignal,
  ): Promise<AsyncIterable<string>>
}

export function createService(dependencies: ServiceDependencies): JobService {
  const { store, queue, changes, backend, outputs, uploads, ahead, media, webhooks, insert, transition, log } =
    dependencies
  const {
    timeoutSeconds,
    runTimeoutSeconds,
    mediaLimits,
    reuse,
    reuseResults,
    engine,
    maxRetries,
    newId = randomUUID,
    now = Date.now,
  } = dependencies

  const get = async (id: string, caller?: Caller): Promise<Job> => {
    const job = isJobId(id) ? await store.get(id) : undefined
    if (!job || (caller && !maySee(caller, job))) throw problem('job_not_found')
    return job
  }

  /** Files that cannot be removed now are left to the sweep. */
  const forget = async (job: Job) => {
    log.info({ ...logFieldsOf(job), event: 'removed' }, 'job removed')
    const warn = (error: unknown) =>
      log.warn({ ...logFieldsOf(job), event: 'files_not_removed', err: error }, FILES_NOT_REMOVED)
    await uploads.forget(job.id).catch(warn)
    await ahead.forget(job).catch(warn)
    await outputs.forget(job).catch(warn)
  }

  const check = async (request: NewJob, caller: Caller): Promise<Job> => {
    const { upload } = request
    const input: JobInput = upload ? { ...request.input, ...upload.files } : request.input
    checkSubmit({ ...request, input }, caller.id, { backend, webhooks })
    const reading = media.read(input, upload, caller.id)
    const { media: facts, contents } = (reading && (await reading)) ?? {}
    if (facts) checkMedia(input, facts, mediaLimits)
    const job = newJob(request, input, {
      id: newId(),
      caller: caller.id,
      backend: backend.name,
      now: now(),
      timeoutSeconds,
      runTimeoutSeconds,
      reuse: reuseResults,
      media: facts,
    })
    return withContentKey(job, { engine, contents })
  }

  /** What is known of a job that was just written; if it cannot be read now, what was written. */
  const latest = async (job: Job) => (await store.get(job.id).catch(() => undefined)) ?? job

  /** With the files that were sent ahead of it. The other fields are checked first: that takes nothing but time here. */
  const open = async (request: NewJob, caller: Caller): Promise<NewJob> => {
    const { uploadIds } = request
    if (!uploadIds) return request
    const named: JobInput = {
      ...request.input,
      ...Object.fromEntries(Object.keys(uploadIds).map((kind) => [kind, UNREAD])),
    }
    checkSubmit({ ...request, input: named }, caller.id, { backend, webhooks })
    return { ...request, upload: await ahead.open(uploadIds, caller) }
  }

  /** A job that succeeds at once takes no place of another. */
  const isExempt = async (job: Job) => job.isWaiting === true && (await reuse.find(job)) !== undefined

  const submit = async (request: NewJob, caller: Caller): Promise<Submitted> => {
    const job = await check(request, caller)
    // Before the job is stored: a crash in between leaves files without a job, which the sweep removes.
    await request.upload?.keep(job.id)
    const stored = await insert(job, { isExempt: await isExempt(job) })
    if (stored !== job) return replay(stored, job)
    return { job: job.isWaiting ? await latest(job) : job, replayed: false }
  }

  return {
    get,
    stageOf: (job) => dependencies.stages.get(job),
    estimateFinish(job, position) {
      // Nobody knows when the pause ends.
      if (queue.isPaused() && currentAttempt(job).callId === undefined) return undefined
      return dependencies.estimator.finishOf(job, position)
    },
    queuePosition(job) {
      if (job.status !== 'submitted' || job.isWaiting) return undefined
      return queue.position(entryOf(job))
    },
    async setPaused(paused, caller) {
      await queue.setPaused(paused)
      if (paused) log.warn({ event: 'jobs_paused', caller: caller.id }, JOBS_PAUSED)
      else log.info({ event: 'jobs_resumed', caller: caller.id }, 'waiting jobs start again')
    },
    async retry(id, caller) {
      const { accepted, job } = await transition(await get(id, caller), { type: 'retried', maxRetries })
      if (accepted) return job.isWaiting ? latest(job) : job
      if (job.status === 'succeeded') throw problem('job_finished', { detail: NOTHING_TO_RETRY })
      if (isFinished(job)) {
        throw problem('retry_limit_reached', {
          detail: `The job has been retried ${maxRetries} times, as often as a job may be. Submit a new one.`,
        })
      }
      throw problem('job_not_finished', {
        detail: `The job is ${job.status}; only a failed or canceled job can be retried.`,
      })
    },
    async check(unopened, caller) {
      const request = await open(unopened, caller)
      try {
        const job = await check(request, caller)
        // Of a store that is unavailable nothing is known; the submit would say so.
        const source = job.isWaiting ? await reuse.find(job).catch(() => undefined) : undefined
        if (source) return { job, estimate: {}, reusedFrom: source.reusedFrom ?? source.id }
        const estimate: SubmitEstimate = await dependencies.estimator.ofSubmit(job).catch(() => ({}))
        return { job, estimate: queue.isPaused() ? withoutStart(estimate) : estimate }
      } finally {
        await request.upload?.discard()
      }
    },
    async prepare(unopened, caller) {
      const request = await open(unopened, caller)
      try {
        const job = await check(request, caller)
        await request.upload?.keep(job.id)
        return { job, isExempt: await isExempt(job), discard: async () => request.upload?.discard() }
      } catch (error) {
        await request.upload?.discard()
        throw error
      }
    },
    async submit(unopened, caller) {
      const request = await open(unopened, caller)
      const submitted = await submit(request, caller).catch(async (error: unknown) => {
        // After an ambiguous insert the job may exist and need its files; otherwise the sweep removes them.
        const isAmbiguous = isProblem(error, 'store_unavailable') && error.isAmbiguousWrite
        if (!isAmbiguous) await request.upload?.discard()
        throw error
      })
      if (submitted.replayed) await request.upload?.discard()
      return submitted
    },
    async list(query) {
      const jobs = await store.list({ ...query, limit: query.limit + 1 })
      const last = jobs.length > query.limit ? jobs[query.limit - 1] : undefined
      return { jobs: jobs.slice(0, query.limit), ...(last && { next: { createdAt: last.createdAt, id: last.id } }) }
    },
    async remove(id, caller) {
      for (;;) {
        const job = await get(id, caller)
        if (!isFinished(job))
          throw problem('job_not_finished', { detail: `The job is ${job.status}; cancel it first.` })
        if (hasPendingStop(job))
          throw problem('job_not_finished', { detail: 'The call of the job is still being stopped.' })
        if (await store.remove(id, job.revision)) return forget(job)
      }
    },
    async logs({ id, attempt }, caller, signal) {
      return openLogs({ job: await get(id, caller), attempt }, { backend, changes, get }, signal)
    },
    async result(id, caller) {
      const job = await get(id, caller)
      if (job.outputPath !== undefined) return { ...job, outputPath: job.outputPath }
      throw noResultProblem(job)
    },
    async usage(query) {
      const range = rangeOfDays(query, now())
      if (!range) throw invalidFields([{ path: '/from', message: NO_RANGE }])
      return reportUsage((...read) => store.usageOn(...read), { ...query, ...range })
    },
    async cancel(id, caller) {
      const { accepted, job } = await transition(await get(id, caller), { type: 'canceled' })
      if (accepted || job.status === 'canceled') return job
      throw problem('job_finished', { detail: `The job has already ${job.status}.` })
    },
  }
}

/** Stands for a file that has not been looked at: its way to the backend is checked once it has. */
const UNREAD: UploadedFile = { size: 0, type: '', object: { key: '', etag: '' } }

const NO_RANGE = `must be at most ${MAX_REPORT_DAYS - 1} days before the last day, and not after it`
/** While the start of jobs is paused: what a run takes and costs, and not when it starts. */
const withoutStart = ({ runMs, cost }: SubmitEstimate): SubmitEstimate => ({
  ...(runMs !== undefined && { runMs }),
  ...(cost && { cost }),
})

const JOBS_PAUSED = 'the start of jobs is paused; submits are accepted and wait'
const NOTHING_TO_RETRY = 'The job has succeeded; there is nothing to retry.'
const FILES_NOT_REMOVED = 'removing the files of a removed job failed; the sweep will retry'

function noResultProblem(job: Job): Problem {
  if (job.status === 'failed') {
    return problem('job_failed', { detail: `The job failed (${job.errorCode ?? 'unknown'}): ${job.error ?? ''}` })
  }
  if (job.status === 'canceled') return problem('job_canceled')
  return problem('job_not_finished', { detail: `The job is ${job.status}; it has no result yet.` })
}

/** The result of a repeated submit. Throws `idempotency_key_reused` if it is another request with the same key. */
function replay(existing: Job, requested: Job): Submitted {
  if (existing.fingerprint !== requested.fingerprint) throw problem('idempotency_key_reused')
  return { job: existing, replayed: true }
}
