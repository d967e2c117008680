import type { Backend, LoggedCall, Outcome, Spawned, SpawnRequest } from '../../src/backend/port.ts'

/**
 * A backend for tests of the core: every call waits until the test ends it. `spawnWith`, `stopWith` and
 * `logsWith` may be replaced to hold a spawn, to fail a stop, to print.
 */
export type FakeBackend = Backend & {
  readonly requests: SpawnRequest[]
  readonly stopped: string[]
  readonly waiting: Map<string, (outcome: Outcome) => void>
  end(callId: string, outcome: Outcome): void
  spawnWith: (request: SpawnRequest) => Promise<Spawned>
  stopWith: (callId: string) => Promise<void>
  logsWith: (call: LoggedCall, signal: AbortSignal) => AsyncIterable<string>
}

export const aSuccess: Outcome = { kind: 'succeeded', outputPath: '/shared/results/run/v15/output.mp4', runId: 'run' }

export function createFakeBackend(): FakeBackend {
  const ended = new Map<string, Outcome>()
  const backend: FakeBackend = {
    name: 'modal',
    requests: [],
    stopped: [],
    waiting: new Map(),
    check: () => [],
    spawnWith: async (request) => ({ kind: 'spawned', callId: `fc-${request.jobId}-${request.attempt}` }),
    stopWith: async () => undefined,
    async *logsWith() {
      // Prints nothing.
    },
    spawn(request) {
      backend.requests.push(request)
      return backend.spawnWith(request)
    },
    wait(callId, signal) {
      const known = ended.get(callId)
      if (known) return Promise.resolve(known)
      return new Promise((resolve, reject) => {
        signal.throwIfAborted()
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        backend.waiting.set(callId, resolve)
      })
    },
    async stop(callId) {
      await backend.stopWith(callId)
      backend.stopped.push(callId)
    },
    logs: (call, signal) => backend.logsWith(call, signal),
    end(callId, outcome) {
      ended.set(callId, outcome)
      backend.waiting.get(callId)?.(outcome)
    },
    close: async () => undefined,
  }
  return backend
}
