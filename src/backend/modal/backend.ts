import { FunctionCall, type ModalClient } from 'modal'
import { createOnce } from '../../lib/concurrency.ts'
import { uuidOfName } from '../../lib/ids.ts'
import { type JobInput, PARAMETER_NAMES, parametersIn } from '../../jobs/job.ts'
import { every } from '../../lib/timing.ts'
import type { Log } from '../../jobs/log.ts'
import type { Metrics } from '../../jobs/ports/metrics.ts'
import type { FieldError } from '../../problems.ts'
import { explainByLog } from '../failures.ts'
import { argumentErrors, checkModalInput } from './check.ts'
import { createContract, findFunction } from './contract.ts'
import { createCallFiles } from './files.ts'
import { createLogReader, type AbortScope, createLogTail } from './logs.ts'
import {
  grpcCode,
  isDeploymentError,
  isTransient,
  isCredentialsError,
  isNotFound,
  isUnknownCall,
  type CallOutcome,
  modalMessageOf,
  classifyError,
  runTimesOf,
} from './outcome.ts'
import { openClient, type RpcContext, rpcContext, WITHOUT_RETRIES } from './rpc.ts'
import { createCircuitBreaker } from './circuit-breaker.ts'
import { createPoller, type Finish } from './poll.ts'
import { createPollPool, type PollTurn } from './poll-pool.ts'
import { createStageTracker } from './stage-tracker.ts'
import {
  type Backend,
  type Outcome,
  type Spawned,
  type SpawnRequest,
  unsupportedParameters,
} from '../../jobs/ports/backend.ts'

export type ModalOptions = {
  readonly app: string
  readonly functionName: string
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'record' | 'registerGauges'>
  /** Connections that polls may open, and polls that may be open on each: their product is the number of slots. */
  readonly maxConnections: number
  readonly pollsPerConnection: number
  /** Polls that may start in a second; 1,250 unless set. */
  readonly maxPollsPerSecond?: number
  /** Within which every call is polled, in ms, as far as `maxPollsPerSecond` allows; 60 s unless set. */
  readonly maxPollIntervalMs?: number
  /** Checks an input at submit; `checkModalInput` unless set. */
  readonly check?: (input: JobInput) => FieldError[]
  /** How long spawns wait while Modal refuses the credentials, before they fail, in ms. */
  readonly credentialsGraceMs?: number
  /** Largest size of the files that go with a call, together; 0, and unless set: none do. */
  readonly inlineBytes?: number
  /** Whether the function can fetch files from this server; it can unless this says otherwise. */
  readonly hasPublicUrl?: boolean
  /** How often the function is looked up, to notice another deployment, in ms. */
  readonly lookupEveryMs?: number
  /** How long one poll for an output may stay open, in ms. Modal answers after 55 s at the latest. */
  readonly pollMs?: number
}

/** `signal` ends the wait for room for files and for their upload, never a spawn that Modal may have. */
type SpawnAttempt = { readonly request: SpawnRequest; readonly context: RpcContext; readonly signal: AbortSignal }

type FollowedCall = { readonly callId: string; readonly onRunStart: (startedAt: number) => void }

/** Time limit of a probe, in ms. */
const PROBE_TIMEOUT_MS = 10_000
/** How long spawns wait while Modal refuses the credentials, in ms: a token may be refreshed or a clock set meanwhile. */
const CREDENTIALS_GRACE_MS = 120_000
/** How often the function is looked up, in ms: a user who has deployed it waits no longer for `/readyz` to say so. */
const LOOKUP_EVERY_MS = 60_000
/** The longest long poll that Modal allows, in ms. */
const POLL_MS = 55_000

/**
 * Runs the deployed GPU function through Modal's own client.
 * Spawns, cancels and look-ups have a connection of their own: polls fill theirs and would block them.
 */
export function createModalBackend(options: ModalOptions): Backend {
  const { app, functionName, log, metrics, maxConnections, pollsPerConnection, pollMs = POLL_MS } = options
  const { check: checkInput = checkModalInput } = options
  const clientOptions = { log, recordMetric: metrics?.record }
  const open = () => openClient(clientOptions)
  let control = open()
  const pollClients: ModalClient[] = []
  let logClient: ModalClient | undefined
  const { maxPollsPerSecond, maxPollIntervalMs } = options
  const pool = createPollPool({
    maxConnections,
    pollsPerConnection,
    longPollMs: pollMs,
    ...(maxPollsPerSecond !== undefined && { maxPollsPerSecond }),
    ...(maxPollIntervalMs !== undefined && { maxIntervalMs: maxPollIntervalMs }),
    recordMetric: metrics?.record,
  })
  const stages = createStageTracker({
    async list(range) {
      const { functionId } = await lookup.get()
      const request = { functionId, range, allVariants: false }
      return (await control.cpClient.functionCallFetch(request, WITHOUT_RETRIES)).functionCallInputs
    },
  })
  const breaker = createCircuitBreaker({
    probe: async (reason) => {
      if (reason !== 'credentials') return probe(control, options)
      // A client keeps the token that it got while its credentials were valid.
      const fresh = open()
      await probe(fresh, options)
      renewTokens(fresh)
    },
    classify: classifyError,
    graceMs: options.credentialsGraceMs ?? CREDENTIALS_GRACE_MS,
    log,
  })
  /** One look-up for all; a failed one is forgotten, so that the next spawn looks the function up again. */
  const lookup = createOnce(() => find())
  const contract = createContract({ app, function: functionName }, log)
  const find = async () => {
    try {
      const { deployed, schema } = await findFunction(control, app, functionName)
      contract.found(schema)
      return deployed
    } catch (error) {
      if (isNotFound(error)) contract.notFound()
      throw error
    }
  }
  /** A new deployment may take other arguments; one after a stop has another id. */
  const refresh = async () => {
    if (breaker.stats().reason !== undefined) return
    const known = await lookup.current?.catch(() => undefined)
    const found = await find().catch(() => undefined)
    if (found && known && found.functionId !== known.functionId) lookup.forget()
  }
  const refreshes = every(options.lookupEveryMs ?? LOOKUP_EVERY_MS, refresh)
  metrics?.registerGauges({
    modal_calls_held: () => breaker.stats().waiting,
    modal_polls_open: () => pool.stats().open,
    modal_polls_waiting: () => pool.stats().waiting,
    modal_poll_connections: () => pool.stats().connections,
  })

  const closeClients = () => {
    for (const client of [control, ...pollClients, logClient]) client?.close()
  }

  /** Closing a client makes it forget its token; its connection and open requests stay. */
  const renewTokens = (fresh: ModalClient) => {
    closeClients()
    control = fresh
    lookup.forget()
  }

  lookup.get().catch((error: unknown) => {
    // The breaker logs what that means for all.
    if (breaker.failed('spawn', error) === 'credentials') return
    const fields = { event: 'modal_function_unavailable', app, function: functionName, reason: modalMessageOf(error) }
    log.warn(fields, 'the Modal function is not available yet; the next spawn looks it up again')
  })

  const callFiles = createCallFiles({
    inlineBytes: options.inlineBytes ?? 0,
    hasPublicUrl: options.hasPublicUrl ?? true,
    takes: (argument) => contract.takes(argument),
  })

  /** Why a call cannot be made with what is known of the function. */
  const obstacleOf = ({ files = {}, parameters = {} }: SpawnRequest): Spawned | undefined => {
    const unsupported = parametersIn(parameters).find((name) => !contract.takes(name))
    if (unsupported !== undefined) return notTaken(unsupported)
    const error = callFiles.errorOf(files)
    return error === undefined ? undefined : { kind: 'rejected', code: 'backend_rejected', error: `the files ${error}` }
  }

  const spawnOnce = async (attempt: SpawnAttempt, isSecondLookup = false): Promise<Spawned> => {
    const { request, context, signal } = attempt
    const { input, parameters, version } = request
    const lookedUp = lookup.get()
    try {
      const deployed = await lookedUp
      const obstacle = obstacleOf(request)
      if (obstacle) {
        lookup.forget(lookedUp)
        return isSecondLookup ? obstacle : await spawnOnce(attempt, true)
      }
      return await callFiles.use(request, signal, async (files, beforeSend) => {
        const kwargs = { ...input, ...files, version, ...parameters }
        context.beforeSend = beforeSend
        const call = await rpcContext.run(context, () => deployed.spawn([], kwargs))
        return { kind: 'spawned', callId: call.functionCallId }
      })
    } catch (error) {
      // Aborted while the files waited for room, or were uploaded.
      if (signal.aborted && error === signal.reason) throw error
      if (isDeploymentError(error)) {
        lookup.forget(lookedUp)
        if (!isSecondLookup) return spawnOnce(attempt, true)
      }
      if (isTransient(error) || isCredentialsError(error)) throw error
      lookup.forget(lookedUp)
      return rejected(error)
    }
  }

  const spawn: Backend['spawn'] = async (request, signal) => {
    const [error] = argumentErrors(request.input)
    if (error) return { kind: 'rejected', code: 'input_unavailable', error: `${error.path.slice(1)} ${error.message}` }
    const context: RpcContext = { idempotencyKey: idempotencyKeyOf(request) }
    try {
      // The signal never aborts a spawn that has been sent: it may have reached Modal already.
      return await breaker.run('spawn', () => spawnOnce({ request, context, signal }), signal)
    } catch (error) {
      if (isCredentialsError(error)) return rejected(error)
      throw error
    }
  }

  /** Pauses all polls, which keep their place in the queue. False: the error is no throttle. */
  const pausePolls = (error: unknown): boolean => {
    const { reason, retryAfterMs } = classifyError(error, 'call')
    if (reason !== 'throttled' || retryAfterMs === undefined) return false
    breaker.failed('call', error)
    pool.pause(retryAfterMs)
    return true
  }

  const poller = createPoller()

  /** Undefined: the call is still running. */
  const poll = async ({ callId, onRunStart }: FollowedCall, turn: PollTurn): Promise<Finish | undefined> => {
    const client = (pollClients[turn.connection] ??= open())
    let finish: Finish | undefined
    try {
      finish = await poller.pollFinish(client, callId, turn)
    } catch (error) {
      if (turn.signal.aborted || !pausePolls(error)) throw error
    }
    // Where no listing has said it before: too late to stop the run, in time to start no other.
    if (finish?.runStartedAt) onRunStart(finish.runStartedAt)
    breaker.answered('call')
    return finish
  }

  /** A permanent refusal, for instance because the call has finished, counts as a cancel. */
  const cancelOnce = async (callId: string, signal: AbortSignal) => {
    try {
      await rpcContext.run({ signal }, () => new FunctionCall(control, callId, '', '').cancel())
    } catch (error) {
      if (grpcCode(error) === undefined || isTransient(error) || isCredentialsError(error)) throw error
      if (isUnknownCall(error)) return
      const fields = { event: 'modal_cancel_refused', call_id: callId, reason: modalMessageOf(error) }
      log.warn(fields, 'Modal refuses to cancel a call; it counts as stopped')
    }
  }

  const logOptions = {
    // Streams of lines have a connection of their own too.
    async open(callId: string) {
      logClient ??= open()
      return (await logClient.functionCalls.fromId(callId)).logs
    },
    scope: (signal: AbortSignal): AbortScope => {
      const context: RpcContext = { signal }
      return (work) => rpcContext.run(context, work)
    },
  }
  const logs = createLogReader({ ...logOptions, isUnknownCall })
  const readLogTail = createLogTail(logOptions)

  /** A function that gives no reason has often printed one: MuseTalk logs what it raises, and continues. */
  const explain = async (
    { outcome, isUnexplained }: CallOutcome,
    callId: string,
    signal: AbortSignal,
  ): Promise<Outcome> => {
    if (!isUnexplained || outcome.kind === 'succeeded') return outcome
    return explainByLog(outcome, await readLogTail(callId, signal))
  }

  const wait: Backend['wait'] = async (callId, signal, subscriber) => {
    let isStartKnown = !subscriber?.isNeeded
    const onRunStart = (startedAt: number) => {
      if (isStartKnown) return
      isStartKnown = true
      subscriber?.onStart(startedAt)
    }
    const tracked = stages.add(callId, {
      spawnedAt: subscriber?.spawnedAt,
      onStage(stage, startedAt) {
        // That it has ended is known when its outcome is.
        if (stage !== 'ended') subscriber?.onStage?.(stage, startedAt)
        if (startedAt !== undefined) onRunStart(startedAt)
      },
    })
    const polled = () => pool.follow((turn) => poll({ callId, onRunStart }, turn), signal, tracked)
    try {
      const finish = await breaker.run('call', polled, signal)
      subscriber?.onTimes?.(runTimesOf(finish, { ...tracked, spawnedAt: subscriber.spawnedAt }))
      return await explain(finish, callId, signal)
    } finally {
      stages.remove(callId, tracked)
    }
  }

  return {
    name: 'modal',
    check(input, parameters) {
      const taken = PARAMETER_NAMES.filter((name) => contract.takes(name))
      const unsupported = unsupportedParameters(parameters, taken, 'is not taken by the deployed function')
      return [...checkInput(input), ...callFiles.check(input), ...unsupported]
    },
    spawn,
    wait,
    stop: (callId, signal) => breaker.run('call', () => cancelOnce(callId, signal), signal),
    logs,
    health() {
      const degraded = breaker.stats().reason
      const state = contract.state()
      return { ...(degraded && { degraded }), ...(state && { function: state }) }
    },
    close() {
      void refreshes.stop()
      breaker.close()
      stages.close()
      pool.close()
      poller.close()
      closeClients()
      return Promise.resolve()
    },
  }
}

/** A namespace of our own: its names are jobs and attempts. */
const KEY_NAMESPACE = '7c1f5a34-6c0e-4f3b-9d55-0e9b7b1d2a68'

/** The same for every attempt to send one spawn; a UUID, as Modal's own clients send. */
const idempotencyKeyOf = ({ jobId, attempt }: SpawnRequest) => uuidOfName(`${jobId}/${attempt}`, KEY_NAMESPACE)

const rejected = (error: unknown): Spawned => ({
  kind: 'rejected',
  code: 'backend_rejected',
  error: modalMessageOf(error),
})

const notTaken = (argument: string): Spawned => ({
  kind: 'rejected',
  code: 'backend_rejected',
  error: `the deployed function does not take the argument ${argument}; deploy one that does, or submit the job without it`,
})

/** Resolves if Modal answers at all: `not found` is an answer, refused credentials are none. */
async function probe(client: ModalClient, { app, functionName }: ModalOptions): Promise<void> {
  try {
    await rpcContext.run({ timeoutMs: PROBE_TIMEOUT_MS }, () => findFunction(client, app, functionName))
  } catch (error) {
    if (isTransient(error) || isCredentialsError(error)) throw error
  }
}
