import type { FieldError } from '../../problems.ts'
import { checkUrlForm } from '../../net/url-rule.ts'
import { type Delivery, type DeliveryKind, NUMBERS_FROM } from './delivery.ts'
import type { BatchEnd } from '../batch.ts'
import {
  BATCH_EVENT,
  currentAttempt,
  isFinished,
  type Job,
  type JobRequest,
  type Webhook,
  WEBHOOK_EVENTS,
  type WebhookEvent,
} from '../job.ts'
import type { LinkSigner } from '../links.ts'
import { jobTraceparent } from '../trace.ts'
import { formatTime, type JobView, presentJob } from '../view.ts'

/** The events of a webhook unless the request names some: the job finished. */
export const DEFAULT_EVENTS: readonly WebhookEvent[] = ['job.succeeded', 'job.failed', 'job.canceled']

/** The fields of a request for its webhook. */
export type WebhookOptions = { readonly webhookUrl?: string; readonly webhookEvents?: readonly WebhookEvent[] }
/** Where the request wants its output. */
export type TargetOptions = Pick<JobRequest, 'output'>

/** The field errors in the form of the options; `found`: errors found before. */
export function checkWebhook(
  { webhookUrl, webhookEvents }: WebhookOptions,
  found: readonly FieldError[] = [],
): FieldError[] {
  if (webhookUrl === undefined) {
    if (!webhookEvents || found.some(({ path }) => path === '/webhook_url')) return []
    return [{ path: '/webhook_events', message: 'needs a webhook_url' }]
  }
  const message = checkUrlForm(webhookUrl)
  return message === undefined ? [] : [{ path: '/webhook_url', message }]
}

/** The field error in the form of the URL for the output. */
export function checkOutput({ output }: TargetOptions): FieldError[] {
  const message = output && checkUrlForm(output.putUrl)
  return message === undefined ? [] : [{ path: PUT_URL_PATH, message }]
}

export const PUT_URL_PATH = '/output/put_url'

/** The options with their defaults, normalized: equal options give equal results. */
export function webhookOf({ webhookUrl, webhookEvents, output }: WebhookOptions & TargetOptions): Webhook | undefined {
  if (webhookUrl === undefined) return undefined
  const named = webhookEvents ?? [...DEFAULT_EVENTS, ...(output ? (['job.delivered'] as const) : [])]
  return { url: webhookUrl, events: WEBHOOK_EVENTS.filter((event) => named.includes(event)) }
}

/** The webhook event of a change; none for another attempt of a running job. */
function eventOf(before: Job, after: Job): WebhookEvent | undefined {
  if (after.delivery?.state === 'delivered' && before.delivery?.state !== 'delivered') return 'job.delivered'
  if (before.status === after.status) return undefined
  if (after.status === 'running') return 'job.running'
  return isFinished(after) && !isFinished(before) ? (`job.${after.status}` as WebhookEvent) : undefined
}

export type DeliveryContext = BodyContext & {
  /** Whether a copy of each output goes to the bucket of this server. */
  readonly copiesOutputs?: boolean
}

/** The job to be written, with its webhook counted, and the deliveries of the change. */
export function withDeliveries(
  before: Job,
  after: Job,
  context: DeliveryContext,
): { job: Job; deliveries: Delivery[] } {
  const webhook = webhookOfChange(before, after, context)
  const job = webhook ? { ...after, deliveryCount: webhook.number } : after
  return { job, deliveries: [...(webhook ? [webhook] : []), ...outputsOf(before, after, context)] }
}

function webhookOfChange(before: Job, after: Job, context: DeliveryContext): Delivery | undefined {
  const { webhook } = after
  const event = eventOf(before, after)
  if (!webhook || !event || !webhook.events.includes(event)) return undefined
  const number = (before.deliveryCount ?? 0) + 1
  const body = webhookBodyOf(event, after, context)
  return newDelivery(after, { number, event, body, url: webhook.url, now: context.now })
}

/** Where the output of a job that has just succeeded goes. */
function outputsOf(before: Job, after: Job, { now, copiesOutputs = false }: DeliveryContext): Delivery[] {
  if (after.status !== 'succeeded' || before.status === 'succeeded') return []
  const deliver = (kind: Exclude<DeliveryKind, 'webhook'>, url: string) => {
    const number = NUMBERS_FROM[kind] + currentAttempt(after).attempt
    return newDelivery(after, { number, event: 'job.succeeded', body: '', url, now })
  }
  return [
    ...(after.output ? [deliver('output', after.output.putUrl)] : []),
    ...(copiesOutputs ? [deliver('copy', '')] : []),
  ]
}

type NewDelivery = Pick<Delivery, 'number' | 'event' | 'body' | 'url'> & { readonly now: number }

function newDelivery(job: Job, { number, event, body, url, now }: NewDelivery): Delivery {
  const { tracestate } = job
  const traceparent = jobTraceparent(job)
  return {
    jobId: job.id,
    number,
    revision: 1,
    caller: job.caller,
    url,
    host: URL.parse(url)?.host ?? '',
    event,
    attempt: currentAttempt(job).attempt,
    ...(traceparent !== undefined && { traceparent }),
    ...(tracestate !== undefined && { tracestate }),
    body,
    createdAt: now,
    state: 'pending',
    dueAt: now,
    triesMade: 0,
    tries: [],
  }
}

/** What the end of a job writes if it is the last of its batch: see `BatchEnd`. One for each attempt that finishes. */
export function batchEndOf(before: Job, after: Job, now: number): BatchEnd | undefined {
  const { batch } = after
  if (batch?.webhookUrl === undefined || !isFinished(after) || isFinished(before)) return undefined
  const number = NUMBERS_FROM.batch + currentAttempt(after).attempt
  const delivery = newDelivery(after, { number, event: BATCH_EVENT, body: '', url: batch.webhookUrl, now })
  const head = JSON.stringify({ type: BATCH_EVENT, timestamp: formatTime(now) }).slice(0, -1)
  const tail = `,"links":${JSON.stringify({ self: `/batches/${batch.id}` })}}}`
  return { delivery, body: [`${head},"data":{"batch_id":"${batch.id}","counts":`, tail] }
}

/** Maximum body of a webhook, in bytes: the documentation promises less than 20 KB. */
export const BODY_MAX_BYTES = 20_000

/** Characters that are kept of an `error` that is too long for the body; escaped, each takes at most six bytes. */
const ERROR_KEPT = 500

/** `now`: epoch ms. `links`: for the link to the output of a job that succeeded. */
export type BodyContext = { readonly now: number; readonly links: Pick<LinkSigner, 'outputUrl'> }

/**
 * The body of a webhook: `{type, timestamp, data}`, where `data` is the job in its wire form. Any job in plain ASCII
 * fits (two URLs of 2 KB, metadata of 9 KB, an error of 2 KB twice). Other text can take six times its length in JSON,
 * and retries add up to forty attempts: then fields are left out one after the other until the body fits, the least
 * useful to a receiver first; `links.self` has them all.
 */
export function webhookBodyOf(type: WebhookEvent, job: Job, { now, links }: BodyContext): string {
  const timestamp = formatTime(now)
  let data: Partial<JobView> = presentJob(job, { links })
  for (const shorten of [undefined, ...SHORTER]) {
    if (shorten) data = shorten(data)
    const body = JSON.stringify({ type, timestamp, data })
    if (Buffer.byteLength(body) <= BODY_MAX_BYTES) return body
  }
  return JSON.stringify({ type, timestamp, data: { job_id: job.id, status: job.status, links: data.links } })
}

type Shorten = (data: Partial<JobView>) => Partial<JobView>

const SHORTER: readonly Shorten[] = [
  // The job has the error of its last attempt as its own.
  ({ attempts = [], ...data }) => ({ ...data, attempts: attempts.slice(-1).map(({ error, ...attempt }) => attempt) }),
  ({ input, ...data }) => data,
  ({ error, ...data }) => ({ ...data, ...(error !== undefined && { error: error.slice(0, ERROR_KEPT) }) }),
  ({ metadata, ...data }) => data,
]
