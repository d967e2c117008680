import type { Backend } from './ports/backend.ts'
import type { ChangeBus } from './ports/changes.ts'
import type { RecordMetric } from './ports/metrics.ts'
import type { Outputs, Uploads } from './ports/files.ts'
import type { JobQueue } from './ports/queue.ts'
import type { Store } from './ports/store.ts'
import type { WebhookSender } from './ports/webhook-sender.ts'
import { createPublisher } from './change-subscribers.ts'
import type { LinkSigner } from './links.ts'
import type { Log } from './log.ts'
import { createReadiness } from './readiness.ts'
import { createReconciler } from './reconciler.ts'
import { createRunner } from './runner.ts'
import { createService } from './service.ts'
import { createStopper } from './stopper.ts'
import { createSubscriptions } from './subscriptions.ts'
import { createTransitions } from './transition.ts'
import { createLedger } from './webhooks/ledger.ts'
import { createOutbox } from './webhooks/outbox.ts'

/** The adapters of the core. The core closes the queue; the others are closed by their opener, after the core. */
export type CorePorts = {
  readonly store: Store
  readonly queue: JobQueue
  readonly events: ChangeBus
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
  /** Time from a submit or a retry to the deadline, where the request names none. */
  readonly timeoutSeconds: number
  /** Time that a run may take from its start at the backend, where the request names none; undefined: any. */
  readonly runTimeoutSeconds?: number | undefined
  /** Attempts of one job from its submit or retry on, before an interrupted run fails it. */
  readonly maxAttempts: number
  /** How often one job may be retried. */
  readonly maxRetries: number
  /** Jobs accepted but not yet at the backend, beyond which a submit is refused; undefined: any number. */
  readonly maxQueuedJobs?: number | undefined
  /** Unfinished jobs of one caller, beyond which its submits are refused; undefined: any number. */
  readonly maxActiveOfCaller?: number | undefined
  /** How long a job is kept after its end. */
  readonly retentionSeconds: number
  /** How long a delivery attempt may take until it counts as lost, in ms: longer than the sender's own time limit. */
  readonly deliveryClaimMs: number
}

export type Core = ReturnType<typeof createCore>

/** Builds everything that works on jobs. Nothing runs before `start`. */
export function createCore(ports: CorePorts, settings: CoreSettings) {
  const { queue } = ports
  const subscriptions = createSubscriptions(ports)
  const webhooks = createOutbox({ ...ports, claimMs: settings.deliveryClaimMs })
  const publish = createPublisher({ ...ports, webhooks })
  const { insert, transition } = createTransitions({ ...ports, ...settings, publish })
  const service = createService({ ...ports, ...settings, insert, transition, webhooks })
  const stopper = createStopper({ ...ports, transition })
  const reconciler = createReconciler({ ...ports, ...settings, transition, stopper, webhooks })
  const readiness = createReadiness(ports)
  const run = createRunner({ ...ports, ...settings, transition, stopper })
  const ledger = createLedger({ ...ports, service, webhooks })
  return {
    ...{ service, subscriptions, ledger, readiness, webhooks, transition, stopper, reconciler, run },
    /** Runs jobs: those left unfinished, and those that come. */
    async start() {
      await queue.start(run)
      await reconciler.start()
    },
    /** What to close, in this order. The stopper comes before the reconciler, whose pass may be waiting for it. */
    closables: { readiness, stopper, reconciler, queue, webhooks, subscriptions },
  }
}
