import type { Backend } from '../jobs/ports/backend.ts'
import type { Metrics } from '../jobs/ports/metrics.ts'
import { createOnce } from '../lib/single-flight.ts'

/** A backend whose code is loaded when it is first needed, so that loading it does not hold up the server's start. */
export type DeferredBackend = Backend & {
  /** Loads it now, if nothing has yet. Rejects when it cannot be made; the next need tries again. */
  load(): Promise<Backend>
}

/** Wraps what `open` makes. `name` and `check` must be known before it is loaded. */
export function deferBackend(known: Pick<Backend, 'name' | 'check'>, open: () => Promise<Backend>): DeferredBackend {
  let current: Backend | undefined
  const opened = createOnce(async () => (current = await open()))
  const load = opened.get
  return {
    ...known,
    load,
    spawn: async (request, signal) => (await load()).spawn(request, signal),
    wait: async (callId, signal, watch) => (await load()).wait(callId, signal, watch),
    stop: async (callId, signal) => (await load()).stop(callId, signal),
    async *logs(call, signal) {
      yield* (await load()).logs(call, signal)
    },
    degradation: () => current?.degradation(),
    async close() {
      await (await opened.current?.catch(() => undefined))?.close()
    },
  }
}

/** Reports as gauges how many jobs of this process are at the backend, and why it is degraded. */
export function watchBackend(backend: Backend, metrics: Pick<Metrics, 'registerGauges'>): Backend {
  let inFlight = 0
  metrics.registerGauges({
    jobs_in_flight: () => inFlight,
    backend_up: () => Number([undefined, 'throttled'].includes(backend.degradation())),
    backend_degraded: () => backend.degradation(),
  })
  return {
    ...backend,
    async wait(callId, signal, watch) {
      inFlight++
      try {
        return await backend.wait(callId, signal, watch)
      } finally {
        inFlight--
      }
    },
  }
}
