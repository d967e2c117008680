import type { Backend } from './ports/backend.ts'
import type { ChangeBus, OutputSender, WebhookSender } from './ports/notifications.ts'
import type { RecordMetric } from './ports/metrics.ts'
import type { Reservations } from './ports/access.ts'
import { type AheadUploads, type MediaReader, type Outputs, type Uploads, uploadsOf } from './ports/files.ts'
import { entryOf, type JobQueue } from './ports/queue.ts'
import type { Store } from './ports/store.ts'
import type { LinkSigner } from './links.ts'
import { type Log, logFieldsOf } from './log.ts'
import { createEstimator, type Estimator } from './estimate.ts'
import { createProgressFollower } from './progress-follower.ts'
import { createBatches } from './batches.ts'
import { createReadiness } from './readiness.ts'
import { createReconciler } from './reconciler.ts'
import { createReuse, type Reuse } from './reuse.ts'
import { createRunner } from './runner.ts'
import { createService } from './service.ts'
import { createStages, createSubscriptions } from './subscriptions.ts'
import { createStopper } from './stopper.ts'
import type { MediaLimits } from './submit.ts'
import { spansOf, type Tracer } from './trace.ts'
import { createTransitions, type JobChange } from './transition.ts'
import { createLedger } from './webhooks/ledger.ts'
import { createOutbox, type Outbox } from './webhooks/outbox.ts'
import { createUploadService, type UploadService } from './uploads.ts'
import type { Price } from './usage.ts'
import { acceptedAt, currentAttempt, isFinished, type Job } from './job.ts'

/** The adapters of the core. The core closes the queue; the others are closed by their opener, after the core. */
export type CorePorts = {
  readonly store: Store
  readonly queue: JobQueue
  readonly changes: ChangeBus
  readonly backend: Backend
  readonly outputs: Outputs
  readonly uploads: Uploads
  readonly ahead: AheadUploads
  readonly reservations: Reservations
  readonly media: MediaReader
  readonly sender: WebhookSender
  readonly outputSender: OutputSender
  readonly links: LinkSigner
  readonly log: Log
  readonly recordMetric: RecordMetric
  /** Records spans; undefined: there is nobody to send them to. */
  readonly tracer?: Tracer | undefined
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
  /** What the media of a job may be. */
  readonly mediaLimits: MediaLimits
  /** Whether a job gets the output of an identical one, unless the request says. */
  readonly reuseResults: boolean
  /** What makes the videos: the outputs of one are not those of another. */
  readonly engine: string
  /** Maximum attempts after a submit or retry; then an interrupted run fails the job. */
  readonly maxAttempts: number
  /** How often one job may be retried. */
  readonly maxRetries: number
  /** Maximum jobs accepted but not yet at the backend; beyond it submits are refused. Undefined: no limit. */
  readonly maxQueuedJobs?: number | undefined
  /** Maximum unfinished jobs of one caller; beyond it its submits are refused. Undefined: no limit. */
  readonly maxActiveOfCaller?: number | undefined
  /** Maximum jobs at the backend, of all processes that share the queue. Undefined: no limit. */
  readonly maxConcurrentJobs?: number | undefined
  /** What a second of a run costs; undefined: costs are not known. */
  readonly price?: Price | undefined
  /** How long a finished job is kept. */
  readonly retentionSeconds: number
  /** Whether a copy of each output goes to the bucket of this server. */
  readonly copiesOutputs?: boolean
  /** Time after which a delivery attempt counts as lost, in ms: longer than the sender's timeout. */
  readonly deliveryClaimMs: number
  /** Files that a caller has sent ahead and not used: how many, and their bytes together. */
  readonly unusedUploads: { readonly count: number; readonly bytes: number }
  /** How long daily sums are kept. */
  readonly usageRetentionDays: number
}

export type Core = ReturnType<typeof createCore>

/** Builds everything that works on jobs. Nothing runs before `start`. */
export function createCore(ports: CorePorts, settings: CoreSettings) {
  const { queue } = ports
  const stages = createStages(ports.now)
  const subscriptions = createSubscriptions({ ...ports, stages })
  const estimator = createEstimator({ ...ports, ...settings, stages })
  const progress = createProgressFollower({ ...ports, stages, estimator })
  const webhooks = createOutbox({
    ...ports,
    claimMs: settings.deliveryClaimMs,
    transition: (...change) => transition(...change),
  })
  const uploads = createUploadService({ ...ports, ...settings })
  const observe: Reuse['observe'] = (change) => reuse.observe(change)
  const publish = createPublisher({ ...ports, webhooks, estimator, reuse: { observe }, ahead: uploads })
  const { insert, insertBatch, transition } = createTransitions({ ...ports, ...settings, stages, publish })
  const reuse = createReuse({ ...ports, transition })
  const service = createService({
    ...ports,
    ...settings,
    ahead: uploads,
    insert,
    transition,
    webhooks,
    stages,
    estimator,
    reuse,
  })
  const batches = createBatches({ ...ports, service, webhooks, subscriptions, insertBatch })
  const stopper = createStopper({ ...ports, transition })
  const reconciler = createReconciler({ ...ports, ...settings, ahead: uploads, transition, stopper, reuse, webhooks })
  const readiness = createReadiness(ports)
  const run = createRunner({ ...ports, ...settings, transition, stopper, stages, estimator })
  const ledger = createLedger({ ...ports, service, webhooks })
  return {
    service,
    batches,
    uploads,
    subscriptions,
    progress,
    ledger,
    readiness,
    webhooks,
    transition,
    stopper,
    stages,
    estimator,
    reconciler,
    run,
    /** Starts to run jobs: unfinished ones of an earlier process, and new ones. */
    async start() {
      await queue.start(run)
      await reconciler.start()
      void estimator.load()
    },
    /** To be closed in this order. The stopper comes before the reconciler, whose pass may be waiting for it. */
    closables: { readiness, stopper, reconciler, queue, reuse, webhooks, progress, subscriptions },
  }
}

/** Is called after each change. A crash can skip it: the reconciler makes up for that. */
type ChangeSubscriber = (change: JobChange) => void | Promise<void>

type SubscriberDependencies = {
  readonly log: Log
  readonly recordMetric: RecordMetric
  readonly tracer?: Tracer | undefined
  readonly changes: Pick<ChangeBus, 'publish'>
  readonly webhooks: Pick<Outbox, 'wake'>
  readonly outputs: Pick<Outputs, 'prefetch'>
  readonly estimator: Pick<Estimator, 'observe'>
  readonly ahead: Pick<UploadService, 'used'>
  readonly reuse: Pick<Reuse, 'observe'>
  readonly queue: Pick<JobQueue, 'enqueue' | 'dequeue'>
}

/**
 * Returns the function that notifies all subscribers of a change: starts them in this order and waits for all. An error
 * of one is logged and does not affect the others.
 */
function createPublisher(dependencies: SubscriberDependencies): (change: JobChange) => Promise<void> {
  const { log, recordMetric, tracer, changes, webhooks, outputs, estimator, reuse, ahead } = dependencies
  const subscribers: readonly ChangeSubscriber[] = [
    (change) => logChange(log, change),
    (change) => recordMetric(metricEventOf(change)),
    ...(tracer ? [(change: JobChange) => spansOf(change).forEach((span) => tracer.record(span))] : []),
    (change) => estimator.observe(change),
    ({ after }) => changes.publish(after),
    ({ deliveries }) => deliveries?.forEach(webhooks.wake),
    ({ batchDelivery }) => batchDelivery && webhooks.wake(batchDelivery),
    ({ after, event }) => {
      if (event?.type === 'succeeded') outputs.prefetch({ ...after, outputPath: event.outputPath })
    },
    (change) => updateQueue(dependencies, change),
    (change) => reuse.observe(change),
    ({ before, after }) => (!before && hasUploads(after) ? ahead.used(after) : undefined),
  ]
  const logFailure = (error: unknown, { after }: JobChange) =>
    log.error({ ...logFieldsOf(after), event: 'subscriber_failed', err: error }, 'a subscriber failed')
  return async (change) => {
    const pending: Promise<void>[] = []
    for (const subscriber of subscribers) {
      try {
        const done = subscriber(change)
        // Most are done at once: a promise for each would cost more than its work.
        if (done instanceof Promise) pending.push(done.catch((error: unknown) => logFailure(error, change)))
      } catch (error) {
        logFailure(error, change)
      }
    }
    await Promise.all(pending)
  }
}

const hasUploads = (job: Job) => uploadsOf(job).length > 0

function logChange(log: Log, { before, after, event }: JobChange) {
  if (!before || !event) {
    const { caller, backend } = after
    log.info({ ...logFieldsOf(after), event: 'submitted', caller, backend }, 'job submitted')
    return
  }
  const { attempt, callId } = currentAttempt(after)
  const took = isFinished(before) ? {} : durationsOf(after)
  const fields = {
    ...logFieldsOf(after),
    event: event.type,
    status: after.status,
    attempt,
    call_id: callId,
    reused_from: after.reusedFrom,
    ...took,
  }
  const hasFailed = after.status === 'failed' && before.status !== 'failed'
  if (hasFailed) log.warn({ ...fields, error_code: after.errorCode, error: after.error }, 'job changed')
  else log.info(fields, 'job changed')
}

/** The duration of a finished job since its acceptance, or that of its last retry, and since its start at the backend. */
function durationsOf(job: Job) {
  const { startedAt, finishedAt } = currentAttempt(job)
  if (!isFinished(job) || finishedAt === undefined) return {}
  return {
    duration_ms: finishedAt - acceptedAt(job),
    ...(startedAt !== undefined && { run_ms: finishedAt - startedAt }),
  }
}

const metricEventOf = ({ before, after, event }: JobChange): Parameters<RecordMetric>[0] =>
  before && event ? { type: 'job-changed', before, after, event: event.type } : { type: 'job-submitted' }

/** Enqueues an attempt that is new or no longer waits for an identical job, and dequeues one that was canceled or has expired. A run that ended by itself needs no dequeue. */
async function updateQueue({ queue, log }: SubscriberDependencies, { before, after, event }: JobChange) {
  const old = before && currentAttempt(before).attempt
  const current = currentAttempt(after).attempt
  const warn = (error: unknown) =>
    log.warn(
      { ...logFieldsOf(after), event: 'queue_not_updated', err: error },
      'cannot update the queue; the reconciler will retry',
    )
  const isStoppedFromOutside = event?.type === 'canceled' || event?.type === 'expired'
  if (old !== undefined && isStoppedFromOutside) await queue.dequeue(entryOf(after, old)).catch(warn)
  const isReady = current !== old || event?.type === 'released'
  if (isReady && !after.isWaiting) await queue.enqueue(entryOf(after)).catch(warn)
}
