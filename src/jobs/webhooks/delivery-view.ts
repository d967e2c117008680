import { type Delivery, type DeliveryAttempt, isRunning, webhookIdOf } from './delivery.ts'

/** A delivery in its wire form: snake_case, RFC 3339 times, absent rather than null. */
export function presentDelivery(delivery: Delivery) {
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
    tries: tries.map(presentAttempt),
  }
}

const presentAttempt = ({ at, status, durationMs, error }: DeliveryAttempt) => ({
  at: time(at),
  ...(status !== undefined && { status }),
  ...(durationMs !== undefined && { duration_ms: durationMs }),
  ...(error !== undefined && { error }),
})

const time = (epochMs: number) => new Date(epochMs).toISOString()
