import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { constants } from 'node:fs'
import { copyFile, link, mkdir, open, opendir, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { invalidFields, problem, type Problem } from '../problems.ts'
import { type FileKind, isJobId, type UploadedFile } from '../jobs/job.ts'
import type { Log } from '../jobs/log.ts'
import { shortageOf } from '../lib/errors.ts'
import { inspectMedia } from '../media/formats.ts'
import { hasExited, PROCESS_NAME } from '../lib/ids.ts'
import { createFairSemaphore } from '../lib/concurrency.ts'
import { createYoungCollector } from '../lib/young-collector.ts'
import type { Receiving, Upload, Uploads, Sweep } from '../jobs/ports/files.ts'

export type UploadsOptions = {
  /** Absolute. It has a folder per job, named by its id; `incoming` has the files that belong to no job yet. */
  readonly folder: string
  /** Size of all files of one request together, in bytes. */
  readonly maxBytes: number
  /** The error of larger ones; `body_too_large` unless set. */
  readonly tooLarge?: () => Problem
  readonly log: Log
}

/** An upload in a folder of its own. */
export type FolderUpload = Upload & {
  /** Adds a file of this machine: by a link, or where the file system has none by a copy. */
  link(kind: FileKind, from: string, file: UploadedFile): Promise<void>
  /** Moves all files, whatever their names, to a new folder on the same file system. */
  moveTo(folder: string): Promise<void>
}

export type FolderUploads = Omit<Uploads, 'create'> & { create(receiving: Receiving): Promise<FolderUpload> }

/** Uploads in a folder. File names of callers are not used: a file is named by its kind and its detected type. */
export function createUploads({
  folder,
  maxBytes,
  tooLarge = () => tooLargeFor(maxBytes),
  log,
}: UploadsOptions): FolderUploads {
  const incoming = join(folder, 'incoming')
  const folderOf = (jobId: string) => join(folder, jobId)

  return {
    async create(receiving) {
      const path = join(incoming, `${PROCESS_NAME}~${randomBytes(8).toString('hex')}`)
      await mkdir(path, { recursive: true }).catch(throwStorageFull)
      return createUpload(path, { maxBytes, tooLarge, folderOf, log, receiving })
    },
    async locate(jobId, kind) {
      const names = isJobId(jobId) ? await readdir(folderOf(jobId)).catch(emptyIfMissing) : []
      const name = names.find((candidate) => candidate.startsWith(`${kind}.`))
      if (name === undefined) throw problem('input_not_found')
      return join(folderOf(jobId), name)
    },
    async forget(jobId) {
      if (isJobId(jobId)) await rm(folderOf(jobId), { recursive: true, force: true })
    },
    async sweep(sweep) {
      await sweepIncoming(incoming, sweep)
      await sweepJobs(folder, sweep)
    },
    async close() {
      const own = (await readdir(incoming).catch(() => [])).filter((name) => ownerOf(name) === PROCESS_NAME)
      await Promise.allSettled(own.map((name) => rm(join(incoming, name), { recursive: true, force: true })))
    },
  }
}

/**
 * Files that are flushed to the disk at a time: half of the four threads that libuv has for files. On a slow disk each
 * takes seconds, during which no other file could be read.
 */
export const MAX_FLUSHES = 2
const flushes = createFairSemaphore(MAX_FLUSHES, { mayHoldAll: true })

/** Flushed before the job is accepted: a crash of the machine must not lose the files of an accepted job. */
const flush = (path: string, { caller, signal }: Receiving) =>
  flushes.use(caller, signal, async () => {
    const file = await open(path, 'r+')
    await file.sync().finally(() => file.close())
  })

/** Shared by all uploads, since they share one heap. */
const countGarbage = createYoungCollector(16_000_000)

const tooLargeFor = (maxBytes: number) =>
  problem('body_too_large', { detail: `The files of one request may have ${maxBytes} bytes in total.` })

type UploadSettings = Required<Omit<UploadsOptions, 'folder'>> & {
  readonly folderOf: (jobId: string) => string
  readonly receiving: Receiving
}

function createUpload(folder: string, { maxBytes, tooLarge, folderOf, log, receiving }: UploadSettings): FolderUpload {
  const files: Partial<Record<FileKind, UploadedFile>> = {}
  const names: Partial<Record<FileKind, string>> = {}
  let path = folder
  let received = 0

  /** Counts, limits and hashes the bytes that pass. */
  const inspectPieces = (hash: { update(piece: Buffer): unknown }) =>
    async function* (bytes: AsyncIterable<Buffer>) {
      for await (const piece of bytes) {
        received += piece.length
        if (received > maxBytes) throw tooLarge()
        hash.update(piece)
        countGarbage(piece.length)
        yield piece
      }
    }

  return {
    files,
    pathOf(kind) {
      const name = names[kind]
      return name === undefined ? undefined : join(path, name)
    },
    async add(kind, bytes) {
      const before = received
      const hash = createHash('sha256')
      const partial = join(path, `${kind}.part`)
      await pipeline(bytes, inspectPieces(hash), createWriteStream(partial)).catch(throwStorageFull)
      await flush(partial, receiving).catch(throwStorageFull)
      const size = received - before
      if (size === 0) throw invalidFields([{ path: `/${kind}`, message: 'is empty' }])
      const { mime, extension } = await inspect(kind, partial)
      const name = `${kind}.${extension}`
      await rename(partial, join(path, name))
      names[kind] = name
      files[kind] = { size, type: mime, sha256: hash.digest('hex') }
    },
    async link(kind, from, file) {
      received += file.size
      if (received > maxBytes) throw tooLarge()
      const name = `${kind}${extname(from)}`
      await link(from, join(path, name)).catch(() =>
        copyFile(from, join(path, name), constants.COPYFILE_FICLONE).catch(throwStorageFull),
      )
      names[kind] = name
      files[kind] = file
    },
    async moveTo(to) {
      const now = new Date()
      await utimes(path, now, now)
      await rename(path, to)
    },
    async keep(jobId) {
      // The sweep checks this time; receiving the files may have taken long.
      const now = new Date()
      await utimes(path, now, now)
      await rename(path, folderOf(jobId))
      path = folderOf(jobId)
    },
    async discard() {
      await rm(path, { recursive: true, force: true }).catch((error: unknown) => {
        log.warn({ event: 'upload_not_removed', err: error }, 'cannot remove an upload; the sweep will try again')
      })
    },
  }
}

async function inspect(kind: FileKind, path: string): Promise<{ mime: string; extension: string }> {
  const found = await inspectMedia(kind, path)
  if ('error' in found) throw invalidFields([{ path: `/${kind}`, message: found.error }], 'unsupported_media')
  return found
}

/** Only for a missing folder: one that cannot be read now may have the file. */
export function emptyIfMissing(error: NodeJS.ErrnoException): never[] {
  if (error.code !== 'ENOENT') throw error
  return []
}

function throwStorageFull(error: unknown): never {
  throw shortageOf(error) === 'disk space' ? problem('storage_full', { cause: error }) : error
}

const ownerOf = (name: string) => name.slice(0, name.lastIndexOf('~'))

/** Partial files of this process are still in use; those of an exited process are removed, those of an unknown one by age. */
async function sweepIncoming(folder: string, { before }: Sweep): Promise<void> {
  for await (const { name } of await opendir(folder).catch(() => [])) {
    const owner = ownerOf(name)
    if (owner === PROCESS_NAME) continue
    const path = join(folder, name)
    if (hasExited(owner) || (await lastChange(path)) < before) await rm(path, { recursive: true, force: true })
  }
}

async function sweepJobs(folder: string, { before, isKnown }: Sweep): Promise<void> {
  for await (const { name } of await opendir(folder).catch(() => [])) {
    const path = join(folder, name)
    if (!isJobId(name) || (await lastChange(path)) >= before || (await isKnown(name))) continue
    await rm(path, { recursive: true, force: true })
  }
}

/** In epoch ms; a path that no longer exists counts as new, as there is nothing to remove. */
async function lastChange(path: string): Promise<number> {
  const names = await readdir(path).catch(() => [])
  const found = await Promise.all(
    [path, ...names.map((name) => join(path, name))].map((one) => stat(one).catch(() => undefined)),
  )
  return found[0] ? Math.max(...found.map((stats) => stats?.mtimeMs ?? 0)) : Infinity
}

/** Refuses new files, which the backend could not reach, and still serves existing ones. */
export const refuseUploads = <T extends Pick<Uploads, 'create'>>(uploads: T, error: () => Problem): T => ({
  ...uploads,
  create: () => Promise.reject(error()),
})
