import { reduceKnownUrls } from '../lib/reduce-urls.ts'

/**
 * The states of a job:
 *
 *   submitted   accepted; the backend does not have the call yet
 *   running     the backend has the call (its own queue and cold start count as running)
 *   succeeded | failed | canceled   finished; only an explicit retry leaves these
 *
 * Only `applyEvent` moves a job. It is pure: `transition.ts` writes what it returns.
 */
export const JOB_STATUSES = ['submitted', 'running', 'succeeded', 'failed', 'canceled'] as const
export type JobStatus = (typeof JOB_STATUSES)[number]
export type BackendName = 'modal' | 'local'
/** Why a backend is degraded, as `/readyz` and the metrics name it. */
export const DEGRADED_REASONS = ['spend_limit', 'throttled', 'unreachable', 'credentials'] as const
export type DegradedReason = (typeof DEGRADED_REASONS)[number]
export type ModelVersion = 'v15' | 'v1'

/** Why a job failed. The README says what each means to a caller. */
export const ERROR_CODES = [
  ...(['inference_failed', 'timed_out', 'input_unavailable', 'backend_unavailable'] as const),
  ...(['backend_rejected', 'lost', 'invalid_output'] as const),
] as const
export type ErrorCode = (typeof ERROR_CODES)[number]

/** What a file that comes with a submit is: a face (`video`, `image`) or the speech. */
export const FILE_KINDS = ['video', 'image', 'audio'] as const
export type FileKind = (typeof FILE_KINDS)[number]

/** A file that came with the submit. `type` is its MIME type by content; where it is kept follows from the job's id. */
export type UploadedFile = { readonly size: number; readonly type: string; readonly sha256: string }

/** Face and speech by name. */
export type NamedInput = {
  readonly video_url?: string
  readonly image_url?: string
  readonly video_path?: string
  readonly audio_url?: string
  readonly audio_path?: string
}

/** The face and the speech as the caller gave them: exactly one of each, by name or as a file. */
export type JobInput = NamedInput & Readonly<Partial<Record<FileKind, UploadedFile>>>

/** The part of an input that is given by name. */
export function namedInputOf(input: JobInput): NamedInput {
  const { video, image, audio, ...named } = input
  return named
}

/** The events that a webhook can report, in the order in which they happen. */
export const WEBHOOK_EVENTS = ['job.running', 'job.succeeded', 'job.failed', 'job.canceled'] as const
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number]

/** Where a job's webhooks go. `events`: which ones, never empty, in the order of `WEBHOOK_EVENTS`. */
export type Webhook = { readonly url: string; readonly events: readonly WebhookEvent[] }

/** One run at the backend. `stop` is the durable intent to stop a call that is not needed any more. Times are epoch ms. */
export type Attempt = {
  readonly attempt: number
  readonly callId?: string
  /** When the backend took the call. */
  readonly startedAt?: number
  /** When the run left the backend's own queue, where the backend says so before the end. */
  readonly runStartedAt?: number
  readonly finishedAt?: number
  readonly outcome?: 'succeeded' | 'failed' | 'canceled' | 'interrupted'
  readonly error?: string
  readonly errorCode?: ErrorCode
  /** `owed` is how earlier releases wrote `pending`. */
  readonly stop?: 'pending' | 'owed' | 'done'
}

/** A job as it is stored. Times are epoch ms; `revision` counts accepted events and is the compare-and-set counter. */
export type Job = {
  readonly id: string
  readonly caller: string
  readonly backend: BackendName
  readonly status: JobStatus
  readonly revision: number
  readonly version: ModelVersion
  readonly input: JobInput
  readonly metadata?: Readonly<Record<string, string>>
  /** The caller's key of the submit, and the digest of its content: the same key again means the same job. */
  readonly idempotencyKey?: string
  readonly fingerprint?: string
  readonly createdAt: number
  readonly startedAt?: number
  readonly finishedAt?: number
  /** Time from acceptance, or from a retry, to the deadline. */
  readonly timeoutSeconds: number
  readonly deadlineAt: number
  /** Time that a run may take from its start at the backend, where the start is known; undefined: any. */
  readonly runTimeoutSeconds?: number
  readonly outputPath?: string
  /** The function's own id for the run, under which Modal keeps the output; not our job id. */
  readonly runId?: string
  readonly error?: string
  readonly errorCode?: ErrorCode
  /** The attempt that the last retry began with: automatic attempts are counted from it. */
  readonly firstAttempt?: number
  /** How often the job has been retried. */
  readonly retries?: number
  readonly webhook?: Webhook
  /** The trace of its submit (W3C Trace Context, version 00), which its log lines and webhooks carry on. */
  readonly traceparent?: string
  /** How many deliveries the job has had, which is the number of the last one. */
  readonly deliveryCount?: number
  /** The first and the last `ATTEMPTS_KEPT` of all: never empty; the last is the current one. */
  readonly attempts: readonly Attempt[]
}

/** What can happen to a job. Events of a runner name their attempt. */
export type JobEvent =
  | { type: 'spawned'; attempt: number; callId: string }
  /** The run of the attempt's call has started, at this time. */
  | { type: 'started'; attempt: number; at: number }
  | { type: 'succeeded'; attempt: number; outputPath: string; runId?: string }
  | { type: 'failed'; attempt: number; code: ErrorCode; error: string }
  /** The backend lost the run, and the input is not the cause: it runs again, in up to `maxAttempts` attempts. */
  | { type: 'interrupted'; attempt: number; error: string; maxAttempts: number }
  | { type: 'canceled' }
  | { type: 'expired' }
  /** `maxRetries`: how often one job may be; undefined: any number of times. */
  | { type: 'retried'; maxRetries?: number }
  /** The backend started a call after its attempt had finished: recorded so that the call is stopped for certain. */
  | { type: 'orphaned'; attempt: number; callId: string }
  /** The backend confirmed that the attempt's call runs no more. */
  | { type: 'stopped'; attempt: number }

export type Applied = { accepted: true; job: Job } | { accepted: false; reason: string }

/** The most characters of an `error`; what is beyond is cut. */
export const ERROR_MAX_LENGTH = 2000

/** How many of a job's first and of its last attempts are kept; those in between only while their stop is pending. */
export const ATTEMPTS_KEPT = 20

/** Which events each state takes. `orphaned` and `stopped` are bookkeeping on one attempt and move no state. */
const TRANSITIONS: Readonly<Record<JobStatus, readonly JobEvent['type'][]>> = {
  submitted: ['spawned', 'failed', 'canceled', 'expired', 'orphaned', 'stopped'],
  running: ['spawned', 'started', 'succeeded', 'failed', 'interrupted', 'canceled', 'expired', 'orphaned', 'stopped'],
  succeeded: ['orphaned', 'stopped'],
  failed: ['retried', 'orphaned', 'stopped'],
  canceled: ['retried', 'orphaned', 'stopped'],
}

/** The form of a job id: a UUID as this server writes it. */
export const isJobId = (text: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)

export const isFinished = (job: Job): boolean => job.status !== 'submitted' && job.status !== 'running'
export const isOverdue = (job: Job, now: number): boolean => !isFinished(job) && expiresAt(job) <= now
export const isStopPending = ({ stop }: Attempt): boolean => stop === 'pending' || stop === 'owed'
export const hasPendingStop = (job: Job): boolean => job.attempts.some(isStopPending)

/** How many attempts between the first and the last ones are not kept. */
export const omittedAttempts = (job: Job): number => currentAttempt(job).attempt - job.attempts.length

/** When the job expires: at its deadline, or earlier at the time limit of its run. Epoch ms. */
export const expiresAt = (job: Job): number => Math.min(job.deadlineAt, runExpiresAt(job))

function runExpiresAt(job: Job): number {
  const { runStartedAt = Infinity } = currentAttempt(job)
  return runStartedAt + (job.runTimeoutSeconds ?? Infinity) * 1000
}

/** When the job, or its last retry, was accepted. Epoch ms. */
export const acceptedAt = ({ deadlineAt, timeoutSeconds }: Job): number => deadlineAt - timeoutSeconds * 1000

/** A text about a job without the paths and queries of its URLs, which may be secret. */
export const withoutInputPaths = ({ input }: Job, text: string): string =>
  reduceKnownUrls(
    text,
    [input.video_url, input.image_url, input.audio_url].filter((url) => url !== undefined),
  )

/** The current attempt is the last one. */
export function currentAttempt(job: Job): Attempt {
  const last = job.attempts.at(-1)
  if (!last) throw new Error(`job ${job.id} has no attempt`)
  return last
}

/** Applies one event to a job. Pure; `now` in epoch ms. A refusal says why and changes nothing. */
export function applyEvent(job: Job, event: JobEvent, now: number): Applied {
  const refusal = refuse(job, event, now)
  if (refusal) return { accepted: false, reason: refusal }
  return { accepted: true, job: { ...withoutOldAttempts(move(job, event, now)), revision: job.revision + 1 } }
}

/** Every write contains all attempts, and retries add them without end. */
function withoutOldAttempts(job: Job): Job {
  const { attempts } = job
  if (attempts.length <= 2 * ATTEMPTS_KEPT) return job
  const isKept = (attempt: Attempt, index: number) =>
    index < ATTEMPTS_KEPT || index >= attempts.length - ATTEMPTS_KEPT || isStopPending(attempt)
  return { ...job, attempts: attempts.filter(isKept) }
}

function refuse(job: Job, event: JobEvent, now: number): string | undefined {
  if (!TRANSITIONS[job.status].includes(event.type)) return `a ${job.status} job takes no '${event.type}'`
  switch (event.type) {
    case 'spawned':
      if (currentAttempt(job).callId !== undefined) return `attempt ${event.attempt} already has a call`
      return refuseOtherAttempt(job, event.attempt)
    case 'started':
      if (currentAttempt(job).runStartedAt !== undefined) return `attempt ${event.attempt} has started already`
      return refuseOtherAttempt(job, event.attempt)
    case 'succeeded':
    case 'interrupted':
      if (currentAttempt(job).callId === undefined) return `attempt ${event.attempt} has no call yet`
      return refuseOtherAttempt(job, event.attempt)
    case 'failed':
      return refuseOtherAttempt(job, event.attempt)
    case 'orphaned': {
      const attempt = findAttempt(job, event.attempt)
      if (!attempt || attempt.callId !== undefined) return `attempt ${event.attempt} cannot take a late call`
      return attempt.finishedAt === undefined ? `attempt ${event.attempt} has not ended` : undefined
    }
    case 'stopped':
      return job.attempts.some((attempt) => attempt.attempt === event.attempt && isStopPending(attempt))
        ? undefined
        : `attempt ${event.attempt} has no pending stop`
    case 'expired':
      return expiresAt(job) <= now ? undefined : 'the deadline has not passed'
    case 'retried':
      return (job.retries ?? 0) < (event.maxRetries ?? Infinity) ? undefined : 'the job has been retried too often'
    case 'canceled':
      return undefined
    default:
      return event satisfies never
  }
}

const findAttempt = (job: Job, attempt: number) => job.attempts.find((candidate) => candidate.attempt === attempt)

const refuseOtherAttempt = (job: Job, attempt: number) =>
  currentAttempt(job).attempt === attempt ? undefined : `attempt ${attempt} is not the current one`

function move(job: Job, event: JobEvent, now: number): Job {
  switch (event.type) {
    case 'spawned': {
      const started = changeAttempt(job, event.attempt, { callId: event.callId, startedAt: now })
      return { ...started, status: 'running', startedAt: job.startedAt ?? now }
    }
    case 'started':
      // The backend's clock may be ahead of ours.
      return changeAttempt(job, event.attempt, { runStartedAt: Math.min(event.at, now) })
    case 'succeeded': {
      const { outputPath, runId } = event
      const ended = finish(job, 'succeeded', now)
      return { ...ended, outputPath, ...(runId !== undefined && { runId }) }
    }
    case 'failed':
      return fail(job, event.code, event.error, now)
    case 'interrupted':
      return interrupt(job, event, now)
    case 'canceled':
      return finish(job, 'canceled', now)
    case 'expired':
      return expire(job, now)
    case 'retried':
      return retry(job, now)
    case 'orphaned':
      return changeAttempt(job, event.attempt, { callId: event.callId, stop: 'pending' })
    case 'stopped':
      return changeAttempt(job, event.attempt, { stop: 'done' })
    default:
      return event satisfies never
  }
}

const changeAttempt = (job: Job, attempt: number, change: Partial<Attempt>): Job => ({
  ...job,
  attempts: job.attempts.map((candidate) => (candidate.attempt === attempt ? { ...candidate, ...change } : candidate)),
})

const changeCurrent = (job: Job, change: Partial<Attempt>) => changeAttempt(job, currentAttempt(job).attempt, change)

/** Finishes the job and its attempt. The stop of a call is pending unless the backend reported its end. */
function finish(job: Job, status: 'succeeded' | 'failed' | 'canceled', now: number): Job {
  const { callId } = currentAttempt(job)
  const ended = changeCurrent(job, {
    finishedAt: now,
    outcome: status,
    ...(status === 'canceled' && callId !== undefined && { stop: 'pending' }),
  })
  return { ...ended, status, finishedAt: now }
}

function fail(job: Job, errorCode: ErrorCode, message: string, now: number): Job {
  const error = errorOf(job, message)
  return { ...changeCurrent(finish(job, 'failed', now), { error, errorCode }), error, errorCode }
}

/** A job's error is never empty, has URLs reduced to their host, and is bounded. */
const errorOf = (job: Job, message: string): string =>
  withoutInputPaths(job, message.slice(0, 10 * ERROR_MAX_LENGTH))
    .trim()
    .slice(0, ERROR_MAX_LENGTH) || 'The backend gave no reason.'

function interrupt(job: Job, event: JobEvent & { type: 'interrupted' }, now: number): Job {
  // An input that crashes its container would do so again, after as long.
  if (runExpiresAt(job) <= now) return fail(job, 'timed_out', describeExpiry(job), now)
  const attemptsMade = event.attempt - (job.firstAttempt ?? 1) + 1
  if (attemptsMade >= event.maxAttempts) return fail(job, 'backend_unavailable', event.error, now)
  const ended = changeCurrent(job, {
    finishedAt: now,
    outcome: 'interrupted',
    error: errorOf(job, event.error),
  })
  return { ...ended, attempts: [...ended.attempts, { attempt: event.attempt + 1 }] }
}

function expire(job: Job, now: number): Job {
  if (job.attempts.every((attempt) => attempt.callId === undefined)) {
    return fail(job, 'backend_unavailable', 'The backend did not take the job before its deadline.', now)
  }
  const failed = fail(job, 'timed_out', describeExpiry(job), now)
  return currentAttempt(job).callId === undefined ? failed : changeCurrent(failed, { stop: 'pending' })
}

/** Which time limit was reached, and whether the run had started by then. */
function describeExpiry(job: Job): string {
  const { attempt, callId, runStartedAt } = currentAttempt(job)
  if (runStartedAt !== undefined) {
    const started = `The run started at ${new Date(runStartedAt).toISOString()}`
    return runExpiresAt(job) < job.deadlineAt
      ? `${started} and did not end within its run_timeout_seconds (${job.runTimeoutSeconds}).`
      : `${started} and did not end before the job's deadline.`
  }
  if (callId === undefined) return `The backend did not take attempt ${attempt} before the job's deadline.`
  return 'The job did not end before its deadline; its run is not known to have started.'
}

function retry(job: Job, now: number): Job {
  const { error, errorCode, startedAt, finishedAt, ...kept } = job
  const firstAttempt = currentAttempt(job).attempt + 1
  const attempts = [...job.attempts, { attempt: firstAttempt }]
  const retries = (job.retries ?? 0) + 1
  return { ...kept, status: 'submitted', deadlineAt: now + job.timeoutSeconds * 1000, firstAttempt, retries, attempts }
}
