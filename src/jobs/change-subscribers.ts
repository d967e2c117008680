import type { ChangeBus } from './ports/changes.ts'
import type { RecordMetric } from './ports/metrics.ts'
import type { Outputs } from './ports/files.ts'
import type { JobQueue } from './ports/queue.ts'
import { acceptedAt, currentAttempt, isFinished, type Job, type JobEvent } from './job.ts'
import type { Log } from './log.ts'
import { logFieldsOf } from './trace.ts'
import type { Delivery } from './webhooks/delivery.ts'
import type { Outbox } from './webhooks/outbox.ts'

/** A change of a job, as written. Without `before` and `event` the job is new. `delivery`: the webhook of the change. */
export type JobChange = {
  readonly after: Job
  readonly before?: Job
  readonly event?: JobEvent
  readonly delivery?: Delivery | undefined
}

/** Does what follows from a change. It can be lost with the process: the reconciler makes up for it. */
export type ChangeSubscriber = (change: JobChange) => void | Promise<void>

export type SubscriberDependencies = {
  readonly log: Log
  readonly recordMetric: RecordMetric
  readonly events: Pick<ChangeBus, 'publish'>
  readonly webhooks: Pick<Outbox, 'wake'>
  readonly outputs: Pick<Outputs, 'prefetch'>
  readonly queue: Pick<JobQueue, 'enqueue' | 'dequeue'>
}

/**
 * Everything that follows from a change of a job, each started in this order. What one throws is logged and keeps no
 * other from its work.
 */
export function createPublisher(dependencies: SubscriberDependencies): (change: JobChange) => Promise<void> {
  const { log, recordMetric, events, webhooks, outputs } = dependencies
  const subscribers: readonly ChangeSubscriber[] = [
    (change) => logChange(log, change),
    (change) => recordMetric(metricEventOf(change)),
    ({ after }) => events.publish(after),
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

/** How long a finished job took since it, or its last retry, was accepted, and since its attempt was at the backend. */
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

/** Enqueues a new attempt, and dequeues one that a cancel or the time has ended: other ends come from its own run. */
async function updateQueue({ queue, log }: SubscriberDependencies, { before, after, event }: JobChange) {
  const old = before && currentAttempt(before).attempt
  const current = currentAttempt(after).attempt
  const warn = (error: unknown) =>
    log.warn(
      { ...logFieldsOf(after), event: 'queue_not_updated', err: error },
      'updating the queue failed; the reconciler will retry',
    )
  const isEndedFromOutside = event?.type === 'canceled' || event?.type === 'expired'
  if (old !== undefined && isEndedFromOutside) await queue.dequeue({ id: after.id, attempt: old }).catch(warn)
  if (current !== old) await queue.enqueue({ id: after.id, attempt: current }).catch(warn)
}
