import { createWriteStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { FunctionCall, type Function_, type ModalClient } from 'modal'
import { isProblem, problem } from '../../problems.ts'
import { OutputTooLarge } from '../../jobs/ports/files.ts'
import type { ModelVersion } from '../../jobs/job.ts'
import { reduceUrls } from '../../net/url-rule.ts'
import { createFairSemaphore } from '../../lib/semaphore.ts'
import type { Log } from '../../jobs/log.ts'
import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { bytesOfCbor } from './wire-format.ts'
import { retryAfterOf, endOfResult, isOfDeployment, isPassing, isRefusal, RESULT_STATUS, wordsOf } from './outcome.ts'
import { openClient, RPC_TIMEOUT_MS, type RpcContext, rpcContext } from './rpc.ts'

export type ModalDownloadOptions = {
  readonly app: string
  readonly functionName: string
  readonly log: Log
  readonly recordMetric?: RecordMetric
  /** Largest output that is fetched; any where it is not set. */
  readonly maxBytes?: number
  /** How long a fetch may make no progress while others wait for its place, in ms. */
  readonly contendedStallMs?: number
}

/** The outputs that Modal keeps. */
export type ModalDownload = {
  /**
   * Writes the output of a run, by the run's own id, to a file, without ever holding it as a whole. Rejects with
   * `OutputTooLarge` before it is fetched, with `output_unavailable`, with the signal's reason soon after it aborts, or with what the disk says.
   */
  fetch(
    run: { readonly runId: string; readonly version: ModelVersion; readonly caller: string },
    path: string,
    signal: AbortSignal,
  ): Promise<void>
  close(): Promise<void>
}

/** How long the function may take, a cold start included, and the whole of a fetch, in ms. */
const FUNCTION_TIMEOUT_MS = 300_000
const FETCH_TIMEOUT_MS = 600_000
/**
 * Outputs fetched at the same time, of which one caller has its share; each is a call of the deployed function, which may
 * need a container of its own.
 */
const MAX_FETCHES = 16
/** How long a fetch may make no progress while all places are taken and others wait, in ms; a cold start takes less. */
const CONTENDED_STALL_MS = 60_000
/** How often the download of one large value is begun, and the pause before the next try, in ms. */
const BLOB_TRIES = 3
const BLOB_PAUSE_MS = 250
/** When asking again may help, in s. */
const RETRY_SECONDS = 10

/** Calls the deployed function that hands out outputs, on a connection of its own. */
export function createModalDownload(options: ModalDownloadOptions): ModalDownload {
  const { app, functionName, log, recordMetric, contendedStallMs = CONTENDED_STALL_MS, maxBytes = Infinity } = options
  let client: ModalClient | undefined
  let lookup: Promise<Function_> | undefined
  const places = createFairSemaphore(MAX_FETCHES)

  const open = () => (client ??= openClient({ log, recordMetric }))

  /** One look-up for all; a failed one is forgotten. */
  const deployedFunction = () => {
    lookup ??= open()
      .functions.fromName(app, functionName)
      .catch((error: unknown) => {
        lookup = undefined
        throw error
      })
    return lookup
  }

  const spawn = async (kwargs: Record<string, unknown>, isRepeated = false): Promise<string> => {
    const isLookedUp = lookup !== undefined
    try {
      return (await (await deployedFunction()).spawn([], kwargs)).functionCallId
    } catch (error) {
      lookup = undefined
      if (isRefusal(error)) forgetClient()
      // The deployment may be gone or stopped where another has taken its place, and the token no longer valid.
      const isWorthRepeating = isRefusal(error) || (isLookedUp && isOfDeployment(error))
      if (isWorthRepeating && !isRepeated) return spawn(kwargs, true)
      throw error
    }
  }

  /** A client keeps the token that its credentials were once good for. */
  const forgetClient = () => {
    client?.close()
    client = undefined
  }

  const checkLength = (bytes: number) => {
    if (bytes > maxBytes) throw new OutputTooLarge()
  }

  const download = async ({ runId, version }: Run, path: string, { signal, note }: Watched) => {
    const callId = await spawn({ job_id: runId, version })
    const context: RpcContext = { signal, timeoutMs: FUNCTION_TIMEOUT_MS + RPC_TIMEOUT_MS, leavesBlob: true }
    const value: unknown = await rpcContext
      .run(context, () => new FunctionCall(open(), callId, '', '').get({ timeoutMs: FUNCTION_TIMEOUT_MS }))
      .catch((error: unknown) => {
        throw failureOf(error, context)
      })
    if (context.blobId !== undefined)
      await saveBlob(open(), { blobId: context.blobId, path, note, checkLength }, signal)
    else if (value instanceof Uint8Array) {
      checkLength(value.length)
      await writeFile(path, value, { signal })
    } else throw new Error('the function returned no bytes')
  }

  /** Gives up a fetch that makes no progress while others wait for its place. */
  const watched = async (work: (watched: Watched) => Promise<void>, outer: AbortSignal) => {
    const stalled = new AbortController()
    let progressAt = performance.now()
    const check = () => {
      const isStalled = places.isContended && performance.now() - progressAt > contendedStallMs
      if (isStalled) stalled.abort(new DOMException('it made no progress while others waited', 'TimeoutError'))
    }
    const timer = setInterval(check, contendedStallMs / 10).unref()
    const signal = AbortSignal.any([outer, stalled.signal])
    try {
      await work({ signal, note: () => (progressAt = performance.now()) })
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
        await places.use(run.caller, signal, () => watched((watch) => download(run, path, watch), signal))
      } catch (error) {
        closing.throwIfAborted()
        throw unavailable(error)
      }
    },
    close() {
      client?.close()
      return Promise.resolve()
    },
  }
}

type Run = Parameters<ModalDownload['fetch']>[0]

/** `note`: called with each progress. */
type Watched = { readonly signal: AbortSignal; readonly note: () => unknown }

type Blob = {
  readonly blobId: string
  readonly path: string
  readonly note: () => unknown
  readonly checkLength: (bytes: number) => void
}

/** A large value is a file of its own at Modal's store; the client's own way would hold it in memory, twice. */
async function saveBlob(
  client: ModalClient,
  { blobId, path, note, checkLength }: Blob,
  signal: AbortSignal,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      const { downloadUrl } = await client.cpClient.blobGet({ blobId })
      const response = await fetch(downloadUrl, { signal })
      if (!response.ok || !response.body) throw new Error(`Failed to download blob: ${response.status}`)
      await pipeline(bytesOfCbor(response.body, checkLength), noting(note), createWriteStream(path), { signal })
      return
    } catch (error) {
      if (signal.aborted || tries >= BLOB_TRIES || !isPassing(error)) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, BLOB_PAUSE_MS * tries))
  }
}

const noting = (note: () => unknown) =>
  async function* (pieces: AsyncIterable<Uint8Array>) {
    for await (const piece of pieces) {
      note()
      yield piece
    }
  }

/** What Modal said of the call's end counts, not what its client made of it. */
function failureOf(error: unknown, { result }: RpcContext): unknown {
  if (!result || result.status === RESULT_STATUS.success) return error
  const { outcome } = endOfResult(result)
  if (outcome.kind === 'succeeded') return error
  const retry = outcome.kind === 'interrupted' && { retryAfterSeconds: RETRY_SECONDS }
  return problem('output_unavailable', {
    detail: `Modal did not give the output: ${reduceUrls(outcome.error)}`,
    cause: error,
    ...retry,
  })
}

/** What the disk says is not Modal's fault, and told by who owns the file. */
function unavailable(error: unknown): unknown {
  if (isProblem(error, 'output_unavailable')) return error
  if (error instanceof Error && 'syscall' in error && !('cause' in error)) return error
  const holdMs = retryAfterOf(error)
  const mayPass = isPassing(error) || isRefusal(error) || (error instanceof Error && error.name === 'TimeoutError')
  return problem('output_unavailable', {
    detail: `Modal did not give the output: ${wordsOf(error)}`,
    cause: error,
    ...(mayPass && { retryAfterSeconds: holdMs === undefined ? RETRY_SECONDS : Math.ceil(holdMs / 1000) }),
  })
}
