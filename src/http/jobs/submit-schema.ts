import { Type } from '@sinclair/typebox'
import { FACES, FACES_WITH_FILES, SPEECHES, SPEECHES_WITH_FILES } from '../../jobs/submit.ts'
import { WEBHOOK_EVENTS } from '../../jobs/job.ts'
import { OneOf, Text, Whole } from '../schemas.ts'

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
const EXACTLY_ONE = { exactlyOneOf: [FACES, SPEECHES] }
export const EXACTLY_ONE_WITH_FILES = { exactlyOneOf: [FACES_WITH_FILES, SPEECHES_WITH_FILES] }

const InputFile = Type.Object(
  {
    size: Whole({ description: 'In bytes.', example: 203850, minimum: 1 }),
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

/** The events that a webhook reports. */
export const WebhookEvents = Type.Array(WebhookEventName, {
  minItems: 1,
  maxItems: WEBHOOK_EVENTS.length,
  uniqueItems: true,
  description: 'The events that the webhook reports; by default the three final ones.',
  examples: [['job.running', 'job.succeeded', 'job.failed', 'job.canceled']],
})

/** In submits and in jobs. */
export const RunTimeout = Whole({
  description:
    'Longest time from the start of the run at the backend, if the backend reports the start; its queue does not count. Then the job fails with `timed_out`. The server may have a default.',
  example: 900,
  minimum: 1,
  maximum: 604_800,
})

/** The optional fields of a submit that its job shows again. */
export const ShownOptions = {
  metadata: Type.Optional(Metadata),
  run_timeout_seconds: Type.Optional(RunTimeout),
}

/** See the keyword in `http/schemas.ts`; the reference shows it as types. */
const NULL_IS_ABSENT = { nullIsAbsent: true }

/** Body of `POST /jobs`. */
export const NewJobBody = Type.Object(
  {
    ...Input,
    version: Type.Optional({ ...Version, default: 'v15' }),
    ...ShownOptions,
    metadata: Type.Optional({ ...Metadata, ...NULL_IS_ABSENT }),
    timeout_seconds: Type.Optional(
      Whole({
        description: 'Longest time from the acceptance of the job until it finishes; the server has a default.',
        example: 3600,
        minimum: 1,
        maximum: 604_800,
      }),
    ),
    webhook_url: Type.Optional(
      Url(
        'Where to be notified by a signed POST (Standard Webhooks): http or https, at a public address.',
        'https://hooks.example.com/lip-sync',
      ),
    ),
    webhook_events: Type.Optional(WebhookEvents),
  },
  {
    ...EXACTLY_ONE,
    ...NULL_IS_ABSENT,
    $id: 'NewJob',
    description: `What to make: exactly one face (\`${FACES.join('`, `')}\`) and exactly one speech (\`${SPEECHES.join('`, `')}\`). An optional field that is null counts as absent.`,
    additionalProperties: false,
  },
)

const File = (description: string) =>
  Type.Optional(Type.Unsafe<never>({ type: 'string', format: 'binary', description, examples: ['(the bytes)'] }))

/** Body of `POST /jobs` as multipart/form-data, for the reference; the server validates by `NewJobBody`. */
export const NewJobForm = Type.Object(
  {
    video: File('Face: a video, as a file.'),
    image: File('Face: a still image, as a file.'),
    audio: File('Speech, as a file.'),
    ...NewJobBody.properties,
    metadata: Type.Optional(Metadata),
  },
  {
    ...EXACTLY_ONE_WITH_FILES,
    $id: 'NewJobForm',
    description: `Like \`NewJob\`, and files: exactly one face (\`${FACES_WITH_FILES.join('`, `')}\`) and exactly one speech (\`${SPEECHES_WITH_FILES.join('`, `')}\`). Fields and files come in any order; \`metadata\` is a JSON object as text. A field without text and a file input without a file count as absent; a part of type application/json is read as JSON.`,
    additionalProperties: false,
  },
)
