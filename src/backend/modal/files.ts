import { readFile } from 'node:fs/promises'
import { type FieldError, needsPublicUrl } from '../../problems.ts'
import { FILE_KINDS, type FileKind, type JobInput } from '../../jobs/job.ts'
import type { Spawned, SpawnRequest } from '../../jobs/ports/backend.ts'
import { createFairSemaphore } from '../../lib/concurrency.ts'

/**
 * Calls whose files are in memory at a time. Each is there several times while it is sent: 32 submits of 32 MB at once
 * took 513 MB with these slots (`npm run bench -- output/inline`). Small files need not wait for large ones.
 */
const LARGE_SLOTS = 2
const SMALL_SLOTS = 16
const SMALL_BYTES = 1024 * 1024

export type FilesOptions = {
  /** Largest size of the files of one call that go with it, together; 0: none do. */
  readonly inlineBytes: number
  /** Whether the function can fetch files from this server. */
  readonly hasPublicUrl: boolean
  /** Whether the deployed function takes an argument; true if that is not known yet. */
  readonly takes: (argument: string) => boolean
}

/** The arguments that hand a call its files, by content or by link. */
export type FileArguments = Readonly<Record<string, Uint8Array | string>>

/** How uploaded files get to the function: with the call, else by a link under `PUBLIC_URL`. */
export type CallFiles = {
  /** The errors of files that cannot get there, as far as it is known. */
  check(input: JobInput): FieldError[]
  /** Why the files of a call cannot get there. */
  errorOf(files: Files): string | undefined
  /**
   * Runs `spawn` with the files of a call; those that it brings along are read anew each time, once there is room. Rejects
   * with the signal's reason if it aborts before `spawn` calls `beforeSend`, which must be called before Modal gets the call.
   */
  use(request: SpawnRequest, signal: AbortSignal, spawn: SpawnWithFiles): Promise<Spawned>
}

/** `beforeSend` throws if the call must not be sent any more. */
type SpawnWithFiles = (files: FileArguments, beforeSend?: () => void) => Promise<Spawned>

type Files = NonNullable<SpawnRequest['files']>

export const NEEDS_CONTRACT_1 =
  'cannot get to the deployed function: set PUBLIC_URL, from which it can fetch files, or deploy a function of contract 1, which takes them with the call (docs/function.md)'

export function createCallFiles({ inlineBytes, hasPublicUrl, takes }: FilesOptions): CallFiles {
  const large = createFairSemaphore(LARGE_SLOTS, { mayHoldAll: true })
  const small = createFairSemaphore(SMALL_SLOTS, { mayHoldAll: true })

  /** Why these files do not go with the call. */
  const obstacleOf = (sizes: Partial<Record<FileKind, number>>): string | undefined => {
    if (!Object.keys(sizes).every((kind) => takes(`${kind}_bytes`))) return NEEDS_CONTRACT_1
    return sum(sizes) > inlineBytes ? needsPublicUrl(inlineBytes) : undefined
  }

  return {
    check(input) {
      // Those in a bucket are fetched from there.
      const kinds = FILE_KINDS.filter((kind) => input[kind] && !input[kind].object)
      const message = hasPublicUrl || kinds.length === 0 ? undefined : obstacleOf(sizesOf(pick(input, kinds)))
      return message === undefined ? [] : kinds.map((kind) => ({ path: `/${kind}`, message }))
    },
    errorOf: (files) => (hasPublicUrl ? undefined : obstacleOf(sizesOf(files))),
    async use({ files = {}, caller }, signal, spawn) {
      const sizes = sizesOf(files)
      if (sum(sizes) === 0) return spawn({})
      if (obstacleOf(sizes) !== undefined) return spawn(mapFiles(files, (kind, { url }) => [`${kind}_url`, url]))
      const slots = sum(sizes) > SMALL_BYTES ? large : small
      return abortUntilSent(signal, (beforeSend) =>
        slots.use(caller, signal, async () => {
          const read = await readAll(files)
          return 'kind' in read ? read : spawn(read.bytes, beforeSend)
        }),
      )
    },
  }
}

/**
 * Rejects once the signal aborts, unless the call may have been sent by then. Modal's client offers no way to abort an
 * upload: an abandoned one keeps its slot, as its files stay in memory, until Modal's store answers or has sent nothing for
 * 300 s (the default of `fetch`; the client tries three times).
 */
function abortUntilSent(signal: AbortSignal, work: (beforeSend: () => void) => Promise<Spawned>): Promise<Spawned> {
  const abandoned = Promise.withResolvers<never>()
  const abandon = () => abandoned.reject(signal.reason)
  const stopListening = () => signal.removeEventListener('abort', abandon)
  signal.addEventListener('abort', abandon)
  const beforeSend = () => {
    signal.throwIfAborted()
    stopListening()
  }
  return Promise.race([work(beforeSend), abandoned.promise]).finally(stopListening)
}

async function readAll(files: Files): Promise<Spawned | { readonly bytes: FileArguments }> {
  const bytes: Record<string, Uint8Array> = {}
  for (const kind of FILE_KINDS) {
    const path = files[kind]?.path
    if (path === undefined) continue
    try {
      bytes[`${kind}_bytes`] = await readFile(path)
    } catch {
      return { kind: 'rejected', code: 'input_unavailable', error: `${kind}: the file cannot be read any more` }
    }
  }
  return { bytes }
}

type Sized = Readonly<Partial<Record<FileKind, { readonly size: number }>>>

const sizesOf = (files: Sized): Partial<Record<FileKind, number>> =>
  Object.fromEntries(FILE_KINDS.flatMap((kind) => (files[kind] ? [[kind, files[kind].size]] : [])))

const pick = (input: JobInput, kinds: readonly FileKind[]): Sized =>
  Object.fromEntries(kinds.map((kind) => [kind, input[kind]]))

const sum = (sizes: Partial<Record<FileKind, number>>) => Object.values(sizes).reduce((total, size) => total + size, 0)

const mapFiles = (files: Files, map: (kind: FileKind, file: { readonly url: string }) => [string, string]) =>
  Object.fromEntries(FILE_KINDS.flatMap((kind) => (files[kind] ? [map(kind, files[kind])] : [])))
