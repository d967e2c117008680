import { appendFile, type FileHandle, mkdir, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { problem } from '../../problems.ts'
import type { Log } from '../../jobs/log.ts'
import { untilAborted } from '../../lib/timing.ts'

/** How much of a run's log is kept, in bytes: its first bytes, and a last line that says that it is cut. */
export const LOG_KEPT_BYTES = 1024 * 1024
const CUT_LINE = Buffer.from(`\n[cut here: no more than ${LOG_KEPT_BYTES} bytes of a log are kept]\n`)
const READ_BYTES = 64 * 1024

/** The log of a running attempt. */
export type RunLog = {
  /** Appends text, in order, without waiting for the disk. An error of the disk does not fail the run. */
  write(text: string): void
  /** Resolves when all of it is on the disk; its readers then finish. */
  close(): Promise<void>
}

/** What the children of each run printed: one file a run, kept after it and readable while it grows. */
export type RunLogs = {
  /** Starts a log, replacing an earlier one of the run. */
  open(runId: string): RunLog
  /** Yields the text so far and, of an open log, all until it is closed. Throws `logs_unavailable` if there is no log. */
  read(runId: string, signal: AbortSignal): AsyncIterable<string>
}

/** `written`: all writes so far. `changed`: the next one, or the close. */
type Writer = { written: Promise<void>; changed: PromiseWithResolvers<undefined> }

export function createRunLogs(root: string, log: Log): RunLogs {
  const writers = new Map<string, Writer>()
  const pathOf = (runId: string) => join(root, `${runId}.log`)

  return {
    open(runId) {
      const path = pathOf(runId)
      const writer: Writer = { written: create(root, path), changed: Promise.withResolvers() }
      writers.set(runId, writer)
      const bounded = createBound()
      return {
        write(text) {
          const bytes = bounded(text)
          writer.written = writer.written.then(() => appendFile(path, bytes)).then(() => notifyReaders(writer))
          writer.written.catch(() => undefined)
        },
        async close() {
          await writer.written.catch((error: unknown) =>
            log.warn(
              { event: 'run_log_failed', err: error },
              'the log of a run could not be written; it is incomplete',
            ),
          )
          writers.delete(runId)
          notifyReaders(writer)
        },
      }
    },
    async *read(runId, signal) {
      await writers.get(runId)?.written.catch(() => undefined)
      const file = await openToRead(pathOf(runId))
      try {
        yield* follow(file, () => writers.get(runId)?.changed.promise, signal)
      } finally {
        await file.close()
      }
    },
  }
}

/** Creates the empty file, so that readers find it before the first write. */
function create(root: string, path: string): Promise<void> {
  const created = mkdir(root, { recursive: true }).then(() => writeFile(path, ''))
  created.catch(() => undefined)
  return created
}

function notifyReaders(writer: Writer) {
  writer.changed.resolve(undefined)
  writer.changed = Promise.withResolvers()
}

/** Returns what there is room for; at the limit the line that says so, then nothing. */
function createBound(): (text: string) => Buffer {
  let room = LOG_KEPT_BYTES - CUT_LINE.length
  let isCut = false
  return (text) => {
    const bytes = Buffer.from(text)
    if (isCut) return Buffer.alloc(0)
    isCut = bytes.length > room
    const kept = isCut ? Buffer.concat([wholeCharacters(bytes, room), CUT_LINE]) : bytes
    room -= bytes.length
    return kept
  }
}

/** The first bytes, at most so many, without a partial character: its later bytes begin with the bits 10 (UTF-8). */
function wholeCharacters(bytes: Buffer, atMost: number): Buffer {
  let end = atMost
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}

async function openToRead(path: string): Promise<FileHandle> {
  try {
    return await open(path)
  } catch (cause) {
    throw problem('logs_unavailable', { status: 410, detail: 'The log no longer exists.', cause })
  }
}

/** Reads as long as there is a next change to wait for. `next` is called before reading, so that no change is missed. */
async function* follow(file: FileHandle, next: () => Promise<unknown> | undefined, signal: AbortSignal) {
  const decoder = new TextDecoder()
  const buffer = Buffer.alloc(READ_BYTES)
  for (;;) {
    signal.throwIfAborted()
    const changed = next()
    const { bytesRead } = await file.read(buffer, 0, READ_BYTES, null)
    if (bytesRead > 0) yield decoder.decode(buffer.subarray(0, bytesRead), { stream: true })
    else if (changed) await untilAborted(changed, signal)
    else return
  }
}

/** A path of this machine, and the name that replaces it in the log. */
export type HiddenPath = readonly [path: string, name: string]

/** A line longer than this, in characters, is passed on before it is complete. */
const LINE_MAX_LENGTH = 8192

/** Puts the names in place of the paths. */
export const hidePaths = (text: string, paths: readonly HiddenPath[]): string =>
  paths.reduce((hidden, [path, name]) => hidden.replaceAll(`file:${path}`, name).replaceAll(path, name), text)

/** Hides paths in text that comes in pieces, which may be cut anywhere, also within a path or a character. */
export type PathFilter = {
  write(piece: Buffer): void
  /** Passes on the rest: a last line without a line feed. */
  end(): void
}

/** Passes text on to `sink` line by line; a carriage return ends a line too, as progress bars use it. */
export function createPathFilter(paths: readonly HiddenPath[], sink: (text: string) => void): PathFilter {
  const decoder = new TextDecoder()
  // Keeps back enough of an incomplete line to hold any partial path.
  const keptBack = Math.max(0, ...paths.map(([path]) => `file:${path}`.length))
  let rest = ''
  const pass = (text: string) => {
    if (text !== '') sink(text)
  }
  return {
    write(piece) {
      rest += decoder.decode(piece, { stream: true })
      const lineEnd = Math.max(rest.lastIndexOf('\n'), rest.lastIndexOf('\r')) + 1
      pass(hidePaths(rest.slice(0, lineEnd), paths))
      rest = rest.slice(lineEnd)
      if (rest.length < LINE_MAX_LENGTH) return
      rest = hidePaths(rest, paths)
      pass(rest.slice(0, -keptBack || undefined))
      rest = keptBack > 0 ? rest.slice(-keptBack) : ''
    },
    end() {
      pass(hidePaths(rest + decoder.decode(), paths))
      rest = ''
    },
  }
}
