import type { MediaFacts, MediaRole } from '../media/facts.ts'
import { reduceKnownUrls } from '../net/url-rule.ts'

/**
 * The states of a job:
 *
 *   submitted   accepted; the backend does not have the call yet
 *   running     the backend has taken a call (its own queue and cold start count); also between two attempts
 *   succeeded | failed | canceled   finished; only an explicit retry leaves these
 *
 * Only `applyEvent` (`apply-event.ts`) moves a job; `transition.ts` writes what it returns.
 */
export const JOB_STATUSES = ['submitted', 'running', 'succeeded', 'failed', 'canceled'] as const
export type JobStatus = (typeof JOB_STATUSES)[number]
export const BACKEND_NAMES = ['modal', 'local'] as const
/** Where a running job is at its backend: in its queue, in a container that starts, or in its run. */
export const JOB_STAGES = ['queued', 'starting', 'running'] as const
export type JobStage = (typeof JOB_STAGES)[number]
/** `since`: epoch ms. */
export type StageState = { readonly stage: JobStage; readonly since: number }
export type BackendName = (typeof BACKEND_NAMES)[number]
/** Why a backend is degraded, as `/readyz` and the metrics name it. */
export const DEGRADED_REASONS = ['spend_limit', 'throttled', 'unreachable', 'credentials'] as const
export type DegradedReason = (typeof DEGRADED_REASONS)[number]
/** What is known of the deployed function, as `/readyz` names it. */
export const FUNCTION_STATES = ['ok', 'missing', 'incompatible'] as const
export type FunctionState = (typeof FUNCTION_STATES)[number]
export const MODEL_VERSIONS = ['v15', 'v1'] as const
export type ModelVersion = (typeof MODEL_VERSIONS)[number]

/** Why a job failed; docs/api.md explains each. */
export const ERROR_CODES = [
  'inference_failed',
  'timed_out',
  'input_unavailable',
  'invalid_media',
  'face_not_found',
  'backend_unavailable',
  'backend_rejected',
  'lost',
  'invalid_output',
] as const
export type ErrorCode = (typeof ERROR_CODES)[number]

/** The kinds of files of a submit: a face (`video`, `image`) or the speech. */
export const FILE_KINDS = ['video', 'image', 'audio'] as const
export type FileKind = (typeof FILE_KINDS)[number]

/**
 * A file that was uploaded with the submit or ahead of it. `type`: its MIME type, detected by content. `sha256`: of a file
 * that came to this server. `object`: the file is in the bucket, as it was when the job was accepted.
 */
export type UploadedFile = {
  readonly size: number
  readonly type: string
  readonly sha256?: string
  readonly uploadId?: string
  readonly object?: StoredObject
}

/** An object in a bucket. `etag` changes with its content; `version`: only of a bucket that keeps versions. */
export type StoredObject = { readonly key: string; readonly etag: string; readonly version?: string }

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

/** What was known of face and speech when the job was accepted. Of what is absent nothing was known. */
export type JobMedia = Readonly<Partial<Record<MediaRole, MediaFacts>>>

/** The part of an input that is given by name. */
export function namedInputOf(input: JobInput): NamedInput {
  const { video, image, audio, ...named } = input
  return named
}

/** How MuseTalk makes the video. Names and ranges are those of the deployed function (docs/function.md). */
export type RunParameters = {
  readonly bbox_shift?: number
  readonly extra_margin?: number
  readonly parsing_mode?: 'jaw' | 'raw' | 'neck'
  readonly left_cheek_width?: number
  readonly right_cheek_width?: number
  readonly batch_size?: number
  readonly fps?: number
  readonly use_float16?: boolean
}
export type ParameterName = keyof RunParameters

/** Every parameter, and the only model that has it; `any`: both have it. */
export const PARAMETERS: Readonly<Record<ParameterName, ModelVersion | 'any'>> = {
  bbox_shift: 'v1',
  extra_margin: 'v15',
  parsing_mode: 'v15',
  left_cheek_width: 'v15',
  right_cheek_width: 'v15',
  batch_size: 'any',
  fps: 'any',
  use_float16: 'any',
}
export const PARAMETER_NAMES = Object.keys(PARAMETERS) as ParameterName[]

/** The parameters that are set. */
export const parametersIn = (parameters: RunParameters = {}): ParameterName[] =>
  PARAMETER_NAMES.filter((name) => parameters[name] !== undefined)

/** How urgent a job is among those of its caller, the most urgent first. */
export const PRIORITIES = ['high', 'normal', 'low'] as const
export type Priority = (typeof PRIORITIES)[number]

/** The events of webhooks, in the order in which they happen. */
export const WEBHOOK_EVENTS = ['job.running', 'job.succeeded', 'job.failed', 'job.canceled', 'job.delivered'] as const
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number]

/** The event of a batch whose jobs have all finished. */
export const BATCH_EVENT = 'batch.finished'

/** Where a job's webhooks go. `events`: which ones, never empty, in the order of `WEBHOOK_EVENTS`. */
export type Webhook = { readonly url: string; readonly events: readonly WebhookEvent[] }

/** Where the output is to be sent: a presigned URL, which is a secret. */
export type OutputTarget = { readonly putUrl: string }

/** How a delivery of the output ended last; a failed one may be requested again. */
export const SETTLED_STATES = ['delivered', 'failed'] as const
/** `at`: epoch ms. */
export type SettledDelivery = { readonly state: (typeof SETTLED_STATES)[number]; readonly at: number }

/**
 * How long an attempt took at its backend, in whole ms: in its queue, in the start of a container or the fetch of inputs,
 * and in its run. What the backend does not say is absent; a start that it does not report separately is part of `queuedMs`.
 */
export type RunTimes = { readonly queuedMs?: number; readonly startupMs?: number; readonly runMs?: number }

/** `amount`: a decimal with two to nine digits after the point. `currency`: by ISO 4217. */
export type Cost = { readonly amount: string; readonly currency: string }

/** One run at the backend. `stop`: the durable intent to stop a call that is no longer needed. Times are epoch ms. */
export type Attempt = {
  readonly attempt: number
  readonly callId?: string
  /** When the backend took the call. */
  readonly startedAt?: number
  /** When the run left the backend's own queue, if the backend reports it before the end. */
  readonly runStartedAt?: number
  readonly finishedAt?: number
  readonly outcome?: 'succeeded' | 'failed' | 'canceled' | 'interrupted'
  readonly error?: string
  readonly errorCode?: ErrorCode
  /** Since its end. The cost is that of the price at this time. */
  readonly usage?: RunTimes
  readonly cost?: Cost
  /** `owed`: `pending`, as earlier releases wrote it. */
  readonly stop?: 'pending' | 'owed' | 'done'
}

/**
 * What a caller asks for, with the server's defaults. Jobs keep it as it is, and a submit that repeats an idempotency key
 * has to be equal in all of it.
 */
export type JobRequest = {
  readonly version: ModelVersion
  readonly input: JobInput
  readonly parameters?: RunParameters
  readonly metadata?: Readonly<Record<string, string>>
  /** Time from acceptance, or from a retry, to the deadline. */
  readonly timeoutSeconds: number
  /** Maximum duration of a run from its start at the backend, if the start is known. Undefined: no limit. */
  readonly runTimeoutSeconds?: number
  /** Absent: normal. */
  readonly priority?: Priority
  /** Whether the output of an identical job will do. */
  readonly reuse?: boolean
  readonly webhook?: Webhook
  readonly output?: OutputTarget
}

/** The options of a request for the backend, without face and speech. */
export type RunOptions = Pick<JobRequest, 'version' | 'parameters'>
export const runOptionsOf = ({ version, parameters }: JobRequest): RunOptions => ({
  version,
  ...(parameters && { parameters }),
})

/** A job as it is stored. Times are epoch ms; `revision` counts accepted events and is the compare-and-set counter. */
export type Job = JobRequest & {
  readonly id: string
  readonly caller: string
  readonly backend: BackendName
  readonly status: JobStatus
  readonly revision: number
  /** The caller's key of the submit, and the digest of its content: the same key again means the same job. */
  readonly idempotencyKey?: string
  readonly fingerprint?: string
  /** The batch with which it was submitted, and where that reports its end. */
  readonly batch?: { readonly id: string; readonly webhookUrl?: string }
  readonly createdAt: number
  readonly startedAt?: number
  readonly finishedAt?: number
  readonly deadlineAt: number
  readonly outputPath?: string
  /** How the delivery to the `output` of the request ended. */
  readonly delivery?: SettledDelivery
  /** The function's own id for the run, under which Modal keeps the output; not our job id. */
  readonly runId?: string
  readonly error?: string
  readonly errorCode?: ErrorCode
  /** The first attempt after the last retry: automatic attempts are counted from it. */
  readonly firstAttempt?: number
  /** How often the job has been retried. */
  readonly retries?: number
  readonly media?: JobMedia
  /** The same for all jobs of the caller that make the same video, see `contentKeyOf`; absent if that is not known. */
  readonly contentKey?: string
  /** It is not to run as long as an identical job may provide its output. */
  readonly isWaiting?: boolean
  /** The job whose run made the output; it may have been removed since. */
  readonly reusedFrom?: string
  /** The trace of its submit (W3C Trace Context, version 00), which its log lines and webhooks carry on. */
  readonly traceparent?: string
  /** The `tracestate` that came with it. */
  readonly tracestate?: string
  /** The number of deliveries of the job, and so the number of the last one. */
  readonly deliveryCount?: number
  /** The first and the last `ATTEMPTS_KEPT` of all: never empty; the last is the current one. */
  readonly attempts: readonly Attempt[]
  /** The sums over the attempts that are not kept. */
  readonly omitted?: { readonly usage: RunTimes; readonly costs: readonly Cost[] }
}

/** An event in the life of a job. Events of a runner have their attempt. `times`: as the backend has measured them. */
export type JobEvent =
  | { type: 'spawned'; attempt: number; callId: string }
  /** No identical job in flight can provide the output: the job has to run. */
  | { type: 'released'; attempt: number }
  /** The output of an identical job, made by the run of the job `from`. */
  | { type: 'reused'; attempt: number; from: string; outputPath: string; runId?: string }
  /** The run of the attempt's call has started, at this time. */
  | { type: 'started'; attempt: number; at: number }
  | { type: 'succeeded'; attempt: number; outputPath: string; runId?: string; times?: RunTimes }
  | { type: 'failed'; attempt: number; code: ErrorCode; error: string; times?: RunTimes }
  /** The backend lost the run, not because of the input: the job runs again, in up to `maxAttempts` attempts. */
  | { type: 'interrupted'; attempt: number; error: string; maxAttempts: number; times?: RunTimes }
  | { type: 'canceled' }
  | { type: 'expired' }
  /** `maxRetries`: maximum retries of one job; undefined: no limit. */
  | { type: 'retried'; maxRetries?: number }
  /** The backend started a call after its attempt had finished: recorded so that the call is stopped. */
  | { type: 'orphaned'; attempt: number; callId: string }
  /** The backend confirmed that the attempt's call no longer runs. */
  | { type: 'stopped'; attempt: number }
  /** The output is at the URL of the request. */
  | { type: 'delivered' }
  /** The last scheduled attempt to send it there failed. */
  | { type: 'undelivered' }

/** The number of first and of last attempts that are kept; those in between are kept only while their stop is pending. */
export const ATTEMPTS_KEPT = 20

/** The form of a job id: a UUID as this server writes it. */
export const isJobId = (text: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)

export const isFinished = (job: Job): boolean => job.status !== 'submitted' && job.status !== 'running'
/** Whether the job has finished, and its output is delivered, or will not be by itself. */
export const isSettled = (job: Job): boolean =>
  isFinished(job) && (job.status !== 'succeeded' || job.output === undefined || job.delivery !== undefined)
export const isOverdue = (job: Job, now: number): boolean => !isFinished(job) && expiresAt(job) <= now
export const isStopPending = ({ stop }: Attempt): boolean => stop === 'pending' || stop === 'owed'
export const hasPendingStop = (job: Job): boolean => job.attempts.some(isStopPending)

/** The number of attempts that are not kept. */
export const omittedAttempts = (job: Job): number => currentAttempt(job).attempt - job.attempts.length

/** When the job expires: at its deadline, or earlier at the time limit of its run. Epoch ms. */
export const expiresAt = (job: Job): number => Math.min(job.deadlineAt, runExpiresAt(job))

/** When the run of the current attempt expires, in epoch ms; Infinity if it has not started or has no time limit. */
export function runExpiresAt(job: Job): number {
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
