import type { Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import { ATTEMPTS_KEPT, ERROR_CODES, JOB_STATUSES } from '../../jobs/job.ts'
import { EXACTLY_ONE_WITH_FILES, Input, InputFiles, ShownOptions, Version } from './submit-schema.ts'
import { OneOf, Text, Time, Whole } from '../schemas.ts'

const ErrorCode = OneOf(ERROR_CODES, {
  description: [
    'Why it failed:',
    '- `inference_failed`: the function said so or raised, or the local command failed',
    "- `timed_out`: the job's deadline, `run_timeout_seconds` or the function's own time limit passed",
    '- `input_unavailable`: an input is missing, refused, too large, damaged, or of a kind that is not taken',
    '- `backend_unavailable`: the backend could not be reached by the deadline, or lost or stopped the run again and again',
    '- `backend_rejected`: credentials, app, function or arguments were refused, its container cannot start, or ffmpeg is missing',
    '- `lost`: the backend no longer knows the call',
    "- `invalid_output`: the function's result is not of the agreed shape",
  ].join('\n'),
  examples: ['input_unavailable'],
})

const ErrorText = Text({
  description: 'What went wrong, in words. Of a URL it shows the host only.',
  example: 'audio_path: there is no such file',
})

const AttemptReply = Type.Object(
  {
    attempt: Whole({ description: 'Its number.', example: 1, minimum: 1 }),
    call_id: Type.Optional(Text({ description: "The backend's id of the call.", example: 'fc-01K3QJ8Z5W' })),
    started_at: Type.Optional(
      Time({ description: 'When the backend took the call.', example: '2026-01-31T12:00:01.000Z' }),
    ),
    finished_at: Type.Optional(Time({ description: 'When the attempt ended.', example: '2026-01-31T12:01:30.000Z' })),
    outcome: Type.Optional(
      OneOf(['succeeded', 'failed', 'canceled', 'interrupted'], {
        description: '`interrupted`: the backend lost or stopped the run for a reason other than the input.',
        examples: ['succeeded'],
      }),
    ),
    error: Type.Optional(ErrorText),
    error_code: Type.Optional(ErrorCode),
  },
  { $id: 'Attempt', description: 'One try at the backend.' },
)

const Links = Type.Object(
  {
    self: Text({ description: 'The job.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11' }),
    result: Text({ description: 'Its result.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/result' }),
    output: Text({ description: 'Its video.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/output' }),
    events: Text({
      description: 'Its changes, as they come.',
      example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/events',
    }),
    logs: Text({ description: 'Its log.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/logs' }),
    cancel: Text({ description: 'Where to cancel it.', example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/cancel' }),
    deliveries: Type.Optional(
      Text({
        description: 'Its webhooks, where it has any.',
        example: '/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/deliveries',
      }),
    ),
  },
  { $id: 'JobLinks', description: 'Where the parts of a job are, relative to this server.' },
)

/** In bodies and in paths. */
export const JobId = Text({
  description: 'The id of the job.',
  example: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11',
  format: 'uuid',
})
const OutputPath = Text({
  description: 'Where the backend put the video.',
  example: '/shared/results/0198a6f0/v15/output.mp4',
})

const OutputUrl = Text({
  description: 'Link to the video that needs no other permission until it expires.',
  example:
    'https://jobs.example.com/jobs/0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11/output?expires=1769864400&signature=2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM',
})

/** A job on the wire. */
export const JobReply = Type.Object(
  {
    job_id: JobId,
    caller: Type.Optional(
      Text({ description: 'Whose job it is; shown to administrators only.', example: 'key:studio' }),
    ),
    status: OneOf(JOB_STATUSES, {
      description:
        '`submitted` (accepted), `running` (the backend has it; waiting there counts), then one of the three ends.',
      examples: ['running'],
    }),
    version: Version,
    backend: OneOf(['modal', 'local'], {
      description: 'Who works on it; fixed when the job is accepted.',
      examples: ['modal'],
    }),
    revision: Whole({ description: 'Grows with every change of the job.', example: 2, minimum: 1 }),
    input: Type.Object(
      { ...Input, ...InputFiles },
      { ...EXACTLY_ONE_WITH_FILES, $id: 'JobInput', description: 'Face and speech as they were given.' },
    ),
    ...ShownOptions,
    created_at: Time({ description: 'When the job was accepted.', example: '2026-01-31T12:00:00.000Z' }),
    started_at: Type.Optional(
      Time({ description: 'When the backend first took it.', example: '2026-01-31T12:00:01.000Z' }),
    ),
    finished_at: Type.Optional(Time({ description: 'When it ended.', example: '2026-01-31T12:01:30.000Z' })),
    deadline_at: Time({ description: 'When it ends at the latest.', example: '2026-01-31T14:00:00.000Z' }),
    queue_position: Type.Optional(
      Whole({
        description: 'Position in the queue while the job waits; with several replicas it may be some moments old.',
        example: 3,
        minimum: 1,
      }),
    ),
    output_path: Type.Optional(OutputPath),
    output_url: Type.Optional(OutputUrl),
    error: Type.Optional(ErrorText),
    error_code: Type.Optional(ErrorCode),
    attempts: Type.Array(AttemptReply, {
      description: `Attempts at the backend, of more than ${2 * ATTEMPTS_KEPT} the first and the last ${ATTEMPTS_KEPT}; the last is the current one.`,
      examples: [[{ attempt: 1, call_id: 'fc-01K3QJ8Z5W', started_at: '2026-01-31T12:00:01.000Z' }]],
    }),
    attempts_omitted: Type.Optional(
      Whole({ description: 'How many attempts between these are no longer kept.', example: 3, minimum: 1 }),
    ),
    links: Links,
  },
  { $id: 'Job', description: 'A job. What does not apply is absent rather than null.' },
)

/** Answer of `GET /jobs`, newest first; the route renders the JSON itself, job by job. */
export const JobsReply = Type.Unsafe<Buffer>(
  Type.Object(
    {
      jobs: Type.Array(JobReply, { description: 'Newest first.' }),
      next_cursor: Type.Optional(
        Text({
          description: 'Names the next page; absent on the last.',
          example: 'MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE',
        }),
      ),
    },
    { $id: 'JobList', description: 'One page of jobs.' },
  ),
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

/** A video, or a part of one. */
export const VideoReply = Type.Unsafe<Readable>({
  content: { 'video/mp4': { schema: { type: 'string', format: 'binary', description: 'The bytes.' } } },
})

/** A file that came with a job, or a part of it. */
export const FileReply = Type.Unsafe<Readable>({
  content: { '*/*': { schema: { type: 'string', format: 'binary', description: 'The bytes.' } } },
})

/** An answer of lines, in pieces as they come. */
export const TextReply = Type.Unsafe<Readable>({
  content: {
    'text/plain': {
      schema: { type: 'string', description: 'The lines.', examples: ['load the model\nframe 1 of 250\n'] },
    },
  },
})

/** An answer of events, each with a job as its data. */
export const EventsReply = Type.Unsafe<unknown>({
  content: {
    'text/event-stream': {
      schema: {
        type: 'string',
        description: 'Events named `status`, with a job as `data`, and comments that keep the connection alive.',
        examples: [
          'id: 2\nevent: status\ndata: {"job_id":"0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11", ...}\n\n: heartbeat\n\n',
        ],
      },
    },
  },
})
