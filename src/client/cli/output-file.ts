import { appendFile, mkdir, open, readFile, rename, stat } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import type { Client, Download } from '../index.ts'
import { ProblemError } from '../index.ts'

/** What is known of a request: its job, the video of that job, and the output once it is complete. */
export type Entry = {
  readonly job_id?: string
  /** Of the video that is being downloaded. */
  readonly etag?: string
  /** Name of the output in the journal's folder, and its size in bytes. */
  readonly file?: string
  readonly size?: number
}

/** Remembers by the key of a request what has been done, so that the same command continues. */
export type Journal = {
  get(key: string): Entry
  add(key: string, entry: Entry): Promise<void>
  /** The request has its output, complete, in this file. */
  addOutput(key: string, path: string, size: number): Promise<void>
  /** Whether the request has its output in this file already. */
  isComplete(key: string, path: string): Promise<boolean>
}

export const JOURNAL_NAME = '.musetalk.jsonl'

/** Opens the journal of a folder of outputs, which it creates. It is a hint: without it the server knows the key. */
export async function openJournal(folder: string): Promise<Journal> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, JOURNAL_NAME)
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  })
  const entries = new Map<string, Entry>()
  const merge = (key: string, entry: Entry) => entries.set(key, { ...entries.get(key), ...entry })
  for (const line of text.split('\n')) {
    const { key, ...entry } = parseLine(line)
    if (typeof key === 'string') merge(key, entry)
  }
  const get = (key: string) => entries.get(key) ?? {}
  const add = async (key: string, entry: Entry) => {
    merge(key, entry)
    // Begins with a line end: the line before may be cut off.
    await appendFile(path, `${text === '' ? '' : '\n'}${JSON.stringify({ key, ...entry })}\n`)
  }
  return {
    get,
    add,
    addOutput: (key, output, size) => add(key, { file: relative(folder, output), size }),
    async isComplete(key, output) {
      const { file, size } = get(key)
      if (file !== relative(folder, output)) return false
      const found = await stat(output).catch(() => undefined)
      return found?.isFile() === true && found.size === size
    },
  }
}

/** A line that was cut off has no key. */
function parseLine(line: string): Entry & { key?: unknown } {
  try {
    return (JSON.parse(line) ?? {}) as Entry
  } catch {
    return {}
  }
}

export type Saving = {
  readonly client: Client
  readonly id: string
  readonly path: string
  /** Of the video whose beginning an earlier download left. */
  readonly etag: string | undefined
  readonly signal: AbortSignal
  /** Called before the first byte: a later download needs it to continue. */
  readonly onEtag: (etag: string) => Promise<void>
  readonly onBytes: (received: number, total: number | undefined) => void
}

/**
 * Downloads a video to a file of another name beside `path`, and renames it once it is complete. Continues an earlier
 * download that was interrupted. Resolves with the size in bytes.
 */
export async function saveOutput(saving: Saving): Promise<number> {
  const { id, path, etag, onEtag, onBytes } = saving
  await mkdir(dirname(path), { recursive: true })
  // Named by the whole id: jobs of the same minute share its beginning, and none may continue the file of another.
  const partial = join(dirname(path), `${basename(path)}.${id}.part`)
  const found = etag === undefined ? undefined : await stat(partial).catch(() => undefined)
  const { video, offset } = await openVideo(saving, found?.size ?? 0)
  const [current, length] = [video.headers.get('etag'), video.headers.get('content-length')]
  if (offset === 0 && current?.startsWith('"')) await onEtag(current)
  const total = length === null || video.headers.has('content-encoding') ? undefined : offset + Number(length)
  const file = await open(partial, offset > 0 ? 'r+' : 'w')
  let size = offset
  try {
    for await (const piece of video.body) {
      // At its place, so that two processes that download the same video do not damage each other's.
      await file.write(piece, 0, piece.length, size)
      size += piece.length
      onBytes(size, total)
    }
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(partial, path)
  return size
}

async function openVideo(
  { client, id, etag, signal }: Saving,
  size: number,
): Promise<{ video: Download; offset: number }> {
  if (etag === undefined || size === 0) return { video: await client.download(id, { signal }), offset: 0 }
  try {
    const video = await client.download(id, { signal, from: { offset: size, etag } })
    return { video, offset: video.status === 206 ? size : 0 }
  } catch (error) {
    // The partial file is complete, or of another video.
    if (!(error instanceof ProblemError && error.status === 416)) throw error
    return { video: await client.download(id, { signal }), offset: 0 }
  }
}
