import type { FieldError } from '../../problems.ts'
import { urlFormFault } from '../../net/url-rule.ts'
import type { Delivery } from './delivery.ts'
import { currentAttempt, isFinished, type Job, type Webhook, WEBHOOK_EVENTS, type WebhookEvent } from '../job.ts'
import { type BodyContext, webhookBodyOf } from './body.ts'

/** What a caller is told of where it does not say: the ends. */
export const DEFAULT_EVENTS: readonly WebhookEvent[] = ['job.succeeded', 'job.failed', 'job.canceled']

/** The fields of a request that speak of its webhook. */
export type WebhookOptions = { readonly webhookUrl?: string; readonly webhookEvents?: readonly WebhookEvent[] }

/** What is wrong with the form of a wish, each error with its field; `found` are errors of which it is known already. */
export function checkWebhook(
  { webhookUrl, webhookEvents }: WebhookOptions,
  found: readonly FieldError[] = [],
): FieldError[] {
  if (webhookUrl === undefined) {
    if (!webhookEvents || found.some(({ path }) => path === '/webhook_url')) return []
    return [{ path: '/webhook_events', message: 'needs a webhook_url' }]
  }
  const message = urlFormFault(webhookUrl)
  return message === undefined ? [] : [{ path: '/webhook_url', message }]
}

/** A wish with its defaults; two that ask for the same are the same. */
export function webhookOf({ webhookUrl, webhookEvents = DEFAULT_EVENTS }: WebhookOptions): Webhook | undefined {
  if (webhookUrl === undefined) return undefined
  return { url: webhookUrl, events: WEBHOOK_EVENTS.filter((event) => webhookEvents.includes(event)) }
}

/** What a change of a job means to its webhook. A second attempt of a job that runs already is no news. */
function eventOf(before: Job, after: Job): WebhookEvent | undefined {
  if (before.status === after.status) return undefined
  if (after.status === 'running') return 'job.running'
  return isFinished(after) && !isFinished(before) ? (`job.${after.status}` as WebhookEvent) : undefined
}

/** A change as it is written: the job counts its deliveries, and `delivery` is the one that the change owes, if any. */
export function withDelivery(before: Job, after: Job, parts: BodyContext): { job: Job; delivery?: Delivery } {
  const { webhook } = after
  const event = eventOf(before, after)
  if (!webhook || !event || !webhook.events.includes(event)) return { job: after }
  const number = (before.deliveryCount ?? 0) + 1
  const delivery: Delivery = {
    jobId: after.id,
    number,
    revision: 1,
    caller: after.caller,
    url: webhook.url,
    host: URL.parse(webhook.url)?.host ?? '',
    event,
    attempt: currentAttempt(after).attempt,
    ...(after.traceparent !== undefined && { traceparent: after.traceparent }),
    body: webhookBodyOf(event, after, parts),
    createdAt: parts.now,
    state: 'pending',
    dueAt: parts.now,
    triesMade: 0,
    tries: [],
  }
  return { job: { ...after, deliveryCount: number }, delivery }
}
