import { createWriteStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ModalClient } from 'modal'
import { isProblem, problem } from '../../problems.ts'
import { OutputTooLarge } from '../../jobs/ports/files.ts'
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

/** Downloads the outputs that Modal keeps. */
export type ModalDownload = {
  /**
   * Writes the output of a run, by the run's own id, to a file, without ever holding it as a whole. Rejects with
   * `OutputTooLarge` before fetching it, with `output_unavailable`, with the signal's reason soon after it aborts, or with
   * the error of the disk.
   */
  fetch(
    run: { readonly runId: string; readonly version: ModelVersion; readonly caller: string },
    path: string,
    signal: AbortSignal,
  ): Promise<void>
  close(): Promise<void>
}

/** Time limits of the function, with a cold start, and of a whole fetch, in ms. */
const FUNCTION_TIMEOUT_MS = 300_000
const FETCH_TIMEOUT_MS = 600_000
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

  const download = async ({ runId, version }: Run, path: string, { signal, onProgress }: Watchdog) => {
    const callId = await spawn({ job_id: runId, version })
    const timeLimited = AbortSignal.any([signal, AbortSignal.timeout(FUNCTION_TIMEOUT_MS)])
    const answer = await pool.follow((turn) => poller.pollAnswer(open(), callId, turn), timeLimited)
    const blobId = blobIdOf(answer)
    if (blobId !== undefined) return saveBlob(open(), { blobId, path, onProgress, checkLength }, signal)
    const value = await valueOf(open(), callId, answer)
    if (!(value instanceof Uint8Array)) throw new Error('the function returned no bytes')
    checkLength(value.length)
    await writeFile(path, value, { signal })
  }

  /** Aborts a fetch that makes no progress while others wait for it. */
  const abortIfStalled = async (work: (watchdog: Watchdog) => Promise<void>, outer: AbortSignal) => {
    const stalled = new AbortController()
    let progressAt = performance.now()
    const check = () => {
      const isStalled = semaphore.isContended && performance.now() - progressAt > contendedStallMs
      if (isStalled) stalled.abort(new DOMException('it made no progress while others waited', 'TimeoutError'))
    }
    const timer = setInterval(check, contendedStallMs / 10).unref()
    const signal = AbortSignal.any([outer, stalled.signal])
    try {
      await work({ signal, onProgress: () => (progressAt = performance.now()) })
    } catch (error) {
      stalled.signal.throwIfAborted()
      throw error
    } finally {
      clearInterval(timer)
    }
  }

  return {
    async fetch(run, path, closing) {
      const signal = AbortSignal.any([closing, AbortSignal.timeout(FETCH_TIMEOUT_MS)])
      try {
        await semaphore.use(run.caller, signal, () =>
          abortIfStalled((watchdog) => download(run, path, watchdog), signal),
        )
      } catch (error) {
        closing.throwIfAborted()
        throw toProblem(error)
      }
    },
    close() {
      pool.close()
      poller.close()
      client?.close()
      return Promise.resolve()
    },
  }
}

type Run = Parameters<ModalDownload['fetch']>[0]

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
      const { downloadUrl } = await client.cpClient.blobGet({ blobId })
      const response = await fetch(downloadUrl, { signal })
      if (!response.ok || !response.body) throw new Error(`Failed to download blob: ${response.status}`)
      await pipeline(bytesOfCbor(response.body, checkLength), reportProgress(onProgress), createWriteStream(path), {
        signal,
      })
      return
    } catch (error) {
      if (signal.aborted || attempt >= BLOB_ATTEMPTS || !isTransient(error)) throw error
    }
    await sleep(BLOB_PAUSE_MS * attempt, undefined, { signal })
  }
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
