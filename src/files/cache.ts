import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { hasExited, PROCESS_NAME } from '../lib/ids.ts'

export type FileCacheOptions = {
  /** Made where it is missing. Other processes may use it too. */
  readonly folder: string
  /** Size of all files together, beyond which those used longest ago go. */
  readonly maxBytes: number
}

/** How a file comes to be. */
export type Recipe = {
  /** Writes the file. Rejects soon after `signal` aborts. */
  readonly fill: (path: string, signal: AbortSignal) => Promise<void>
  /** What its time of change is to be, in epoch ms: the same on every server and after every fetch. */
  readonly modifiedAt: number
}

/** A file in use: it stays until `release` is called, which is idempotent. */
export type FileUse = { readonly path: string; release(): void }

/** Files that can be had again, at a cost. */
export type FileCache = {
  /** The file of this name; made where it is missing, once for all who ask meanwhile. Rejects with what `fill` does. */
  use(name: string, recipe: Recipe): Promise<FileUse>
  /** Removes a file at once; readers that have it open read on. */
  forget(name: string): Promise<void>
  /** Ends what is being made. Idempotent. */
  close(): Promise<void>
}

/** How old, in ms, a half-made file of a process that nobody can tell of must be to go. A fetch takes minutes. */
const ABANDONED_MS = 24 * 3_600_000

/** `fetches`: how many have ended. */
type Entry = {
  readonly name: string
  bytes: number
  users: number
  fetch: Promise<void> | undefined
  fetches: number
  isForgotten: boolean
}

/**
 * Keeps files in a folder, within a size. A file has its name once it is whole and on the disk, never before. One that
 * is used or made now is never removed to make room: while it is, the folder may be larger than it should be.
 */
export function createFileCache({ folder, maxBytes }: FileCacheOptions): FileCache {
  const parts = join(folder, 'parts', PROCESS_NAME)
  const closing = new AbortController()
  /** The one used longest ago first. */
  const entries = new Map<string, Entry>()
  const fetching = new Set<Promise<void>>()
  /** By name: a file that goes must be gone before one of its name is looked for. */
  const removals = new Map<string, Promise<void>>()
  let bytes = 0

  const pathOf = (name: string) => join(folder, name)

  const enter = (name: string): Entry => {
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
      // What cannot be removed, another user's for instance, is not worth an output.
      if (entry.users === 0 && !entry.fetch) drop(entry).catch(() => undefined)
    }
  }

  const leave = (entry: Entry) => {
    entry.users--
    if (entry.users === 0 && entry.bytes === 0 && entries.get(entry.name) === entry) entries.delete(entry.name)
    makeRoom()
  }

  const make = async (entry: Entry, { fill, modifiedAt }: Recipe) => {
    const part = join(parts, `${entry.name}-${randomBytes(4).toString('hex')}`)
    try {
      await mkdir(parts, { recursive: true })
      await fill(part, closing.signal)
      await settle(part, modifiedAt)
      if (entry.isForgotten) throw new Error('the file was forgotten while it was fetched')
      await rename(part, pathOf(entry.name))
      resize(entry, (await stat(pathOf(entry.name))).size)
    } finally {
      await rm(part, { force: true })
    }
  }

  const begin = (entry: Entry, recipe: Recipe) => {
    closing.signal.throwIfAborted()
    const fetch = make(entry, recipe).finally(() => {
      entry.fetch = undefined
      entry.fetches++
      fetching.delete(fetch)
    })
    fetching.add(fetch)
    return fetch
  }

  const provide = async (entry: Entry, recipe: Recipe): Promise<void> => {
    const { fetches } = entry
    const size = await touch(pathOf(entry.name))
    if (size !== undefined) resize(entry, size)
    // Made between the look and now: it is worth another look.
    else if (entry.fetches !== fetches && !entry.fetch) await provide(entry, recipe)
    else await (entry.fetch ??= begin(entry, recipe))
  }

  const found = scan(folder).then((files) => {
    for (const { name, size } of files) resize(enter(name), size)
    makeRoom()
  })

  return {
    async use(name, recipe) {
      await found
      await removals.get(name)?.catch(() => undefined)
      const entry = enter(name)
      entry.users++
      const release = once(() => leave(entry))
      try {
        await provide(entry, recipe)
      } catch (error) {
        release()
        throw error
      }
      makeRoom()
      return { path: pathOf(name), release }
    },
    async forget(name) {
      await found
      await drop(entries.get(name) ?? newEntry(name))
    },
    async close() {
      closing.abort(new Error('the server is ending'))
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

/** On the disk before it has its name: a file that a power cut left empty would be served for ever. */
async function settle(path: string, modifiedAt: number) {
  const file = await open(path, 'r+')
  try {
    await file.utimes(new Date(), new Date(modifiedAt))
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Notes that a file is used, for the next process, and gives its size; undefined where there is none. */
async function touch(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined)
  // Where the disk takes no times, the order is that of an earlier use.
  if (found) await utimes(path, new Date(), found.mtime).catch(() => undefined)
  return found?.size
}

type Found = { readonly name: string; readonly size: number; readonly usedAt: number }

/** What is in the folder, the file used longest ago first, without what processes that are gone left half-made. */
async function scan(folder: string): Promise<Found[]> {
  await sweepParts(join(folder, 'parts'))
  const files = (await readdir(folder, { withFileTypes: true }).catch(() => [])).filter((entry) => entry.isFile())
  const found: Found[] = []
  for (const { name } of files) {
    const facts = await stat(join(folder, name)).catch(() => undefined)
    if (facts) found.push({ name, size: facts.size, usedAt: facts.atimeMs })
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
