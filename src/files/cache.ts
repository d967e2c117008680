import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { hasExited, PROCESS_NAME } from '../lib/ids.ts'

export type FileCacheOptions = {
  /** Created if missing. Other processes may use it too. */
  readonly folder: string
  /** Size of all files together, in bytes; beyond it the least recently used are removed. */
  readonly maxBytes: number
}

/** How a file is made. */
export type Recipe = {
  /** Writes the file. Rejects soon after `signal` aborts. */
  readonly fill: (path: string, signal: AbortSignal) => Promise<void>
  /** Its modification time, in epoch ms: the same on every server and after every fetch. */
  readonly modifiedAt: number
}

/** A file in use: it stays until `release` is called, which is idempotent. */
export type FileUse = { readonly path: string; release(): void }

/** Files that can be fetched again, at a cost. */
export type FileCache = {
  /** The file of this name; fetched if missing, once for all concurrent uses. Rejects as `fill` does. */
  use(name: string, recipe: Recipe): Promise<FileUse>
  /** The file of this name, if it is there. */
  find(name: string): Promise<FileUse | undefined>
  /** Removes a file at once; readers that have it open can read on. */
  forget(name: string): Promise<void>
  /** Aborts every fetch. Idempotent. */
  close(): Promise<void>
}

/** Age at which a partial file of an unknown process is removed, in ms. A fetch takes minutes. */
const ABANDONED_MS = 24 * 3_600_000

/** `fetches`: how many have finished. */
type Entry = {
  readonly name: string
  bytes: number
  users: number
  fetch: Promise<void> | undefined
  fetches: number
  isForgotten: boolean
}

/**
 * Keeps files in a folder, within a size. A file gets its name once it is complete and on the disk, never before. A file
 * in use or being fetched is never removed to make room: until then the folder may exceed its size.
 */
export function createFileCache({ folder, maxBytes }: FileCacheOptions): FileCache {
  const parts = join(folder, 'parts', PROCESS_NAME)
  const closing = new AbortController()
  /** The least recently used first. */
  const entries = new Map<string, Entry>()
  const fetching = new Set<Promise<void>>()
  /** By name: a removal must finish before a file of that name is used again. */
  const removals = new Map<string, Promise<void>>()
  let bytes = 0

  const pathOf = (name: string) => join(folder, name)

  const takeEntry = (name: string): Entry => {
    const entry = entries.get(name) ?? newEntry(name)
    entries.delete(name)
    entries.set(name, entry)
    return entry
  }

  const resize = (entry: Entry, size: number) => {
    if (entry.isForgotten) return
    bytes += size - entry.bytes
    entry.bytes = size
  }

  const drop = (entry: Entry) => {
    resize(entry, 0)
    entry.isForgotten = true
    entries.delete(entry.name)
    const removal = rm(pathOf(entry.name), { force: true }).finally(() => {
      if (removals.get(entry.name) === removal) removals.delete(entry.name)
    })
    removals.set(entry.name, removal)
    return removal
  }

  const makeRoom = () => {
    for (const entry of entries.values()) {
      if (bytes <= maxBytes) return
      // A file that cannot be removed, another user's for instance, must not fail an output.
      if (entry.users === 0 && !entry.fetch) drop(entry).catch(() => undefined)
    }
  }

  const releaseEntry = (entry: Entry) => {
    entry.users--
    if (entry.users === 0 && entry.bytes === 0 && entries.get(entry.name) === entry) entries.delete(entry.name)
    makeRoom()
  }

  const make = async (entry: Entry, { fill, modifiedAt }: Recipe) => {
    const part = join(parts, `${entry.name}-${randomBytes(4).toString('hex')}`)
    try {
      await mkdir(parts, { recursive: true })
      await fill(part, closing.signal)
      await syncToDisk(part, modifiedAt)
      if (entry.isForgotten) throw new Error('the file was forgotten while it was fetched')
      await rename(part, pathOf(entry.name))
      resize(entry, (await stat(pathOf(entry.name))).size)
    } finally {
      await rm(part, { force: true })
    }
  }

  const startFetch = (entry: Entry, recipe: Recipe) => {
    closing.signal.throwIfAborted()
    const fetch = make(entry, recipe).finally(() => {
      entry.fetch = undefined
      entry.fetches++
      fetching.delete(fetch)
    })
    fetching.add(fetch)
    return fetch
  }

  const ensureFile = async (entry: Entry, recipe: Recipe): Promise<void> => {
    const { fetches } = entry
    const size = await markUsed(pathOf(entry.name))
    if (size !== undefined) resize(entry, size)
    // A fetch has finished since the check: check again.
    else if (entry.fetches !== fetches && !entry.fetch) await ensureFile(entry, recipe)
    else await (entry.fetch ??= startFetch(entry, recipe))
  }

  const found = listFiles(folder).then((files) => {
    for (const { name, size } of files) resize(takeEntry(name), size)
    makeRoom()
  })

  return {
    async use(name, recipe) {
      await found
      await removals.get(name)?.catch(() => undefined)
      const entry = takeEntry(name)
      entry.users++
      const release = once(() => releaseEntry(entry))
      try {
        await ensureFile(entry, recipe)
      } catch (error) {
        release()
        throw error
      }
      makeRoom()
      return { path: pathOf(name), release }
    },
    async find(name) {
      await found
      await removals.get(name)?.catch(() => undefined)
      const entry = entries.get(name)
      if (!entry || entry.fetch || entry.bytes === 0) return undefined
      entry.users++
      return { path: pathOf(name), release: once(() => releaseEntry(entry)) }
    },
    async forget(name) {
      await found
      await drop(entries.get(name) ?? newEntry(name))
    },
    async close() {
      closing.abort(new Error('the server is shutting down'))
      await Promise.allSettled([found, ...fetching, ...removals.values()])
    },
  }
}

const newEntry = (name: string): Entry => ({
  ...{ name, bytes: 0, users: 0, fetch: undefined, fetches: 0, isForgotten: false },
})

function once(act: () => void): () => void {
  let isDone = false
  return () => {
    if (!isDone) act()
    isDone = true
  }
}

/** Before it gets its name: a file that a power cut left empty would be served forever. */
async function syncToDisk(path: string, modifiedAt: number) {
  const file = await open(path, 'r+')
  try {
    await file.utimes(new Date(), new Date(modifiedAt))
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Records the use of a file for the next process, and returns its size; undefined: there is none. */
async function markUsed(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined)
  // If the file system refuses times, the order is that of an earlier use.
  if (found) await utimes(path, new Date(), found.mtime).catch(() => undefined)
  return found?.size
}

type FoundFile = { readonly name: string; readonly size: number; readonly usedAt: number }

/** The files of the folder, the least recently used first, after removing partial files of exited processes. */
async function listFiles(folder: string): Promise<FoundFile[]> {
  await sweepParts(join(folder, 'parts'))
  const files = (await readdir(folder, { withFileTypes: true }).catch(() => [])).filter((entry) => entry.isFile())
  const found: FoundFile[] = []
  for (const { name } of files) {
    const stats = await stat(join(folder, name)).catch(() => undefined)
    if (stats) found.push({ name, size: stats.size, usedAt: stats.atimeMs })
  }
  return found.sort((a, b) => a.usedAt - b.usedAt)
}

async function sweepParts(folder: string) {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name)
    const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Infinity)
    if (hasExited(name) || age > ABANDONED_MS) await rm(path, { recursive: true, force: true }).catch(() => undefined)
  }
}
