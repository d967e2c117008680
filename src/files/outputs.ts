import { randomBytes } from 'node:crypto'
import {
  constants,
  copyFile,
  type FileHandle,
  link,
  mkdir,
  open,
  opendir,
  rename,
  rm,
  stat,
  realpath,
} from 'node:fs/promises'
import { dirname, join, isAbsolute, relative, sep } from 'node:path'
import { type BackendName, currentAttempt, type Job, type ModelVersion } from '../jobs/job.ts'
import type { OutputBytes, Outputs, StoredOutput, SucceededJob, Sweep } from '../jobs/ports/files.ts'
import { codeOf } from '../lib/errors.ts'
import { problem } from '../problems.ts'

/** Opens outputs at the backend of their job, which may differ from the one that the server now uses for new jobs. */
export function createOutputsByBackend(sources: Readonly<Partial<Record<BackendName, Outputs>>>): Outputs {
  const all = Object.values(sources)
  const sourceOf = (job: Job): Outputs | undefined => sources[job.backend]
  const requireSource = (job: Job): Outputs => {
    const source = sourceOf(job)
    if (source) return source
    throw problem('output_unavailable', {
      detail: `The output is at the backend '${job.backend}', which this server does not use.`,
    })
  }
  return {
    open: async (job, options) => requireSource(job).open(job, options),
    read: async (job, signal, use) => requireSource(job).read(job, signal, use),
    prefetch: (job) => sourceOf(job)?.prefetch(job),
    has: async (job) => (await sourceOf(job)?.has(job)) ?? false,
    share: async (from, to) => sourceOf(from)?.share(from, to),
    forget: async (job) => sourceOf(job)?.forget(job),
    async sweep(sweep) {
      for (const source of all) await source.sweep(sweep)
    },
    async close() {
      await Promise.all(all.map((source) => source.close()))
    },
  }
}

/** How much of a file is read at a time, in bytes, into one buffer. */
const PIECE_BYTES = 128 * 1024

/** Gives the bytes of a file to `use`. Rejects with `output_unavailable` if it cannot be opened. */
export async function readFile<T>(
  path: string,
  signal: AbortSignal,
  use: (output: OutputBytes) => Promise<T>,
): Promise<T> {
  const file = await open(path).catch((cause: unknown) => {
    throw problem('output_unavailable', { detail: 'The file no longer exists.', cause })
  })
  try {
    const { size } = await file.stat()
    return await use({ size, bytes: piecesOf(file, signal) })
  } finally {
    await file.close()
  }
}

async function* piecesOf(file: FileHandle, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES)
  for (;;) {
    signal.throwIfAborted()
    const { bytesRead } = await file.read(buffer, 0, buffer.length)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

/** The name of a file or folder of one attempt of a job, without an extension. */
export const nameOf = (job: Pick<Job, 'id'>, attempt: number): string => `${job.id}-${attempt}`

/** Attempts are counted from 1: this one stands for the output that a job shares with another. */
const SHARED = 0

/** The names of all attempts of a job, also those that it no longer lists, and of a shared output. */
export const namesOf = (job: Job): string[] =>
  Array.from({ length: currentAttempt(job).attempt + 1 }, (_, attempt) => nameOf(job, attempt))

/** The id of the job after which a file is named. */
export const jobIdIn = (name: string): string | undefined => JOB_ID.exec(name)?.[1]

const JOB_ID = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d+(\.\w+)?$/

/** Removes the entries of a folder that are named after a job and match the sweep. The folder may be missing. */
export async function sweepFolder(folder: string, { before, isKnown }: Sweep): Promise<void> {
  const entries = await opendir(folder).catch(() => [])
  for await (const { name } of entries) {
    const jobId = jobIdIn(name)
    if (jobId === undefined) continue
    const path = join(folder, name)
    const found = await stat(path).catch(() => undefined)
    if (found && found.mtimeMs < before && !(await isKnown(jobId))) await rm(path, { recursive: true, force: true })
  }
}

/** Where the deployed function mounts the volume that it writes outputs to. */
const MOUNT = '/shared/'

/** An output's path within that volume; undefined if it is elsewhere. */
export function sharedPathOf({ outputPath }: SucceededJob): string | undefined {
  if (!outputPath.startsWith(MOUNT)) return undefined
  const path = outputPath.slice(MOUNT.length)
  return path.split('/').some((part) => part === '' || part === '.' || part === '..') ? undefined : path
}

/** Where an output is that no job owns. */
export const storedOutputOf = ({ outputPath, runId }: SucceededJob): StoredOutput => ({
  outputPath,
  ...(runId !== undefined && { runId }),
})

export type DirectoryOptions = {
  /** Folder that holds outputs. */
  readonly root: string
  /** The path of a job's output in it; undefined if there can be none. */
  readonly locate: (job: SucceededJob) => string | undefined
}

/** Outputs in a folder that another program fills and empties. Never opens a file outside of it, also through links. */
export function createDirectoryOutputs({ root, locate }: DirectoryOptions): Outputs {
  const find = async (job: SucceededJob): Promise<string> => {
    const path = locate(job)
    if (path === undefined)
      throw problem('output_unavailable', { detail: 'The output is not in the folder of outputs.' })
    return fileWithin(root, path)
  }
  const has = (job: SucceededJob) =>
    find(job).then(
      () => true,
      () => false,
    )
  return {
    open: async (job) => ({ kind: 'file', path: await find(job), release: () => undefined }),
    read: async (job, signal, use) => readFile(await find(job), signal, use),
    prefetch: () => undefined,
    has,
    share: async (from) => ((await has(from)) ? storedOutputOf(from) : undefined),
    forget: () => Promise.resolve(),
    sweep: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }
}

/** The real path of a regular file; links may lead to it, as long as it is inside the folder. */
async function fileWithin(root: string, path: string): Promise<string> {
  const missing = (cause: unknown): never => {
    throw problem('output_unavailable', { detail: 'The output does not exist, or no longer exists.', cause })
  }
  const folder = await realpath(root).catch(missing)
  // In a folder that is there, a job that succeeded has had an output: nobody will write it again.
  const file = await realpath(join(root, path)).catch((cause: unknown) =>
    codeOf(cause) === 'ENOENT' ? Promise.reject(problem('output_unavailable', { status: 410, cause })) : missing(cause),
  )
  const inside = relative(folder, file)
  if (isAbsolute(inside) || inside.split(sep)[0] === '..') {
    const cause = new Error(`the output path leaves the folder of outputs: ${file}`)
    throw problem('output_unavailable', { detail: 'The output is not in the folder of outputs.', cause })
  }
  const stats = await stat(file)
  if (!stats.isFile()) throw problem('output_unavailable', { detail: 'The output is not a file.' })
  return file
}

/** Files are never written again, so that a second name is as good as a copy, where the file system has links. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code === 'ENOENT') throw error
    const part = `${to}.${randomBytes(8).toString('hex')}`
    await copyFile(from, part, constants.COPYFILE_FICLONE)
    await rename(part, to)
  }
}

/** Outputs of the local backend, which belong to this server: they and the logs of their runs are deleted with their job. */
export function createLocalOutputs(dataDir: string): Outputs {
  const [results, logs] = [join(dataDir, 'results'), join(dataDir, 'logs')]
  // Not by the path in the job: the folder may have been moved since.
  const fileOf = (runId: string, version: ModelVersion) => join(runId, version, 'output.mp4')
  const directory = createDirectoryOutputs({
    root: results,
    locate: ({ runId, version }) => (runId === undefined ? undefined : fileOf(runId, version)),
  })
  return {
    ...directory,
    async share(from, to) {
      if (from.runId === undefined || !(await directory.has(from))) return undefined
      const runId = nameOf(to, SHARED)
      const outputPath = join(results, fileOf(runId, from.version))
      await mkdir(dirname(outputPath), { recursive: true })
      await linkOrCopy(join(results, fileOf(from.runId, from.version)), outputPath)
      return { outputPath, runId }
    },
    async forget(job) {
      for (const name of namesOf(job)) {
        await rm(join(results, name), { recursive: true, force: true })
        await rm(join(logs, `${name}.log`), { force: true })
      }
    },
    async sweep(sweep) {
      await sweepFolder(results, sweep)
      await sweepFolder(logs, sweep)
    },
  }
}
