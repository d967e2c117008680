import type { Backend } from './ports/backend.ts'
import type { DegradedReason } from './job.ts'
import type { JobStore } from './ports/store.ts'
import { every } from '../lib/every.ts'
import { resolvesWithin } from '../lib/waits.ts'

/** How often the store is looked at, and how long it may take to answer, in ms. */
const CHECK_EVERY_MS = 2_000
const CHECK_TIMEOUT_MS = 1_500

/** `status` is what an orchestrator goes by; the backend is told of and never makes the server unready. */
export type ReadinessReport = {
  readonly status: 'ready' | 'unavailable' | 'ending'
  readonly store: 'ok' | 'unavailable'
  readonly backend: 'ok' | 'degraded'
  /** Why the backend is degraded. */
  readonly reason?: DegradedReason
}

export type Readiness = {
  /** As of the last look; costs nothing. */
  report(): ReadinessReport
  /** Looks now. Never rejects. */
  check(): Promise<void>
  /** From now on the server is not ready any more. */
  startShutdown(): void
  close(): Promise<void>
}

export type ReadinessDependencies = {
  readonly store: Pick<JobStore, 'countSubmitted'>
  readonly backend: Pick<Backend, 'degradation'>
}

/** Whether this server should be given requests; looked at in the background, so that a probe is never slow. */
export function createReadiness({ store, backend }: ReadinessDependencies): Readiness {
  let storeAnswers = true
  let ending = false

  const check = async () => {
    storeAnswers = await resolvesWithin(store.countSubmitted(), CHECK_TIMEOUT_MS).catch(() => false)
  }
  const checks = every(CHECK_EVERY_MS, check)

  return {
    check,
    report() {
      const reason = backend.degradation()
      return {
        status: ending ? 'ending' : storeAnswers ? 'ready' : 'unavailable',
        store: storeAnswers ? 'ok' : 'unavailable',
        backend: reason === undefined ? 'ok' : 'degraded',
        ...(reason !== undefined && { reason }),
      }
    },
    startShutdown() {
      ending = true
    },
    // A check under way is not waited for: with a store that hangs it would hold up the shutdown.
    close() {
      void checks.stop()
      return Promise.resolve()
    },
  }
}
