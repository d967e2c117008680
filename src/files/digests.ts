import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { createLru } from '../lib/collections.ts'
import { createFairSemaphore } from '../lib/concurrency.ts'

/** Larger files have no digest, in bytes: it would take seconds of this process. */
export const MAX_DIGEST_BYTES = 512 * 1024 * 1024
/** Files that are read at a time, and digests that are kept: a face is often used again. */
const MAX_OPEN_FILES = 2
const DIGESTS_KEPT = 1_000
/** A file that has changed within the last ms may change again without a new time of change. */
const CLOCK_STEP_MS = 2_000

export type DigestOptions = {
  /** The owner of the job: callers take turns, and the duration of a digest reveals nothing about another caller. */
  readonly caller: string
  readonly signal: AbortSignal
}

/** Digests the content of files on this machine. */
export type Digests = {
  /** SHA-256, in hex; undefined if the file is too large, or changes meanwhile. Rejects if it cannot be read in time. */
  of(path: string, options: DigestOptions): Promise<string | undefined>
}

export function createDigests(): Digests {
  const kept = createLru<string>(DIGESTS_KEPT)
  const openFiles = createFairSemaphore(MAX_OPEN_FILES, { mayHoldAll: true })

  const read = async (file: FileHandle, { caller, signal }: DigestOptions): Promise<string | undefined> => {
    const before = await stateOf(file)
    if (before.size > MAX_DIGEST_BYTES) return undefined
    const key = `${before.identity} ${caller}`
    const known = kept.get(key)
    if (known !== undefined) return known
    // A stream that is made with an aborted signal fails before anything listens, which would end the process.
    signal.throwIfAborted()
    const hash = createHash('sha256')
    for await (const piece of file.createReadStream({ autoClose: false, signal })) hash.update(piece as Buffer)
    if ((await stateOf(file)).identity !== before.identity) return undefined
    const digest = hash.digest('hex')
    if (before.changedAt < Date.now() - CLOCK_STEP_MS) kept.set(key, digest, 1)
    return digest
  }

  return {
    of: (path, options) =>
      openFiles.use(options.caller, options.signal, async () => {
        const file = await open(path)
        try {
          return await read(file, options)
        } finally {
          await file.close()
        }
      }),
  }
}

/** The same until the file is written to, or is another one. The time of change cannot be set, as that of a modification can. */
async function stateOf(file: FileHandle) {
  const { dev, ino, size, mtimeNs, ctimeNs, ctimeMs } = await file.stat({ bigint: true })
  return { identity: [dev, ino, size, mtimeNs, ctimeNs].join(' '), size: Number(size), changedAt: Number(ctimeMs) }
}
