import type { Metrics } from '../jobs/ports/metrics.ts'
import type { Backend } from '../jobs/ports/backend.ts'

/** A backend that tells how many jobs it has of this process, and what keeps it from its work. */
export function watchBackend(backend: Backend, metrics: Pick<Metrics, 'watch'>): Backend {
  let inFlight = 0
  metrics.watch({
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
