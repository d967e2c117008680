import { createHash } from 'node:crypto'
import { openAsBlob } from 'node:fs'
import { stat } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import type { JobRequest } from '../index.ts'
import { UsageError } from './failures.ts'

/** What a job is made of, as it is typed. */
export type JobText = {
  /** A file, an http(s) URL, or `server:` and a path that the server knows. */
  readonly face: string
  readonly speech: string
  /** Where files are looked up. */
  readonly folder: string
  readonly version?: string | undefined
  readonly priority?: string | undefined
  readonly reuse?: boolean | undefined
  readonly timeoutSeconds?: number | undefined
  readonly runTimeoutSeconds?: number | undefined
  readonly parameters: Readonly<Record<string, string>>
  readonly metadata: Readonly<Record<string, string>>
}

/** A request, and a key that only the same request to the same server has. */
export type Prepared = { readonly request: JobRequest; readonly key: string }

/** What distinguishes requests beside their content. */
export type KeyParts = { readonly url: string; readonly more: readonly string[] }

/** Reads each file once for its hash, however many rows name it. Nothing is kept of it but the hash. */
export type Files = ReturnType<typeof createFiles>

export function createFiles() {
  const opened = new Map<string, Promise<{ blob: Blob; sha256: string }>>()
  return (path: string) => {
    const known = opened.get(path)
    if (known) return known
    const opening = openFile(path)
    opened.set(path, opening)
    return opening
  }
}

/** The blob fails to be read if the file changes meanwhile, so that the hash is that of what is sent. */
async function openFile(path: string) {
  const found = await stat(path).catch((error: unknown) => {
    throw new UsageError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`)
  })
  if (!found.isFile()) throw new UsageError(`${path}: is not a file`)
  const blob = await openAsBlob(path)
  const hash = createHash('sha256')
  for await (const piece of blob.stream()) hash.update(piece as Uint8Array)
  return { blob, sha256: hash.digest('hex') }
}

const ON_SERVER = 'server:'
const isUrl = (text: string) => /^https?:\/\//i.test(text)
/** Animated ones are videos. Only their bytes show it, so as files they are sent as what may be either. */
const STILLS = ['.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff']
const STILL_URLS = [...STILLS, '.webp', '.gif']

/** Reads the files of a job. Throws a `UsageError` if one cannot be read. */
export async function prepare(job: JobText, files: Files, parts: KeyParts): Promise<Prepared> {
  const { version, priority, reuse, timeoutSeconds, runTimeoutSeconds, parameters, metadata } = job
  const [face, speech] = [await faceOf(job, files), await speechOf(job, files)]
  const options = {
    ...(version !== undefined && { version }),
    ...(priority !== undefined && { priority }),
    ...(reuse !== undefined && { reuse }),
    ...(Object.keys(parameters).length > 0 && { parameters: parameterValues(parameters) }),
    ...(Object.keys(metadata).length > 0 && { metadata }),
    ...(timeoutSeconds !== undefined && { timeout_seconds: timeoutSeconds }),
    ...(runTimeoutSeconds !== undefined && { run_timeout_seconds: runTimeoutSeconds }),
  }
  const identity = [parts.url, parts.more, face.field, face.identity, speech.field, speech.identity, sorted(options)]
  return {
    // The server checks the values.
    request: { ...options, [face.field]: face.value, [speech.field]: speech.value } as JobRequest,
    key: createHash('sha256').update(JSON.stringify(identity)).digest('hex'),
  }
}

type Input = { readonly field: string; readonly value: string | Blob; readonly identity: string }

async function faceOf({ face, folder }: JobText, files: Files): Promise<Input> {
  if (face.startsWith(ON_SERVER)) return named('video_path', face.slice(ON_SERVER.length))
  if (isUrl(face)) return named(STILL_URLS.includes(extensionOf(face)) ? 'image_url' : 'video_url', face)
  return file(STILLS.includes(extname(face).toLowerCase()) ? 'image' : 'video', await files(resolve(folder, face)))
}

async function speechOf({ speech, folder }: JobText, files: Files): Promise<Input> {
  if (speech.startsWith(ON_SERVER)) return named('audio_path', speech.slice(ON_SERVER.length))
  if (isUrl(speech)) return named('audio_url', speech)
  return file('audio', await files(resolve(folder, speech)))
}

const named = (field: string, value: string): Input => ({ field, value, identity: value })
const file = (field: string, { blob, sha256 }: { blob: Blob; sha256: string }): Input => ({
  field,
  value: blob,
  identity: sha256,
})

function extensionOf(url: string): string {
  return URL.canParse(url) ? extname(new URL(url).pathname).toLowerCase() : ''
}

/** Numbers and truth values as such; the server knows which each parameter has to be. */
function parameterValues(parameters: Readonly<Record<string, string>>): Record<string, unknown> {
  const valueOf = (text: string) => {
    if (text === 'true' || text === 'false') return text === 'true'
    return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text
  }
  return Object.fromEntries(Object.entries(parameters).map(([name, text]) => [name, valueOf(text)]))
}

const sorted = (fields: object): unknown =>
  Object.entries(fields as Record<string, unknown>)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => [name, typeof value === 'object' && value !== null ? sorted(value) : value])
