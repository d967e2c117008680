import type { Backend } from './ports/backend.ts'
import type { ChangeBus, WebhookSender } from './ports/notifications.ts'
import type { RecordMetric } from './ports/metrics.ts'
import type { Outputs, Uploads } from './ports/files.ts'
import type { JobQueue } from './ports/queue.ts'
import type { Store } from './ports/store.ts'
import { createPublisher } from './change-subscribers.ts'
import type { LinkSigner } from './links.ts'
import type { Log } from './log.ts'
import { createReadiness } from './readiness.ts'
import { createReconciler } from './reconciler.ts'
import { createRunner } from './runner.ts'
import { createService } from './service.ts'
import { createStages, createSubscriptions } from './subscriptions.ts'
import { createStopper } from './stopper.ts'
import { createTransitions } from './transition.ts'
import { createLedger } from './webhooks/ledger.ts'
import { createOutbox } from './webhooks/outbox.ts'

/** The adapters of the core. The core closes the queue; the others are closed by their opener, after the core. */
export type CorePorts = {
  readonly store: Store
  readonly queue: JobQueue
  readonly changes: ChangeBus
  readonly backend: Backend
  readonly outputs: Outputs
  readonly uploads: Uploads
  readonly sender: WebhookSender
  readonly links: LinkSigner
  readonly log: Log
  readonly recordMetric: RecordMetric
  /** Makes the id of a job: a UUID (RFC 9562). */
  readonly newId?: () => string
  /** Epoch ms. */
  readonly now?: () => number
  /** From 0 up to 1. */
  readonly random?: () => number
}

export type CoreSettings = {
  /** Time from a submit or a retry to the deadline, unless the request sets one. */
  readonly timeoutSeconds: number
  /** Maximum duration of a run from its start at the backend, unless the request sets one. Undefined: no limit. */
  readonly runTimeoutSeconds?: number | undefined
  /** Maximum attempts after a submit or retry; then an interrupted run fails the job. */
  readonly maxAttempts: number
  /** How often one job may be retried. */
  readonly maxRetries: number
  /** Maximum jobs accepted but not yet at the backend; beyond it submits are refused. Undefined: no limit. */
  readonly maxQueuedJobs?: number | undefined
  /** Maximum unfinished jobs of one caller; beyond it its submits are refused. Undefined: no limit. */
  readonly maxActiveOfCaller?: number | undefined
  /** How long a finished job is kept. */
  readonly retentionSeconds: number
  /** Time after which a delivery attempt counts as lost, in ms: longer than the sender's timeout. */
  readonly deliveryClaimMs: number
}

export type Core = ReturnType<typeof createCore>

/** Builds everything that works on jobs. Nothing runs before `start`. */
export function createCore(ports: CorePorts, settings: CoreSettings) {
  const { queue } = ports
  const stages = createStages()
  const subscriptions = createSubscriptions({ ...ports, stages })
  const webhooks = createOutbox({ ...ports, claimMs: settings.deliveryClaimMs })
  const publish = createPublisher({ ...ports, webhooks })
  const { insert, transition } = createTransitions({ ...ports, ...settings, publish })
  const service = createService({ ...ports, ...settings, insert, transition, webhooks, stages })
  const stopper = createStopper({ ...ports, transition })
  const reconciler = createReconciler({ ...ports, ...settings, transition, stopper, webhooks })
  const readiness = createReadiness(ports)
  const run = createRunner({ ...ports, ...settings, transition, stopper, stages })
  const ledger = createLedger({ ...ports, service, webhooks })
  return {
    service,
    subscriptions,
    ledger,
    readiness,
    webhooks,
    transition,
    stopper,
    stages,
    reconciler,
    run,
    /** Starts to run jobs: unfinished ones of an earlier process, and new ones. */
    async start() {
      await queue.start(run)
      await reconciler.start()
    },
    /** To be closed in this order. The stopper comes before the reconciler, whose pass may be waiting for it. */
    closables: { readiness, stopper, reconciler, queue, webhooks, subscriptions },
  }
}
