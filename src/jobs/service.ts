import { randomUUID } from 'node:crypto'
import type { Artifacts } from './ports/outputs.ts'
import type { Backend } from './ports/backend.ts'
import {
  ConcurrencyLimitReached,
  IdempotencyConflict,
  JobConflict,
  JobNotFound,
  QueueFull,
  RetryLimitReached,
  StoreUnavailable,
} from '../problems.ts'
import type { EventBus } from './ports/changes.ts'
import type { Upload, Uploads } from './ports/uploads.ts'
import type { Observe } from './ports/metrics.ts'
import type { JobQueue, Position } from './ports/queue.ts'
import type { JobStore, ListPosition, ListQuery } from './ports/store.ts'
import { type Caller, maySee } from './caller.ts'
import { checkSubmit, type SubmitFields } from './check-submit.ts'
import { fingerprintOf } from './idempotency.ts'
import {
  acceptedAt,
  applyEvent,
  currentAttempt,
  isFinished,
  isJobId,
  owesStop,
  type Job,
  type JobEvent,
  type JobInput,
  type NamedInput,
} from './job.ts'
import type { Log } from './log.ts'
import type { LinkSigner } from './links.ts'
import { openLogs } from './logs.ts'
import { logFieldsOf } from './trace.ts'
import { writeAndFollow } from './ambiguous-writes.ts'
import { webhookOf, withDelivery } from './webhooks/options.ts'
import type { Webhooks } from './webhooks/outbox.ts'

/** What a caller asks for. */
export type NewJob = Omit<SubmitFields, 'input'> & {
  readonly input: NamedInput
  /** Files that came with it: the service's from now on, which gives them to the job or discards them. */
  readonly upload?: Upload
  readonly version: Job['version']
  readonly metadata?: Readonly<Record<string, string>>
  /** Time from now to the job's deadline; the server's default where it is not set. */
  readonly timeoutSeconds?: number
  /** Time that a run may take from its start at the backend; the server's default where it is not set. */
  readonly runTimeoutSeconds?: number
  /** The caller's name for this submit; submitted again under it, the same request means the same job. */
  readonly idempotencyKey?: string
  /** As `readTraceparent` gives it. */
  readonly traceparent?: string
}

/** `replayed`: the job is one that an earlier submit of this idempotency key made. */
export type Submitted = { readonly job: Job; readonly replayed: boolean }

export type JobPage = { readonly jobs: Job[]; readonly next?: ListPosition }

export type ServiceParts = {
  readonly store: JobStore
  readonly queue: JobQueue
  readonly events: EventBus
  readonly backend: Pick<Backend, 'name' | 'check' | 'logs'>
  readonly artifacts: Pick<Artifacts, 'prefetch' | 'forget'>
  readonly uploads: Pick<Uploads, 'forget'>
  readonly webhooks: Pick<Webhooks, 'secretsOf' | 'check' | 'wake'>
  /** For the links of what webhooks tell. */
  readonly links: Pick<LinkSigner, 'outputUrl'>
  readonly log: Log
  /** Hears of what this service wrote. */
  readonly observe?: Observe
  readonly timeoutSeconds: number
  readonly runTimeoutSeconds?: number | undefined
  /** Unfinished jobs of one caller, beyond which its submits are refused; undefined: any number. */
  readonly maxActiveOfCaller?: number | undefined
  /** Jobs accepted but not yet at the backend, beyond which a submit is refused; undefined: any number. */
  readonly maxQueuedJobs?: number | undefined
  /** How often one job may be retried. */
  readonly maxRetries: number
  /** Makes the id of a job: a UUID (RFC 9562). */
  readonly newId?: () => string
  /** Epoch ms. */
  readonly now?: () => number
}

/** `accepted` false: the event came too late or speaks of another attempt; `job` is then as it stays. */
export type Recorded = { accepted: boolean; job: Job }

/** The verbs on jobs, and the only writer of the store. */
export type JobService = {
  /**
   * Keeps a new job and queues it, or answers with the job that its idempotency key has made already. Rejects with
   * `InvalidRequest` naming each faulty field, `WebhooksNotConfigured`, `IdempotencyConflict` (same key, another
   * request), `QueueFull`, or `ConcurrencyLimitReached`.
   */
  submit(request: NewJob, caller: Caller): Promise<Submitted>
  /** One page, newest first, with the position of its last job where more follow. */
  list(query: ListQuery): Promise<JobPage>
  /** Forgets a job that has ended; a `JobConflict` where it has not, or while its call is still being stopped. */
  remove(id: string, caller: Caller): Promise<void>
  /** Rejects with `JobNotFound`, also for another caller's job. */
  get(id: string, caller: Caller): Promise<Job>
  /** The job if it succeeded; else a `JobConflict` that says why there is no result. */
  result(id: string, caller: Caller): Promise<Job & { outputPath: string }>
  /** Ends a job now; its call is stopped in the background. Canceling twice is fine; another end is a `JobConflict`. */
  cancel(id: string, caller: Caller): Promise<Job>
  /**
   * Starts a failed or canceled job over: same id, next attempt. Rejects with `JobConflict` in any other state, with
   * `RetryLimitReached`, and at the limits of a submit as that does.
   */
  retry(id: string, caller: Caller): Promise<Job>
  /** The job's place among those held back, from 1; undefined where it is not held back. */
  queuePosition(job: Job): Position | Promise<Position>
  /** What an attempt, by default the current one, prints: see `openLogs`. */
  logs(
    wish: { readonly id: string; readonly attempt?: number | undefined },
    caller: Caller,
    signal: AbortSignal,
  ): Promise<AsyncIterable<string>>
  /** Applies an event of a runner or of the reconciler, again after a lost race, until it is accepted or refused. */
  record(id: string, event: JobEvent): Promise<Recorded>
}

export function createService(parts: ServiceParts): JobService {
  const {
    store,
    queue,
    events,
    backend,
    artifacts,
    uploads,
    webhooks,
    links,
    log,
    timeoutSeconds,
    runTimeoutSeconds,
    maxQueuedJobs,
    maxActiveOfCaller,
    maxRetries,
  } = parts
  const { newId = randomUUID, now = Date.now, observe } = parts

  const find = async (id: string, caller?: Caller): Promise<Job> => {
    const job = isJobId(id) ? await store.get(id) : undefined
    if (!job || (caller && !maySee(caller, job))) throw new JobNotFound()
    return job
  }

  const record = async (id: string, event: JobEvent): Promise<Recorded> => {
    for (;;) {
      const before = await find(id)
      const applied = applyEvent(before, event, now())
      if (!applied.accepted) return { accepted: false, job: before }
      const { job, delivery } = withDelivery(before, applied.job, { now: now(), links })
      const follow = async () => {
        observe?.({ type: 'job-changed', before, after: job, event: event.type })
        if (delivery) webhooks.wake(delivery)
        await react(before, job, event)
      }
      const write = () =>
        event.type === 'retried' ? reopen(job, before.revision) : store.update(job, before.revision, delivery)
      if (await writeAndFollow({ store, job, follow }, write)) return { accepted: true, job }
    }
  }

  const limits = { maxSubmitted: maxQueuedJobs, maxActiveOfCaller }

  const refuseBeyondLimits = (result: string) => {
    if (result === 'full') throw new QueueFull()
    if (result === 'caller-full') throw new ConcurrencyLimitReached(maxActiveOfCaller ?? 0)
  }

  /** A retry makes one job more to be done, and owes no webhook. */
  const reopen = async (job: Job, expectedRevision: number): Promise<boolean> => {
    const result = await store.reopen(job, expectedRevision, limits)
    refuseBeyondLimits(result)
    return result === 'reopened'
  }

  /** What follows from an accepted event. Each step can be lost with the process: the reconciler makes up for it. */
  const react = async (before: Job, after: Job, event: JobEvent) => {
    logChange(log, { before, after, event })
    events.publish(after)
    if (event.type === 'succeeded') artifacts.prefetch({ ...after, outputPath: event.outputPath })
    const [old, current] = [currentAttempt(before), currentAttempt(after)]
    // Other ends are recorded by the run itself, which is over then.
    const isEndedFromOutside = event.type === 'canceled' || event.type === 'expired'
    if (isEndedFromOutside) await queue.dequeue({ id: after.id, attempt: old.attempt }).catch(notHeard(after))
    if (current.attempt !== old.attempt) {
      await queue.enqueue({ id: after.id, attempt: current.attempt }).catch(notHeard(after))
    }
  }

  /** What is written is true, whether the queue hears of it or not. */
  const notHeard = (job: Job) => (error: unknown) => {
    log.warn({ job_id: job.id, err: error }, 'the queue did not hear of a job; the reconciler will tell it')
  }

  /** The job is gone whatever becomes of its files: what cannot be removed now is left to the sweep. */
  const forget = async (job: Job) => {
    log.info(logFieldsOf(job), 'job removed')
    const stays = (error: unknown) => log.warn({ ...logFieldsOf(job), err: error }, FILES_STAY)
    await uploads.forget(job.id).catch(stays)
    await artifacts.forget(job).catch(stays)
  }

  const submit = async ({ upload, ...request }: NewJob, caller: Caller): Promise<Submitted> => {
    const input: JobInput = { ...request.input, ...upload?.files }
    checkSubmit({ ...request, input }, caller.id, { backend, webhooks })
    const birth = {
      id: newId(),
      caller: caller.id,
      backend: backend.name,
      now: now(),
      timeoutSeconds,
      runTimeoutSeconds,
    }
    const job = newJob({ ...request, input }, birth)
    // Before the job is there: a crash in between leaves files of no job, which the sweep finds.
    await upload?.keep(job.id)
    let existing: Job | undefined
    const write = async () => {
      const inserted = await store.insert(job, limits)
      refuseBeyondLimits(inserted.kind)
      if (inserted.kind === 'existing') existing = inserted.job
      return existing === undefined
    }
    await writeAndFollow({ store, job, follow: () => begin(job) }, write)
    return existing ? replay(existing, job) : { job, replayed: false }
  }

  /** What follows from a new job. */
  const begin = async (job: Job) => {
    log.info({ ...logFieldsOf(job), event: 'submitted', caller: job.caller, backend: job.backend }, 'job submitted')
    observe?.({ type: 'job-submitted' })
    events.publish(job)
    await queue.enqueue({ id: job.id, attempt: 1 }).catch(notHeard(job))
  }

  return {
    record,
    get: find,
    queuePosition(job) {
      if (job.status !== 'submitted') return undefined
      return queue.position({ id: job.id, attempt: currentAttempt(job).attempt })
    },
    async retry(id, caller) {
      await find(id, caller)
      const { accepted, job } = await record(id, { type: 'retried', maxRetries })
      if (accepted) return job
      if (job.status === 'succeeded') throw new JobConflict('job_finished', NOTHING_TO_RETRY)
      if (isFinished(job)) throw new RetryLimitReached(maxRetries)
      throw new JobConflict('job_not_finished', `The job is ${job.status}; only one that has ended is retried.`)
    },
    async submit(request, caller) {
      const submitted = await submit(request, caller).catch(async (error: unknown) => {
        // A job whose insert went unanswered may be there, and needs its files; where it is not, the sweep takes them.
        const mayBeThere = error instanceof StoreUnavailable && error.isUncertain
        if (!mayBeThere) await request.upload?.discard()
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
        const job = await find(id, caller)
        if (!isFinished(job)) throw new JobConflict('job_not_finished', `The job is ${job.status}; cancel it first.`)
        if (owesStop(job)) throw new JobConflict('job_not_finished', 'The call of the job is still being stopped.')
        if (await store.remove(id, job.revision)) return forget(job)
      }
    },
    async logs({ id, attempt }, caller, signal) {
      return openLogs({ job: await find(id, caller), attempt }, { backend, events, get: find }, signal)
    },
    async result(id, caller) {
      const job = await find(id, caller)
      if (job.outputPath !== undefined) return { ...job, outputPath: job.outputPath }
      throw noResult(job)
    },
    async cancel(id, caller) {
      await find(id, caller)
      const { accepted, job } = await record(id, { type: 'canceled' })
      if (accepted || job.status === 'canceled') return job
      throw new JobConflict('job_finished', `The job has already ${job.status}.`)
    },
  }
}

const NOTHING_TO_RETRY = 'The job has succeeded; there is nothing to retry.'
const FILES_STAY = 'files of a job that was removed are still there'

function noResult(job: Job): JobConflict {
  if (job.status === 'failed') {
    return new JobConflict('job_failed', `The job failed (${job.errorCode ?? 'unknown'}): ${job.error ?? ''}`)
  }
  if (job.status === 'canceled') return new JobConflict('job_canceled', 'The job was canceled.')
  return new JobConflict('job_not_finished', `The job is ${job.status}; it has no result yet.`)
}

/** The same key with another request is a mistake of the caller's, and no job of either. */
function replay(existing: Job, asked: Job): Submitted {
  if (existing.fingerprint !== asked.fingerprint) throw new IdempotencyConflict()
  return { job: existing, replayed: true }
}

type Birth = {
  readonly id: string
  readonly caller: string
  readonly backend: Job['backend']
  readonly now: number
  readonly timeoutSeconds: number
  readonly runTimeoutSeconds: number | undefined
}

type AskedJob = Omit<NewJob, 'input' | 'upload'> & { readonly input: JobInput }

function newJob({ input, version, metadata, idempotencyKey, traceparent, ...request }: AskedJob, birth: Birth): Job {
  const webhook = webhookOf(request)
  const runTimeoutSeconds = request.runTimeoutSeconds ?? birth.runTimeoutSeconds
  const asked = {
    ...{ version, input },
    ...(metadata && { metadata }),
    timeoutSeconds: request.timeoutSeconds ?? birth.timeoutSeconds,
    ...(runTimeoutSeconds !== undefined && { runTimeoutSeconds }),
    ...(webhook && { webhook }),
  }
  return {
    id: birth.id,
    caller: birth.caller,
    backend: birth.backend,
    status: 'submitted',
    revision: 1,
    ...asked,
    ...(idempotencyKey !== undefined && { idempotencyKey, fingerprint: fingerprintOf(asked) }),
    // Not a part of what was asked for: the same request comes again in another trace.
    ...(traceparent !== undefined && { traceparent }),
    createdAt: birth.now,
    deadlineAt: birth.now + asked.timeoutSeconds * 1000,
    attempts: [{ attempt: 1 }],
  }
}

type Change = { before: Job; after: Job; event: JobEvent }

function logChange(log: Log, { before, after, event }: Change) {
  const { attempt, callId } = currentAttempt(after)
  const took = isFinished(before) ? {} : durationsOf(after)
  const fields = { ...logFieldsOf(after), event: event.type, status: after.status, attempt, call_id: callId, ...took }
  const hasFailed = after.status === 'failed' && before.status !== 'failed'
  if (hasFailed) log.warn({ ...fields, error_code: after.errorCode, error: after.error }, 'job changed')
  else log.info(fields, 'job changed')
}

/** How long a finished job took since it, or its last retry, was accepted, and since its attempt was at the backend. */
function durationsOf(job: Job) {
  const { startedAt, finishedAt } = currentAttempt(job)
  if (!isFinished(job) || finishedAt === undefined) return {}
  return {
    duration_ms: finishedAt - acceptedAt(job),
    ...(startedAt !== undefined && { run_ms: finishedAt - startedAt }),
  }
}
