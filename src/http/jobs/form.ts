import type { MultipartFile, MultipartValue } from '@fastify/multipart'
import type { TSchema } from '@sinclair/typebox'
import { type FieldError, invalidFields } from '../../problems.ts'
import { FILE_KINDS, type FileKind } from '../../jobs/job.ts'
import { NewJobBody } from './submit-schema.ts'
import { pointerTo } from '../schemas.ts'

/** What a form says beside its files: a body as JSON would have it, and what is wrong with it so far. */
export type Form = { readonly body: Record<string, unknown>; readonly errors: readonly FieldError[] }

export type FormOptions = {
  /** Takes a file as it comes. */
  readonly takeFile: (kind: FileKind, bytes: AsyncIterable<Buffer>) => Promise<void>
  /** Longest field that is not a file, in bytes. */
  readonly maxFieldBytes: number
}

type Part = MultipartFile | MultipartValue
type Content = string | AsyncIterable<Buffer>

/**
 * Busboy's `isPartAFile`: which parts come as streams. All but plain text without a file name do: whether one of them is
 * a file or a field follows from its name, since `FormData` gives a file name to every Blob, also to one that is JSON.
 */
export const comesAsStream = (_name?: string, type?: string, filename?: string): boolean =>
  filename !== undefined || type !== 'text/plain'

/**
 * Reads a form part by part. Fields that are wrong are collected, so that one answer names them all. A file that is not
 * taken ends the reading with `invalid_request`: nobody should have to send its bytes to the end.
 */
export async function readForm(parts: AsyncIterable<Part>, { takeFile, maxFieldBytes }: FormOptions): Promise<Form> {
  const body: Record<string, unknown> = {}
  const errors: FieldError[] = []
  const seen = new Set<string>()

  for await (const part of parts) {
    // One without a name has none, whatever the type of the parser says.
    const name = (part.fieldname as string | undefined) ?? ''
    const content = await contentOf(part)
    const isKnown = isKind(name) || TYPES.has(name)
    if (isKnown && content === undefined) continue
    const isRepeated = seen.has(name) && !isList(name)
    const mistake = !isKnown ? unknown(part) : isRepeated ? 'is given twice' : mistakeOf(part)
    seen.add(name)
    if (mistake !== undefined) {
      errors.push({ path: pointerTo(name), message: mistake })
      if (part.type === 'file') throw invalidFields(errors)
    } else if (isKind(name)) {
      await takeFile(name, content as AsyncIterable<Buffer>)
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
/** Lists come once for each of their values, as checkboxes of one name do, or once with all of them. */
const isList = (name: string) => TYPES.get(name) === 'array'
const isKind = (name: string): name is FileKind => (FILE_KINDS as readonly string[]).includes(name)

const unknown = (part: Part) => (part.type === 'file' && part.filename ? 'unknown file' : 'unknown field')

/** What is wrong with a part that is known and there, before it is read. */
function mistakeOf(part: Part): string | undefined {
  if (part.type === 'field') {
    if (isKind(part.fieldname)) return 'must be a file'
    return part.valueTruncated ? TOO_LONG : undefined
  }
  const isField = isKind(part.fieldname) || part.mimetype === JSON_TYPE || !part.filename
  return isField ? undefined : `must be text, or a part of type ${JSON_TYPE}`
}

/**
 * The text of a field, or the bytes of a stream; undefined where the user of a page left the input empty: a text that is
 * empty, or a file that has neither name nor bytes.
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

/** Undefined where it is longer than that: then it is read all the same, for what comes after it. */
async function textOf(stream: AsyncIterable<Buffer>, maxBytes: number): Promise<string | undefined> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of stream) {
    bytes += piece.length
    if (bytes <= maxBytes) pieces.push(piece)
  }
  return bytes > maxBytes ? undefined : Buffer.concat(pieces).toString()
}

/** Null is nothing to add; what is no list stays, for the schema to refuse. */
function joined(before: unknown, value: unknown): unknown {
  if (value === null) return before
  if (before === undefined || !Array.isArray(value)) return value
  return Array.isArray(before) ? [...(before as unknown[]), ...(value as unknown[])] : before
}

/** Text as the field's own type, where it is written as one; what is not stays text, and is refused as such. */
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

/** Undefined where it is not JSON, or has a key that a body in JSON may not have. */
function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text, refusePrototype) as unknown }
  } catch {
    return undefined
  }
}

/** As in a body that is JSON: however it is spelled, this is no key. */
function refusePrototype(key: string, value: unknown): unknown {
  if (key === '__proto__') throw new SyntaxError('a key that is not allowed')
  return value
}
