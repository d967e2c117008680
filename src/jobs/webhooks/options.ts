import type { FieldError } from '../../problems.ts'
import { urlFormFault } from '../../net/url-rule.ts'
import type { Delivery } from './delivery.ts'
import { currentAttempt, isFinished, type Job, type Webhook, WEBHOOK_EVENTS, type WebhookEvent } from '../job.ts'
import { type BodyContext, webhookBodyOf } from './body.ts'

/** The events of a webhook where the request names none: the job finished. */
export const DEFAULT_EVENTS: readonly WebhookEvent[] = ['job.succeeded', 'job.failed', 'job.canceled']

/** The fields of a request for its webhook. */
export type WebhookOptions = { readonly webhookUrl?: string; readonly webhookEvents?: readonly WebhookEvent[] }

/** The field errors of the options, as far as their form shows; `found`: errors known before. */
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

/** The options with their defaults, in one form: equal options give equal results. */
export function webhookOf({ webhookUrl, webhookEvents = DEFAULT_EVENTS }: WebhookOptions): Webhook | undefined {
  if (webhookUrl === undefined) return undefined
  return { url: webhookUrl, events: WEBHOOK_EVENTS.filter((event) => webhookEvents.includes(event)) }
}

/** The webhook event of a change; none for a further attempt of a job that runs already. */
function eventOf(before: Job, after: Job): WebhookEvent | undefined {
  if (before.status === after.status) return undefined
  if (after.status === 'running') return 'job.running'
  return isFinished(after) && !isFinished(before) ? (`job.${after.status}` as WebhookEvent) : undefined
}

/** The job as it is written, with its deliveries counted, and the delivery of the change, if it has one. */
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
