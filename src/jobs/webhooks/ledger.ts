import { problem } from '../../problems.ts'
import type { DeliveryStore } from '../ports/store.ts'
import { ANONYMOUS_ID, type Caller } from '../caller.ts'
import { requestRedelivery, type Delivery } from './delivery.ts'
import type { Job } from '../job.ts'
import type { JobService } from '../service.ts'
import type { Outbox } from './outbox.ts'

export type LedgerDependencies = {
  readonly store: Pick<DeliveryStore, 'deliveriesOf' | 'updateDelivery'>
  readonly service: Pick<JobService, 'get'>
  readonly webhooks: Pick<Outbox, 'wake' | 'secretsOf'>
  /** Epoch ms. */
  readonly now?: () => number
}

export type JobDeliveries = { readonly job: Job; readonly deliveries: readonly Delivery[] }

/** A delivery that is tried once more, and all those of its job, as they were read for that. */
export type Redelivery = { readonly delivery: Delivery; readonly deliveries: readonly Delivery[] }

/** What a caller can see and ask of its jobs' webhooks. Foreign jobs are a `job_not_found`, as everywhere. */
export type DeliveryLedger = {
  /** A job's deliveries, by number. */
  list(id: string, caller: Caller): Promise<JobDeliveries>
  /** Has a delivery tried once more, now. `delivery_not_found`; `delivery_in_progress` while a try runs or is due. */
  redeliver(id: string, number: number, caller: Caller): Promise<Redelivery>
  /**
   * What verifies the webhooks of a caller, the newest first; never empty. `webhooks_not_configured`;
   * `webhook_secret_not_shown` where callers have no names, so that it would be the operator's own.
   */
  secrets(caller: Caller): readonly string[]
}

export function createLedger({ store, service, webhooks, now = Date.now }: LedgerDependencies): DeliveryLedger {
  return {
    async list(id, caller) {
      return { job: await service.get(id, caller), deliveries: await store.deliveriesOf(id) }
    },
    async redeliver(id, number, caller) {
      await service.get(id, caller)
      for (;;) {
        const all = await store.deliveriesOf(id)
        const delivery = all.find((one) => one.number === number)
        if (!delivery) throw problem('delivery_not_found')
        const asked = requestRedelivery(delivery, now())
        if (!asked) throw problem('delivery_in_progress')
        if (!(await store.updateDelivery(asked, delivery.revision))) continue
        webhooks.wake(asked)
        return { delivery: asked, deliveries: all }
      }
    },
    secrets({ id }) {
      const secrets = webhooks.secretsOf(id)
      if (secrets.length === 0) throw problem('webhooks_not_configured')
      if (id === ANONYMOUS_ID) throw problem('webhook_secret_not_shown')
      return secrets
    },
  }
}
