import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { ModalClient, type ModalClientParams } from 'modal'
import { Metadata } from 'nice-grpc'
import type { Log } from '../jobs/log.ts'

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
/** A stream of lines that ends is opened again by the client at once; here not more often than this, in ms. */
const LOG_STREAM_EVERY_MS = 1000

/** What an RPC carries beyond what the client's methods let through. */
export type RpcContext = {
  /** Ends a poll, a cancel or the reading of logs, also on the wire. */
  signal?: AbortSignal
  timeoutMs?: number
  /** The same over all our tries at one spawn. */
  idempotencyKey?: string
  nextLogStreamAt?: number
  /** Set when a poll's answer held the call's end: what fails after that is the reading of the result. */
  answered?: boolean
  /** Asks for a large value to be left where it is: its id is put here, and the client is told that it is null. */
  leavesBlob?: boolean
  blobId?: string
}
export const rpcContext = new AsyncLocalStorage<RpcContext>()

/** A client of Modal with a connection of its own (over TLS; without it the connections of a process are shared). */
export const openClient = (log: Log): ModalClient => new ModalClient(clientParams(log))

function clientParams(log: Log): ModalClientParams {
  return {
    maxThrottleWaitSecs: MAX_THROTTLE_WAIT_SECONDS,
    grpcMiddleware: [rpcMiddleware],
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
const rpcMiddleware: Middleware = async function* (call, options) {
  const context = rpcContext.getStore() ?? {}
  const method = call.method.path.split('/').at(-1) ?? ''
  const bounded = { timeoutMs: LOG_RPCS[method] ?? context.timeoutMs ?? RPC_TIMEOUT_MS, ...options }
  const signals = [options.signal, ENDED_BY_SIGNAL.has(method) ? context.signal : undefined].filter((one) => !!one)
  const ending = signals.length > 0 && { signal: signals.length > 1 ? AbortSignal.any(signals) : signals[0] }
  switch (method) {
    case 'FunctionGetOutputs': {
      const response = yield* call.next(call.request, { ...bounded, ...ending, ...ONCE })
      if ((response as { outputs?: unknown[] }).outputs?.length) context.answered = true
      if (context.leavesBlob) leaveBlob(response as object, context)
      return response
    }
    case 'FunctionMap': {
      const metadata = Metadata(options.metadata)
      if (context.idempotencyKey) metadata.set('x-idempotency-key', context.idempotencyKey)
      return yield* call.next(call.request, { ...bounded, metadata, ...ONCE })
    }
    case 'FunctionCallCancel':
      return yield* call.next(call.request, { ...bounded, ...ending, ...ONCE })
    case 'AppGetLogs':
      await paceLogStream(context)
      return yield* call.next(call.request, { ...bounded, ...ending })
    default:
      return yield* call.next(call.request, { ...bounded, ...ending })
  }
}

const CBOR_NULL = Uint8Array.of(0xf6)

function leaveBlob(response: object, context: RpcContext): void {
  const [output] = (response as { outputs?: { result?: { data?: Uint8Array; dataBlobId?: string } }[] }).outputs ?? []
  if (!output?.result?.dataBlobId) return
  context.blobId = output.result.dataBlobId
  output.result = { ...output.result, data: CBOR_NULL }
}

/** Against the client's own three repeats; it reads this option beyond gRPC's. */
const ONCE: object = { retries: 0 }

async function paceLogStream(context: RpcContext): Promise<void> {
  const waitMs = Math.max(0, (context.nextLogStreamAt ?? 0) - Date.now())
  context.nextLogStreamAt = Date.now() + waitMs + LOG_STREAM_EVERY_MS
  await sleep(waitMs, undefined, { signal: context.signal })
}
