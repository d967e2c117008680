import type { ChangeBus } from './ports/notifications.ts'
import type { RecordMetric } from './ports/metrics.ts'
import type { Outputs } from './ports/files.ts'
import type { JobQueue } from './ports/queue.ts'
import { acceptedAt, currentAttempt, isFinished, type Job, type JobEvent } from './job.ts'
import { type Log, logFieldsOf } from './log.ts'
import type { Delivery } from './webhooks/delivery.ts'
import type { Outbox } from './webhooks/outbox.ts'

/** A change of a job, as written. A new job has no `before` and no `event`. `delivery`: the webhook of the change. */
export type JobChange = {
  readonly after: Job
  readonly before?: Job
  readonly event?: JobEvent
  readonly delivery?: Delivery | undefined
}

/** Is called after each change. A crash can skip it: the reconciler makes up for that. */
export type ChangeSubscriber = (change: JobChange) => void | Promise<void>

export type SubscriberDependencies = {
  readonly log: Log
  readonly recordMetric: RecordMetric
  readonly changes: Pick<ChangeBus, 'publish'>
  readonly webhooks: Pick<Outbox, 'wake'>
  readonly outputs: Pick<Outputs, 'prefetch'>
  readonly queue: Pick<JobQueue, 'enqueue' | 'dequeue'>
}

/**
 * Returns the function that notifies all subscribers of a change: starts them in this order and waits for all. An error
 * of one is logged and does not affect the others.
 */
export function createPublisher(dependencies: SubscriberDependencies): (change: JobChange) => Promise<void> {
  const { log, recordMetric, changes, webhooks, outputs } = dependencies
  const subscribers: readonly ChangeSubscriber[] = [
    (change) => logChange(log, change),
    (change) => recordMetric(metricEventOf(change)),
    ({ after }) => changes.publish(after),
    ({ delivery }) => delivery && webhooks.wake(delivery),
    ({ after, event }) => {
      if (event?.type === 'succeeded') outputs.prefetch({ ...after, outputPath: event.outputPath })
    },
    (change) => updateQueue(dependencies, change),
  ]
  const call = async (subscriber: ChangeSubscriber, change: JobChange) => {
    try {
      await subscriber(change)
    } catch (error) {
      log.error({ ...logFieldsOf(change.after), event: 'subscriber_failed', err: error }, 'a subscriber failed')
    }
  }
  return async (change) => {
    await Promise.all(subscribers.map((subscriber) => call(subscriber, change)))
  }
}

function logChange(log: Log, { before, after, event }: JobChange) {
  if (!before || !event) {
    const { caller, backend } = after
    log.info({ ...logFieldsOf(after), event: 'submitted', caller, backend }, 'job submitted')
    return
  }
  const { attempt, callId } = currentAttempt(after)
  const took = isFinished(before) ? {} : durationsOf(after)
  const fields = { ...logFieldsOf(after), event: event.type, status: after.status, attempt, call_id: callId, ...took }
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

/** Enqueues a new attempt, and dequeues one that was canceled or has expired. A run that ended by itself needs no dequeue. */
async function updateQueue({ queue, log }: SubscriberDependencies, { before, after, event }: JobChange) {
  const old = before && currentAttempt(before).attempt
  const current = currentAttempt(after).attempt
  const warn = (error: unknown) =>
    log.warn(
      { ...logFieldsOf(after), event: 'queue_not_updated', err: error },
      'cannot update the queue; the reconciler will retry',
    )
  const isStoppedFromOutside = event?.type === 'canceled' || event?.type === 'expired'
  if (old !== undefined && isStoppedFromOutside) await queue.dequeue({ id: after.id, attempt: old }).catch(warn)
  if (current !== old) await queue.enqueue({ id: after.id, attempt: current }).catch(warn)
}
