import { Type } from '@sinclair/typebox'
import { FACES_WITH_FILES, SPEECHES_WITH_FILES } from '../../jobs/submit.ts'
import { PRIORITIES, WEBHOOK_EVENTS } from '../../jobs/job.ts'
import { OneOf, Text, Time, Integer } from '../schemas.ts'

const Url = (description: string, example: string) =>
  Text({ description, example, minLength: 1, maxLength: 2048, format: 'uri' })
const Path = (description: string, example: string) => Text({ description, example, minLength: 1, maxLength: 1024 })

/** The fields of face and speech. */
export const Input = {
  video_url: Type.Optional(Url('Face: a video by http(s) URL.', 'https://media.example.com/face.mp4')),
  image_url: Type.Optional(Url('Face: a still image by http(s) URL.', 'https://media.example.com/face.jpg')),
  video_path: Type.Optional(
    Path(
      'Face: a video or image by path, relative to the media root (locally) or to the checkout of MuseTalk (Modal: letters, digits, `_`, `-`, `.` and `/` only).',
      'face.mp4',
    ),
  ),
  audio_url: Type.Optional(Url('Speech by http(s) URL.', 'https://media.example.com/speech.wav')),
  audio_path: Type.Optional(Path('Speech by path, relative like `video_path`.', 'speech.wav')),
}

/** The core checks this rule and names the fields; the reference shows it as JSON Schema. */
export const EXACTLY_ONE_WITH_FILES = { exactlyOneOf: [FACES_WITH_FILES, SPEECHES_WITH_FILES] }

/** Names a file that was sent ahead. */
export const UploadId = Text({
  description: 'The id of an upload. It is valid for its caller only.',
  example: 'video.4daa.th4a80.3q2-7wAAAAAAAAAAAAAAAA.2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM',
  maxLength: 200,
})

const InputFile = Type.Object(
  {
    upload_id: Type.Optional(UploadId),
    size: Integer({ description: 'In bytes.', example: 203850, minimum: 1 }),
    type: Text({ description: 'Its media type, detected from its content.', example: 'video/mp4' }),
  },
  { $id: 'InputFile', description: 'An uploaded file.' },
)

/** Face and speech as files, in answers. */
export const InputFiles = {
  video: Type.Optional(InputFile),
  image: Type.Optional(InputFile),
  audio: Type.Optional(InputFile),
}

const SentAhead = (description: string) =>
  Type.Optional(Type.Object({ upload_id: UploadId }, { description, additionalProperties: false }))

/** Face and speech that were sent ahead, in a submit. */
const Uploads = {
  video: SentAhead('Face: a video, sent ahead (`POST /uploads`).'),
  image: SentAhead('Face: a still image, sent ahead.'),
  audio: SentAhead('Speech, sent ahead.'),
}

/** Which model. */
export const Version = OneOf(['v15', 'v1'], { description: 'The MuseTalk model.', examples: ['v15'] })

/** The name of a webhook event. */
export const WebhookEventName = OneOf(WEBHOOK_EVENTS, {
  description: 'What has happened.',
  examples: ['job.succeeded'],
})

/** A caller's labels. */
export const Metadata = Type.Unsafe<Record<string, string>>({
  type: 'object',
  maxProperties: 16,
  propertyNames: { type: 'string', minLength: 1, maxLength: 64 },
  additionalProperties: {
    type: 'string',
    maxLength: 512,
    description: 'The value of a label.',
    examples: ['12'],
  },
  description: 'Your own labels: up to 16 keys of 64 characters, values of 512.',
  examples: [{ scene: '12' }],
})

const Parameter = (description: string, example: number, minimum: number, maximum: number) =>
  Type.Optional(Integer({ description, example, minimum, maximum }))

/** How MuseTalk makes the video. */
export const Parameters = Type.Object(
  {
    bbox_shift: Parameter(
      '`v1` only: moves the edge of the mask, which opens or closes the mouth; pixels.',
      5,
      -50,
      50,
    ),
    extra_margin: Parameter('`v15` only: pixels below the face that are included, for the jaw.', 12, 0, 40),
    parsing_mode: Type.Optional(
      OneOf(['jaw', 'raw', 'neck'], {
        description: '`v15` only: which part of the face is blended.',
        examples: ['jaw'],
      }),
    ),
    left_cheek_width: Parameter('`v15` only: width of the left cheek in the mask, in pixels.', 90, 20, 160),
    right_cheek_width: Parameter('`v15` only: width of the right cheek in the mask, in pixels.', 90, 20, 160),
    batch_size: Parameter('Frames per step on the GPU.', 8, 1, 64),
    fps: Parameter('Frames per second, if the face is a still image.', 25, 1, 60),
    use_float16: Type.Optional(Type.Boolean({ description: 'Whether to use half precision.', examples: [true] })),
  },
  {
    additionalProperties: false,
    description:
      'How MuseTalk makes the video; each has a default of its own. One that the model does not know is an error of the field; one that the deployed function does not take is `parameter_not_supported`.',
    examples: [{ extra_margin: 12, parsing_mode: 'jaw' }],
  },
)

/** The receiver of webhooks. */
export const WebhookUrl = Url(
  'Where to be notified by a signed POST (Standard Webhooks): http or https, at a public address.',
  'https://hooks.example.com/lip-sync',
)

/** Where the output is to be sent. */
const OutputTarget = Type.Object(
  {
    put_url: Url(
      'A presigned URL of your own store for a PUT of the video: http or https, at a public address. The server sends the video to it once the job has succeeded, with `Content-Type` and `Content-Length`, which the URL may have signed; and again, by the schedule of webhooks, until the store answers 2xx. The URL has to be valid by then. It is kept as a secret.',
      'https://my-bucket.s3.eu-central-1.amazonaws.com/videos/scene-12.mp4?X-Amz-Signature=0f4c9b',
    ),
  },
  { description: 'Where to send the output, in addition to `output_url`.', additionalProperties: false },
)

/** The same in a job: where the output goes, and how far that is. */
export const OutputDelivery = Type.Object(
  {
    put_url: Url(
      'Where the video is sent, without the query of the URL.',
      'https://my-bucket.s3.eu-central-1.amazonaws.com/videos/scene-12.mp4',
    ),
    state: Type.Optional(
      OneOf(['pending', 'delivered', 'failed'], {
        description:
          'Of a job that succeeded. `failed`: every attempt failed; `POST /jobs/:id/deliveries/:n/redeliver` makes another.',
        examples: ['delivered'],
      }),
    ),
    delivered_at: Type.Optional(Time({ description: 'When the store had it.', example: '2026-01-31T12:01:34.000Z' })),
  },
  { $id: 'OutputDelivery', description: 'The delivery of the output to the store of its caller.' },
)

/** The events that a webhook reports. */
export const WebhookEvents = Type.Array(WebhookEventName, {
  minItems: 1,
  maxItems: WEBHOOK_EVENTS.length,
  uniqueItems: true,
  description:
    'The events that the webhook reports; by default the three final ones, and `job.delivered` if there is an `output`.',
  examples: [['job.running', 'job.succeeded', 'job.failed', 'job.canceled']],
})

/** In submits and in jobs. */
export const RunTimeout = Integer({
  description:
    'Longest time from the start of the run at the backend, if the backend reports the start; its queue does not count. Then the job fails with `timed_out`. The server may have a default.',
  example: 900,
  minimum: 1,
  maximum: 604_800,
})

/** The optional fields of a submit that its job shows again. */
export const ShownOptions = {
  parameters: Type.Optional(Parameters),
  metadata: Type.Optional(Metadata),
  run_timeout_seconds: Type.Optional(RunTimeout),
  priority: Type.Optional(
    OneOf(PRIORITIES, {
      description:
        'How urgent the job is among your own that wait: `high` before `normal` (the default) before `low`. Jobs of other callers start neither earlier nor later for it.',
      examples: ['high'],
    }),
  ),
}

/** See the keyword in `http/schemas.ts`; the reference shows it as types. */
const NULL_IS_ABSENT = { nullIsAbsent: true }

/** Body of `POST /jobs`. */
export const NewJobBody = Type.Object(
  {
    ...Input,
    ...Uploads,
    version: Type.Optional({ ...Version, description: 'The MuseTalk model, `v15` by default.' }),
    ...ShownOptions,
    parameters: Type.Optional({ ...Parameters, ...NULL_IS_ABSENT }),
    metadata: Type.Optional({ ...Metadata, ...NULL_IS_ABSENT }),
    timeout_seconds: Type.Optional(
      Integer({
        description: 'Longest time from the acceptance of the job until it finishes; the server has a default.',
        example: 3600,
        minimum: 1,
        maximum: 604_800,
      }),
    ),
    reuse: Type.Optional(
      Type.Boolean({
        description:
          'Whether the output of an identical job of yours will do: the same face, speech, `version` and `parameters`. If one has succeeded, this job succeeds at once, with `reused_from` and without a run; if one is in flight, this one waits for it, and runs if that fails. Files count by content: uploads, paths on the local backend, and URLs where the server reads them and they answer with the same strong `ETag` as before; other jobs run. The server may have a default.',
        examples: [true],
      }),
    ),
    webhook_url: Type.Optional(WebhookUrl),
    webhook_events: Type.Optional(WebhookEvents),
    output: Type.Optional({ ...OutputTarget, ...NULL_IS_ABSENT }),
  },
  {
    ...EXACTLY_ONE_WITH_FILES,
    ...NULL_IS_ABSENT,
    $id: 'NewJob',
    description: `What to make: exactly one face (\`${FACES_WITH_FILES.join('`, `')}\`) and exactly one speech (\`${SPEECHES_WITH_FILES.join('`, `')}\`). An optional field that is null counts as absent.`,
    additionalProperties: false,
  },
)

const File = (description: string) =>
  Type.Optional(Type.Unsafe<never>({ type: 'string', format: 'binary', description, examples: ['(the bytes)'] }))

const FormFiles = {
  video: File('Face: a video, as a file.'),
  image: File('Face: a still image, as a file.'),
  audio: File('Speech, as a file.'),
}

/** Body of `POST /jobs` as multipart/form-data, for the reference; the server validates by `NewJobBody`. Files come first. */
export const NewJobForm = Type.Object(
  {
    ...FormFiles,
    ...NewJobBody.properties,
    ...FormFiles,
    parameters: Type.Optional(Parameters),
    metadata: Type.Optional(Metadata),
    output: Type.Optional(OutputTarget),
  },
  {
    ...EXACTLY_ONE_WITH_FILES,
    $id: 'NewJobForm',
    description: `Like \`NewJob\`, and files: exactly one face (\`${FACES_WITH_FILES.join('`, `')}\`) and exactly one speech (\`${SPEECHES_WITH_FILES.join('`, `')}\`). Fields and files come in any order; \`parameters\`, \`metadata\` and \`output\` are JSON objects as text. A field without text, a member of \`parameters\` or \`output\` that is an empty text, and a file input without a file count as absent; a part of type application/json is read as JSON.`,
    additionalProperties: false,
  },
)
