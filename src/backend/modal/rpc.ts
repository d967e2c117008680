import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { ModalClient, type ModalClientParams } from 'modal'
import { type CallOptions, ClientError, Metadata, Status } from 'nice-grpc'
import type { Log } from '../../jobs/log.ts'
import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { CallExpired, type CallResult, grpcCode, isNotFound, noteRetryAfter, RESULT_STATUS } from './outcome.ts'
import { retryAfterMsOf } from './wire-format.ts'

/** Time limit of one RPC that answers at once, and what a long poll may take beyond its own wait, in ms. */
export const RPC_TIMEOUT_MS = 30_000
/** Modal may ask a client to come back later; longer than this, in seconds, is for our own back-off. */
const MAX_THROTTLE_WAIT_SECONDS = 10
/** Time limits of the RPCs that only the reading of logs uses, in ms. A stream of lines lasts 55 s if nothing ends it. */
const LOG_RPC_TIMEOUT_MS = 10_000
const LOG_RPCS: Readonly<Record<string, number>> = {
  FunctionCallFromId: LOG_RPC_TIMEOUT_MS,
  FunctionCallGetInfo: LOG_RPC_TIMEOUT_MS,
  AppCountLogs: LOG_RPC_TIMEOUT_MS,
  AppFetchLogs: LOG_RPC_TIMEOUT_MS,
  AppGetLogs: 55_000 + LOG_RPC_TIMEOUT_MS,
}
/** What ends early, a stream of lines or a poll, is opened again by the client at once; here only after this, in ms. */
const REPEAT_EVERY_MS = 1000
/** When a call that seems to have expired is asked for again, in ms. */
const CONFIRM_EXPIRY_MS = 200

/** FunctionMap, as far as it matters here. */
type MapRequest = { readonly functionId: string; readonly pipelinedInputs: readonly unknown[] }
type MapResponse = {
  readonly functionCallId: string
  readonly functionCallJwt: string
  readonly pipelinedInputs: readonly unknown[]
}
/** FunctionPutInputs. */
type PutRequest = {
  readonly functionId: string
  readonly functionCallId: string
  readonly inputs: readonly unknown[]
}
type PutInputs = (request: PutRequest) => Promise<{ readonly inputs: readonly unknown[] }>

/** A call that Modal has made without taking its input, as when the function's queue is full. */
type EmptyCall = { readonly functionId: string; readonly made: MapResponse }

/** What an RPC carries beyond what the client's methods let through. */
export type RpcContext = {
  /** Ends a poll, a cancel or the reading of logs, also on the wire. */
  signal?: AbortSignal
  timeoutMs?: number
  /** The same over all our tries at one spawn. */
  idempotencyKey?: string
  /** A call that the spawn has made, and whose input Modal has yet to take; kept over all our tries. */
  emptyCall?: EmptyCall | undefined
  /** How long a poll may wait at Modal, in ms; else the client says. */
  pollMs?: number
  /** When what the client repeats by itself may be sent again. */
  nextRepeatAt?: number
  /** Set when a poll's answer held the call's end: what fails after that is the reading of its value. */
  result?: CallResult
  /** When the run started, in epoch ms, by a poll's answer that held the call's end; 0: Modal did not say. */
  runStartedAt?: number
  /** Asks for a large value to be left where it is: its id is put here, and the client is told that it is null. */
  leavesBlob?: boolean
  blobId?: string
}
export const rpcContext = new AsyncLocalStorage<RpcContext>()

/** `recordMetric` hears of every RPC, and of the ends that polls bring. */
export type ClientParts = { readonly log: Log; readonly recordMetric?: RecordMetric | undefined }

/** A client of Modal with a connection of its own (over TLS; without it the connections of a process are shared). */
export function openClient(parts: ClientParts): ModalClient {
  const put: PutInputs = (request) => client.cpClient.functionPutInputs(request as never)
  const client = new ModalClient(clientParams(parts, put))
  return client
}

function clientParams({ log, recordMetric }: ClientParts, put: PutInputs): ModalClientParams {
  return {
    maxThrottleWaitSecs: MAX_THROTTLE_WAIT_SECONDS,
    // The last is the outermost.
    grpcMiddleware: [...(recordMetric ? [observed(recordMetric)] : []), readRetryPolicy, rpcMiddleware(put)],
    logger: {
      debug: (message, ...details) => log.debug({ details }, message),
      info: (message, ...details) => log.debug({ details }, message),
      warn: (message, ...details) => log.warn({ details }, message),
      error: (message, ...details) => log.error({ details }, message),
    },
  }
}

type Middleware = NonNullable<ModalClientParams['grpcMiddleware']>[number]

/** RPCs that their context's signal may cut off; the others are shared, or may have had their effect already. */
const ENDED_BY_SIGNAL = new Set(['FunctionGetOutputs', 'FunctionCallCancel', ...Object.keys(LOG_RPCS)])

/**
 * Outermost around every RPC. Bounds each in time; lets a signal end those that it may end (the token they may have to
 * fetch first is shared with others); leaves polls, spawns and cancels to our own back-off; gives a spawn its key.
 */
const rpcMiddleware = (put: PutInputs): Middleware =>
  async function* (call, options) {
    const context = rpcContext.getStore() ?? {}
    const method = methodOf(call)
    const bounded = { timeoutMs: LOG_RPCS[method] ?? context.timeoutMs ?? RPC_TIMEOUT_MS, ...options }
    const signals = [options.signal, ENDED_BY_SIGNAL.has(method) ? context.signal : undefined].filter((one) => !!one)
    const ending = signals.length > 0 && { signal: signals.length > 1 ? AbortSignal.any(signals) : signals[0] }
    switch (method) {
      case 'FunctionGetOutputs': {
        const { pollMs } = context
        const request = { ...(call.request as object), ...(pollMs !== undefined && { timeout: pollMs / 1000 }) }
        const poll = () => call.next(request as typeof call.request, { ...bounded, ...ending, ...ONCE })
        await spaceRepeats(context)
        let response = yield* poll()
        if (hasExpired(response as OutputsResponse)) {
          await sleep(CONFIRM_EXPIRY_MS, undefined, { signal: context.signal })
          response = yield* poll()
          if (hasExpired(response as OutputsResponse)) throw new CallExpired()
        }
        keepResult(response as OutputsResponse, context)
        return response
      }
      case 'FunctionMap': {
        const { functionId, pipelinedInputs: inputs } = call.request as MapRequest
        if (!context.emptyCall) {
          const response = yield* call.next(call.request, { ...bounded, ...keyOf(options, context), ...ONCE })
          const made = response as MapResponse
          if (made.pipelinedInputs.length > 0) return response
          context.emptyCall = { functionId, made }
        }
        const forget = () => (context.emptyCall = undefined)
        return (await putInput(context.emptyCall, { inputs, put, forget })) as never
      }
      case 'FunctionPutInputs':
        return yield* call.next(call.request, { ...bounded, ...keyOf(options, context), ...ONCE })
      case 'FunctionCallCancel':
        return yield* call.next(call.request, { ...bounded, ...ending, ...ONCE })
      case 'AppGetLogs':
        await spaceRepeats(context)
        return yield* call.next(call.request, { ...bounded, ...ending })
      default:
        return yield* call.next(call.request, { ...bounded, ...ending })
    }
  }

/**
 * Gives a call its input, where Modal has not taken that with the call. The client expects it to be taken, and would
 * fail the spawn, while another FunctionMap would make another call. Rejects with `UNAVAILABLE` while Modal takes no
 * input, and after `forget` when the call is not known any more; then the spawn is worth another try.
 */
async function putInput(
  { functionId, made }: EmptyCall,
  { inputs, put, forget }: { inputs: readonly unknown[]; put: PutInputs; forget: () => void },
): Promise<MapResponse> {
  const { functionCallId } = made
  try {
    const { inputs: taken } = await put({ functionId, functionCallId, inputs })
    if (taken.length > 0) return { ...made, pipelinedInputs: taken }
  } catch (error) {
    if (!isNotFound(error) && grpcCode(error) !== Status.FAILED_PRECONDITION) throw error
    forget()
    throw unavailable(`Modal does not know the call any more that it made without an input`)
  }
  throw unavailable("Modal takes no input: the function's queue seems to be full")
}

const unavailable = (words: string) =>
  new ClientError('/modal.client.ModalClient/FunctionPutInputs', Status.UNAVAILABLE, words)

function keyOf({ metadata: given }: CallOptions, { idempotencyKey }: RpcContext) {
  const metadata = Metadata(given)
  if (idempotencyKey) metadata.set('x-idempotency-key', idempotencyKey)
  return { metadata }
}

/** Keeps what Modal says of when to come back, which the client reads only where it repeats an RPC itself. */
const readRetryPolicy: Middleware = async function* (call, options) {
  let holdMs: number | undefined
  const onTrailer = (trailer: Metadata) => {
    const details = trailer.get('grpc-status-details-bin')
    if (details instanceof Uint8Array) holdMs = retryAfterMsOf(details)
    options.onTrailer?.(trailer)
  }
  try {
    return yield* call.next(call.request, { ...options, onTrailer })
  } catch (error) {
    noteRetryAfter(error, holdMs)
    throw error
  }
}

/** Observes each RPC that is sent. */
const observed = (recordMetric: RecordMetric): Middleware =>
  async function* (call, options) {
    const method = methodOf(call)
    const startedAt = performance.now()
    // One that nobody waits for any more returns without an error.
    let code = Status[Status.CANCELLED]
    try {
      const response = yield* call.next(call.request, options)
      code = Status[Status.OK]
      if (method === 'FunctionGetOutputs') tellOfEnd(response as OutputsResponse, recordMetric)
      return response
    } catch (error) {
      code = codeNameOf(error)
      throw error
    } finally {
      recordMetric({ type: 'rpc-finished', method, code, tookMs: performance.now() - startedAt })
    }
  }

const methodOf = (call: { readonly method: { readonly path: string } }) => call.method.path.split('/').at(-1) ?? ''

/** gRPC's name of an error; `NONE` where the RPC was not made, for want of credentials for instance. */
function codeNameOf(error: unknown): string {
  if (error instanceof ClientError) return Status[error.code]
  return error instanceof Error && error.name === 'AbortError' ? Status[Status.CANCELLED] : 'NONE'
}

/** Modal's times are in seconds since the epoch, 0 where it says none. */
type OutputsResponse = { readonly outputs?: readonly Output[]; readonly numUnfinishedInputs?: number }
type Output = {
  readonly inputStartedAt: number
  readonly outputCreatedAt: number
  result?: (CallResult & { data?: Uint8Array | undefined; dataBlobId?: string | undefined }) | undefined
}

function tellOfEnd({ outputs = [] }: OutputsResponse, recordMetric: RecordMetric): void {
  const [output] = outputs
  if (!output) return
  const { inputStartedAt: startedAt, outputCreatedAt: endedAt } = output
  const ranMs = startedAt > 0 && endedAt > 0 ? (endedAt - startedAt) * 1000 : undefined
  recordMetric({ type: 'call-finished', ranMs, lateMs: endedAt > 0 ? Date.now() - endedAt * 1000 : undefined })
}

const CBOR_NULL = Uint8Array.of(0xf6)

/** Whether there is neither a result nor anything left that could give one: Modal keeps results for seven days. */
const hasExpired = ({ outputs = [], numUnfinishedInputs = 0 }: OutputsResponse): boolean =>
  outputs.length === 0 && numUnfinishedInputs === 0

/** Keeps how the call ended. The client is left to read the value of a success, unless that is to stay where it is. */
function keepResult({ outputs: [output] = [] }: OutputsResponse, context: RpcContext): void {
  if (!output?.result) return
  context.runStartedAt = output.inputStartedAt * 1000
  const { status, dataBlobId } = (context.result = output.result)
  if (status === RESULT_STATUS.success && !(context.leavesBlob && dataBlobId)) return
  if (dataBlobId) context.blobId = dataBlobId
  output.result = { ...output.result, data: CBOR_NULL }
}

/** Against the client's own three repeats; it reads this option beyond gRPC's. */
const ONCE: object = { retries: 0 }

async function spaceRepeats(context: RpcContext): Promise<void> {
  const waitMs = Math.max(0, (context.nextRepeatAt ?? 0) - performance.now())
  context.nextRepeatAt = performance.now() + waitMs + REPEAT_EVERY_MS
  if (waitMs > 0) await sleep(waitMs, undefined, { signal: context.signal })
}
