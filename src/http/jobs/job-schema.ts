import { Type } from '@sinclair/typebox'
import { applyEvent } from '../../jobs/apply-event.ts'
import {
  ATTEMPTS_KEPT,
  BACKEND_NAMES,
  ERROR_CODES,
  type Job,
  JOB_STAGES,
  JOB_STATUSES,
  type JobEvent,
} from '../../jobs/job.ts'
import { account } from '../../jobs/usage.ts'
import { presentCheck, presentJob } from '../../jobs/view.ts'
import { EXACTLY_ONE_WITH_FILES, Input, InputFiles, OutputDelivery, ShownOptions, Version } from './submit-schema.ts'
import { OneOf, Text, Time, Integer } from '../schemas.ts'

const ErrorCode = OneOf(ERROR_CODES, {
  description: [
    'Why it failed:',
    '- `inference_failed`: the function reported it or raised, or the local command failed',
    "- `timed_out`: the job's deadline, `run_timeout_seconds` or the function's own time limit passed",
    '- `input_unavailable`: an input is missing, cannot be fetched, is refused, or has too many bytes',
    '- `invalid_media`: a face or speech is damaged, cut off, of an unsupported kind, too long or too large a picture, or has no picture or sound',
    '- `face_not_found`: there is no face in the picture or video',
    '- `backend_unavailable`: the backend could not be reached by the deadline, or lost or stopped the run repeatedly',
    '- `backend_rejected`: credentials, app, function or arguments were refused, its container cannot start, or ffmpeg is missing',
    '- `lost`: the backend no longer knows the call',
    "- `invalid_output`: the function's result does not have the expected fields",
  ].join('\n'),
  examples: ['input_unavailable'],
})

const ErrorText = Text({
  description: 'What went wrong, in words. URLs are reduced to their host.',
  example: 'audio_path: there is no such file',
})

const Seconds = (description: string, example: number) =>
  Type.Optional(Type.Number({ description, examples: [example] }))

const UsageReply = Type.Object(
  {
    queued_seconds: Seconds(
      "In the backend's queue, including the start of a container that it does not report separately.",
      2.1,
    ),
    startup_seconds: Seconds('While a container started, or, on the local backend, inputs were fetched.', 9.5),
    run_seconds: Seconds('In the run itself.', 64.27),
  },
  {
    $id: 'AttemptUsage',
    description:
      'How long an attempt took at the backend, to the millisecond; of a job, the sums over its attempts that have finished. What is absent is unknown.',
  },
)

export const CostReply = Type.Object(
  {
    amount: Text({ description: 'A decimal with two to nine digits after the point.', example: '0.01426794' }),
    currency: Text({ description: 'By ISO 4217.', example: 'USD' }),
  },
  {
    $id: 'Cost',
    description:
      'What runs cost: their `run_seconds` times the price when each ended, where the server knows one. Neither the queue nor the start of containers is part of it.',
  },
)

const AttemptReply = Type.Object(
  {
    attempt: Integer({ description: 'Its number.', example: 1, minimum: 1 }),
    call_id: Type.Optional(Text({ description: "The backend's id of the call.", example: 'fc-01K3QJ8Z5W' })),
    started_at: Type.Optional(
      Time({ description: 'When the backend accepted the call.', example: '2026-01-31T12:00:01.000Z' }),
    ),
    finished_at: Type.Optional(
      Time({ description: 'When the attempt finished.', example: '2026-01-31T12:01:30.000Z' }),
    ),
    outcome: Type.Optional(
      OneOf(['succeeded', 'failed', 'canceled', 'interrupted'], {
        description: '`interrupted`: the backend lost or stopped the run for a reason other than the input.',
        examples: ['succeeded'],
      }),
    ),
    error: Type.Optional(ErrorText),
    error_code: Type.Optional(ErrorCode),
    usage: Type.Optional(UsageReply),
    cost: Type.Optional(CostReply),
  },
  { $id: 'Attempt', description: 'One run at the backend.' },
)

const Links = Type.Object(
  {
    self: Text({ description: 'The job.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11' }),
    result: Text({ description: 'Its result.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/result' }),
    output: Text({ description: 'Its video.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/output' }),
    events: Text({
      description: 'Its changes, as a stream.',
      example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/events',
    }),
    logs: Text({ description: 'Its log.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/logs' }),
    cancel: Text({ description: 'Where to cancel it.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/cancel' }),
    deliveries: Type.Optional(
      Text({
        description: 'Its deliveries, if it has a webhook or an `output`.',
        example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/deliveries',
      }),
    ),
  },
  { $id: 'JobLinks', description: 'Where the parts of a job are, relative to this server.' },
)

const Fact = (description: string, example: number) => Type.Optional(Type.Number({ description, examples: [example] }))

const MediaFacts = Type.Object(
  {
    container: Type.Optional(Text({ description: 'Its format.', example: 'MP4' })),
    codec: Type.Optional(
      Text({ description: "Of the picture of a face or the sound of a speech, by ffmpeg's name.", example: 'h264' }),
    ),
    duration_seconds: Fact('Of the same. A still has none.', 10.72),
    width: Type.Optional(Integer({ description: 'As stored, before rotation, in pixels.', example: 704, minimum: 1 })),
    height: Type.Optional(
      Integer({ description: 'As stored, before rotation, in pixels.', example: 1216, minimum: 1 }),
    ),
    rotation: Type.Optional(
      Integer({ description: 'By how many degrees a player turns the picture clockwise.', example: 0, maximum: 270 }),
    ),
    frame_rate: Fact('Pictures per second, on average, at the beginning.', 25),
    sample_rate: Type.Optional(Integer({ description: 'In Hz.', example: 48_000, minimum: 1 })),
    channels: Type.Optional(Integer({ description: 'Channels of the sound.', example: 2, minimum: 1 })),
    has_picture: Type.Optional(
      Type.Boolean({ description: 'Whether there is a picture, still or moving.', examples: [true] }),
    ),
    has_sound: Type.Optional(Type.Boolean({ description: 'Whether there is sound.', examples: [false] })),
  },
  { $id: 'MediaFacts', description: 'What a file is. A fact that is absent is unknown.' },
)

const JobMedia = Type.Object(
  { face: Type.Optional(MediaFacts), audio: Type.Optional(MediaFacts) },
  {
    $id: 'JobMedia',
    description:
      'What face and speech were when the job was submitted: uploads, the paths of the local backend, and URLs where the server reads them. What is absent is unknown.',
  },
)

const Count = (description: string, example: number, limits: { minimum: number; maximum?: number }) =>
  Type.Optional(Integer({ description, example, ...limits }))

/** How far the run of a job is. */
export const Progress = Type.Object(
  {
    step: Type.Optional(
      Text({ description: "What the run is doing, in the function's own words.", example: 'landmarks' }),
    ),
    done: Count('How much of the step is done, in a unit of its own, such as frames.', 84, { minimum: 0 }),
    total: Count('How much the step is in all.', 200, { minimum: 1 }),
    percent: Count('Of the step, not of the run; rounded down, so that 100 means done.', 42, {
      minimum: 0,
      maximum: 100,
    }),
    at: Time({ description: 'When the server read it.', example: '2026-01-31T12:00:41.000Z' }),
  },
  {
    $id: 'Progress',
    description:
      'How far a running job is, by what the function has printed. A hint, followed only while someone looks at the job: with an open `GET /jobs/:id/events`, a long poll, or a `GET` of the job within the last 30 s, so that the first of several requests has none. Absent when unknown, and while very many jobs are looked at.',
  },
)

/** In bodies and in paths. */
export const JobId = Text({
  description: 'The id of the job.',
  example: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11',
  format: 'uuid',
})

/** Path of every route of one job. */
export const JobParams = Type.Object({ id: JobId })

export const OutputPath = Text({
  description: 'Where the backend stored the video.',
  example: '/shared/results/0198a6f0/v15/output.mp4',
})

export const OutputUrl = Text({
  description: 'Link to the video that needs no credential until it expires.',
  example:
    'https://jobs.example.com/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/output?expires=1769864400&signature=2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM',
})

const SOURCE_ID = '0198a6ef-51d2-7b0c-8a44-5d0c9be0f6a3'
const ReusedFrom = Text({
  description: 'The job whose run made the output; it may have been deleted since.',
  example: SOURCE_ID,
  format: 'uuid',
})

/** A job on the wire. */
export const JobReply = Type.Object(
  {
    job_id: JobId,
    caller: Type.Optional(
      Text({ description: 'The owner of the job; shown to administrators only.', example: 'key:studio' }),
    ),
    status: OneOf(JOB_STATUSES, {
      description:
        '`submitted` (accepted), `running` (the backend has it; its own queue counts), then one of the three final states.',
      examples: ['running'],
    }),
    stage: Type.Optional(
      OneOf(JOB_STAGES, {
        description:
          "Where a running job is at the backend: `queued` (the backend's own queue), `starting` (its container starts) or `running`. A hint, which may lag some seconds behind; absent when unknown, and on replicas that do not follow the job.",
        examples: ['running'],
      }),
    ),
    progress: Type.Optional(Progress),
    version: Version,
    backend: OneOf(BACKEND_NAMES, {
      description: 'The backend that runs it; fixed when the job is accepted.',
      examples: ['modal'],
    }),
    revision: Integer({ description: 'Increases with every change of the job.', example: 2, minimum: 1 }),
    input: Type.Object(
      { ...Input, ...InputFiles },
      { ...EXACTLY_ONE_WITH_FILES, $id: 'JobInput', description: 'Face and speech as they were given.' },
    ),
    media: Type.Optional(JobMedia),
    ...ShownOptions,
    batch_id: Type.Optional(
      Text({ description: 'The batch with which it was submitted.', example: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b13' }),
    ),
    created_at: Time({ description: 'When the job was accepted.', example: '2026-01-31T12:00:00.000Z' }),
    started_at: Type.Optional(
      Time({ description: 'When the backend first accepted it.', example: '2026-01-31T12:00:01.000Z' }),
    ),
    finished_at: Type.Optional(Time({ description: 'When it finished.', example: '2026-01-31T12:01:30.000Z' })),
    deadline_at: Time({ description: 'When it finishes at the latest.', example: '2026-01-31T14:00:00.000Z' }),
    estimated_finish_at: Type.Optional(
      Time({
        description:
          'When it is expected to finish: by the length of its speech and the median of recent runs of the same `version`, from the start of its run and by its progress, or, before the start, as if the run started as soon as the queue ahead allows. A hint. Absent when there is nothing to go by, while the job waits for the output of another one, before its call while the start of jobs is paused, and when the run takes longer than estimated; never later than the deadline.',
        example: '2026-01-31T12:01:30.000Z',
      }),
    ),
    queue_position: Type.Optional(
      Integer({
        description:
          'Position in the queue while the job waits, 1 for the next. So many of the jobs that wait now start up to and with it, unless your own limit of running jobs holds it back; jobs that other callers submit later may start before it as well. With several replicas it may lag a little.',
        example: 3,
        minimum: 1,
      }),
    ),
    output: Type.Optional(OutputDelivery),
    output_path: Type.Optional(OutputPath),
    output_url: Type.Optional(OutputUrl),
    reused_from: Type.Optional(ReusedFrom),
    error: Type.Optional(ErrorText),
    error_code: Type.Optional(ErrorCode),
    usage: Type.Optional(UsageReply),
    cost: Type.Optional(CostReply),
    attempts: Type.Array(AttemptReply, {
      description: `Attempts at the backend; of more than ${2 * ATTEMPTS_KEPT}, the first and the last ${ATTEMPTS_KEPT}. The last one is current.`,
      examples: [[{ attempt: 1, call_id: 'fc-01K3QJ8Z5W', started_at: '2026-01-31T12:00:01.000Z' }]],
    }),
    attempts_omitted: Type.Optional(
      Integer({ description: 'How many attempts between these are no longer stored.', example: 3, minimum: 1 }),
    ),
    links: Links,
  },
  { $id: 'Job', description: 'A job. A field that does not apply is absent, not null.' },
)

const Estimate = Type.Object(
  {
    queued_seconds: Type.Optional(
      Integer({
        description: "How long it would wait in this server's queue; absent if the server bounds no jobs.",
        example: 240,
        minimum: 0,
      }),
    ),
    run_seconds: Integer({
      description: 'How long its run would take, without the start of a container.',
      example: 96,
      minimum: 0,
    }),
    finish_at: Type.Optional(Time({ description: 'When it would finish.', example: '2026-01-31T12:05:36.000Z' })),
    cost: Type.Optional(
      Type.Object(
        {
          amount: Text({ description: 'A decimal.', example: '0.0213' }),
          currency: Text({ description: 'By ISO 4217.', example: 'USD' }),
        },
        { description: 'What the run would cost.' },
      ),
    ),
  },
  {
    $id: 'JobEstimate',
    description:
      'By the length of the speech and the median of recent runs of the same `version`. Absent when there is nothing to go by.',
  },
)

/** Answer of a dry run. */
export const CheckReply = Type.Object(
  {
    version: JobReply.properties.version,
    backend: JobReply.properties.backend,
    input: JobReply.properties.input,
    media: JobReply.properties.media,
    ...ShownOptions,
    reused_from: Type.Optional(ReusedFrom),
    estimate: Type.Optional(Estimate),
  },
  { $id: 'JobCheck', description: 'What a submit would make, of a request that would be accepted.' },
)

/** Answer of `GET /jobs/:id/result`. */
export const ResultReply = Type.Object(
  {
    job_id: JobId,
    status: OneOf(['succeeded'], { description: 'Others have no result.', examples: ['succeeded'] }),
    output_path: OutputPath,
    output_url: OutputUrl,
  },
  { $id: 'Result', description: 'The result of a job that succeeded.' },
)

/** The header of a conditional request for JSON that `sendTagged` answers. */
export const IfNoneMatch = Type.Object({
  'If-None-Match': Type.Optional(
    Text({
      description: 'The `ETag` of an answer that you have, or several: 304 without a body if it is still current.',
      example: '"pNk8xkV1uZrYc0mD"',
    }),
  ),
})

/** The answer if the tag still matches. */
export const NOT_MODIFIED = { description: 'The answer that you have is still current.', headers: ['ETag' as const] }

const submitted: Job = {
  id: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11',
  caller: 'key:studio',
  backend: 'modal',
  status: 'submitted',
  revision: 1,
  version: 'v15',
  input: { video_url: 'https://media.example.com/face.mp4', audio_url: 'https://media.example.com/speech.wav' },
  media: {
    face: {
      ...{ container: 'MP4', codec: 'h264', durationSeconds: 10.72, width: 704, height: 1216, rotation: 0 },
      ...{ frameRate: 25, hasPicture: true, hasSound: false },
    },
    audio: {
      ...{ container: 'WAV', codec: 'pcm_s16le', durationSeconds: 8, sampleRate: 48_000, channels: 2 },
      ...{ hasPicture: false, hasSound: true },
    },
  },
  metadata: { scene: '12' },
  createdAt: Date.parse('2026-01-31T12:00:00Z'),
  timeoutSeconds: 7200,
  deadlineAt: Date.parse('2026-01-31T14:00:00Z'),
  attempts: [{ attempt: 1 }],
}

/** The job after an event, `seconds` after its submit. */
function after(job: Job, seconds: number, event: JobEvent): Job {
  const applied = applyEvent(job, event, submitted.createdAt + seconds * 1000)
  if (!applied.accepted) throw new Error(`an example of the reference is impossible: ${applied.reason}`)
  return account(job, applied.job, event, { price: { nanosPerSecond: 222_000n, currency: 'USD' } }).job
}

const running = after(submitted, 1, { type: 'spawned', attempt: 1, callId: 'fc-01K3QJ8Z5W' })
const succeeded = after(running, 90, {
  ...({ type: 'succeeded', attempt: 1 } as const),
  outputPath: '/shared/results/0198a6f0/v15/output.mp4',
  times: { queuedMs: 2_100, startupMs: 9_500, runMs: 64_270 },
})
const failed = after(running, 30, {
  ...({ type: 'failed', attempt: 1, code: 'inference_failed' } as const),
  error: 'No face was found in the first frame.',
})
const canceled = after(running, 20, { type: 'canceled' })
const reused = after({ ...submitted, reuse: true, isWaiting: true }, 0, {
  ...({ type: 'reused', attempt: 1, from: SOURCE_ID } as const),
  outputPath: '/shared/results/0198a6ef/v15/output.mp4',
})

const delivered = after(
  { ...succeeded, output: { putUrl: 'https://my-bucket.s3.eu-central-1.amazonaws.com/videos/scene-12.mp4' } },
  94,
  { type: 'delivered' },
)

const OUTPUT_URL = `https://jobs.example.com/jobs/${submitted.id}/output?expires=1769864490&signature=2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM`

/** One job in each of its states, made by the same code as real jobs and answers. */
export const JOBS = {
  submitted: { summary: 'Accepted', value: presentJob(submitted) },
  running: {
    summary: 'The backend has it',
    value: presentJob(running, {
      stage: 'running',
      progress: { step: 'landmarks', done: 84, total: 200, percent: 42, at: submitted.createdAt + 41_000 },
    }),
  },
  succeeded: { summary: 'It succeeded', value: { ...presentJob(succeeded), output_url: OUTPUT_URL } },
  reused: { summary: 'It has the output of another', value: { ...presentJob(reused), output_url: OUTPUT_URL } },
  delivered: { summary: 'Its output is delivered', value: { ...presentJob(delivered), output_url: OUTPUT_URL } },
  failed: { summary: 'It failed', value: presentJob(failed) },
  canceled: { summary: 'It was canceled', value: presentJob(canceled) },
  checked: { summary: 'It would be accepted', value: presentCheck(submitted) },
  retried: { summary: 'It starts again', value: presentJob(after(failed, 60, { type: 'retried' })) },
} as const
