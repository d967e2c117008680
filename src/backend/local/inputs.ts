import { realpath, rename, stat } from 'node:fs/promises'
import { join, resolve, sep } from 'node:path'
import type { FileKind, JobInput, NamedInput } from '../../jobs/job.ts'
import { DownloadError, type Guard } from '../../net/guard.ts'
import type { Medium } from './engine.ts'
import { detectMedia, type MediaKind } from '../../media/type.ts'
import type { SpawnRequest } from '../port.ts'
import { inputFailure } from './run-failure.ts'
import type { Slots } from './slots.ts'

export type InputSources = {
  readonly mediaRoot: string
  readonly maxInputBytes: number
  readonly downloadTimeoutMs: number
  readonly guard: Guard
  readonly downloads: Slots
}

type Field = keyof JobInput
type Where = { readonly sources: InputSources; readonly folder: string; readonly signal: AbortSignal }

/** What each field may hold. A container called a video may well carry speech; ffmpeg looks for the stream. */
const ACCEPTED: Readonly<Record<Field, readonly MediaKind[]>> = {
  video_url: ['video'],
  image_url: ['still'],
  video_path: ['video', 'still'],
  audio_url: ['audio', 'video'],
  audio_path: ['audio', 'video'],
  video: ['video'],
  image: ['still'],
  audio: ['audio', 'video'],
}

const EXPECTED: Readonly<Record<Field, string>> = {
  video_url: 'a video',
  image_url: 'an image',
  video_path: 'a video or an image',
  audio_url: 'audio',
  audio_path: 'audio',
  video: 'a video',
  image: 'an image',
  audio: 'audio',
}

type Given = Pick<SpawnRequest, 'input' | 'files'>

/** Finds or fetches the two inputs of a job; what is fetched goes into `folder`. Rejects with `RunFailure`. */
export async function openInputs({ input, files = {} }: Given, where: Where): Promise<{ face: Medium; audio: Medium }> {
  const faceFile = (await openFile('video', files)) ?? (await openFile('image', files))
  const face = faceFile ?? (await openFirst(input, ['video_url', 'image_url', 'video_path'], where))
  const audio = (await openFile('audio', files)) ?? (await openFirst(input, ['audio_url', 'audio_path'], where))
  return { face, audio }
}

/** A file that came with the job lies where this server put it; it is looked at all the same before ffmpeg opens it. */
async function openFile(kind: FileKind, files: NonNullable<Given['files']>): Promise<Medium | undefined> {
  const path = files[kind]?.path
  if (path === undefined) return undefined
  const { kind: medium, demuxer } = await inspect(kind, path)
  return { kind: medium, demuxer, field: kind, path }
}

async function openFirst(input: NamedInput, fields: readonly (keyof NamedInput)[], where: Where): Promise<Medium> {
  for (const field of fields) {
    const value = input[field]
    if (value === undefined) continue
    return field.endsWith('_url') ? fetchInput(field, value, where) : findInput(field, value, where.sources)
  }
  throw inputFailure(fields.join(' or '), 'is required')
}

async function fetchInput(field: Field, url: string, { sources, folder, signal }: Where): Promise<Medium> {
  const { guard, downloads, maxInputBytes: maxBytes, downloadTimeoutMs: timeoutMs } = sources
  const to = join(folder, field)
  try {
    await downloads.use(signal, () => guard.download(url, { to, maxBytes, timeoutMs, signal }))
  } catch (error) {
    throw error instanceof DownloadError ? inputFailure(field, error.message, { cause: error }) : error
  }
  const { extension, ...format } = await inspect(field, to)
  // Many a command of LOCAL_COMMAND, MuseTalk's own among them, goes by the extension.
  const path = `${to}.${extension}`
  await rename(to, path)
  return { ...format, field, path }
}

async function findInput(field: Field, relative: string, sources: InputSources): Promise<Medium> {
  const path = await resolveUnder(sources.mediaRoot, field, relative)
  const file = await stat(path)
  if (!file.isFile()) throw inputFailure(field, 'is not a file')
  if (file.size > sources.maxInputBytes) throw inputFailure(field, `is larger than ${sources.maxInputBytes} bytes`)
  const { kind, demuxer } = await inspect(field, path)
  return { kind, demuxer, field, path }
}

/** Refuses by the way it is written first: nobody learns from the answer what exists outside of the root. */
async function resolveUnder(mediaRoot: string, field: Field, relative: string): Promise<string> {
  const outside = inputFailure(field, 'is outside of the media root')
  const written = resolve(mediaRoot, relative)
  if (!isUnder(resolve(mediaRoot), written)) throw outside
  const [root, path] = await Promise.all([realpath(mediaRoot), realpath(written)]).catch((error: unknown) => {
    throw inputFailure(field, 'there is no such file under the media root', { cause: error })
  })
  if (!isUnder(root, path)) throw outside
  return path
}

const isUnder = (root: string, path: string) => path.startsWith(root.endsWith(sep) ? root : root + sep)

async function inspect(field: Field, path: string) {
  const type = await detectMedia(path).catch((error: unknown) => {
    throw inputFailure(field, 'cannot be read', { cause: error })
  })
  if (!type) throw inputFailure(field, `is not ${EXPECTED[field]}`)
  if (!type.format) throw inputFailure(field, `is ${type.mime}, which is not supported`)
  if (!ACCEPTED[field].includes(type.format.kind)) throw inputFailure(field, `is ${type.mime}, not ${EXPECTED[field]}`)
  return { ...type.format, extension: type.extension }
}
