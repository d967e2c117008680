import { type TSchema, Type } from '@sinclair/typebox'
import { Input, NewJobBody, NewJobForm } from './submit-schema.ts'
import { Text } from '../schemas.ts'
import { JOBS } from './examples.ts'
import type { Operations } from '../docs/operation.ts'

const OfSubmits = Type.Object({
  'Idempotency-Key': Type.Optional(
    Text({
      description:
        'Makes the submit safe to repeat: the same request under the same key answers with the job it made. 1 to 255 visible ASCII characters, bare or in double quotes. A key lives as long as its job.',
      example: 'scene-12-take-3',
      maxLength: 512,
    }),
  ),
  Prefer: Type.Optional(
    Text({
      description:
        '`wait=N` (RFC 7240) holds the answer until the job has ended, at most N seconds and never more than 60.',
      example: 'wait=30',
    }),
  ),
  traceparent: Type.Optional(
    Text({
      description:
        "The trace that the request is a part of (W3C Trace Context). Its id is on the server's log lines of the request and of the job, and goes on with the job's webhooks. One that is malformed is ignored.",
      example: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    }),
  ),
})

const isOption = (field: string) => !(field in Input) && !field.startsWith('webhook_')

/** Every option with the example of its schema, without those of webhooks, which need a receiver. */
const OPTIONS_EXAMPLE = Object.fromEntries(
  Object.entries<TSchema>(NewJobBody.properties).flatMap(([field, { examples }]) =>
    isOption(field) ? [[field, (examples as unknown[])[0]] as const] : [],
  ),
)

const OF_ACCEPTED = ['Location', 'Idempotent-Replayed', 'Preference-Applied'] as const
const OF_FILES = ['ETag', 'Last-Modified', 'Accept-Ranges'] as const

/** What the reference says of the routes of jobs. */
export const jobOperations: Operations = {
  'POST /jobs': {
    ...{ operationId: 'submitJob', tag: 'jobs', summary: 'Submit a job' },
    description:
      'Takes a job and answers at once, without waiting for the backend, unless `Prefer` asks to wait for its end. Follow `Location` to see how it goes. An accepted job ends by its deadline at the latest. Face and speech may come along as files, in multipart/form-data; an upload may take as long as it likes while it makes progress.',
    headers: OfSubmits,
    form: {
      schema: NewJobForm,
      // As curl takes it: `--form video=@face.mp4`. On the page a person chooses the files.
      examples: {
        example: { summary: 'Face and speech as files', value: { video: '@face.mp4', audio: '@speech.wav' } },
      },
    },
    body: {
      example: {
        summary: 'Face and speech by path, with what is optional',
        value: { video_path: 'face.mp4', audio_path: 'speech.wav', ...OPTIONS_EXAMPLE },
      },
      urls: { summary: 'Face and speech by URL', value: JOBS.submitted.value.input },
    },
    answers: {
      200: {
        description: 'The job has ended within the time of `Prefer: wait`.',
        headers: [...OF_ACCEPTED],
        examples: { succeeded: JOBS.succeeded, failed: JOBS.failed },
      },
      202: {
        description: 'The job is accepted, or was before under this `Idempotency-Key`.',
        headers: [...OF_ACCEPTED],
        examples: { submitted: JOBS.submitted },
      },
    },
    problems: [
      ...(['invalid_idempotency_key', 'url_not_allowed', 'webhooks_not_configured', 'idempotency_key_reused'] as const),
      ...(['concurrency_limit_reached', 'queue_full'] as const),
      ...([
        'invalid_multipart',
        'unsupported_media',
        'uploads_need_public_url',
        'uploads_need_shared_storage',
        'storage_full',
      ] as const),
    ],
  },

  'GET /jobs': {
    ...{ operationId: 'listJobs', tag: 'jobs', summary: 'List jobs' },
    description:
      'Your jobs, newest first. Ask for the next page with the `next_cursor` of the one before, and the same filters.',
    answers: {
      200: {
        description: 'One page.',
        examples: {
          page: {
            summary: 'A page with more to come',
            value: {
              jobs: [JOBS.running.value],
              next_cursor: 'MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE',
            },
          },
        },
      },
    },
  },

  'GET /jobs/:id': {
    ...{ operationId: 'getJob', tag: 'jobs', summary: 'Get a job' },
    description: 'The job as it is now; with `wait`, as it is at its end, or when the time has passed.',
    answers: {
      200: {
        description: 'The job.',
        examples: { running: JOBS.running, succeeded: JOBS.succeeded, failed: JOBS.failed },
      },
    },
    problems: ['job_not_found'],
  },

  'DELETE /jobs/:id': {
    ...{ operationId: 'deleteJob', tag: 'jobs', summary: 'Delete a job' },
    description:
      'Forgets a job that has ended, the files that came with it, and its video here; what Modal keeps stays until it expires there. Its `Idempotency-Key` is free again.',
    answers: { 204: { description: 'The job is forgotten.' } },
    problems: ['job_not_found', 'job_not_finished'],
  },

  'GET /jobs/:id/result': {
    ...{ operationId: 'getResult', tag: 'jobs', summary: 'Get the result' },
    description: 'The result of a job that succeeded.',
    answers: {
      200: {
        description: 'The result.',
        examples: {
          result: {
            summary: 'Where the video is',
            value: {
              job_id: JOBS.succeeded.value.job_id,
              status: 'succeeded',
              output_path: JOBS.succeeded.value.output_path,
              output_url: JOBS.succeeded.value.output_url,
            },
          },
        },
      },
    },
    problems: ['job_not_found', 'job_not_finished', 'job_failed', 'job_canceled'],
  },

  'GET /jobs/:id/output': {
    ...{ operationId: 'getOutput', tag: 'jobs', summary: 'Get the video' },
    description:
      'The video of a job that succeeded, whole or by a single `Range`, with conditional requests. With `expires` and `signature`, as `output_url` has them, no other permission is asked for.',
    answers: {
      200: { description: 'The video.', headers: [...OF_FILES, 'Content-Disposition'] },
      206: { description: 'The range that was asked for.', headers: [...OF_FILES, 'Content-Range'] },
      302: { description: 'The video is elsewhere; the address expires soon.', headers: ['Location'] },
    },
    problems: [
      ...(['job_not_found', 'job_not_finished', 'job_failed', 'job_canceled', 'link_invalid'] as const),
      ...(['range_not_satisfiable', 'precondition_failed', 'output_unavailable'] as const),
    ],
  },

  'GET /jobs/:id/inputs/:kind': {
    ...{ operationId: 'getInput', tag: 'jobs', summary: 'Get an uploaded file' },
    description:
      'A file that came with the job, whole or by a single `Range`, with conditional requests. The function fetches it by a signed link (`expires`, `signature`), which needs no other permission.',
    answers: {
      200: { description: 'The file.', headers: OF_FILES },
      206: { description: 'The range that was asked for.', headers: [...OF_FILES, 'Content-Range'] },
    },
    problems: [
      ...(['job_not_found', 'input_not_found', 'link_invalid'] as const),
      ...(['range_not_satisfiable', 'precondition_failed', 'output_unavailable'] as const),
    ],
  },

  'GET /jobs/:id/logs': {
    ...{ operationId: 'getLogs', tag: 'jobs', summary: 'Read the log' },
    description:
      'What the function has printed. While it runs the answer goes on, and ends with it; an answer that is cut off is an error of the backend.',
    answers: { 200: { description: 'The lines, in pieces as they come.' } },
    problems: ['job_not_found', 'attempt_not_found', 'logs_unavailable', 'stream_limit_reached'],
  },

  'POST /jobs/:id/cancel': {
    ...{ operationId: 'cancelJob', tag: 'jobs', summary: 'Cancel a job' },
    description: 'Ends the job at once; its call is stopped in the background. Canceling again is no error.',
    answers: { 200: { description: 'The job is canceled.', examples: { canceled: JOBS.canceled } } },
    problems: ['job_not_found', 'job_finished'],
  },

  'POST /jobs/:id/retry': {
    ...{ operationId: 'retryJob', tag: 'jobs', summary: 'Retry a job' },
    description:
      'Starts a failed or canceled job over: the same id, a next attempt, a new deadline. A job may be retried `MAX_RETRIES` times (100 unless the operator says otherwise).',
    answers: { 202: { description: 'The job starts over.', examples: { retried: JOBS.retried } } },
    problems: [
      ...(['job_not_found', 'job_not_finished', 'job_finished', 'retry_limit_reached'] as const),
      ...(['concurrency_limit_reached', 'queue_full'] as const),
    ],
  },
}
