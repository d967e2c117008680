import { realpath, rename, stat } from 'node:fs/promises'
import { join, resolve, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FileKind, NamedInput } from '../../jobs/job.ts'
import { checkIntegrity } from '../../media/integrity.ts'
import { inspectMedia, type MediaField } from '../../media/formats.ts'
import { joinWav } from '../../media/riff.ts'
import { DownloadError, type Guard } from '../../net/guard.ts'
import { LOOKUP_MEMORY_MS } from '../../net/resolver.ts'
import { type Medium, inputFailure, mediaFailure, RunInterrupted } from './engine.ts'
import type { SpawnRequest } from '../../jobs/ports/backend.ts'
import type { FairSemaphore } from '../../lib/concurrency.ts'

export type InputSources = {
  readonly mediaRoot: string
  readonly maxInputBytes: number
  readonly downloadTimeoutMs: number
  readonly guard: Guard
  readonly downloads: Pick<FairSemaphore, 'use'>
  /** Limits the inspections of files, each of which needs a file descriptor. */
  readonly inspections: Pick<FairSemaphore, 'use'>
}

type InputContext = {
  readonly sources: InputSources
  readonly folder: string
  readonly caller: string
  readonly signal: AbortSignal
}

type InputRequest = Pick<SpawnRequest, 'input' | 'files' | 'caller'>

/** Pause before a host is looked up again, in ms: longer than the resolver caches the failure. */
const LOOKUP_RETRY_MS = LOOKUP_MEMORY_MS + 1_000

/** Finds or fetches the two inputs of a job; what is fetched goes into `folder`. Rejects with `RunFailure` or `RunInterrupted`. */
export async function openInputs(
  { input, files = {}, caller }: InputRequest,
  inputContext: Omit<InputContext, 'caller'>,
): Promise<{ face: Medium; audio: Medium }> {
  const context = { ...inputContext, caller }
  const faceFile = (await openFile('video', files, context)) ?? (await openFile('image', files, context))
  const face = faceFile ?? (await openFirst(input, ['video_url', 'image_url', 'video_path'], context))
  const audio =
    (await openFile('audio', files, context)) ?? (await openFirst(input, ['audio_url', 'audio_path'], context))
  return { face, audio: await joinPieces(audio, context) }
}

/** A file that was uploaded with the job; it is inspected again before ffmpeg opens it. */
async function openFile(
  kind: FileKind,
  files: NonNullable<InputRequest['files']>,
  context: InputContext,
): Promise<Medium | undefined> {
  const path = files[kind]?.path
  return path === undefined ? undefined : (await inspect(kind, path, context)).medium
}

async function openFirst(
  input: NamedInput,
  fields: readonly (keyof NamedInput)[],
  context: InputContext,
): Promise<Medium> {
  for (const field of fields) {
    const value = input[field]
    if (value === undefined) continue
    return field.endsWith('_url') ? fetchInput(field, value, context) : findInput(field, value, context)
  }
  throw inputFailure(fields.join(' or '), 'is required')
}

async function fetchInput(field: MediaField, url: string, context: InputContext): Promise<Medium> {
  const to = join(context.folder, field)
  try {
    await download(url, to, context)
  } catch (error) {
    if (!(error instanceof DownloadError)) throw error
    const options = { cause: error }
    throw error.isTransient
      ? new RunInterrupted(`${field}: ${error.message}`, options)
      : inputFailure(field, error.message, options)
  }
  const { medium, extension } = await inspect(field, to, context)
  // Many programs of LOCAL_COMMAND, MuseTalk included, go by the extension.
  const path = `${to}.${extension}`
  await rename(to, path)
  return { ...medium, path }
}

/** Leaves the semaphore while it waits for DNS: a host that cannot be looked up must not keep others waiting. */
async function download(url: string, to: string, { sources, caller, signal }: InputContext): Promise<void> {
  const { guard, downloads, maxInputBytes: maxBytes, downloadTimeoutMs: timeoutMs } = sources
  const options = { to, maxBytes, timeoutMs, signal, caller }
  const endsAt = performance.now() + timeoutMs
  for (;;) {
    try {
      await downloads.use(caller, signal, () => guard.download(url, options))
      return
    } catch (error) {
      const mayRetry = error instanceof DownloadError && error.isTransient
      if (!mayRetry || performance.now() + LOOKUP_RETRY_MS >= endsAt) throw error
    }
    await sleep(LOOKUP_RETRY_MS, undefined, { signal })
  }
}

async function findInput(field: MediaField, relative: string, context: InputContext): Promise<Medium> {
  const { sources } = context
  const path = await resolveUnder(sources.mediaRoot, field, relative)
  const file = await stat(path)
  if (!file.isFile()) throw inputFailure(field, 'is not a file')
  if (file.size > sources.maxInputBytes) {
    throw inputFailure(field, `has ${file.size} bytes, more than the limit of ${sources.maxInputBytes}`)
  }
  return (await inspect(field, path, context)).medium
}

/**
 * The real path of a file under the root. Rejects with `RunFailure` for any other. Checks the path as written first: the
 * error must not reveal what exists outside of the root.
 */
export async function resolveUnder(mediaRoot: string, field: MediaField, relative: string): Promise<string> {
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

/** Checks the content of a file: accepted by the field, and complete. */
const inspect = (field: MediaField, path: string, { sources, caller, signal }: InputContext) =>
  sources.inspections.use(caller, signal, () => inspectFile(field, path))

async function inspectFile(field: MediaField, path: string): Promise<{ medium: Medium; extension: string }> {
  const unreadable = (error: unknown) => {
    throw inputFailure(field, 'cannot be read', { cause: error })
  }
  const found = await inspectMedia(field, path).catch(unreadable)
  if ('error' in found) throw mediaFailure(field, found.error)
  const { mime, extension, format } = found
  const error = await checkIntegrity(path, mime).catch(unreadable)
  if (error !== undefined) throw mediaFailure(field, error)
  return { medium: { field, path, mime, kind: format.kind, demuxer: format.demuxer }, extension }
}

async function joinPieces(audio: Medium, { sources, folder, caller, signal }: InputContext): Promise<Medium> {
  if (audio.mime !== 'audio/wav') return audio
  const path = join(folder, 'joined.wav')
  const result = await sources.inspections.use(caller, signal, () => joinWav(audio.path, path))
  if (result === 'mixed')
    throw mediaFailure(audio.field, 'is several recordings of different formats, one after the other; send one')
  return result === 'joined' ? { ...audio, path } : audio
}
