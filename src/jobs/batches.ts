import { createHash, randomUUID } from 'node:crypto'
import { type FieldError, invalidFields, isProblem, MAX_FIELD_ERRORS, type Problem, problem } from '../problems.ts'
import { type Batch, NO_COUNTS, unfinishedIn } from './batch.ts'
import { type BatchStates, createBatchStates } from './batch-states.ts'
import { hasPendingStop, isFinished, isJobId, type Job, type JobStatus } from './job.ts'
import { type Caller, maySee } from './ports/access.ts'
import { batchLabel, type BatchStore, type JobStore, type ListPosition } from './ports/store.ts'
import type { JobService, PreparedJob } from './service.ts'
import type { NewJob } from './submit.ts'
import type { Subscriptions } from './subscriptions.ts'
import type { Transitions } from './transition.ts'
import { checkWebhook } from './webhooks/options.ts'
import type { Outbox } from './webhooks/outbox.ts'

/** What became of one job of a request, in the order of the request. `isExempt`: from the limits on numbers of jobs. */
export type BatchResult = { readonly jobId: string; readonly isExempt?: true } | { readonly problem: RefusedJob }
export type RefusedJob = Pick<Problem, 'code' | 'status'> & {
  readonly detail: string
  readonly errors?: readonly FieldError[]
}

/**
 * A request for a batch. `content`: all of it as text, which a repeat with its idempotency key has to equal. `onNew`: called
 * once it is no repeat, before its jobs are checked; may reject.
 */
export type BatchRequest = {
  readonly jobs: readonly (NewJob | Problem)[]
  readonly isAtomic: boolean
  readonly metadata?: Readonly<Record<string, string>>
  readonly webhookUrl?: string
  readonly idempotencyKey?: string
  readonly content: string
  onNew?(): Promise<void>
}

export type SubmittedBatch = {
  readonly batch: Batch
  readonly results: readonly BatchResult[]
  readonly replayed: boolean
}

/** What a verb did with the jobs of a batch: how many it changed, and how many had a problem. */
export type BatchOutcome = { readonly batch: Batch; readonly changed: number; readonly refused: readonly Problem[] }

export type BatchPage = { readonly batches: readonly Batch[]; readonly next?: ListPosition }

type BatchDependencies = {
  readonly store: BatchStore & Pick<JobStore, 'list'>
  readonly service: Pick<JobService, 'prepare' | 'cancel' | 'retry' | 'remove' | 'queuePosition' | 'estimateFinish'>
  readonly webhooks: Pick<Outbox, 'secretsOf' | 'check'>
  readonly subscriptions: Pick<Subscriptions, 'subscribeAll'>
  readonly insertBatch: Transitions['insertBatch']
  readonly newId?: () => string
  /** Epoch ms. */
  readonly now?: () => number
}

/** What callers can do with batches. Each of those with an id rejects with `batch_not_found`, also for another caller's. */
export type Batches = {
  /**
   * Checks all jobs, and stores those that are right as one batch; or gives back the batch that an earlier submit with its
   * idempotency key made. Rejects with `batch_rejected` if no job is right, or not all of an atomic one; with
   * `idempotency_key_reused`, `queue_full` or `concurrency_limit_reached`.
   */
  submit(request: BatchRequest, caller: Caller): Promise<SubmittedBatch>
  get(id: string, caller: Caller): Promise<Batch>
  list(query: { caller?: string; after?: ListPosition; limit: number }): Promise<BatchPage>
  /** The batch once all its jobs have finished, or as it is after `timeoutMs` or when `signal` aborts. */
  wait(known: Batch, caller: Caller, options: { timeoutMs: number; signal: AbortSignal }): Promise<Batch>
  /** The batch now and after changes, at most one state a second; ends when all its jobs have finished or `signal` aborts. */
  follow(id: string, caller: Caller, signal: AbortSignal): AsyncGenerator<Batch, void>
  estimateFinish: BatchStates['estimateFinish']
  /** Cancels the jobs that have not finished. */
  cancel(id: string, caller: Caller): Promise<BatchOutcome>
  /** Retries the jobs that have failed, each within the limits of a retry. */
  retry(id: string, caller: Caller): Promise<BatchOutcome>
  /** Deletes all jobs, and with the last one the batch. Rejects with `job_not_finished` and deletes none if one runs. */
  remove(id: string, caller: Caller): Promise<void>
}

/** Jobs that are changed at once: between two parts the event loop is free for other work. */
const JOBS_AT_ONCE = 25
/** Jobs that are checked at once: no more than have their turn to read their files in a short time. */
const CHECKED_AT_ONCE = 8
/** What is kept of the problems of jobs: errors of a job, characters of a text, and of all that they say together. */
const MAX_ERRORS = 3
const MAX_TEXT = 200
const MAX_DETAILS = 256 * 1024
/** The pauses between two reads of a batch that is waited for, and of one that is followed, in ms. */
const WAIT_PAUSE_MS = 200
const FOLLOW_PAUSE_MS = 1_000

export function createBatches(dependencies: BatchDependencies): Batches {
  const { store, service, webhooks, subscriptions, insertBatch, newId = randomUUID, now = Date.now } = dependencies

  const get = async (id: string, caller: Caller): Promise<Batch> => {
    const batch = isJobId(id) ? await store.getBatch(id) : undefined
    if (!batch || !maySee(caller, batch)) throw problem('batch_not_found')
    return batch
  }
  const states = createBatchStates({ get, store, service, subscriptions, now })

  const checkWebhookUrl = (webhookUrl: string | undefined, caller: Caller) => {
    if (webhookUrl === undefined) return
    const message = checkWebhook({ webhookUrl })[0]?.message
    if (message !== undefined) throw invalidFields([{ path: '/webhook_url', message }])
    const refused = webhooks.check(webhookUrl)
    if (refused !== undefined) throw invalidFields([{ path: '/webhook_url', message: refused }], 'url_not_allowed')
    if (webhooks.secretsOf(caller.id).length === 0) throw problem('webhooks_not_configured', { status: 400 })
  }

  /** Adds the jobs of a request, or what is wrong with them, to `prepared`: it has their files also if this rejects. */
  const prepare = async (jobs: BatchRequest['jobs'], caller: Caller, prepared: Prepared[]) => {
    for (const part of partsOf(jobs)) {
      const checked = await Promise.allSettled(
        part.map((job) => (isProblem(job) ? Promise.reject(job) : service.prepare(job, caller))),
      )
      const failed: unknown[] = []
      for (const result of checked) {
        if (result.status === 'fulfilled') prepared.push(result.value)
        else if (isProblem(result.reason) && result.reason.status < 500) prepared.push(result.reason)
        else failed.push(result.reason)
      }
      if (failed.length > 0) throw failed[0]
      await new Promise(setImmediate)
    }
  }

  /** Stores the jobs that are right. A race for the idempotency key may have made another batch. */
  const insert = async (request: BatchRequest, prepared: readonly Prepared[], batch: Batch) => {
    const { webhookUrl, isAtomic } = request
    const problems = prepared.filter((one) => isProblem(one))
    if (problems.length === prepared.length || (isAtomic && problems.length > 0)) throw rejected(prepared)
    const ref = { id: batch.id, ...(webhookUrl !== undefined && { webhookUrl }) }
    const [exempt, others] = [exemptOf(prepared, true), exemptOf(prepared, false)]
    const jobs = [...exempt, ...others].map(({ job }) => ({ ...job, batch: ref }))
    const results = JSON.stringify(resultsFor(prepared))
    return insertBatch({
      batch: { ...batch, refused: problems.length },
      jobs,
      results,
      isAtomic,
      exempt: exempt.length,
    })
  }

  /** Removes the files of jobs that were not stored. */
  const discard = async (prepared: readonly Prepared[]) => {
    for (const one of prepared) if (!isProblem(one)) await one.discard()
  }

  const submit = async (request: BatchRequest, caller: Caller): Promise<SubmittedBatch> => {
    const { metadata, webhookUrl, idempotencyKey } = request
    checkWebhookUrl(webhookUrl, caller)
    const fingerprint = createHash('sha256').update(request.content).digest('hex')
    const known = idempotencyKey === undefined ? undefined : await store.findBatch(caller.id, idempotencyKey)
    if (known) return replay(known, fingerprint)
    await request.onNew?.()
    const batch: Batch = {
      id: newId(),
      caller: caller.id,
      createdAt: now(),
      ...(metadata && { metadata }),
      ...(webhookUrl !== undefined && { webhookUrl }),
      ...(idempotencyKey !== undefined && { idempotencyKey, fingerprint }),
      refused: 0,
      counts: NO_COUNTS,
      stored: 0,
      usage: { queuedMs: 0, startupMs: 0, runMs: 0 },
      nanos: {},
    }
    const prepared: Prepared[] = []
    const inserting = prepare(request.jobs, caller, prepared).then(() => insert(request, prepared, batch))
    const stored = await inserting.catch(async (error: unknown) => {
      // After an ambiguous write the batch may exist and need the files; otherwise the sweep removes them.
      const isAmbiguous = isProblem(error, 'store_unavailable') && error.isAmbiguousWrite
      if (!isAmbiguous) await discard(prepared)
      throw error
    })
    const results = stored.batch.id === batch.id ? resultsOf(stored) : []
    await discard(prepared.filter((_, n) => !results[n] || 'problem' in results[n]))
    if (stored.batch.id !== batch.id) return replay(stored, fingerprint)
    // Some may have got the output of an identical job already.
    const isWaiting = prepared.some((one) => !isProblem(one) && one.job.isWaiting)
    const latest = isWaiting ? await store.getBatch(batch.id).catch(() => undefined) : undefined
    return { batch: latest ?? stored.batch, results, replayed: false }
  }

  /** The jobs of a batch, page by page. */
  async function* jobsOf({ id, caller }: Batch, statuses?: readonly JobStatus[]): AsyncGenerator<Job[]> {
    for (let after: ListPosition | undefined; ;) {
      const query = { caller, statuses, labels: [batchLabel(id)], limit: JOBS_AT_ONCE }
      const jobs = await store.list({ ...query, ...(after && { after }) })
      yield jobs
      const last = jobs.at(-1)
      if (!last || jobs.length < JOBS_AT_ONCE) return
      after = last
    }
  }

  /** Applies a verb to jobs of a batch. A job that has changed meanwhile, or reached a limit, is counted as refused. */
  const change = async (id: string, caller: Caller, { statuses, verb }: Change): Promise<BatchOutcome> => {
    const batch = await get(id, caller)
    const refused: Problem[] = []
    let changed = 0
    for await (const jobs of jobsOf(batch, statuses)) {
      const results = await Promise.allSettled(jobs.map((job) => verb(job.id, caller)))
      for (const result of results) {
        if (result.status === 'fulfilled') changed++
        else if (isProblem(result.reason) && result.reason.code !== 'store_unavailable') refused.push(result.reason)
        else throw result.reason
      }
    }
    return { batch: await get(id, caller), changed, refused }
  }

  return {
    submit,
    get,
    async list(query) {
      const batches = await store.listBatches({ ...query, limit: query.limit + 1 })
      const last = batches.length > query.limit ? batches[query.limit - 1] : undefined
      return {
        batches: batches.slice(0, query.limit),
        ...(last && { next: { createdAt: last.createdAt, id: last.id } }),
      }
    },
    cancel: (id, caller) => change(id, caller, { statuses: ['submitted', 'running'], verb: service.cancel }),
    retry: (id, caller) => change(id, caller, { statuses: ['failed'], verb: service.retry }),
    async remove(id, caller) {
      const batch = await get(id, caller)
      for await (const jobs of jobsOf(batch)) {
        if (jobs.some((job) => !isFinished(job) || hasPendingStop(job))) {
          throw problem('job_not_finished', {
            detail: 'A job of the batch has not finished, or is still being stopped.',
          })
        }
      }
      for await (const jobs of jobsOf(batch)) {
        for (const job of jobs) {
          await service.remove(job.id, caller).catch((error: unknown) => {
            if (!isProblem(error, 'job_not_found')) throw error
          })
        }
      }
    },
    async wait(known, caller, { timeoutMs, signal }) {
      if (unfinishedIn(known.counts) === 0) return known
      const ended = new AbortController()
      const timer = setTimeout(() => ended.abort(), timeoutMs)
      const stop = AbortSignal.any([signal, ended.signal])
      let batch = known
      try {
        const options = { signal: stop, pauseMs: WAIT_PAUSE_MS, onlyEnds: true }
        for await (const state of states.follow(known.id, caller, options)) batch = state
        return batch
      } finally {
        clearTimeout(timer)
      }
    },
    follow: (id, caller, signal) => states.follow(id, caller, { signal, pauseMs: FOLLOW_PAUSE_MS }),
    estimateFinish: states.estimateFinish,
  }
}

type Change = {
  readonly statuses: readonly JobStatus[]
  readonly verb: (id: string, caller: Caller) => Promise<unknown>
}

/** A job of a request, or what is wrong with it. */
type Prepared = PreparedJob | Problem

function* partsOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let n = 0; n < all.length; n += CHECKED_AT_ONCE) yield all.slice(n, n + CHECKED_AT_ONCE)
}

const exemptOf = (prepared: readonly Prepared[], isExempt: boolean) =>
  prepared.flatMap((one) => (isProblem(one) || one.isExempt !== isExempt ? [] : [one]))

const cut = (text: string) => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1).toWellFormed()}…` : text)

const refusedJob = ({ code, status, message, errors }: Problem): RefusedJob => ({
  code,
  status,
  detail: cut(message),
  ...(errors && {
    errors: errors.slice(0, MAX_ERRORS).map(({ path, message }) => ({ path: cut(path), message: cut(message) })),
  }),
})

/** What becomes of the jobs if the limits allow all: it is stored, so that it has only so much of what is wrong with them. */
function resultsFor(prepared: readonly Prepared[]): BatchResult[] {
  let room = MAX_DETAILS
  return prepared.map((one) => {
    if (!isProblem(one)) return { jobId: one.job.id, ...(one.isExempt && { isExempt: true }) }
    const refused = refusedJob(one)
    room -= JSON.stringify(refused).length
    return { problem: room > 0 ? refused : { code: one.code, status: one.status, detail: TOO_MANY_ERRORS } }
  })
}

const TOO_MANY_ERRORS = 'The jobs of the batch have too many errors to name those of all.'

/** All that is wrong with the jobs, each error with the place of its job. */
function rejected(prepared: readonly Prepared[]): Problem {
  const errors = prepared.flatMap((one, n) => {
    if (!isProblem(one)) return []
    const found = one.errors ?? [{ path: '', message: one.message }]
    return found.map(({ path, message }) => ({ path: `/jobs/${n}${path}`, message }))
  })
  return problem('batch_rejected', { errors: errors.slice(0, MAX_FIELD_ERRORS) })
}

/** What became of each job: of those that are right the limits may have refused the last ones. */
function resultsOf({ batch, results }: { batch: Batch; results: string }): BatchResult[] {
  const all = JSON.parse(results) as BatchResult[]
  const isExempt = (result: BatchResult) => 'isExempt' in result
  const accepted = Object.values(batch.counts).reduce((sum, count) => sum + count, 0)
  let room = accepted - all.filter(isExempt).length
  return all.map((result) => {
    if ('problem' in result || isExempt(result) || room-- > 0) return result
    return {
      problem: refusedJob(
        problem('queue_full', { detail: 'The limits on numbers of jobs allow no more of the batch.' }),
      ),
    }
  })
}

function replay(known: { batch: Batch; results: string }, fingerprint: string): SubmittedBatch {
  if (known.batch.fingerprint !== fingerprint) throw problem('idempotency_key_reused')
  return { batch: known.batch, results: resultsOf(known), replayed: true }
}
