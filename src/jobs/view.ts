import {
  type Attempt,
  type Job,
  type JobInput,
  type JobMedia,
  type JobStage,
  omittedAttempts,
  type OutputTarget,
  type RunTimes,
  type UploadedFile,
} from './job.ts'
import type { SubmitEstimate } from './estimate.ts'
import type { MediaFacts } from '../media/facts.ts'
import { withoutQuery } from '../net/url-rule.ts'
import type { LinkSigner } from './links.ts'
import type { JobProgress } from './progress.ts'
import { usageOfJob } from './usage.ts'

export type PresentOptions = {
  /** Where a running job is at its backend; undefined: not known. */
  readonly stage?: JobStage | undefined
  /** How far its run is; undefined: not known. */
  readonly progress?: JobProgress | undefined
  readonly queuePosition?: number | undefined
  /** When it is expected to finish, in epoch ms. */
  readonly estimatedFinishAt?: number | undefined
  /** Makes the link to the output of a job that has one. */
  readonly links?: Pick<LinkSigner, 'outputUrl'>
  /** Whether to include the caller, which only administrators see. */
  readonly withCaller?: boolean
}

/** A job in its wire form: snake_case, RFC 3339 times, absent rather than null. The only place that makes it. */
export function presentJob(job: Job, options: PresentOptions = {}) {
  const { stage, progress, queuePosition, estimatedFinishAt, links, withCaller = false } = options
  return absent({
    job_id: job.id,
    status: job.status,
    stage,
    progress: progress && presentProgress(progress),
    caller: withCaller ? job.caller : undefined,
    version: job.version,
    backend: job.backend,
    revision: job.revision,
    input: presentInput(job.input),
    media: job.media && presentMedia(job.media),
    parameters: job.parameters,
    metadata: job.metadata,
    priority: job.priority,
    batch_id: job.batch?.id,
    created_at: formatTime(job.createdAt),
    started_at: job.startedAt === undefined ? undefined : formatTime(job.startedAt),
    finished_at: job.finishedAt === undefined ? undefined : formatTime(job.finishedAt),
    deadline_at: formatTime(job.deadlineAt),
    estimated_finish_at: estimatedFinishAt === undefined ? undefined : formatTime(estimatedFinishAt),
    run_timeout_seconds: job.runTimeoutSeconds,
    queue_position: queuePosition,
    output: job.output && presentOutput(job, job.output),
    output_path: job.outputPath,
    output_url: job.outputPath === undefined ? undefined : links?.outputUrl(job),
    reused_from: job.reusedFrom,
    error: job.error,
    error_code: job.errorCode,
    ...presentUsage(job),
    attempts: job.attempts.map(presentAttempt),
    attempts_omitted: omittedAttempts(job) || undefined,
    links: linksOf(job),
  })
}

export type JobView = ReturnType<typeof presentJob>

type CheckOptions = { readonly estimate?: SubmitEstimate; readonly reusedFrom?: string | undefined }

/** What a submit would make, without what a job has only once it exists. */
export const presentCheck = (job: Job, { estimate = {}, reusedFrom }: CheckOptions = {}) =>
  absent({
    version: job.version,
    backend: job.backend,
    input: presentInput(job.input),
    media: job.media && presentMedia(job.media),
    parameters: job.parameters,
    metadata: job.metadata,
    priority: job.priority,
    run_timeout_seconds: job.runTimeoutSeconds,
    reused_from: reusedFrom,
    estimate: presentEstimate(estimate),
  })

const presentEstimate = ({ queuedMs, runMs, finishAt, cost }: SubmitEstimate) =>
  runMs === undefined
    ? undefined
    : absent({
        queued_seconds: queuedMs === undefined ? undefined : Math.ceil(queuedMs / 1000),
        run_seconds: Math.ceil(runMs / 1000),
        finish_at: finishAt === undefined ? undefined : formatTime(finishAt),
        cost,
      })

/** The query of a presigned URL is its signature. */
const presentOutput = ({ status, delivery }: Job, { putUrl }: OutputTarget) =>
  absent({
    put_url: withoutQuery(putUrl),
    state: delivery?.state ?? (status === 'succeeded' ? ('pending' as const) : undefined),
    delivered_at: delivery?.state === 'delivered' ? formatTime(delivery.at) : undefined,
  })

/** As submitted; a file is shown by its size and type. */
const presentInput = (input: JobInput) =>
  absent({
    ...input,
    video: presentFile(input.video),
    image: presentFile(input.image),
    audio: presentFile(input.audio),
  })

const presentMedia = ({ face, audio }: JobMedia) =>
  absent({ face: face && presentFacts(face), audio: audio && presentFacts(audio) })

const presentFacts = (facts: MediaFacts) =>
  absent({
    container: facts.container,
    codec: facts.codec,
    duration_seconds: facts.durationSeconds,
    width: facts.width,
    height: facts.height,
    rotation: facts.rotation,
    frame_rate: facts.frameRate,
    sample_rate: facts.sampleRate,
    channels: facts.channels,
    has_picture: facts.hasPicture,
    has_sound: facts.hasSound,
  })

const presentFile = (file: UploadedFile | undefined) =>
  file && absent({ size: file.size, type: file.type, upload_id: file.uploadId })

export const presentProgress = ({ step, done, total, percent, at }: JobProgress) =>
  absent({ step, done, total, percent, at: formatTime(at) })

const presentAttempt = (attempt: Attempt) =>
  absent({
    attempt: attempt.attempt,
    call_id: attempt.callId,
    started_at: attempt.startedAt === undefined ? undefined : formatTime(attempt.startedAt),
    finished_at: attempt.finishedAt === undefined ? undefined : formatTime(attempt.finishedAt),
    outcome: attempt.outcome,
    error: attempt.error,
    error_code: attempt.errorCode,
    usage: attempt.usage && presentTimes(attempt.usage),
    cost: attempt.cost,
  })

/** The sums of a job. Costs in different currencies have none. */
function presentUsage(job: Job) {
  const { times, costs } = usageOfJob(job)
  return { usage: times && presentTimes(times), cost: costs.length === 1 ? costs[0] : undefined }
}

const presentTimes = ({ queuedMs, startupMs, runMs }: RunTimes) =>
  absent({ queued_seconds: inSeconds(queuedMs), startup_seconds: inSeconds(startupMs), run_seconds: inSeconds(runMs) })

const inSeconds = (ms: number | undefined) => (ms === undefined ? undefined : ms / 1_000)

const linksOf = ({ id, webhook, output }: Job) =>
  absent({
    self: `/jobs/${id}`,
    result: `/jobs/${id}/result`,
    output: `/jobs/${id}/output`,
    events: `/jobs/${id}/events`,
    logs: `/jobs/${id}/logs`,
    cancel: `/jobs/${id}/cancel`,
    deliveries: (webhook ?? output) && `/jobs/${id}/deliveries`,
  })

type Optional<T> = { [K in keyof T]: undefined extends T[K] ? K : never }[keyof T]
type Absent<T> = { [K in Exclude<keyof T, Optional<T>>]: T[K] } & { [K in Optional<T>]?: Exclude<T[K], undefined> }

/**
 * JSON leaves out undefined properties. The object keeps them: objects of one shape are created and serialized several
 * times as fast as objects of many shapes, and that is most of the cost of an answer.
 */
const absent = <T extends object>(view: T) => view as Absent<T>

/** A time on the wire (RFC 3339), from epoch ms. */
export const formatTime = (epochMs: number) => new Date(epochMs).toISOString()
