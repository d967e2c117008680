import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import type { FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { FILE_KINDS, type FileKind, isFinished, type NamedInput } from '../../jobs/job.ts'
import type { UploadIds } from '../../jobs/uploads.ts'
import { parseIdempotencyKey, type NewJob } from '../../jobs/submit.ts'
import type { JobService } from '../../jobs/service.ts'
import { presentCheck } from '../../jobs/view.ts'
import { type FieldError, invalidFields } from '../../problems.ts'
import type { Operation } from '../docs/operation.ts'
import { callerOf } from '../plugins/auth.ts'
import { nameJob, traceOf } from '../plugins/request-log.ts'
import { fieldErrorsOf, ProblemReply, Text } from '../schemas.ts'
import { CheckReply, JobReply, JOBS } from './job-schema.ts'
import { Input, NewJobBody, NewJobForm } from './submit-schema.ts'
import { registerUploads, type UploadOptions } from './uploads.ts'
import { createLongPoll, type LongPollDependencies, preferredWait, type Renderer } from './view.ts'

const SubmitHeaders = Type.Object({
  'Idempotency-Key': Type.Optional(
    Text({
      description:
        'Makes the submit safe to repeat: the same request with the same key answers with the job that it created. 1 to 255 visible ASCII characters, bare or in double quotes. A key lives as long as its job.',
      example: 'scene-12-take-3',
      maxLength: 512,
    }),
  ),
  Prefer: Type.Optional(
    Text({
      description:
        '`wait=N` (RFC 7240): the answer waits until the job finishes, for at most N seconds and never more than 60.',
      example: 'wait=30',
    }),
  ),
  tracestate: Type.Optional(
    Text({
      description:
        "What tracing systems add to the trace (W3C Trace Context); the job's webhooks carry it on. Ignored without a `traceparent`, and if it is malformed or longer than 512 characters.",
      example: 'congo=t61rcWkgMzE',
    }),
  ),
  traceparent: Type.Optional(
    Text({
      description:
        "The trace of the request (W3C Trace Context). Its id is on the server's log lines for the request and the job, and the job's webhooks continue it. A malformed header is ignored.",
      example: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    }),
  ),
})

const SubmitQuery = Type.Object(
  {
    dry_run: Type.Optional(
      Type.Boolean({
        description:
          'Whether only to check the request: everything is checked as for a job, files are read, and nothing is created or kept. The `Idempotency-Key` is not used, and the limits on numbers of jobs are not checked, since they may have changed by the time of the submit; a dry run counts against the rate limit.',
        examples: [true],
      }),
    ),
  },
  { additionalProperties: false },
)

const isFileKind = (field: string): field is FileKind => (FILE_KINDS as readonly string[]).includes(field)
const isOption = (field: string) =>
  !(field in Input) &&
  !isFileKind(field) &&
  !field.startsWith('webhook_') &&
  field !== 'parameters' &&
  field !== 'output'

/**
 * Every option with the example of its schema, except those of webhooks and outputs, which need a receiver, and parameters,
 * which not every backend takes.
 */
const OPTIONS_EXAMPLE = Object.fromEntries(
  Object.entries<TSchema>(NewJobBody.properties).flatMap(([field, { examples }]) =>
    isOption(field) ? [[field, (examples as unknown[])[0]] as const] : [],
  ),
)

const ACCEPTED_HEADERS = ['Location', 'Idempotent-Replayed', 'Preference-Applied'] as const

const docs: Operation = {
  operationId: 'submitJob',
  tag: 'jobs',
  summary: 'Submit a job',
  description:
    'Accepts a job and answers at once, without waiting for the backend, unless `Prefer` asks to wait until it finishes. Poll `Location` for its state. An accepted job finishes by its deadline at the latest. Face and speech may be files, in multipart/form-data; an upload has no time limit while it makes progress.',
  headers: SubmitHeaders,
  form: {
    schema: NewJobForm,
    // In curl's notation: `--form video=@face.mp4`. On the page a person chooses the files.
    examples: {
      example: { summary: 'Face and speech as files', value: { video: '@face.mp4', audio: '@speech.wav' } },
    },
  },
  body: {
    example: {
      summary: 'Face and speech by path, with all options',
      value: { video_path: 'face.mp4', audio_path: 'speech.wav', ...OPTIONS_EXAMPLE },
    },
    urls: { summary: 'Face and speech by URL', value: JOBS.submitted.value.input },
  },
  answers: {
    200: {
      description:
        'The job finished within the time of `Prefer: wait`; or with `dry_run=true`, the request would be accepted.',
      headers: [...ACCEPTED_HEADERS],
      examples: { succeeded: JOBS.succeeded, failed: JOBS.failed, checked: JOBS.checked },
    },
    202: {
      description:
        'The job is accepted, now or earlier with this `Idempotency-Key`; one with `reuse` may have succeeded already.',
      headers: [...ACCEPTED_HEADERS],
      examples: { submitted: JOBS.submitted, reused: JOBS.reused },
    },
  },
  problems: [
    'invalid_idempotency_key',
    'url_not_allowed',
    'parameter_not_supported',
    'webhooks_not_configured',
    'idempotency_key_reused',
    'concurrency_limit_reached',
    'queue_full',
    'invalid_multipart',
    'unsupported_media',
    'media_rejected',
    'uploads_need_public_url',
    'uploads_need_shared_storage',
    'storage_full',
    'upload_rejected',
    'upload_store_unavailable',
  ],
}

export type SubmitRoutesOptions = UploadOptions &
  LongPollDependencies & { readonly service: JobService; readonly renderer: Pick<Renderer, 'present'> }

/** `POST /jobs`, in JSON or as a form with files. */
export const submitRoutes: FastifyPluginAsyncTypebox<SubmitRoutesOptions> = async (app, options) => {
  const { service, renderer } = options
  const longPoll = createLongPoll(options)
  await registerUploads(app, options)

  app.post(
    '/jobs',
    {
      config: { access: 'jobs:write', bucket: 'submit', docs },
      // The core reports the schema's errors together with its own.
      attachValidation: true,
      schema: {
        body: NewJobBody,
        querystring: SubmitQuery,
        response: { 200: Type.Union([JobReply, CheckReply]), 202: JobReply, '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const submit = newJobOf(request)
      // From here on the service takes care of the files.
      request.upload = null
      if (request.query.dry_run) {
        reply.code(200)
        const { job, ...outlook } = await service.check(submit, callerOf(request))
        return presentCheck(job, outlook)
      }
      const { job, replayed } = await service.submit(submit, callerOf(request))
      if (replayed) reply.header('idempotent-replayed', 'true')
      nameJob(request, job.id)
      reply.code(202).header('location', `/jobs/${job.id}`)
      const wait = preferredWait(request.headers.prefer)
      if (wait === undefined) return renderer.present(job, request.caller)
      const latest = await longPoll(job, wait, reply)
      reply.code(isFinished(latest) ? 200 : 202).header('preference-applied', `wait=${wait}`)
      return renderer.present(latest, request.caller)
    },
  )
}

/**
 * The submit as a request to the core. The schema's errors go along as `fieldErrors`, so that the core reports them
 * together with its own; the route therefore has `attachValidation`. Throws `invalid_request` if the body is not an
 * object, and `invalid_idempotency_key` if that header is malformed.
 */
function newJobOf(request: FastifyRequest): NewJob {
  const { headers, upload, formErrors } = request
  const fieldErrors = [...(formErrors ?? []), ...schemaErrorsOf(request)]
  const key = headers['idempotency-key']
  return {
    ...namedJobOf(request.body, fieldErrors),
    isForm: formErrors !== null,
    ...(upload && { upload }),
    ...(key !== undefined && { idempotencyKey: parseIdempotencyKey(String(key)) }),
    ...traceOf(request.raw),
  }
}

/** The fields of one job, of which the schema has found these errors. Throws `invalid_request` if it is no object. */
export function namedJobOf(body: unknown, fieldErrors: readonly FieldError[]): NewJob {
  const { input, uploadIds, options } = splitFields(validFieldsOf(body, fieldErrors))
  const hasUploads = Object.keys(uploadIds).length > 0
  const { output, ...others } = options
  return {
    version: 'v15',
    ...others,
    input,
    fieldErrors,
    ...(hasUploads && { uploadIds }),
    ...(output && { output: { putUrl: output.put_url } }),
  }
}

type Fields = Static<typeof NewJobBody>
type Options = {
  [Name in keyof Fields as Name extends keyof NamedInput | FileKind ? never : CamelCase<Name>]: Fields[Name]
}
type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

/** The core's name of every option: the name of its field in camel case. */
const OPTION_NAMES: ReadonlyMap<string, string> = new Map(
  Object.keys(NewJobBody.properties)
    .filter((field) => !(field in Input) && !isFileKind(field))
    .map((field) => [field, field.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase())]),
)

/** The face and the speech of a submit, and its options. */
function splitFields(fields: Fields): { input: NamedInput; uploadIds: UploadIds; options: Options } {
  const uploadIds: Record<string, string> = {}
  const input: Record<string, unknown> = {}
  const options: Record<string, unknown> = {}
  for (const [field, value] of Object.entries(fields)) {
    const name = OPTION_NAMES.get(field)
    if (isFileKind(field)) uploadIds[field] = fields[field]?.upload_id ?? ''
    else if (name === undefined) input[field] = value
    else options[name] = value
  }
  return { input, uploadIds, options }
}

/** The errors of the route's schemas. A validator that throws is a defect, not an error of the request. */
function schemaErrorsOf(request: FastifyRequest): FieldError[] {
  const { validationError } = request
  if (!validationError) return []
  // Fastify's type of it is any.
  const errors = validationError.validation as FastifySchemaValidationError[] | undefined
  if (!errors) throw validationError
  // Fastify checks the query only if the body is valid.
  const check = request.getValidationFunction('querystring')
  const isQueryWrong = validationError.validationContext === 'body' && check && !check(request.query)
  return fieldErrorsOf(isQueryWrong ? [...errors, ...(check.errors ?? [])] : errors)
}

/** The fields without an error: these have the types of the schema. */
function validFieldsOf(body: unknown, errors: readonly FieldError[]): Fields {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalidFields([...errors])
  if (errors.length === 0) return body
  const wrong = new Set(errors.map(({ path }) => path.split('/')[1]))
  return Object.fromEntries(Object.entries(body).filter(([name]) => !wrong.has(name)))
}
