import { type ChildProcess, fork } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { getCompileCacheDir } from 'node:module'
import { fileURLToPath } from 'node:url'
import { createLru } from '../lib/collections.ts'
import { createFairSemaphore } from '../lib/concurrency.ts'
import { resolvesWithin, untilAborted } from '../lib/timing.ts'
import { bytesOfHead } from './bytes.ts'
import { type FactsReply, type FactsRequest, type MediaFacts, type MediaRole, type Piece, plausible } from './facts.ts'
import { detectMedia, detectMediaIn, type MediaFormat } from './formats.ts'
import { checkIntegrity } from './integrity.ts'
import { readStill, readStillIn, type Still } from './orientation.ts'

export type FactsOptions = {
  readonly role: MediaRole
  /** On whose behalf: callers take turns. */
  readonly caller: string
  /** When it aborts, the result is what is known by then. */
  readonly signal: AbortSignal
}

/** Fetches the bytes of a file from offset `from` up to `to`, fewer at its end. `size`: of the whole file. */
export type FetchRange = (from: number, to: number) => Promise<{ readonly bytes: Buffer; readonly size: number }>

/** Reads facts about media. Never rejects: what cannot be read in time, or cannot be true, is unknown. */
export type FactsReader = {
  ofFile(path: string, options: FactsOptions): Promise<MediaFacts>
  /** Of a file elsewhere, by a few ranges of it, at most `MAX_FETCHED_BYTES` together. */
  ofRanges(fetch: FetchRange, options: FactsOptions): Promise<MediaFacts>
  /** Ends the reading process. Idempotent. */
  close(): Promise<void>
}

/** How long the reading process may take for one file, in ms: a real file takes tens of ms, on a busy machine more. */
const TIME_LIMIT_MS = 1_000
/** Bytes fetched of one file in all, and at a time at least, so that few ranges are enough. */
export const MAX_FETCHED_BYTES = 4 * 1024 * 1024
const WINDOW_BYTES = 256 * 1024
/** Files on this machine that are open at a time, and those whose facts are kept: a face is often used again. */
const MAX_OPEN_FILES = 8
const FILES_KEPT = 1_000

type Report = (facts: MediaFacts) => void

/** `timeLimitMs`: how long the reading process may take for one file; then it is killed, and the next file starts another. */
export function createFactsReader({ timeLimitMs = TIME_LIMIT_MS } = {}): FactsReader {
  const reading = createReadingProcess(timeLimitMs)
  const openFiles = createFairSemaphore(MAX_OPEN_FILES, { mayHoldAll: true })
  const kept = createLru<MediaFacts>(FILES_KEPT)

  const readFile = async (path: string, options: FactsOptions, report: Report): Promise<boolean> => {
    const { role } = options
    const type = await detectMedia(path)
    if (!type?.format) return true
    const { format, mime } = type
    report(factsOfType(format))
    if (format.kind === 'still') {
      report(factsOfStill(format, await readStill(path, mime)))
      return true
    }
    // The header of a file that is cut off states the duration that it had.
    const isWhole = !STATES_SIZE.has(format.demuxer) || (await checkIntegrity(path, mime)) === undefined
    const { size } = await stat(path)
    const request = { role, path, isComplete: LISTS_TRACKS.has(format.demuxer) }
    const { isLast = false } = await reading.read(request, options, ({ durationSeconds, ...facts }) => {
      const timed = isWhole && durationSeconds !== undefined ? { ...facts, durationSeconds } : facts
      report({ ...factsOfType(format), ...plausible(timed, size) })
    })
    return isLast
  }

  const readRanges = async (fetch: FetchRange, options: FactsOptions, report: Report): Promise<void> => {
    const { role } = options
    const { bytes, size } = await fetch(0, WINDOW_BYTES)
    const head = bytesOfHead(bytes, size)
    const type = await detectMediaIn(head)
    if (!type?.format) return
    const { format } = type
    report(factsOfType(format))
    if (format.kind === 'still') {
      report(factsOfStill(format, await readStillIn(head, type.mime)))
      return
    }
    const pieces: Piece[] = [{ at: 0, bytes }]
    const isComplete = LISTS_TRACKS.has(format.demuxer)
    for (let left = MAX_FETCHED_BYTES - bytes.length; left > 0;) {
      const { missing } = await reading.read({ role, size, pieces, isComplete }, options, (facts) => {
        report({ ...factsOfType(format), ...plausible(facts, size) })
      })
      if (!missing) return
      const from = Math.floor(missing.from / WINDOW_BYTES) * WINDOW_BYTES
      // Twice as much each time, for a file that has to be read from its start to its end.
      const wanted = Math.min(left, 2 ** (pieces.length - 1) * WINDOW_BYTES)
      const to = Math.min(size, Math.max(from + wanted, Math.ceil(missing.to / WINDOW_BYTES) * WINDOW_BYTES))
      if (to - from > left) return
      const next = await fetch(from, to)
      if (next.size !== size) return
      pieces.push({ at: from, bytes: next.bytes })
      left -= to - from
    }
  }

  return {
    async ofFile(path, options) {
      const { caller, signal, role } = options
      const key = await stat(path, { bigint: true }).then(
        ({ dev, ino, size, mtimeNs }) => [role, dev, ino, size, mtimeNs].join(' '),
        () => undefined,
      )
      if (key === undefined) return {}
      return (
        kept.get(key) ??
        reportedUntil(signal, async (report) => {
          let known: MediaFacts = {}
          const isLast = await openFiles.use(caller, signal, () =>
            readFile(path, options, (facts) => report((known = facts))),
          )
          if (isLast) kept.set(key, known, 1)
        })
      )
    },
    ofRanges: (fetch, options) => reportedUntil(options.signal, (report) => readRanges(fetch, options, report)),
    close: reading.close,
  }
}

/** What the work has reported last by its end, its failure, or the abort. */
async function reportedUntil(signal: AbortSignal, work: (report: Report) => Promise<void>): Promise<MediaFacts> {
  let known: MediaFacts = {}
  const done = work((facts) => (known = facts)).catch(() => undefined)
  await untilAborted(done, signal).catch(() => undefined)
  return known
}

/** Formats, by ffmpeg's demuxer, of which every track is recognised, so that one that is not found is not there. */
const LISTS_TRACKS = new Set(['mov', 'matroska', 'mp3', 'wav', 'aac', 'flac'])
/** Formats that state their size, so that a file that is cut off is recognised. */
const STATES_SIZE = new Set(['mov', 'matroska', 'wav'])
/** Formats for sound that cannot have a picture. */
const SOUND_ONLY = new Set(['mp3', 'wav', 'aac', 'flac', 'aiff', 'caf', 'amr', 'au'])

const factsOfType = ({ name, demuxer }: MediaFormat): MediaFacts => ({
  container: name,
  ...(SOUND_ONLY.has(demuxer) && { hasPicture: false }),
})

const factsOfStill = ({ name }: MediaFormat, { width, height, orientation }: Still): MediaFacts => ({
  container: name,
  ...plausible({ width, height, rotation: orientation.rotation }, 0),
  hasPicture: true,
  hasSound: false,
})

/** How long the process may take to start, in ms, and after how long without a file it ends. */
const START_LIMIT_MS = 10_000
const IDLE_MS = 60_000
/** Room for the sample tables of hours of video; beyond it the process ends. */
const FLAGS = ['--max-old-space-size=256']
const PROGRAM = fileURLToPath(new URL('facts.ts', import.meta.url))

type Reading = { readonly child: ChildProcess; readonly ready: Promise<unknown>; readonly gone: Promise<unknown> }

/** One file after the other, since any may block the process or fill its memory: then it is killed. */
function createReadingProcess(timeLimitMs: number) {
  const turns = createFairSemaphore(1, { mayHoldAll: true })
  let current: Reading | undefined
  let idle: NodeJS.Timeout | undefined
  let isClosed = false

  const end = () => {
    current?.child.kill('SIGKILL')
    current = undefined
  }

  const start = (): Reading => {
    const cache = getCompileCacheDir()
    // Nothing of the server's environment, which has secrets.
    const env = cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }
    const child = fork(PROGRAM, {
      env,
      execArgv: FLAGS,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    child.unref()
    child.channel?.unref()
    const gone = new Promise((resolve) => child.once('exit', resolve).once('error', resolve))
    const started: Reading = {
      child,
      gone,
      ready: Promise.race([gone, new Promise((resolve) => child.once('message', resolve))]),
    }
    void gone.then(() => {
      if (current === started) current = undefined
    })
    return started
  }

  const exchange = async (request: FactsRequest, report: Report): Promise<FactsReply> => {
    if (isClosed) throw new Error('the reader of media facts is closed')
    clearTimeout(idle)
    const { child, ready, gone } = (current ??= start())
    let reply: FactsReply = { facts: {} }
    const finished = Promise.withResolvers<undefined>()
    const onMessage = (message: unknown) => {
      reply = message as FactsReply
      report(reply.facts)
      if (reply.isLast) finished.resolve(undefined)
    }
    try {
      if (!(await resolvesWithin(ready, START_LIMIT_MS))) throw new Error('the reading process did not start')
      child.on('message', onMessage)
      child.send(request, (error) => error && finished.resolve(undefined))
      await resolvesWithin(Promise.race([finished.promise, gone]), timeLimitMs)
      return reply
    } finally {
      child.off('message', onMessage)
      if (!reply.isLast) end()
      idle = setTimeout(end, IDLE_MS).unref()
    }
  }

  return {
    /** Reports more and more facts. Rejects if the process cannot start; the last reply has `isLast` if it was in time. */
    read: (request: FactsRequest, { caller, signal }: FactsOptions, report: Report): Promise<FactsReply> =>
      turns.use(caller, signal, () => exchange(request, report)),
    close() {
      isClosed = true
      clearTimeout(idle)
      end()
      return Promise.resolve()
    },
  }
}
