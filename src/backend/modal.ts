import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Function_,
  FunctionCall,
  FunctionTimeoutError,
  InternalFailure,
  InvalidError,
  ModalClient,
  type ModalClientParams,
  NotFoundError,
  RemoteError,
  TimeoutError,
} from 'modal'
import { ClientError, Metadata, Status } from 'nice-grpc'
import type { Log } from '../jobs/log.ts'
import { createLogReader } from './log-reader.ts'
import { createOutageGate } from './outage.ts'
import { createPollPool, type PollTurn } from './poll-pool.ts'
import type { Backend, Outcome, Spawned, SpawnRequest } from './port.ts'

export type ModalOptions = {
  readonly app: string
  readonly functionName: string
  readonly log: Log
  /** Connections that polls may open, and polls that may be open on each: their product is the number of slots. */
  readonly maxConnections: number
  readonly pollsPerConnection: number
  /** How long one poll for an output may stay open, in ms. Modal answers after 55 s at the latest. */
  readonly pollMs?: number
}

/** Time limit of one RPC that answers at once, and what a long poll may take beyond its own wait, in ms. */
const RPC_TIMEOUT_MS = 30_000
/** How long Modal may take to show that it is back, in ms. */
const PROBE_TIMEOUT_MS = 10_000
/** The longest long poll Modal grants, in ms. */
const POLL_MS = 55_000
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
type RpcContext = { signal?: AbortSignal; timeoutMs?: number; idempotencyKey?: string; nextLogStreamAt?: number }
const rpcContext = new AsyncLocalStorage<RpcContext>()

/**
 * Runs the deployed GPU function through Modal's own client. The only file that knows the client and its errors.
 * Spawns, cancels and look-ups have a connection of their own: polls, which fill theirs, never stand in their way.
 */
export function createModalBackend(options: ModalOptions): Backend {
  const { app, functionName, log, maxConnections, pollsPerConnection, pollMs = POLL_MS } = options
  const control = new ModalClient(clientParams(log))
  const pollClients: ModalClient[] = []
  let logClient: ModalClient | undefined
  const pool = createPollPool({ maxConnections, pollsPerConnection, longPollMs: pollMs })
  const gate = createOutageGate({ probe: () => probe(control, options), log, describe: wordsOf })
  let lookup: Promise<Function_> | undefined

  /** One look-up for all; a failed one is forgotten, so that the next spawn looks again. */
  const deployedFunction = () => {
    lookup ??= control.functions.fromName(app, functionName).catch((error: unknown) => {
      lookup = undefined
      throw error
    })
    return lookup
  }

  deployedFunction().catch((error: unknown) => {
    log.warn({ app, function: functionName, reason: wordsOf(error) }, 'the Modal function is not available yet')
  })

  const spawnOnce = async (request: SpawnRequest): Promise<Spawned> => {
    const kwargs = { ...request.input, version: request.version }
    const idempotencyKey = `${request.jobId}-${request.attempt}`
    try {
      const deployed = await deployedFunction()
      const call = await rpcContext.run({ idempotencyKey }, () => deployed.spawn([], kwargs))
      return { kind: 'spawned', callId: call.functionCallId }
    } catch (error) {
      if (isPassing(error)) throw error
      lookup = undefined
      return { kind: 'rejected', code: 'backend_rejected', error: wordsOf(error) }
    }
  }

  /** One turn of a poll is one RPC; undefined: the call runs on. */
  const poll = async (callId: string, { connection, waitMs, signal }: PollTurn): Promise<Outcome | undefined> => {
    const client = (pollClients[connection] ??= new ModalClient(clientParams(log)))
    const call = new FunctionCall(client, callId, '', '')
    const context = { signal, timeoutMs: waitMs + RPC_TIMEOUT_MS }
    const outcome = await rpcContext
      .run(context, () => call.get({ timeoutMs: waitMs }))
      .then(outcomeOfValue, outcomeOfError)
    gate.answered('call')
    return outcome
  }

  const logs = createLogReader({
    // The streams of lines have a connection of their own too.
    async open(callId) {
      logClient ??= new ModalClient(clientParams(log))
      return (await logClient.functionCalls.fromId(callId)).logs
    },
    scope: (signal) => {
      const context: RpcContext = { signal }
      return (work) => rpcContext.run(context, work)
    },
    isUnknown: (error) => grpcCode(error) === Status.NOT_FOUND || grpcCode(error) === Status.INVALID_ARGUMENT,
  })

  return {
    name: 'modal',
    check: () => [],
    // What is under way is never cut off by the signal: a spawn may have reached Modal already.
    spawn: (request, signal) => gate.run('spawn', () => spawnOnce(request), signal),
    wait: (callId, signal) => gate.run('call', () => pool.follow((turn) => poll(callId, turn), signal), signal),
    stop: (callId, signal) => gate.run('call', () => cancelCall(control, callId), signal),
    logs,
    close() {
      gate.close()
      pool.close()
      for (const client of [control, ...pollClients, logClient]) client?.close()
      return Promise.resolve()
    },
  }
}

/** Whether Modal answers at all; that it does not know the function is an answer, that it refuses us is none. */
async function probe(client: ModalClient, { app, functionName }: ModalOptions): Promise<void> {
  try {
    await rpcContext.run({ timeoutMs: PROBE_TIMEOUT_MS }, () => client.functions.fromName(app, functionName))
  } catch (error) {
    const code = grpcCode(error)
    if (isPassing(error) || code === Status.UNAUTHENTICATED || code === Status.PERMISSION_DENIED) throw error
  }
}

async function cancelCall(client: ModalClient, callId: string): Promise<void> {
  try {
    await new FunctionCall(client, callId, '', '').cancel()
  } catch (error) {
    if (grpcCode(error) !== Status.NOT_FOUND) throw error
  }
}

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

/**
 * Outermost around every RPC. Bounds each in time; lets a signal end a poll or the reading of logs (and nothing else: the token it may have
 * to fetch first is shared with others); gives a spawn one idempotency key over all our tries.
 */
const rpcMiddleware: Middleware = async function* (call, options) {
  const context = rpcContext.getStore()
  const method = call.method.path.split('/').at(-1)
  if (method === 'FunctionGetOutputs' && context?.signal) {
    const poll = { timeoutMs: context.timeoutMs ?? RPC_TIMEOUT_MS, ...options, signal: context.signal, retries: 0 }
    return yield* call.next(call.request, poll)
  }
  const logTimeoutMs = LOG_RPCS[method ?? '']
  if (logTimeoutMs !== undefined && context?.signal) {
    if (method === 'AppGetLogs') await paceLogStream(context)
    const signal = AbortSignal.any([context.signal, ...(options.signal ? [options.signal] : [])])
    const read = { timeoutMs: logTimeoutMs, ...options, signal }
    return yield* call.next(call.request, read)
  }
  const bounded = { timeoutMs: context?.timeoutMs ?? RPC_TIMEOUT_MS, ...options }
  if (method === 'FunctionMap' && context?.idempotencyKey) {
    const metadata = Metadata(options.metadata).set('x-idempotency-key', context.idempotencyKey)
    const spawn = { ...bounded, metadata, retries: 0 }
    return yield* call.next(call.request, spawn)
  }
  return yield* call.next(call.request, bounded)
}

async function paceLogStream(context: RpcContext): Promise<void> {
  const waitMs = Math.max(0, (context.nextLogStreamAt ?? 0) - Date.now())
  context.nextLogStreamAt = Date.now() + waitMs + LOG_STREAM_EVERY_MS
  await sleep(waitMs, undefined, { signal: context.signal })
}

/** How a value returned by `run_inference` ends a job; anything that is not of the contract's shape is refused. */
function outcomeOfValue(value: unknown): Outcome {
  if (typeof value !== 'object' || value === null) return invalidOutput('the function returned no object')
  const { status, output_path: outputPath, job_id: runId, error } = value as Record<string, unknown>
  if (status === 'failed' || status === 'unknown') {
    const words = typeof error === 'string' && error !== '' ? error : `the function reported '${status}'`
    return { kind: 'failed', code: 'inference_failed', error: words }
  }
  if (status !== 'succeeded') return invalidOutput(`the function's status is ${JSON.stringify(status)}`)
  if (typeof outputPath !== 'string' || outputPath === '') return invalidOutput("the function's output_path is missing")
  if (typeof runId !== 'string' || runId === '') return invalidOutput("the function's job_id is missing")
  return { kind: 'succeeded', outputPath, runId }
}

const invalidOutput = (detail: string): Outcome => ({ kind: 'failed', code: 'invalid_output', error: detail })

/** What an error of `get` says about the call; undefined: it runs on. A passing fault is thrown on. */
function outcomeOfError(error: unknown): Outcome | undefined {
  // TimeoutError, our own wait running out, comes first: FunctionTimeoutError claims to match it too.
  if (error instanceof TimeoutError) return undefined
  if (error instanceof FunctionTimeoutError) return { kind: 'failed', code: 'timed_out', error: wordsOf(error) }
  if (error instanceof RemoteError) return { kind: 'failed', code: 'inference_failed', error: wordsOf(error) }
  if (error instanceof InternalFailure) return { kind: 'interrupted', error: wordsOf(error) }
  const code = grpcCode(error)
  if (code === Status.NOT_FOUND || code === Status.INVALID_ARGUMENT) {
    return { kind: 'failed', code: 'lost', error: `Modal does not know the call any more: ${wordsOf(error)}` }
  }
  if (error instanceof Error && UNREADABLE.test(error.message)) {
    return invalidOutput(`the function's result cannot be read: ${wordsOf(error)}`)
  }
  // Whatever else it is, a refused credential included, says nothing about the call: it runs on.
  throw error
}

/** What the client says of a result in a format it does not read, or that is not the CBOR it claims to be. */
const UNREADABLE = /(data|output) format|CBOR|end of buffer/

/** gRPC codes after which the same request may work; UNKNOWN and INTERNAL are also what a proxy's 5xx turns into. */
const PASSING_CODES: ReadonlySet<number> = new Set([
  Status.CANCELLED,
  Status.UNKNOWN,
  Status.DEADLINE_EXCEEDED,
  Status.RESOURCE_EXHAUSTED,
  Status.ABORTED,
  Status.INTERNAL,
  Status.UNAVAILABLE,
])

const grpcCode = (error: unknown): number | undefined => (error instanceof ClientError ? error.code : undefined)

/** Whether asking again may help. Undici reports a broken blob download as a `TypeError` with a cause. */
function isPassing(error: unknown): boolean {
  if (error instanceof NotFoundError || error instanceof InvalidError) return false
  const code = grpcCode(error)
  if (code !== undefined) return PASSING_CODES.has(code)
  return error instanceof Error && (error.cause instanceof Error || error.message.startsWith('Failed to download blob'))
}

/** Modal's own words, without the client's prefixes. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof ClientError && error.details !== '') return error.details
  return error.message.replace(/^(Remote error|Internal failure|Timeout): /, '')
}
