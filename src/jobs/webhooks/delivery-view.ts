import { type Delivery, type DeliveryTry, isRunning, webhookIdOf } from './delivery.ts'

/** A delivery in its wire form: snake_case, RFC 3339 times, absent rather than null. */
export function deliveryViewOf(delivery: Delivery) {
  const { number, event, attempt, state, createdAt, dueAt, tries } = delivery
  return {
    number,
    webhook_id: webhookIdOf(delivery),
    event,
    attempt,
    state,
    created_at: time(createdAt),
    // While a try runs there is no saying whether there will be a next.
    ...(dueAt !== undefined && !isRunning(delivery) && { next_try_at: time(dueAt) }),
    tries: tries.map(tryView),
  }
}

const tryView = ({ at, status, durationMs, error }: DeliveryTry) => ({
  at: time(at),
  ...(status !== undefined && { status }),
  ...(durationMs !== undefined && { duration_ms: durationMs }),
  ...(error !== undefined && { error }),
})

const time = (epochMs: number) => new Date(epochMs).toISOString()
