import { untilAborted } from '../../src/lib/timing.ts'
import type { JobStage, RunTimes } from '../../src/jobs/job.ts'
import type {
  Backend,
  LoggedCall,
  Outcome,
  Spawned,
  SpawnRequest,
  CallSubscriber,
} from '../../src/jobs/ports/backend.ts'

/**
 * A backend for tests of the core: every call waits until the test ends it. `spawnWith`, `stopWith` and
 * `logsWith` may be replaced to delay a spawn, to fail a stop, to print.
 */
export type FakeBackend = Backend & {
  readonly requests: SpawnRequest[]
  readonly stopped: string[]
  /** Calls that were waited for, also those that have finished. */
  readonly waiting: Set<string>
  /** Makes a call known, as one that an earlier process spawned. */
  adopt(callId: string): void
  /** Lets the run of a call start now, as of this time (epoch ms). */
  startRun(callId: string, at: number): void
  /** Reports where a call is. */
  changeStage(callId: string, stage: JobStage | undefined): void
  /** The subscriber that was passed with the latest wait for a call. */
  subscriberOf(callId: string): CallSubscriber | undefined
  /** Ends a call; one that has ended stays as it is. `times`: those that the backend knows. */
  end(callId: string, outcome: Outcome, times?: RunTimes): void
  spawnWith: (request: SpawnRequest) => Promise<Spawned>
  stopWith: (callId: string) => Promise<void>
  logsWith: (call: LoggedCall, signal: AbortSignal) => AsyncIterable<string>
}

export const aSuccess: Outcome = { kind: 'succeeded', outputPath: '/shared/results/run/v15/output.mp4', runId: 'run' }

export function createFakeBackend(): FakeBackend {
  const calls = new Map<string, PromiseWithResolvers<Outcome>>()
  const subscribers = new Map<string, CallSubscriber | undefined>()
  const knownTimes = new Map<string, RunTimes>()
  const closed = Promise.withResolvers<never>()
  closed.promise.catch(() => undefined)
  const backend: FakeBackend = {
    name: 'modal',
    requests: [],
    stopped: [],
    waiting: new Set(),
    check: () => [],
    spawnWith: async (request) => ({ kind: 'spawned', callId: `fc-${request.jobId}-${request.attempt}` }),
    stopWith: async () => undefined,
    async *logsWith() {
      // Prints nothing.
    },
    adopt(callId) {
      if (!calls.has(callId)) calls.set(callId, Promise.withResolvers())
    },
    async spawn(request, signal) {
      signal.throwIfAborted()
      backend.requests.push(request)
      const spawned = await backend.spawnWith(request)
      if (spawned.kind === 'spawned') backend.adopt(spawned.callId)
      return spawned
    },
    async wait(callId, signal, subscriber) {
      const call = calls.get(callId)
      if (!call) return { kind: 'failed', code: 'lost', error: 'The call is unknown.' }
      backend.waiting.add(callId)
      subscribers.set(callId, subscriber)
      const outcome = await untilAborted(Promise.race([call.promise, closed.promise]), signal)
      const times = knownTimes.get(callId)
      if (times) subscriber?.onTimes?.(times)
      return outcome
    },
    async stop(callId, signal) {
      await untilAborted(backend.stopWith(callId), signal)
      backend.stopped.push(callId)
      calls.get(callId)?.resolve({ kind: 'interrupted', error: 'The call was stopped.' })
    },
    logs: (call, signal) => backend.logsWith(call, signal),
    startRun(callId, at) {
      subscribers.get(callId)?.onStart(at)
    },
    changeStage(callId, stage) {
      subscribers.get(callId)?.onStage?.(stage)
    },
    subscriberOf: (callId) => subscribers.get(callId),
    end(callId, outcome, times) {
      const call = calls.get(callId)
      if (!call) throw new Error(`The fake backend knows no call ${callId}.`)
      if (times) knownTimes.set(callId, times)
      call.resolve(outcome)
    },
    health: () => ({}),
    async close() {
      closed.reject(new Error('the fake backend is closed'))
    },
  }
  return backend
}
