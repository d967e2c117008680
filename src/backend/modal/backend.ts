import { type Function_, FunctionCall, type ModalClient } from 'modal'
import { uuidOfName } from '../../lib/ids.ts'
import type { NamedInput } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import type { Metrics } from '../../jobs/ports/metrics.ts'
import { argumentErrors, checkModalInput } from './check.ts'
import { createLogReader, type Scope, createLogTail } from './logs.ts'
import {
  grpcCode,
  isOfDeployment,
  isPassing,
  isRefusal,
  isUnknown,
  type CallEnd,
  endOfError,
  endOfValue,
  wordsOf,
  failureOf,
} from './outcome.ts'
import { openClient, RPC_TIMEOUT_MS, type RpcContext, rpcContext } from './rpc.ts'
import { createCircuitBreaker } from './circuit-breaker.ts'
import { createPollPool, type PollTurn } from './poll-pool.ts'
import type { Backend, Outcome, Spawned, SpawnRequest, StartSubscriber } from '../../jobs/ports/backend.ts'

export type ModalOptions = {
  readonly app: string
  readonly functionName: string
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'record' | 'registerGauges'>
  /** Connections that polls may open, and polls that may be open on each: their product is the number of slots. */
  readonly maxConnections: number
  readonly pollsPerConnection: number
  /** What is refused of an input at submit; `checkModalInput` unless set. */
  readonly check?: Backend['check']
  /** How long spawns wait while Modal refuses the credentials, before they fail, in ms. */
  readonly credentialsGraceMs?: number
  /** How long one poll for an output may stay open, in ms. Modal answers after 55 s at the latest. */
  readonly pollMs?: number
}

type Followed = { readonly callId: string; readonly watch: StartSubscriber | undefined }

/** How long Modal may take to show that it is back, in ms. */
const PROBE_TIMEOUT_MS = 10_000
/** A token may be refreshed, a clock be set, an account be mended meanwhile, in ms. */
const CREDENTIALS_GRACE_MS = 120_000
/** The longest long poll Modal grants, in ms. */
const POLL_MS = 55_000
/**
 * Runs the deployed GPU function through Modal's own client.
 * Spawns, cancels and look-ups have a connection of their own: polls, which fill theirs, never stand in their way.
 */
export function createModalBackend(options: ModalOptions): Backend {
  const { app, functionName, log, metrics, maxConnections, pollsPerConnection, pollMs = POLL_MS } = options
  const open = () => openClient({ log, recordMetric: metrics?.record })
  let control = open()
  const pollClients: ModalClient[] = []
  let logClient: ModalClient | undefined
  const pool = createPollPool({ maxConnections, pollsPerConnection, longPollMs: pollMs, recordMetric: metrics?.record })
  const breaker = createCircuitBreaker({
    probe: async (reason) => {
      if (reason !== 'credentials') return probe(control, options)
      // A client keeps the token that its credentials were once good for.
      const fresh = open()
      await probe(fresh, options)
      renewTokens(fresh)
    },
    classify: failureOf,
    graceMs: options.credentialsGraceMs ?? CREDENTIALS_GRACE_MS,
    log,
  })
  let lookup: Promise<Function_> | undefined
  metrics?.registerGauges({
    modal_calls_held: () => breaker.stats().waiting,
    modal_polls_open: () => pool.stats().open,
    modal_polls_waiting: () => pool.stats().waiting,
    modal_poll_connections: () => pool.stats().connections,
  })

  const closeClients = () => {
    for (const client of [control, ...pollClients, logClient]) client?.close()
  }

  /** Closing a client makes it forget its token; its connection stays, and what is open on it. */
  const renewTokens = (fresh: ModalClient) => {
    closeClients()
    control = fresh
    lookup = undefined
  }

  /** One look-up for all; a failed one is forgotten, so that the next spawn looks again. */
  const deployedFunction = () => {
    if (lookup) return lookup
    const looking = control.functions.fromName(app, functionName)
    lookup = looking
    looking.catch(() => forgetLookup(looking))
    return looking
  }

  const forgetLookup = (looked: Promise<Function_>) => {
    if (lookup === looked) lookup = undefined
  }

  deployedFunction().catch((error: unknown) => {
    // It is logged what that means for all.
    if (breaker.failed('spawn', error) === 'credentials') return
    log.warn({ app, function: functionName, reason: wordsOf(error) }, 'the Modal function is not available yet')
  })

  const spawnOnce = async (request: SpawnRequest, context: RpcContext, hasLookedAgain = false): Promise<Spawned> => {
    const kwargs = { ...request.input, ...linksOf(request), version: request.version }
    const looked = deployedFunction()
    try {
      const deployed = await looked
      const call = await rpcContext.run(context, () => deployed.spawn([], kwargs))
      return { kind: 'spawned', callId: call.functionCallId }
    } catch (error) {
      if (isOfDeployment(error)) {
        forgetLookup(looked)
        if (!hasLookedAgain) return spawnOnce(request, context, true)
      }
      if (isPassing(error) || isRefusal(error)) throw error
      forgetLookup(looked)
      return rejected(error)
    }
  }

  const spawn: Backend['spawn'] = async (request, signal) => {
    const [wrong] = argumentErrors(request.input)
    if (wrong) return { kind: 'rejected', code: 'input_unavailable', error: `${wrong.path.slice(1)} ${wrong.message}` }
    const context: RpcContext = { idempotencyKey: keyOfAttempt(request) }
    try {
      // What is under way is never cut off by the signal: a spawn may have reached Modal already.
      return await breaker.run('spawn', () => spawnOnce(request, context), signal)
    } catch (error) {
      if (isRefusal(error)) return rejected(error)
      throw error
    }
  }

  /** Polls are throttled together: all wait, in their places. False: it is no throttle. */
  const slowDown = (error: unknown): boolean => {
    const { reason, holdMs } = failureOf(error, 'call')
    if (reason !== 'throttled' || holdMs === undefined) return false
    breaker.failed('call', error)
    pool.hold(holdMs)
    return true
  }

  /** One turn of a poll is one RPC, since the client is told to ask once; undefined: the call runs on. */
  const poll = async (
    { callId, watch }: Followed,
    { connection, waitMs, signal }: PollTurn,
  ): Promise<CallEnd | undefined> => {
    const client = (pollClients[connection] ??= open())
    const context: RpcContext = { signal, pollMs: waitMs, timeoutMs: waitMs + RPC_TIMEOUT_MS }
    const end = await rpcContext
      .run(context, () => new FunctionCall(client, callId, '', '').get({ timeoutMs: 0 }))
      .then(endOfValue, (error: unknown) => endOfError(error, context.result))
      .catch((error: unknown): undefined => {
        if (signal.aborted || !slowDown(error)) throw error
      })
    // Modal tells the start with the end: too late to end the run by, in time to make no other of it.
    if (watch?.isNeeded && context.runStartedAt) watch.onStart(context.runStartedAt)
    breaker.answered('call')
    return end
  }

  /** That Modal refuses to cancel a call for good, because it has ended for instance, is as good as a cancel. */
  const cancelOnce = async (callId: string, signal: AbortSignal) => {
    try {
      await rpcContext.run({ signal }, () => new FunctionCall(control, callId, '', '').cancel())
    } catch (error) {
      if (grpcCode(error) === undefined || isPassing(error) || isRefusal(error)) throw error
      if (!isUnknown(error)) log.warn({ call_id: callId, reason: wordsOf(error) }, 'Modal refuses to cancel a call')
    }
  }

  const logParts = {
    // The streams of lines have a connection of their own too.
    async open(callId: string) {
      logClient ??= open()
      return (await logClient.functionCalls.fromId(callId)).logs
    },
    scope: (signal: AbortSignal): Scope => {
      const context: RpcContext = { signal }
      return (work) => rpcContext.run(context, work)
    },
  }
  const logs = createLogReader({ ...logParts, isUnknown })
  const readLogTail = createLogTail(logParts)

  /** A function that says no reason has often printed one: MuseTalk logs what it raises, and goes on. */
  const explain = async (
    { outcome, isUnexplained }: CallEnd,
    callId: string,
    signal: AbortSignal,
  ): Promise<Outcome> => {
    if (!isUnexplained || outcome.kind === 'succeeded') return outcome
    const lines = await readLogTail(callId, signal)
    return lines === '' ? outcome : { ...outcome, error: `${outcome.error}; the last lines of its log:\n${lines}` }
  }

  const wait: Backend['wait'] = async (callId, signal, watch) => {
    const end = await breaker.run('call', () => pool.follow((turn) => poll({ callId, watch }, turn), signal), signal)
    return explain(end, callId, signal)
  }

  return {
    name: 'modal',
    check: options.check ?? checkModalInput,
    spawn,
    wait,
    stop: (callId, signal) => breaker.run('call', () => cancelOnce(callId, signal), signal),
    logs,
    degradation: () => breaker.stats().reason,
    close() {
      breaker.close()
      pool.close()
      closeClients()
      return Promise.resolve()
    },
  }
}

/** Any UUID of our own: the names within it are jobs and attempts. */
const KEY_NAMESPACE = '7c1f5a34-6c0e-4f3b-9d55-0e9b7b1d2a68'

/** What all tries at one spawn have in common, in the form in which Modal's own clients give it. */
const keyOfAttempt = ({ jobId, attempt }: SpawnRequest) => uuidOfName(`${jobId}/${attempt}`, KEY_NAMESPACE)

const rejected = (error: unknown): Spawned => ({ kind: 'rejected', code: 'backend_rejected', error: wordsOf(error) })

/** The function fetches files as it does any URL. */
function linksOf({ files = {} }: SpawnRequest): NamedInput {
  return {
    ...(files.video && { video_url: files.video.url }),
    ...(files.image && { image_url: files.image.url }),
    ...(files.audio && { audio_url: files.audio.url }),
  }
}

/** Whether Modal answers at all; that it does not know the function is an answer, that it refuses us is none. */
async function probe(client: ModalClient, { app, functionName }: ModalOptions): Promise<void> {
  try {
    await rpcContext.run({ timeoutMs: PROBE_TIMEOUT_MS }, () => client.functions.fromName(app, functionName))
  } catch (error) {
    if (isPassing(error) || isRefusal(error)) throw error
  }
}
