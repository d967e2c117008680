import type { Metrics } from '../metrics/port.ts'
import type { Backend } from './port.ts'

/** A backend that tells how many jobs it has of this process, and whether it can be reached. */
export function watchBackend(backend: Backend, metrics: Pick<Metrics, 'watch'>): Backend {
  let inFlight = 0
  metrics.watch({ jobs_in_flight: () => inFlight, backend_up: () => Number(!backend.isDegraded()) })
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
