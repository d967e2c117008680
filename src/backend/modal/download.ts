import { createWriteStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ModalClient } from 'modal'
import { isProblem, problem } from '../../problems.ts'
import { type OutputBytes, OutputTooLarge } from '../../jobs/ports/files.ts'
import type { ModelVersion } from '../../jobs/job.ts'
import { reduceUrls } from '../../net/url-rule.ts'
import { createFairSemaphore, createOnce } from '../../lib/concurrency.ts'
import type { Log } from '../../jobs/log.ts'
import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { findFunction } from './contract.ts'
import {
  retryAfterMsOf,
  outcomeOfResult,
  isDeploymentError,
  isTransient,
  isCredentialsError,
  RESULT_STATUS,
  modalMessageOf,
} from './outcome.ts'
import { type Answer, createPoller, resultOf, valueOf } from './poll.ts'
import { createPollPool } from './poll-pool.ts'
import { openClient } from './rpc.ts'

export type ModalDownloadOptions = {
  readonly app: string
  readonly functionName: string
  readonly log: Log
  readonly recordMetric?: RecordMetric
  /** Largest output that is fetched; any where it is not set. */
  readonly maxBytes?: number
  /** How long a fetch may make no progress while others wait for it, in ms. */
  readonly contendedStallMs?: number
}

type Run = { readonly runId: string; readonly version: ModelVersion; readonly caller: string }

/** Downloads the outputs that Modal keeps. */
export type ModalDownload = {
  /**
   * Writes the output of a run, by the run's own id, to a file, without ever holding it as a whole. Rejects with
   * `OutputTooLarge` before fetching it, with `output_unavailable`, with the signal's reason soon after it aborts, or with
   * the error of the disk.
   */
  fetch(run: Run, path: string, signal: AbortSignal): Promise<void>
  /** Gives the bytes of the output of a run to `use`, as they come. Rejects likewise, or as `use` does. */
  read<T>(run: Run, signal: AbortSignal, use: (output: OutputBytes) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** Time limits of the function, with a cold start, and of a whole fetch, in ms. */
const FUNCTION_TIMEOUT_MS = 300_000
const FETCH_TIMEOUT_MS = 600_000
/** Of bytes that go on to a receiver, which may be slower than a disk, in ms. */
const READ_TIMEOUT_MS = 3_600_000
/**
 * Outputs fetched at the same time; one caller may have its share of them. Each is a call of the deployed function, which
 * may need a container of its own.
 */
const MAX_FETCHES = 16
/** How long a fetch may make no progress while others wait for it, in ms; a cold start takes less. */
const CONTENDED_STALL_MS = 60_000
/** How often the download of one large value is attempted, and the pause before the next attempt, in ms. */
const BLOB_ATTEMPTS = 3
const BLOB_PAUSE_MS = 250
/** When another request may work, in s. */
const RETRY_SECONDS = 10

/** Calls the deployed function that hands out outputs, on a connection of its own. */
export function createModalDownload(options: ModalDownloadOptions): ModalDownload {
  const { app, functionName, log, recordMetric, contendedStallMs = CONTENDED_STALL_MS, maxBytes = Infinity } = options
  let client: ModalClient | undefined
  const semaphore = createFairSemaphore(MAX_FETCHES)
  const pool = createPollPool({ maxConnections: 1, pollsPerConnection: MAX_FETCHES })
  const poller = createPoller()

  const open = () => (client ??= openClient({ log, recordMetric }))

  const lookup = createOnce(async () => (await findFunction(open(), app, functionName)).deployed)

  const spawn = async (kwargs: Record<string, unknown>, isRepeat = false): Promise<string> => {
    const wasLookedUp = lookup.current !== undefined
    try {
      return (await (await lookup.get()).spawn([], kwargs)).functionCallId
    } catch (error) {
      lookup.forget()
      if (isCredentialsError(error)) forgetClient()
      // The deployment may have been stopped or replaced, or the token no longer be valid.
      const mayRepeat = isCredentialsError(error) || (wasLookedUp && isDeploymentError(error))
      if (mayRepeat && !isRepeat) return spawn(kwargs, true)
      throw error
    }
  }

  /** A client keeps the token that it got while its credentials were valid. */
  const forgetClient = () => {
    client?.close()
    client = undefined
  }

  const checkLength = (bytes: number) => {
    if (bytes > maxBytes) throw new OutputTooLarge()
  }

  /** The answer of the function for a run: the id of its blob, or the bytes. */
  const call = async ({ runId, version }: Run, signal: AbortSignal) => {
    const callId = await spawn({ job_id: runId, version })
    const timeLimited = AbortSignal.any([signal, AbortSignal.timeout(FUNCTION_TIMEOUT_MS)])
    const answer = await pool.follow((turn) => poller.pollAnswer(open(), callId, turn), timeLimited)
    const blobId = blobIdOf(answer)
    if (blobId !== undefined) return { blobId }
    const value = await valueOf(open(), callId, answer)
    if (!(value instanceof Uint8Array)) throw new Error('the function returned no bytes')
    return { value }
  }

  const download = async (run: Run, path: string, { signal, onProgress }: Watchdog) => {
    const { blobId, value } = await call(run, signal)
    if (blobId !== undefined) return saveBlob(open(), { blobId, path, onProgress, checkLength }, signal)
    checkLength(value.length)
    await writeFile(path, value, { signal })
  }

  const read = async <T>(run: Run, use: (output: OutputBytes) => Promise<T>, { signal, onProgress }: Watchdog) => {
    const { blobId, value } = await call(run, signal)
    if (blobId === undefined) return use({ size: value.length, bytes: Readable.from([value]) })
    // A receiver that refuses reads nothing: the download must not stay open.
    const scope = new AbortController()
    try {
      const body = await openBlob(open(), blobId, AbortSignal.any([signal, scope.signal]))
      const { size, bytes } = await sized(body)
      return await use({ size, bytes: reportProgress(onProgress)(bytes) })
    } finally {
      scope.abort()
    }
  }

  /** Aborts a fetch that makes no progress while others wait for it. */
  const abortIfStalled = async <T>(work: (watchdog: Watchdog) => Promise<T>, outer: AbortSignal): Promise<T> => {
    const stalled = new AbortController()
    let progressAt = performance.now()
    const check = () => {
      const isStalled = semaphore.isContended && performance.now() - progressAt > contendedStallMs
      if (isStalled) stalled.abort(new DOMException('it made no progress while others waited', 'TimeoutError'))
    }
    const timer = setInterval(check, contendedStallMs / 10).unref()
    const signal = AbortSignal.any([outer, stalled.signal])
    try {
      return await work({ signal, onProgress: () => (progressAt = performance.now()) })
    } catch (error) {
      stalled.signal.throwIfAborted()
      throw error
    } finally {
      clearInterval(timer)
    }
  }

  /** Does work for a run when it is the turn of its caller. */
  const takeTurn = async <T>(
    { caller }: Run,
    { closing, timeoutMs }: { readonly closing: AbortSignal; readonly timeoutMs: number },
    work: (watchdog: Watchdog) => Promise<T>,
  ): Promise<T> => {
    const signal = AbortSignal.any([closing, AbortSignal.timeout(timeoutMs)])
    try {
      return await semaphore.use(caller, signal, () => abortIfStalled(work, signal))
    } catch (error) {
      closing.throwIfAborted()
      throw toProblem(error)
    }
  }

  return {
    fetch: (run, path, closing) =>
      takeTurn(run, { closing, timeoutMs: FETCH_TIMEOUT_MS }, (watchdog) => download(run, path, watchdog)),
    async read(run, closing, use) {
      let ofReceiver: { readonly error: unknown } | undefined
      const give = (output: OutputBytes) =>
        use(output).catch((error: unknown) => {
          ofReceiver = { error }
          throw error
        })
      return takeTurn(run, { closing, timeoutMs: READ_TIMEOUT_MS }, (watchdog) => read(run, give, watchdog)).catch(
        (error: unknown) => {
          throw ofReceiver ? ofReceiver.error : error
        },
      )
    },
    close() {
      pool.close()
      poller.close()
      client?.close()
      return Promise.resolve()
    },
  }
}

/** `onProgress`: called with each piece. */
type Watchdog = { readonly signal: AbortSignal; readonly onProgress: () => unknown }

type Blob = {
  readonly blobId: string
  readonly path: string
  readonly onProgress: () => unknown
  readonly checkLength: (bytes: number) => void
}

/** A large value is a file in Modal's store; the client would hold it in memory, twice. */
async function saveBlob(
  client: ModalClient,
  { blobId, path, onProgress, checkLength }: Blob,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const body = await openBlob(client, blobId, signal)
      await pipeline(bytesOfCbor(body, checkLength), reportProgress(onProgress), createWriteStream(path), {
        signal,
      })
      return
    } catch (error) {
      if (signal.aborted || attempt >= BLOB_ATTEMPTS || !isTransient(error)) throw error
    }
    await sleep(BLOB_PAUSE_MS * attempt, undefined, { signal })
  }
}

async function openBlob(client: ModalClient, blobId: string, signal: AbortSignal) {
  const { downloadUrl } = await client.cpClient.blobGet({ blobId })
  const response = await fetch(downloadUrl, { signal })
  if (!response.ok || !response.body) throw new Error(`Failed to download blob: ${response.status}`)
  return response.body
}

/** The content of a CBOR byte string, and its length, which comes first. */
async function sized(chunks: AsyncIterable<Uint8Array>): Promise<OutputBytes> {
  let size = 0
  const bytes = bytesOfCbor(chunks, (length) => (size = length))
  const first = await bytes.next()
  return { size, bytes: resume(first.done ? undefined : first.value, bytes) }
}

async function* resume(first: Uint8Array | undefined, rest: AsyncIterable<Uint8Array>) {
  if (first) yield first
  yield* rest
}

const reportProgress = (onProgress: () => unknown) =>
  async function* (pieces: AsyncIterable<Uint8Array>) {
    for await (const piece of pieces) {
      onProgress()
      yield piece
    }
  }

/** What the function raises where the volume has no such file. Its run has succeeded, so it had one. */
const FILE_DELETED = /^FileNotFoundError\b/

/** Where a large value is; undefined: it is part of the answer. Throws `output_unavailable` if the call has none. */
function blobIdOf(answer: Answer): string | undefined {
  const result = resultOf(answer)
  if (!result || result.status === RESULT_STATUS.success) return result?.dataBlobId
  const { outcome } = outcomeOfResult(result)
  if (outcome.kind === 'succeeded') return undefined
  if (outcome.kind === 'failed' && FILE_DELETED.test(outcome.error))
    throw problem('output_unavailable', { status: 410 })
  const retry = outcome.kind === 'interrupted' && { retryAfterSeconds: RETRY_SECONDS }
  throw problem('output_unavailable', {
    detail: `Modal did not give the output: ${reduceUrls(outcome.error)}`,
    ...retry,
  })
}

/** Errors of the disk pass unchanged: they are not Modal's, and the owner of the file handles them. */
function toProblem(error: unknown): unknown {
  if (isProblem(error, 'output_unavailable')) return error
  if (error instanceof Error && 'syscall' in error && !('cause' in error)) return error
  const retryAfterMs = retryAfterMsOf(error)
  const mayRetry =
    isTransient(error) || isCredentialsError(error) || (error instanceof Error && error.name === 'TimeoutError')
  return problem('output_unavailable', {
    detail: `Modal did not give the output: ${modalMessageOf(error)}`,
    cause: error,
    ...(mayRetry && { retryAfterSeconds: retryAfterMs === undefined ? RETRY_SECONDS : Math.ceil(retryAfterMs / 1000) }),
  })
}

/** How many bytes after the first one hold the length of a byte string, by the low five bits of the first. */
const LENGTH_BYTES: Readonly<Record<number, number>> = { 24: 1, 25: 2, 26: 4, 27: 8 }
const BYTE_STRING = 2

/**
 * The content of one CBOR byte string of known length (RFC 8949 3.1, major type 2) as it arrives, never held as a
 * whole. Throws if the bytes are anything else, or not as many as their head says. `checkLength` is called with that
 * number before any byte is yielded, and may throw.
 */
export async function* bytesOfCbor(
  chunks: AsyncIterable<Uint8Array>,
  checkLength: (bytes: number) => void = () => undefined,
): AsyncGenerator<Uint8Array> {
  let head: Buffer | undefined = Buffer.alloc(0)
  let left = 0
  for await (const chunk of chunks) {
    let content: Uint8Array = chunk
    if (head) {
      head = Buffer.concat([head, chunk])
      const size = headSizeOf(head)
      if (head.length < size) continue
      left = lengthIn(head.subarray(0, size))
      checkLength(left)
      content = head.subarray(size)
      head = undefined
    }
    left -= content.length
    if (left < 0) throw new Error('the value has more bytes than it says')
    yield content
  }
  if (head ?? left > 0) throw new Error('the value has fewer bytes than it says')
}

/** Includes the first byte; 1 until it is there. */
function headSizeOf(head: Buffer): number {
  const first = head[0]
  if (first === undefined) return 1
  const low = first & 31
  const more = low < 24 ? 0 : LENGTH_BYTES[low]
  if (first >> 5 !== BYTE_STRING || more === undefined) throw new Error('the value is no byte string')
  return 1 + more
}

function lengthIn(head: Buffer): number {
  const low = (head[0] ?? 0) & 31
  if (low < 24) return low
  return head.length === 9 ? Number(head.readBigUInt64BE(1)) : head.readUIntBE(1, head.length - 1)
}
