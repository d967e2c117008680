import type { Backend } from './ports/backend.ts'
import type { DegradedReason } from './job.ts'
import type { JobStore } from './ports/store.ts'
import { every, resolvesWithin } from '../lib/timing.ts'

/** How often the store is checked, and how long it may take to answer, in ms. */
const CHECK_EVERY_MS = 2_000
const CHECK_TIMEOUT_MS = 1_500

/** Load balancers obey `status`; the backend is reported and never makes the server unready. */
export type ReadinessReport = {
  readonly status: 'ready' | 'unavailable' | 'ending'
  readonly store: 'ok' | 'unavailable'
  readonly backend: 'ok' | 'degraded'
  /** Why the backend is degraded. */
  readonly reason?: DegradedReason
}

export type Readiness = {
  /** As of the last check; makes no request. */
  report(): ReadinessReport
  /** Checks now. Never rejects. */
  check(): Promise<void>
  /** The server reports that it is not ready from now on. */
  startShutdown(): void
  close(): Promise<void>
}

export type ReadinessDependencies = {
  readonly store: Pick<JobStore, 'countSubmitted'>
  readonly backend: Pick<Backend, 'degradation'>
}

/** Whether this server should receive requests; checked in the background, so that a probe is never slow. */
export function createReadiness({ store, backend }: ReadinessDependencies): Readiness {
  let storeAnswers = true
  let isShuttingDown = false

  const check = async () => {
    storeAnswers = await resolvesWithin(store.countSubmitted(), CHECK_TIMEOUT_MS).catch(() => false)
  }
  const checks = every(CHECK_EVERY_MS, check)

  return {
    check,
    report() {
      const reason = backend.degradation()
      return {
        status: isShuttingDown ? 'ending' : storeAnswers ? 'ready' : 'unavailable',
        store: storeAnswers ? 'ok' : 'unavailable',
        backend: reason === undefined ? 'ok' : 'degraded',
        ...(reason !== undefined && { reason }),
      }
    },
    startShutdown() {
      isShuttingDown = true
    },
    // A check under way is not waited for: with a store that hangs it would hold up the shutdown.
    close() {
      void checks.stop()
      return Promise.resolve()
    },
  }
}
