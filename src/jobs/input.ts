import type { FieldError } from '../problems.ts'
import { urlFormFault } from '../net/url-rule.ts'
import { FILE_KINDS, type JobInput, type NamedInput } from './job.ts'

/** The fields of which a job has exactly one: its face, and its speech. */
export const FACES = ['video_url', 'image_url', 'video_path'] as const
export const SPEECHES = ['audio_url', 'audio_path'] as const
/** The same where files can come along. */
export const FACES_WITH_FILES = [...FACES, 'video', 'image'] as const
export const SPEECHES_WITH_FILES = [...SPEECHES, 'audio'] as const

/** What else is known of a submit. */
export type InputContext = {
  /** Errors found before. A field with an error was given, and is not in the input. */
  readonly found?: readonly FieldError[]
  /** Whether the request could carry files, so that the message names their fields too. */
  readonly canHaveFiles?: boolean
}

/** What is wrong with an input's form, on any backend; each error names its field. Touches neither network nor disk. */
export function checkInput(input: JobInput, { found = [], canHaveFiles = false }: InputContext = {}): FieldError[] {
  const withFiles = canHaveFiles || FILE_KINDS.some((kind) => input[kind] !== undefined)
  const isGiven = (field: keyof JobInput) =>
    input[field] !== undefined || found.some(({ path }) => path === `/${field}`)
  return [
    ...exactlyOne(withFiles ? FACES_WITH_FILES : FACES, isGiven),
    ...exactlyOne(withFiles ? SPEECHES_WITH_FILES : SPEECHES, isGiven),
    ...check(input, ['video_url', 'image_url', 'audio_url'], urlFormFault),
    ...check(input, ['video_path', 'audio_path'], pathFault),
  ]
}

function exactlyOne(fields: readonly (keyof JobInput)[], isGiven: (field: keyof JobInput) => boolean): FieldError[] {
  const given = fields.filter(isGiven)
  if (given.length === 1) return []
  const rule = `exactly one of ${fields.join(', ')} is required`
  const [first = fields[0]] = given
  return [{ path: `/${first ?? ''}`, message: given.length === 0 ? rule : `${rule}, got ${given.join(' and ')}` }]
}

function check(input: JobInput, fields: (keyof NamedInput)[], faultOf: (value: string) => string | undefined) {
  return fields.flatMap((field) => {
    const value = input[field]
    const message = value === undefined ? undefined : faultOf(value)
    return message === undefined ? [] : [{ path: `/${field}`, message }]
  })
}

/** Paths are relative to the media root and stay inside it, however they are written. */
function pathFault(value: string): string | undefined {
  if (/\p{Cc}/u.test(value)) return 'must not contain control characters'
  if (value.includes('\\')) return 'must use forward slashes'
  if (value.startsWith('/') || /^[a-z]:/i.test(value)) return 'must be relative to the media root'
  const decoded = decode(value)
  if (decoded === undefined) return 'is percent-encoded too many times'
  if ([value, decoded].some((path) => path.split(/[/\\]/).includes('..'))) return 'must not climb out of the media root'
  return decoded.startsWith('/') || decoded.includes('\0') ? 'must be a plain relative path' : undefined
}

/** Percent-decodes until nothing changes, as something further down may decode once more; undefined: no end to it. */
function decode(value: string): string | undefined {
  let current = value
  for (let round = 0; round < 5; round++) {
    const next = current.replace(/%[0-9a-f]{2}/gi, (code) => String.fromCharCode(Number.parseInt(code.slice(1), 16)))
    if (next === current) return current
    current = next
  }
  return undefined
}
