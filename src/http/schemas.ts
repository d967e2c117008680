import type { Readable } from 'node:stream'
import { type Static, Type } from '@sinclair/typebox'

/** A closed set of strings: `enum` reads better in the reference than a union of constants. */
const OneOf = <const T extends string>(names: readonly T[], options: object = {}) =>
  Type.Unsafe<T>({ type: 'string', enum: names, ...options })

const Time = (description: string) => Type.String({ description: `${description} (RFC 3339)` })
const Url = (description: string) => Type.String({ minLength: 1, maxLength: 2048, description })
const Path = (description: string) => Type.String({ minLength: 1, maxLength: 1024, description })

const Input = {
  video_url: Type.Optional(Url('Face: a video by http(s) URL.')),
  image_url: Type.Optional(Url('Face: a still image by http(s) URL.')),
  video_path: Type.Optional(Path('Face: a video or image by path, relative to the media root.')),
  audio_url: Type.Optional(Url('Speech by http(s) URL.')),
  audio_path: Type.Optional(Path('Speech by path, relative to the media root.')),
}

const Version = OneOf(['v15', 'v1'], { description: 'MuseTalk model.' })

const Metadata = Type.Unsafe<Record<string, string>>({
  type: 'object',
  maxProperties: 16,
  propertyNames: { type: 'string', minLength: 1, maxLength: 64 },
  additionalProperties: { type: 'string', maxLength: 512 },
  description: 'Your own labels: up to 16 keys of 64 characters, values of 512.',
})

const WebhookEvents = Type.Array(OneOf(['job.running', 'job.succeeded', 'job.failed', 'job.canceled']), {
  minItems: 1,
  maxItems: 4,
  uniqueItems: true,
  description: 'What the webhook is told of; the three ends if not given.',
})

/** Body of `POST /jobs`. That exactly one face and one speech are given is checked in the core, which names the fields. */
export const NewJobBody = Type.Object(
  {
    ...Input,
    version: Type.Unsafe<Static<typeof Version> | undefined>({ ...Version, default: 'v15' }),
    metadata: Type.Optional(Metadata),
    timeout_seconds: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 604_800, description: 'Time the job has from its acceptance to its end.' }),
    ),
    webhook_url: Type.Optional(Url('Where to be told by a signed POST (Standard Webhooks).')),
    webhook_events: Type.Optional(WebhookEvents),
  },
  { additionalProperties: false },
)

const ErrorCode = OneOf(
  [
    'inference_failed',
    'timed_out',
    'input_unavailable',
    'backend_unavailable',
    'backend_rejected',
    'lost',
    'invalid_output',
  ],
  { description: 'Why the job failed.' },
)

const AttemptReply = Type.Object({
  attempt: Type.Integer({ minimum: 1 }),
  call_id: Type.Optional(Type.String({ description: "The backend's id of the call." })),
  started_at: Type.Optional(Time('When the backend took the call')),
  finished_at: Type.Optional(Time('When the attempt ended')),
  outcome: Type.Optional(OneOf(['succeeded', 'failed', 'canceled', 'interrupted'])),
  error: Type.Optional(Type.String()),
  error_code: Type.Optional(ErrorCode),
})

/** A job on the wire. */
export const JobReply = Type.Object({
  job_id: Type.String(),
  caller: Type.Optional(Type.String({ description: 'Whose job it is; told to administrators only.' })),
  status: OneOf(['submitted', 'running', 'succeeded', 'failed', 'canceled']),
  version: Version,
  backend: OneOf(['modal', 'local']),
  revision: Type.Integer({ minimum: 1, description: 'Grows with every change of the job.' }),
  input: Type.Object(Input),
  metadata: Type.Optional(Metadata),
  created_at: Time('When the job was accepted'),
  started_at: Type.Optional(Time('When the backend first took it')),
  finished_at: Type.Optional(Time('When it ended')),
  deadline_at: Time('When it ends at the latest'),
  queue_position: Type.Optional(Type.Integer({ minimum: 1, description: 'Place among the jobs held back.' })),
  output_path: Type.Optional(Type.String({ description: 'Where the backend put the video.' })),
  error: Type.Optional(Type.String()),
  error_code: Type.Optional(ErrorCode),
  attempts: Type.Array(AttemptReply),
  links: Type.Object({
    self: Type.String(),
    result: Type.String(),
    logs: Type.String(),
    cancel: Type.String(),
    deliveries: Type.Optional(Type.String({ description: 'Where the job has a webhook.' })),
  }),
})

/** Query of `GET /jobs`. What is in the texts is checked by `listQueryOf`. */
export const ListJobsQuery = Type.Object(
  {
    status: Type.Optional(Type.String({ maxLength: 100, description: 'States, separated by commas.' })),
    created_after: Type.Optional(Type.String({ maxLength: 40, description: 'Only jobs accepted later (RFC 3339).' })),
    created_before: Type.Optional(Type.String({ maxLength: 40, description: 'Only jobs accepted before (RFC 3339).' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, description: 'Jobs on a page; 50 if not given.' })),
    caller: Type.Optional(
      Type.String({ minLength: 1, maxLength: 1024, description: 'Only jobs of this caller; for administrators.' }),
    ),
    cursor: Type.Optional(Type.String({ maxLength: 100, description: 'The next_cursor of the page before.' })),
  },
  { additionalProperties: false },
)

/** Answer of `GET /jobs`, newest first. */
export const JobsReply = Type.Object({
  jobs: Type.Array(JobReply),
  next_cursor: Type.Optional(Type.String({ description: 'Names the next page; absent on the last.' })),
})

/** Answer of `GET /jobs/:id/result`. */
export const ResultReply = Type.Object({
  job_id: Type.String(),
  status: OneOf(['succeeded']),
  output_path: Type.String(),
})

/** One event's way to a webhook. */
export const DeliveryReply = Type.Object({
  number: Type.Integer({ minimum: 1, description: 'Counts the deliveries of the job.' }),
  webhook_id: Type.String({ description: 'The webhook-id header, the same in every try.' }),
  event: OneOf(['job.running', 'job.succeeded', 'job.failed', 'job.canceled']),
  attempt: Type.Integer({ minimum: 1, description: 'The attempt of the job that it speaks of.' }),
  state: OneOf(['pending', 'delivered', 'failed']),
  created_at: Time('When the event happened'),
  next_try_at: Type.Optional(Time('When it is tried next')),
  tries: Type.Array(
    Type.Object({
      at: Time('When it began'),
      status: Type.Optional(Type.Integer({ description: 'Status of the answer, where there was one.' })),
      duration_ms: Type.Optional(Type.Integer({ minimum: 0 })),
      error: Type.Optional(Type.String()),
    }),
    { description: 'The last 50, oldest first; one that runs has neither status nor error.' },
  ),
})

/** Answer of `GET /jobs/:id/deliveries`. */
export const DeliveriesReply = Type.Object({
  webhook_url: Type.Optional(Type.String()),
  webhook_events: Type.Optional(WebhookEvents),
  deliveries: Type.Array(DeliveryReply),
})

/** Answer of `GET /webhooks/secret`. */
export const WebhookSecretReply = Type.Object({
  secret: Type.String({ description: 'Verifies the webhooks of the caller: whsec_ and base64.' }),
  secrets: Type.Array(Type.String(), { description: 'All that sign at present, the newest first.' }),
})

/** Answer of `GET /readyz`. */
export const ReadyReply = Type.Object({
  status: OneOf(['ready', 'unavailable', 'ending']),
  store: OneOf(['ok', 'unavailable']),
  backend: OneOf(['ok', 'degraded']),
})

export const HealthReply = Type.Object({ status: OneOf(['ok']) })

/** An error answer (RFC 9457), with a stable `code` and, for faulty fields, `errors`. */
export const ProblemReply = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  code: Type.String(),
  errors: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() }))),
})

export const JobParams = Type.Object({ id: Type.String() })
export const DeliveryParams = Type.Object({ id: Type.String(), n: Type.String() })
/** Query of `GET /jobs/:id/logs`. */
export const LogsQuery = Type.Object(
  { attempt: Type.Optional(Type.Integer({ minimum: 1, description: 'Which attempt; the current one by default.' })) },
  { additionalProperties: false },
)
/** An answer of lines, in pieces as they come. */
export const TextReply = Type.Unsafe<Readable>({ content: { 'text/plain': { schema: { type: 'string' } } } })
export const NoQuery = Type.Object({}, { additionalProperties: false })
/** For routes that take no body: an empty object is borne, since many clients send one. */
export const NoBody = Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false })])
