import type { MultipartFile, MultipartValue } from '@fastify/multipart'
import type { TSchema } from '@sinclair/typebox'
import { type FieldError, invalidFields } from '../../problems.ts'
import { FILE_KINDS, type FileKind } from '../../jobs/job.ts'
import { NewJobBody } from './submit-schema.ts'
import { pointerTo } from '../schemas.ts'

/** A form without its files: the body as JSON would have it, and the errors found so far. */
export type Form = { readonly body: Record<string, unknown>; readonly errors: readonly FieldError[] }

export type FormOptions = {
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
export const isReadAsStream = (_name?: string, type?: string, filename?: string): boolean =>
  filename !== undefined || type !== 'text/plain'

/**
 * Reads a form part by part. Invalid fields are collected, so that one answer names them all. An unexpected file ends the
 * reading with `invalid_request`, so that its client need not send the rest.
 */
export async function readForm(parts: AsyncIterable<Part>, { addFile, maxFieldBytes }: FormOptions): Promise<Form> {
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
  return mimetype === JSON_TYPE
    ? (parseJson(text) ?? { message: 'is not valid JSON' })
    : { value: valueOf(fieldname, text) }
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

/** As for a JSON body: `__proto__`, however it is escaped, is not allowed as a key. */
function refusePrototype(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new SyntaxError('a key that is not allowed')
  return value
}
