import multipart, { type FastifyMultipartOptions } from '@fastify/multipart'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type FieldError, isProblem, problem, invalidFields } from '../../problems.ts'
import type { Upload, Uploads } from '../../jobs/ports/files.ts'
import { createFairSemaphore } from '../../lib/concurrency.ts'
import { expectProgress, refusePrototype } from '../plugins/bodies.ts'
import { limitKeyOf } from '../plugins/auth.ts'
import type { MultipartFile, MultipartValue } from '@fastify/multipart'
import type { TSchema } from '@sinclair/typebox'
import { FILE_KINDS, type FileKind } from '../../jobs/job.ts'
import { NewJobBody } from './submit-schema.ts'
import { pointerTo } from '../schemas.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Uploaded files that belong to no job yet. The handler that passes them on sets it to null. */
    upload: Upload | null
    /** The errors of a form's parts; null: the request is not a form. */
    formErrors: readonly FieldError[] | null
  }
}

export type UploadLimits = {
  /** Total size of the files of one request. */
  readonly maxUploadBytes: number
  /** Uploads received at the same time, shared fairly by the callers; beyond it a submit is 503. 0: no limit. */
  readonly maxUploads: number
  /** Size of one field that is not a file. */
  readonly bodyLimitBytes: number
}

export type UploadOptions = {
  readonly uploads: Pick<Uploads, 'create'>
  readonly limits: UploadLimits
  readonly uploadSlots: UploadSlots
}

/** Bounds the files that are received at the same time, in forms and alone. */
export type UploadSlots = {
  /** Returns a function that gives the slot back. Throws `overloaded`. */
  acquire(request: FastifyRequest): () => void
  /** Whether an upload was refused lately. */
  readonly isContended: () => boolean
}

export function createUploadSlots({ maxUploads }: UploadLimits): UploadSlots {
  const slots = createFairSemaphore(maxUploads || Infinity)
  let contendedUntil = -Infinity
  return {
    isContended: () => performance.now() < contendedUntil,
    acquire(request) {
      const release = slots.tryAcquire(limitKeyOf(request))
      if (release) return release
      // A caller that already has its share does not make others hurry.
      if (slots.isFull) contendedUntil = performance.now() + CONTENDED_MS
      throw problem('overloaded', { detail: 'Too many uploads are being received.' })
    },
  }
}

/** Maximum size of fields and boundaries, in bytes. */
const OVERHEAD_BYTES = 1024 * 1024

/** How long a refused upload speeds up the others, in ms: longer than until their next check. */
const CONTENDED_MS = 60_000

/** More parts than any valid form has. */
const MAX_PARTS = 30

/**
 * Makes the routes of `app` accept multipart/form-data: fields become the body, as if they had come as JSON, and are
 * validated by the route's schema; files become `request.upload`. It applies to every route of its Fastify scope.
 */
export async function registerUploads(
  app: FastifyInstance,
  { uploads, limits, uploadSlots }: UploadOptions,
): Promise<void> {
  const { maxUploadBytes, bodyLimitBytes } = limits
  await registerMultipart(app, {
    // The total size of the files is limited where they are written.
    limits: { fieldSize: bodyLimitBytes, fileSize: Infinity, parts: MAX_PARTS },
    isPartAFile: isReadAsStream,
  })
  app.decorateRequest('upload', null)
  app.decorateRequest('formErrors', null)

  const receiveForm = async (request: FastifyRequest) => {
    try {
      const { 'content-length': bytes = 0, 'content-type': type = '' } = request.headers
      if (Number(bytes) > maxUploadBytes + OVERHEAD_BYTES) {
        throw problem('body_too_large', {
          detail: `The files of one request may have ${maxUploadBytes} bytes in total.`,
        })
      }
      if (!HAS_BOUNDARY.test(type)) throw problem('invalid_multipart', { detail: NO_BOUNDARY })
      const release = uploadSlots.acquire(request)
      expectProgress(request.raw, { maxBytes: maxUploadBytes + OVERHEAD_BYTES, isContended: uploadSlots.isContended })
      await receive(request, { uploads, maxFieldBytes: bodyLimitBytes }).finally(release)
    } catch (error) {
      throw refusalOf(error)
    }
  }

  // Callbacks, since most submits are JSON and need not wait for a promise.
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.isMultipart()) receiveForm(request).then(() => done(), done)
    else done()
  })
  // Before the answer is sent: after a refusal no file is left.
  app.addHook('onError', async (request) => request.upload?.discard())
}

/**
 * The plugin without its hooks. They delete files that it would save itself, which is not asked of it here, and each submit
 * in JSON would pay for their promises.
 */
function registerMultipart(app: FastifyInstance, options: FastifyMultipartOptions): Promise<void> {
  const hookless = Object.create(app, { addHook: { value: () => hookless } }) as FastifyInstance
  return new Promise((resolve, reject) => {
    multipart(hookless, options, (error) => (error ? reject(error) : resolve()))
  })
}

/** RFC 2046 5.1.1: without a boundary, the parts of a form cannot be separated. */
const HAS_BOUNDARY = /;\s*boundary\s*=\s*(?:"[^"]|[^\s";])/i
const NO_BOUNDARY =
  'The Content-Type says multipart/form-data without a boundary. Do not set the header yourself: your HTTP client sets it with the form.'

/** Reads the body to its end: its fields become the request's body, and its files `request.upload`. */
async function receive(
  request: FastifyRequest,
  { uploads, maxFieldBytes }: Pick<UploadOptions, 'uploads'> & Pick<FormOptions, 'maxFieldBytes'>,
): Promise<void> {
  const { socket } = request.raw
  const left = new AbortController()
  const abort = () => left.abort()
  socket.once('close', abort)
  const form = await readForm(request.parts(), {
    maxFieldBytes,
    async addFile(kind, bytes) {
      request.upload ??= await uploads.create({ caller: limitKeyOf(request), signal: left.signal })
      await request.upload.add(kind, bytes)
    },
  }).finally(() => socket.off('close', abort))
  request.body = form.body
  request.formErrors = form.errors
}

/** The parser's errors are the client's; those of the disk are not. */
function refusalOf(error: unknown): unknown {
  if (isProblem(error)) return error
  const isSystem = error instanceof Error && 'errno' in error
  return isSystem ? error : problem('invalid_multipart', { cause: error })
}

/** A form without its files: the body as JSON would have it, and the errors found so far. */
type Form = { readonly body: Record<string, unknown>; readonly errors: readonly FieldError[] }

type FormOptions = {
  /** Receives a file as it arrives. */
  readonly addFile: (kind: FileKind, bytes: AsyncIterable<Buffer>) => Promise<void>
  /** Longest field that is not a file, in bytes. */
  readonly maxFieldBytes: number
}

type Part = MultipartFile | MultipartValue
type Content = string | AsyncIterable<Buffer>

/**
 * Busboy's `isPartAFile`: whether a part is read as a stream. All are but plain text without a file name. Whether a stream
 * is a file or a field follows from its name, since `FormData` gives every Blob a file name, also one with JSON.
 */
const isReadAsStream = (_name?: string, type?: string, filename?: string): boolean =>
  filename !== undefined || type !== 'text/plain'

/**
 * Reads a form part by part. Invalid fields are collected, so that one answer names them all. An unexpected file ends the
 * reading with `invalid_request`, so that its client need not send the rest.
 */
async function readForm(parts: AsyncIterable<Part>, { addFile, maxFieldBytes }: FormOptions): Promise<Form> {
  const body: Record<string, unknown> = {}
  const errors: FieldError[] = []
  const seen = new Set<string>()

  for await (const part of parts) {
    // Undefined for a part without a name, against the type of the parser.
    const name = (part.fieldname as string | undefined) ?? ''
    const content = await contentOf(part)
    const isKnown = isKind(name) || TYPES.has(name)
    if (isKnown && content === undefined) continue
    const isRepeated = seen.has(name) && !isList(name)
    const partError = !isKnown ? unknown(part) : isRepeated ? 'is given twice' : partErrorOf(part)
    seen.add(name)
    if (partError !== undefined) {
      errors.push({ path: pointerTo(name), message: partError })
      if (part.type === 'file') throw invalidFields(errors)
    } else if (isKind(name)) {
      await addFile(name, content as AsyncIterable<Buffer>)
    } else {
      const field = await readField(part, content ?? '', maxFieldBytes)
      if ('value' in field) body[name] = isList(name) ? joined(body[name], field.value) : field.value
      else errors.push({ path: pointerTo(name), message: field.message })
    }
  }
  return { body, errors }
}

const JSON_TYPE = 'application/json'
const TOO_LONG = 'is too long'
/** The type of each field, by its schema. */
const TYPES: ReadonlyMap<string, unknown> = new Map(
  Object.entries<TSchema>(NewJobBody.properties).map(([name, { type }]) => [name, type as unknown]),
)
/** A list comes as one part for each value, like checkboxes of one name, or as one part with all of them. */
const isList = (name: string) => TYPES.get(name) === 'array'
const isKind = (name: string): name is FileKind => (FILE_KINDS as readonly string[]).includes(name)

const unknown = (part: Part) => (part.type === 'file' && part.filename ? 'unknown file' : 'unknown field')

/** The error of a known part, as far as its head shows. */
function partErrorOf(part: Part): string | undefined {
  if (part.type === 'field') {
    if (isKind(part.fieldname)) return 'must be a file'
    return part.valueTruncated ? TOO_LONG : undefined
  }
  const isField = isKind(part.fieldname) || part.mimetype === JSON_TYPE || !part.filename
  return isField ? undefined : `must be text, or a part of type ${JSON_TYPE}`
}

/**
 * The text of a field, or the bytes of a stream; undefined if the user of a page left the input empty: an empty text, or a
 * file with neither name nor bytes.
 */
async function contentOf(part: Part): Promise<Content | undefined> {
  if (part.type === 'field') return part.value === '' ? undefined : String(part.value)
  if (part.filename) return part.file
  const pieces = part.file[Symbol.asyncIterator]() as AsyncGenerator<Buffer>
  const first = await pieces.next()
  return first.done ? undefined : resume(first.value, pieces)
}

async function* resume(first: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  yield first
  yield* rest
}

type Field = { readonly value: unknown } | { readonly message: string }

async function readField({ fieldname, mimetype }: Part, content: Content, maxBytes: number): Promise<Field> {
  const text = typeof content === 'string' ? content : await textOf(content, maxBytes)
  if (text === undefined) return { message: TOO_LONG }
  const field = mimetype === JSON_TYPE ? parseJson(text) : { value: valueOf(fieldname, text) }
  if (!field) return { message: 'is not valid JSON' }
  return MAY_HAVE_EMPTY_TEXTS.includes(fieldname) ? { value: withoutEmptyTexts(field.value) } : field
}

/** The page of the reference sends an empty text for each member of these that its user left empty. */
const MAY_HAVE_EMPTY_TEXTS = ['parameters', 'output']

function withoutEmptyTexts(members: unknown): unknown {
  if (members === null || typeof members !== 'object' || Array.isArray(members)) return members
  const given = Object.entries(members).filter(([, value]) => value !== '')
  return given.length === 0 ? undefined : Object.fromEntries(given)
}

/** Undefined if it is longer than `maxBytes`. It is read to its end all the same, to reach the next part. */
async function textOf(stream: AsyncIterable<Buffer>, maxBytes: number): Promise<string | undefined> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of stream) {
    bytes += piece.length
    if (bytes <= maxBytes) pieces.push(piece)
  }
  return bytes > maxBytes ? undefined : Buffer.concat(pieces).toString()
}

/** Null adds nothing. A value that is not a list stays as it is, for the schema to refuse. */
function joined(before: unknown, value: unknown): unknown {
  if (value === null) return before
  if (before === undefined || !Array.isArray(value)) return value
  return Array.isArray(before) ? [...(before as unknown[]), ...(value as unknown[])] : before
}

/** The text as the field's type. Text of another form stays text, for the schema to refuse. */
function valueOf(name: string, text: string): unknown {
  switch (TYPES.get(name)) {
    case 'integer':
      return /^\d{1,15}$/.test(text) ? Number(text) : text
    case 'boolean':
      return text === 'true' || text === 'false' ? text === 'true' : text
    case 'array':
      return text.startsWith('[') ? jsonOrText(text) : text.split(',').map((value) => value.trim())
    case 'object':
      return jsonOrText(text)
    default:
      return text
  }
}

function jsonOrText(text: string): unknown {
  const json = parseJson(text)
  return json ? json.value : text
}

/** Undefined if it is not JSON, or has a key that a JSON body may not have. */
function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text, refusePrototype) as unknown }
  } catch {
    return undefined
  }
}
