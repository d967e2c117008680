import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { ModalClient, type ModalClientParams } from 'modal'
import { type CallOptions, ClientError, Metadata, Status } from 'nice-grpc'
import type { Log } from '../../jobs/log.ts'
import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { grpcCode, isNotFound } from './outcome.ts'
import { countRpcs, methodOf, type Middleware, observePolls, POLL_PATH, readRetryPolicy } from './rpc-observers.ts'

/** Time limit of one RPC that answers at once, and what a long poll may take beyond its own wait, in ms. */
export const RPC_TIMEOUT_MS = 30_000
/** The longest pause that Modal asks for and its client waits itself, in seconds; longer ones are left to our back-off. */
const MAX_THROTTLE_WAIT_SECONDS = 10
/** Time limits of the RPCs that only reading logs uses, in ms. A stream of lines lasts up to 55 s. */
const LOG_RPC_TIMEOUT_MS = 10_000
const LOG_RPCS: Readonly<Record<string, number>> = {
  FunctionCallFromId: LOG_RPC_TIMEOUT_MS,
  FunctionCallGetInfo: LOG_RPC_TIMEOUT_MS,
  AppCountLogs: LOG_RPC_TIMEOUT_MS,
  AppFetchLogs: LOG_RPC_TIMEOUT_MS,
  AppGetLogs: 55_000 + LOG_RPC_TIMEOUT_MS,
}
/** The client repeats a stream that was cut short at once; here only after this, in ms. */
const REPEAT_EVERY_MS = 1000

/** Of FunctionMap: what matters here. */
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

/** A call that Modal created without accepting its input, for instance because the function's queue is full. */
type EmptyCall = { readonly functionId: string; readonly call: MapResponse }

/** What Modal says of the arguments of a function; `schemaType` 0: nothing. */
export type FunctionSchema = {
  readonly schemaType: number
  readonly arguments: readonly { readonly name: string; readonly hasDefault: boolean }[]
}
/** What Modal says of a deployed function, or of a class and its methods. */
export type FunctionHandle = {
  readonly functionSchema?: FunctionSchema | undefined
  readonly methodHandleMetadata?: Readonly<Record<string, FunctionHandle>>
}

/** Options and results of an RPC that the client's methods do not pass. */
export type RpcContext = {
  /** Aborts a cancel or the reading of logs, also on the wire. */
  signal?: AbortSignal
  timeoutMs?: number
  /** The same for every attempt to send one spawn. */
  idempotencyKey?: string
  /** Called before a spawn is sent, when its arguments have been uploaded; throws if it must not be sent any more. */
  beforeSend?: (() => void) | undefined
  /** A call that the spawn created and whose input Modal has not accepted yet; kept for the next attempt to send it. */
  emptyCall?: EmptyCall | undefined
  /** When a stream that the client repeats by itself may be opened again. */
  nextRepeatAt?: number
  /** Set when a function or class was looked up; the client keeps it to itself. */
  handle?: FunctionHandle | undefined
}
export const rpcContext = new AsyncLocalStorage<RpcContext>()

/** `recordMetric` is called for every RPC, and for every end that a poll finds. */
export type ClientOptions = { readonly log: Log; readonly recordMetric?: RecordMetric | undefined }

/**
 * A client of Modal with a connection of its own (over TLS; without it the connections of a process are shared). Polls,
 * which bring their own signal and time limit (see `createPoller`), pass one middleware, not three.
 */
export function openClient({ log, recordMetric }: ClientOptions): ModalClient {
  const put: PutInputs = (request) => client.cpClient.functionPutInputs(request as never)
  const others = [...(recordMetric ? [countRpcs(recordMetric)] : []), readRetryPolicy, rpcMiddleware(put)]
  // The last is the outermost.
  const client = new ModalClient(clientParams(log, [observePolls(recordMetric), ...others.map(exceptPolls)]))
  return client
}

const exceptPolls =
  (middleware: Middleware): Middleware =>
  (call, options) =>
    call.method.path === POLL_PATH ? call.next(call.request, options) : middleware(call, options)

function clientParams(log: Log, grpcMiddleware: Middleware[]): ModalClientParams {
  return {
    maxThrottleWaitSecs: MAX_THROTTLE_WAIT_SECONDS,
    grpcMiddleware,
    logger: {
      debug: (message, ...details) => log.debug({ event: 'modal_client', details }, message),
      info: (message, ...details) => log.debug({ event: 'modal_client', details }, message),
      warn: (message, ...details) => log.warn({ event: 'modal_client', details }, message),
      error: (message, ...details) => log.error({ event: 'modal_client', details }, message),
    },
  }
}

/** RPCs that the signal of their context may abort; the others are shared, or may have had their effect already. */
const ABORTABLE = new Set(['FunctionCallCancel', ...Object.keys(LOG_RPCS)])

/**
 * Outermost around every RPC but polls. Limits its time; aborts it by the signal where that is allowed (not the fetch of a token,
 * which is shared with others); leaves repeats of spawns and cancels to our own back-off; gives a spawn its key.
 */
const rpcMiddleware = (put: PutInputs): Middleware =>
  async function* (call, options) {
    const context = rpcContext.getStore() ?? {}
    const method = methodOf(call)
    const bounded = { timeoutMs: LOG_RPCS[method] ?? context.timeoutMs ?? RPC_TIMEOUT_MS, ...options }
    const signals = [options.signal, ABORTABLE.has(method) ? context.signal : undefined].filter((one) => !!one)
    const abort = signals.length > 0 && { signal: signals.length > 1 ? AbortSignal.any(signals) : signals[0] }
    const sendOnce = () =>
      call.next(call.request, { ...bounded, ...withIdempotencyKey(options, context), ...WITHOUT_RETRIES })
    switch (method) {
      case 'FunctionMap': {
        context.beforeSend?.()
        const { functionId, pipelinedInputs: inputs } = call.request as MapRequest
        if (!context.emptyCall) {
          const response = yield* sendOnce()
          const created = response as MapResponse
          if (created.pipelinedInputs.length > 0) return response
          context.emptyCall = { functionId, call: created }
        }
        const forget = () => (context.emptyCall = undefined)
        return (await putInput(context.emptyCall, { inputs, put, forget })) as never
      }
      case 'FunctionGet': {
        const response = yield* call.next(call.request, bounded)
        context.handle = (response as { readonly handleMetadata?: FunctionHandle }).handleMetadata
        return response
      }
      case 'FunctionPutInputs':
        return yield* sendOnce()
      case 'FunctionCallCancel':
        return yield* call.next(call.request, { ...bounded, ...abort, ...WITHOUT_RETRIES })
      case 'AppGetLogs':
        await spaceRepeats(context)
        return yield* call.next(call.request, { ...bounded, ...abort })
      default:
        return yield* call.next(call.request, { ...bounded, ...abort })
    }
  }

/**
 * Sends the input of a call that Modal created without it. The client would fail the spawn, and another FunctionMap would
 * create another call. Rejects with `UNAVAILABLE` while Modal accepts no input, and, after `forget`, when Modal no longer
 * knows the call; then the spawn may be sent again.
 */
async function putInput(
  { functionId, call }: EmptyCall,
  { inputs, put, forget }: { inputs: readonly unknown[]; put: PutInputs; forget: () => void },
): Promise<MapResponse> {
  const { functionCallId } = call
  try {
    const { inputs: accepted } = await put({ functionId, functionCallId, inputs })
    if (accepted.length > 0) return { ...call, pipelinedInputs: accepted }
  } catch (error) {
    if (!isNotFound(error) && grpcCode(error) !== Status.FAILED_PRECONDITION) throw error
    forget()
    throw unavailable('Modal no longer knows the call that it created without an input')
  }
  throw unavailable("Modal accepts no input: the function's queue seems to be full")
}

const unavailable = (message: string) =>
  new ClientError('/modal.client.ModalClient/FunctionPutInputs', Status.UNAVAILABLE, message)

function withIdempotencyKey({ metadata: given }: CallOptions, { idempotencyKey }: RpcContext) {
  const metadata = Metadata(given)
  if (idempotencyKey) metadata.set('x-idempotency-key', idempotencyKey)
  return { metadata }
}

/** Turns off the client's own three repeats; it reads this option beyond gRPC's. */
export const WITHOUT_RETRIES: object = { retries: 0 }

async function spaceRepeats(context: RpcContext): Promise<void> {
  const waitMs = Math.max(0, (context.nextRepeatAt ?? 0) - performance.now())
  context.nextRepeatAt = performance.now() + waitMs + REPEAT_EVERY_MS
  if (waitMs > 0) await sleep(waitMs, undefined, { signal: context.signal })
}
