import { checkUrlForm } from '../../net/url-rule.ts'
import { invalidFields, problem } from '../../problems.ts'
import type { DeliveryStore } from '../ports/store.ts'
import { ANONYMOUS_ID, type Caller } from '../ports/access.ts'
import {
  type Delivery,
  type DeliveryAttempt,
  describeStatus,
  isRunning,
  kindOf,
  requestRedelivery,
  webhookIdOf,
} from './delivery.ts'
import type { Job } from '../job.ts'
import type { JobService } from '../service.ts'
import { formatTime } from '../view.ts'
import type { Outbox, WebhookTestResult } from './outbox.ts'

export type LedgerDependencies = {
  readonly store: Pick<DeliveryStore, 'deliveriesOf' | 'updateDelivery'>
  readonly service: Pick<JobService, 'get'>
  readonly webhooks: Pick<Outbox, 'wake' | 'secretsOf' | 'check' | 'sendTest'>
  /** Epoch ms. */
  readonly now?: () => number
}

export type JobDeliveries = { readonly job: Job; readonly deliveries: readonly Delivery[] }

/** A delivery that will be sent again, and all deliveries of its job, as read before. */
export type Redelivery = { readonly delivery: Delivery; readonly deliveries: readonly Delivery[] }

/** A caller's view of the deliveries of its jobs. Rejects with `job_not_found` for jobs of others, as everywhere. */
export type DeliveryLedger = {
  /** A job's deliveries, by number. */
  list(id: string, caller: Caller): Promise<JobDeliveries>
  /**
   * Sends a delivery again, now. Rejects with `delivery_not_found`, or with `delivery_in_progress` while an attempt runs
   * or is due.
   */
  redeliver(id: string, number: number, caller: Caller): Promise<Redelivery>
  /**
   * Sends a test event to a URL, once, as a webhook of the caller. Rejects with `invalid_request`, `url_not_allowed` or
   * `webhooks_not_configured`, or with the reason of `signal` when that aborts; a failure of the receiver is a result.
   */
  test(url: string, caller: Caller, signal: AbortSignal): Promise<WebhookTestResult>
  /**
   * The secrets that verify the webhooks of a caller, the newest first; never empty. Throws `webhooks_not_configured`,
   * or `webhook_secret_not_shown` without authentication, because the secret is then the operator's own.
   */
  secrets(caller: Caller): readonly string[]
}

export function createLedger({ store, service, webhooks, now = Date.now }: LedgerDependencies): DeliveryLedger {
  return {
    async list(id, caller) {
      const job = await service.get(id, caller)
      const deliveries = await store.deliveriesOf(id)
      return { job, deliveries: deliveries.filter((one) => isShownTo(caller, one)) }
    },
    async redeliver(id, number, caller) {
      await service.get(id, caller)
      for (;;) {
        const all = await store.deliveriesOf(id)
        const delivery = all.find((one) => one.number === number && isShownTo(caller, one))
        if (!delivery) throw problem('delivery_not_found')
        const requested = requestRedelivery(delivery, now())
        if (!requested) throw problem('delivery_in_progress')
        if (!(await store.updateDelivery(requested, delivery.revision))) continue
        webhooks.wake(requested)
        return { delivery: requested, deliveries: all }
      }
    },
    async test(url, { id }, signal) {
      const formError = checkUrlForm(url)
      if (formError !== undefined) throw invalidFields([{ path: '/url', message: formError }])
      if (webhooks.secretsOf(id).length === 0) throw problem('webhooks_not_configured')
      const error = webhooks.check(url)
      if (error !== undefined) throw invalidFields([{ path: '/url', message: error }], 'url_not_allowed')
      return webhooks.sendTest({ url, caller: id }, signal)
    },
    secrets({ id }) {
      const secrets = webhooks.secretsOf(id)
      if (secrets.length === 0) throw problem('webhooks_not_configured')
      if (id === ANONYMOUS_ID) throw problem('webhook_secret_not_shown')
      return secrets
    },
  }
}

/** Copies are the operator's. */
const isShownTo = ({ seesAll }: Caller, delivery: Delivery) => seesAll || kindOf(delivery) !== 'copy'

/** A delivery in its wire form: snake_case, RFC 3339 times, absent rather than null. */
export function presentDelivery(delivery: Delivery) {
  const { number, event, attempt, state, createdAt, dueAt, tries } = delivery
  const kind = kindOf(delivery)
  return {
    number,
    kind,
    ...(kind === 'webhook' && { webhook_id: webhookIdOf(delivery) }),
    event,
    attempt,
    state,
    created_at: formatTime(createdAt),
    // While an attempt runs, its result decides whether there is a next one.
    ...(dueAt !== undefined && !isRunning(delivery) && { next_try_at: formatTime(dueAt) }),
    tries: tries.map(presentAttempt),
  }
}

/** The result of a test in its wire form, with the state that a delivery would have. */
export const presentTest = ({ webhookId, durationMs, status, error = describeStatus(status) }: WebhookTestResult) => ({
  webhook_id: webhookId,
  state: error === undefined ? ('delivered' as const) : ('failed' as const),
  ...(status !== undefined && { status }),
  duration_ms: durationMs,
  ...(error !== undefined && { error }),
})

const presentAttempt = ({ at, status, durationMs, error }: DeliveryAttempt) => ({
  at: formatTime(at),
  ...(status !== undefined && { status }),
  ...(durationMs !== undefined && { duration_ms: durationMs }),
  ...(error !== undefined && { error }),
})
