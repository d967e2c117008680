import { createHash } from 'node:crypto'
import type { Backend } from './ports/backend.ts'
import type { Upload } from './ports/files.ts'
import { type FieldError, invalidFields, problem, type ProblemCode } from '../problems.ts'
import {
  FILE_KINDS,
  type Job,
  type JobInput,
  type JobMedia,
  type JobRequest,
  type NamedInput,
  namedInputOf,
  PARAMETERS,
  parametersIn,
  type RunOptions,
  type UploadedFile,
} from './job.ts'
import { checkUrlForm, withoutQuery } from '../net/url-rule.ts'
import type { UploadIds } from './uploads.ts'
import {
  checkOutput,
  checkWebhook,
  type TargetOptions,
  PUT_URL_PATH,
  webhookOf,
  type WebhookOptions,
} from './webhooks/options.ts'
import type { Outbox } from './webhooks/outbox.ts'

/** The fields of a submit that need a check. */
export type SubmitFields = WebhookOptions &
  TargetOptions &
  RunOptions & {
    readonly input: JobInput
    /** Errors found by the schema: unknown fields, and fields of the wrong type. These are not in the input. */
    readonly fieldErrors?: readonly FieldError[]
    /** Whether it was sent as a form, which can have files. */
    readonly isForm?: boolean
  }

export type SubmitChecks = {
  readonly backend: Pick<Backend, 'check'>
  readonly webhooks: Pick<Outbox, 'secretsOf' | 'check' | 'checkOutput'>
}

/**
 * Refuses a submit with all of its errors, one entry per field, so that its caller can fix them at once.
 * Throws `invalid_request`, `url_not_allowed` if only URLs are wrong, `parameter_not_supported` or
 * `uploads_need_public_url` if only the backend refuses parameters or files, or `webhooks_not_configured`.
 */
export function checkSubmit(fields: SubmitFields, callerId: string, { backend, webhooks }: SubmitChecks): void {
  const { input, parameters, webhookUrl, output, fieldErrors = [], isForm = false } = fields
  const formErrors = [
    ...fieldErrors,
    ...checkInput(input, { found: fieldErrors, canHaveFiles: isForm }),
    ...checkParameters(fields, fieldErrors),
    ...checkWebhook(fields, fieldErrors),
    ...checkOutput(fields),
  ]
  const targets = [
    { path: '/webhook_url', error: webhookUrl === undefined ? undefined : webhooks.check(webhookUrl) },
    { path: PUT_URL_PATH, error: output && webhooks.checkOutput(output.putUrl) },
  ]
  const adapterErrors = [
    ...backend.check(input, parameters),
    ...targets.flatMap(({ path, error }) => (error === undefined ? [] : [{ path, message: error }])),
  ]
  const isUnsigned = webhookUrl !== undefined && webhooks.secretsOf(callerId).length === 0
  if (formErrors.length === 0 && adapterErrors.length === 0 && !isUnsigned) return

  const unsigned = problem('webhooks_not_configured', { status: 400 })
  const errors = mergeByField([...formErrors, ...(isUnsigned ? (unsigned.errors ?? []) : [])], adapterErrors)
  const code = formErrors.length > 0 ? undefined : adapterCodeOf(adapterErrors)
  if (code === undefined || code === 'invalid_request') throw invalidFields(errors)
  if (!isUnsigned) throw invalidFields(errors, code)
  throw errors.length > 1 ? invalidFields(errors) : unsigned
}

/** The code of errors that only the backend or the webhooks have found. */
function adapterCodeOf(errors: readonly FieldError[]): ProblemCode {
  if (errors.every(({ path }) => path.endsWith('_url'))) return 'url_not_allowed'
  if (errors.every(({ path }) => path.startsWith('/parameters/'))) return 'parameter_not_supported'
  if (errors.every(({ path }) => FILE_KINDS.some((kind) => path === `/${kind}`))) return 'uploads_need_public_url'
  return 'invalid_request'
}

/** One entry per field. Errors of adapters count only for fields without other errors. */
function mergeByField(errors: readonly FieldError[], adapterErrors: readonly FieldError[]): FieldError[] {
  const messages = new Map<string, string[]>()
  for (const { path, message } of errors) messages.set(path, [...(messages.get(path) ?? []), message])
  for (const { path, message } of adapterErrors) if (!messages.has(path)) messages.set(path, [message])
  return [...messages].map(([path, ofField]) => ({ path, message: ofField.join('; ') }))
}

/** A job has exactly one of the faces and one of the speeches. */
export const FACES = ['video_url', 'image_url', 'video_path'] as const
export const SPEECHES = ['audio_url', 'audio_path'] as const
/** The same with the fields of files. */
export const FACES_WITH_FILES = [...FACES, 'video', 'image'] as const
export const SPEECHES_WITH_FILES = [...SPEECHES, 'audio'] as const

/** What is known about a submit in addition to its input. */
export type InputContext = {
  /** Errors found before, whose fields are not in the input. */
  readonly found?: readonly FieldError[]
  /** Whether the request can have files, so that messages name their fields too. */
  readonly canHaveFiles?: boolean
}

/** The field errors in an input's form, for any backend. Uses neither network nor disk. */
function checkInput(input: JobInput, { found = [], canHaveFiles = false }: InputContext = {}): FieldError[] {
  const withFiles = canHaveFiles || FILE_KINDS.some((kind) => input[kind] !== undefined)
  const isGiven = (field: keyof JobInput) =>
    input[field] !== undefined || found.some(({ path }) => path === `/${field}`)
  return [
    ...exactlyOne(withFiles ? FACES_WITH_FILES : FACES, isGiven),
    ...exactlyOne(withFiles ? SPEECHES_WITH_FILES : SPEECHES, isGiven),
    ...checkFields(input, ['video_url', 'image_url', 'audio_url'], checkUrlForm),
    ...checkFields(input, ['video_path', 'audio_path'], checkPath),
  ]
}

function exactlyOne(fields: readonly (keyof JobInput)[], isGiven: (field: keyof JobInput) => boolean): FieldError[] {
  const given = fields.filter(isGiven)
  if (given.length === 1) return []
  const rule = `exactly one of ${fields.join(', ')} is required`
  const [first = fields[0]] = given
  return [{ path: `/${first ?? ''}`, message: given.length === 0 ? rule : `${rule}, got ${given.join(' and ')}` }]
}

function checkFields(input: JobInput, fields: (keyof NamedInput)[], checkValue: (value: string) => string | undefined) {
  return fields.flatMap((field) => {
    const value = input[field]
    const message = value === undefined ? undefined : checkValue(value)
    return message === undefined ? [] : [{ path: `/${field}`, message }]
  })
}

/** The parameters that the model does not know, and a frame rate for a video, which has its own. */
function checkParameters({ parameters, version, input }: SubmitFields, found: readonly FieldError[]): FieldError[] {
  const isVersionWrong = found.some(({ path }) => path === '/version')
  return parametersIn(parameters).flatMap((name) => {
    const model = PARAMETERS[name]
    const path = `/parameters/${name}`
    if (model !== 'any' && model !== version && !isVersionWrong) {
      return [{ path, message: `is not a parameter of ${version}, only of ${model}` }]
    }
    const isOfVideo = name === 'fps' && (input.video_url ?? input.video) !== undefined
    return isOfVideo ? [{ path, message: 'is only for a still image; a video keeps its frame rate' }] : []
  })
}

/** A step to the folder above. */
const CLIMBS = /(?:^|[/\\])\.\.(?:[/\\]|$)/

/** The error in a path, which must be relative to the media root and stay inside it in any encoding. */
function checkPath(value: string): string | undefined {
  if (/\p{Cc}/u.test(value)) return 'must not contain control characters'
  if (value.includes('\\')) return 'must use forward slashes'
  if (value.startsWith('/') || /^[a-z]:/i.test(value)) return 'must be relative to the media root'
  const decoded = decode(value)
  if (decoded === undefined) return 'is percent-encoded too many times'
  if (CLIMBS.test(value) || CLIMBS.test(decoded)) return 'must not climb out of the media root'
  return decoded.startsWith('/') || decoded.includes('\0') ? 'must be a plain relative path' : undefined
}

/** Percent-decodes until nothing changes, since another program may decode again; undefined after too many rounds. */
function decode(value: string): string | undefined {
  let current = value
  for (let round = 0; round < 5; round++) {
    const next = current.replace(/%[0-9a-f]{2}/gi, (code) => String.fromCharCode(Number.parseInt(code.slice(1), 16)))
    if (next === current) return current
    current = next
  }
  return undefined
}

/** What the media of a job may be. Undefined: no limit. */
export type MediaLimits = {
  readonly maxSpeechSeconds?: number | undefined
  readonly maxFacePixels?: number | undefined
}

/** Throws `media_rejected` if it is known of a face or a speech that it will not do. */
export function checkMedia(input: JobInput, media: JobMedia, limits: MediaLimits): void {
  const errors = [
    ...fieldErrors(input, FACES_WITH_FILES, faceError(media, limits)),
    ...fieldErrors(input, SPEECHES_WITH_FILES, speechError(media, limits)),
  ]
  if (errors.length > 0) throw invalidFields(errors, 'media_rejected')
}

const fieldErrors = (
  input: JobInput,
  fields: readonly (keyof JobInput)[],
  message: string | undefined,
): FieldError[] =>
  message === undefined
    ? []
    : fields.filter((field) => input[field] !== undefined).map((field) => ({ path: `/${field}`, message }))

function faceError({ face = {}, audio }: JobMedia, { maxFacePixels = Infinity }: MediaLimits): string | undefined {
  const { width = 0, height = 0, container } = face
  const isSwapped = audio?.hasPicture === true && face.hasSound === true
  if (face.hasPicture === false) return `is ${container} and has no picture${isSwapped ? SWAPPED : ''}`
  if (width * height <= maxFacePixels) return undefined
  return `has ${width}x${height} pixels (${width * height}), more than the limit of ${maxFacePixels}`
}

const SWAPPED = '; face and speech seem to be swapped'

function speechError({ face, audio = {} }: JobMedia, { maxSpeechSeconds = Infinity }: MediaLimits): string | undefined {
  const { durationSeconds = 1, container } = audio
  const isSwapped = audio.hasPicture === true && face?.hasPicture === false
  if (audio.hasSound === false) return `is ${container} and has no sound${isSwapped ? SWAPPED : ''}`
  if (durationSeconds === 0) return 'has a sound that lasts 0 s: there is nothing to speak'
  if (durationSeconds <= maxSpeechSeconds) return undefined
  return `lasts ${durationSeconds} s, more than the limit of ${maxSpeechSeconds} s`
}

/**
 * Reads an `Idempotency-Key` header (IETF draft-ietf-httpapi-idempotency-key-header): a string in quotes, as the draft
 * has it, or bare, as most clients send it. 1 to 255 visible ASCII characters, else `invalid_request`.
 */
export function parseIdempotencyKey(header: string): string {
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header)?.[1]
  const key = quoted === undefined ? header : quoted.replace(/\\(["\\])/g, '$1')
  const isBareQuote = quoted === undefined && key.includes('"')
  if (/^[\x21-\x7e]{1,255}$/.test(key) && !isBareQuote) return key
  const message = 'must be 1 to 255 visible ASCII characters, bare or in double quotes'
  throw invalidFields([{ path: '/Idempotency-Key', message }], 'invalid_idempotency_key')
}

/**
 * SHA-256, in hex, of a request with its defaults: two requests with one fingerprint are the same. What is not given is
 * left out, so that the fingerprints of stored jobs stay valid when a release adds a field; `metadata` never was. The URL
 * for the output counts without its query: a repeated request may have signed it again.
 */
export function fingerprintOf({ input, output, ...options }: JobRequest): string {
  const target = output && { output: withoutQuery(output.putUrl) }
  const text = JSON.stringify(sorted({ metadata: undefined, ...options, ...target, input: identityOf(input) }))
  return createHash('sha256').update(text).digest('hex')
}

/** Files count only by their content: the detected type may change with the next release. */
function identityOf(input: JobInput): object {
  const files = FILE_KINDS.flatMap((kind) => (input[kind] ? [[kind, contentOf(input[kind])] as const] : []))
  return { ...namedInputOf(input), ...Object.fromEntries(files) }
}

/** Of an object its ETag: with most stores the same bytes have the same one. */
const contentOf = ({ sha256, object, size }: UploadedFile) =>
  sha256 === undefined ? { etag: object?.etag, size } : { sha256 }

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return entries.map(([key, member]) => [key, sorted(member)])
}

/** Where a time is not set, the server's default applies. */
type NewJobOptions = Omit<JobRequest, 'input' | 'webhook' | 'timeoutSeconds'> &
  Partial<Pick<JobRequest, 'timeoutSeconds'>>

/** A request for a new job. */
export type NewJob = Omit<SubmitFields, 'input'> &
  NewJobOptions & {
    readonly input: NamedInput
    /** Files that came with it, which the service keeps for the job or discards. */
    readonly upload?: Upload
    /** Files that were sent ahead of it. */
    readonly uploadIds?: UploadIds
    /** The caller's key for this submit: the same request with the same key means the same job. */
    readonly idempotencyKey?: string
    /** As `readTraceparent` gives it. */
    readonly traceparent?: string
    /** As `readTracestate` gives it. */
    readonly tracestate?: string
  }

/** What a request leaves to the server. */
export type JobDefaults = {
  readonly id: string
  readonly caller: string
  readonly backend: Job['backend']
  readonly now: number
  readonly timeoutSeconds: number
  readonly runTimeoutSeconds: number | undefined
  readonly reuse: boolean
  readonly media: JobMedia | undefined
}

/** The job of a request without errors, as it is stored first. `input`: with its files. */
export function newJob(request: NewJob, input: JobInput, defaults: JobDefaults): Job {
  // What is left are the fields that a job keeps as they are.
  const {
    fieldErrors,
    isForm,
    upload,
    uploadIds,
    idempotencyKey,
    traceparent,
    tracestate,
    webhookUrl,
    webhookEvents,
    reuse,
    ...options
  } = request
  const webhook = webhookOf(request)
  const runTimeoutSeconds = options.runTimeoutSeconds ?? defaults.runTimeoutSeconds
  const requested: JobRequest = {
    ...options,
    input,
    timeoutSeconds: options.timeoutSeconds ?? defaults.timeoutSeconds,
    ...(runTimeoutSeconds !== undefined && { runTimeoutSeconds }),
    ...((reuse ?? defaults.reuse) && { reuse: true }),
    ...(webhook && { webhook }),
  }
  return {
    id: defaults.id,
    caller: defaults.caller,
    backend: defaults.backend,
    status: 'submitted',
    revision: 1,
    ...requested,
    ...(idempotencyKey !== undefined && { idempotencyKey, fingerprint: fingerprintOf(requested) }),
    // Not part of the fingerprint: a repeated request belongs to another trace, and may find another file at its URL.
    ...(defaults.media && { media: defaults.media }),
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
    createdAt: defaults.now,
    deadlineAt: defaults.now + requested.timeoutSeconds * 1000,
    attempts: [{ attempt: 1 }],
  }
}
