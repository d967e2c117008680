import type { Backend } from './ports/backend.ts'
import type { DegradedReason, FunctionState } from './job.ts'
import type { JobStore } from './ports/store.ts'
import type { JobQueue } from './ports/queue.ts'
import { every, resolvesWithin } from '../lib/timing.ts'

/** Interval and timeout of the checks of the store, in ms. */
const CHECK_EVERY_MS = 2_000
const CHECK_TIMEOUT_MS = 1_500

/** Load balancers use `status`; a degraded backend is reported and does not change it. */
export type ReadinessReport = {
  readonly status: 'ready' | 'unavailable' | 'ending'
  readonly store: 'ok' | 'unavailable'
  readonly backend: 'ok' | 'degraded'
  /** Why the backend is degraded. */
  readonly reason?: DegradedReason
  /** Present while the start of jobs is paused. */
  readonly paused?: true
  /** What is known of the deployed function. */
  readonly function?: FunctionState
}

export type Readiness = {
  /** The result of the last check; makes no request. */
  report(): ReadinessReport
  /** Checks now. Never rejects. */
  check(): Promise<void>
  /** From now on the report is `ending`. */
  startShutdown(): void
  close(): Promise<void>
}

export type ReadinessDependencies = {
  readonly store: Pick<JobStore, 'countSubmitted'>
  readonly backend: Pick<Backend, 'health'>
  readonly queue: Pick<JobQueue, 'isPaused'>
}

/** Whether this server should receive requests; checked in the background, so that a probe is never slow. */
export function createReadiness({ store, backend, queue }: ReadinessDependencies): Readiness {
  let storeAnswers = true
  let isShuttingDown = false

  const check = async () => {
    storeAnswers = await resolvesWithin(store.countSubmitted(), CHECK_TIMEOUT_MS).catch(() => false)
  }
  const checks = every(CHECK_EVERY_MS, check)

  return {
    check,
    report() {
      const { degraded: reason, function: functionState } = backend.health()
      return {
        status: isShuttingDown ? 'ending' : storeAnswers ? 'ready' : 'unavailable',
        store: storeAnswers ? 'ok' : 'unavailable',
        backend: reason === undefined ? 'ok' : 'degraded',
        ...(reason !== undefined && { reason }),
        ...(queue.isPaused() && { paused: true }),
        ...(functionState !== undefined && { function: functionState }),
      }
    },
    startShutdown() {
      isShuttingDown = true
    },
    // Does not wait for a check under way: a store that hangs would delay the shutdown.
    close() {
      void checks.stop()
      return Promise.resolve()
    },
  }
}
