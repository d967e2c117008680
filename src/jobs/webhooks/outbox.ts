import type { OutputSender, WebhookSender } from '../ports/notifications.ts'
import type { MetricEvent, RecordMetric } from '../ports/metrics.ts'
import type { DeliveryStore, JobStore } from '../ports/store.ts'
import {
  startDeliveryAttempt,
  type Delivery,
  type DeliveryRef,
  type DeliveryResult,
  finishDeliveryAttempt,
  abandonDeliveryAttempt,
  isGone,
  isSuccess,
  kindOf,
  webhookIdOf,
  withdraw,
} from './delivery.ts'
import { createFairSemaphore, shareInFlight } from '../../lib/concurrency.ts'
import { createUuids } from '../../lib/ids.ts'
import { formatTime } from '../view.ts'
import type { Outputs } from '../ports/files.ts'
import type { Transitions } from '../transition.ts'
import { createHostQueues } from './host-queue.ts'
import { createOutcomeLog, fieldsOf } from './outcome-log.ts'
import { createTransfers } from './transfer.ts'
import { createThrottledWarning, errorFieldsOf, type Log } from '../log.ts'
import { childTraceparent, spanIdOf, type Tracer } from '../trace.ts'

export type OutboxDependencies = {
  readonly store: DeliveryStore & Pick<JobStore, 'get'>
  readonly sender: WebhookSender
  readonly outputSender: Pick<OutputSender, 'check' | 'send'>
  readonly outputs: Pick<Outputs, 'forget'>
  /** Records with the job how the delivery of its output ended. */
  readonly transition: Transitions['transition']
  readonly log: Log
  /** Called after each delivery attempt is recorded. */
  readonly recordMetric?: RecordMetric
  /** Records a span for each attempt. */
  readonly tracer?: Tracer | undefined
  /**
   * Time after which an attempt without a recorded end counts as lost, in ms: longer than any attempt at a webhook takes.
   * While an output is sent, its claim is renewed.
   */
  readonly claimMs: number
  /** Epoch ms. */
  readonly now?: () => number
  /** From 0 up to 1. */
  readonly random?: () => number
}

/** Sends each delivery at least once, until its back-off schedule ends. */
export type Outbox = Pick<WebhookSender, 'secretsOf' | 'check'> & {
  /** As `check`, for the URL of an output. */
  checkOutput(url: string): string | undefined
  /** Sends a delivery that has just become due. After a crash `sendDue` finds it. */
  wake(delivery: DeliveryRef): void
  /**
   * Sends a `webhook.test` event to a URL, once, among the attempts of all deliveries; it is stored nowhere. Rejects with
   * the reason of `signal` when that aborts.
   */
  sendTest(test: WebhookTest, signal: AbortSignal): Promise<WebhookTestResult>
  /** Sends all due deliveries, and sets a timer for the next one; resolves when they are queued. */
  sendDue(): Promise<void>
  /** Aborts running attempts, which the next process repeats, and starts no others. Idempotent. */
  close(): Promise<void>
}

/** On whose behalf, and where to. */
export type WebhookTest = { readonly url: string; readonly caller: string }
/** What the receiver answered. `webhookId`: the header that it got. */
export type WebhookTestResult = DeliveryResult & { readonly webhookId: string; readonly durationMs: number }

/** Maximum concurrent attempts to one host of one caller, and in total, shared fairly by callers. */
export const ATTEMPTS_PER_HOST = 16
export const ATTEMPTS_IN_TOTAL = 512
/** Maximum outputs sent at the same time, shared fairly by callers: each takes memory, and as long as its receiver does. */
export const TRANSFERS_IN_TOTAL = 16
/** Maximum deliveries queued in memory for one host of one caller; further ones wait in the store. */
const QUEUED_PER_HOST = 10_000
/** A delivery due within this time, in ms, gets a timer; the reconciler finds later ones. */
const TIMER_HORIZON_MS = 60_000
/** Pause between scans for due deliveries: at least this long, in ms, and this many times as long as the last scan. */
const SCAN_PAUSE_MS = 100
const SCAN_PAUSE_FACTOR = 10

export function createOutbox(dependencies: OutboxDependencies): Outbox {
  const {
    store,
    sender,
    outputs,
    log,
    recordMetric,
    tracer,
    claimMs,
    now = Date.now,
    random = Math.random,
  } = dependencies
  const closing = new AbortController()
  const createId = createUuids(now)
  let timer: { readonly dueAt: number; readonly handle: NodeJS.Timeout } | undefined
  let pauseMs = SCAN_PAUSE_MS
  const semaphore = createFairSemaphore(ATTEMPTS_IN_TOTAL)
  const transferSlots = createFairSemaphore(TRANSFERS_IN_TOTAL)
  const transfer = createTransfers({ ...dependencies, now, random })
  const queues = createHostQueues({
    perHost: ATTEMPTS_PER_HOST,
    maxQueued: QUEUED_PER_HOST,
    onDrained: () => void sendDue().catch(warn),
  })

  const logOutcome = createOutcomeLog(log)
  const warnRarely = createThrottledWarning(log)
  /** Throttled: an unavailable store fails thousands of attempts. */
  const warn = (error: unknown) => {
    if (!closing.signal.aborted)
      warnRarely(
        { ...errorFieldsOf(error), event: 'webhooks_delayed' },
        'sending webhooks or outputs failed; the reconciler will retry',
      )
  }

  const wake = ({ jobId, number, caller, host }: DeliveryRef) => {
    // Without the body: thousands may be queued.
    const ref = { jobId, number, caller, host }
    const kind = kindOf(ref)
    const slots = kind === 'webhook' ? semaphore : transferSlots
    const run = () => slots.use(caller, closing.signal, () => attempt(ref)).catch(warn)
    // Outputs have queues of their own: a webhook must not wait for one.
    queues.add({ key: `${jobId}/${number}`, caller, host: `${kind} ${host}`, run })
  }

  /** A call during a scan shares that scan, which reaches deliveries that become due meanwhile last. */
  const sendDue = shareInFlight(async () => {
    const startedAt = performance.now()
    await scan().finally(() => (pauseMs = Math.max(SCAN_PAUSE_MS, SCAN_PAUSE_FACTOR * (performance.now() - startedAt))))
  })

  const scan = async () => {
    for await (const due of store.dueDeliveries(now() + TIMER_HORIZON_MS)) {
      if (closing.signal.aborted) return
      if (due.dueAt > now()) {
        wakeAt(due.dueAt)
        return
      }
      wake(due)
    }
  }

  /** One timer for the next due delivery: thousands may be due within a minute. */
  const wakeAt = (dueAt: number) => {
    const delayMs = dueAt - now()
    if (closing.signal.aborted || delayMs > TIMER_HORIZON_MS || (timer && timer.dueAt <= dueAt)) return
    clearTimeout(timer?.handle)
    const handle = setTimeout(
      () => {
        timer = undefined
        sendDue().catch(warn)
      },
      Math.max(pauseMs, delayMs),
    ).unref()
    timer = { dueAt, handle }
  }

  /** Makes one attempt if it is due and no other replica makes it. */
  const attempt = async (ref: DeliveryRef) => {
    const deliveries = await store.deliveriesOf(ref.jobId)
    const delivery = deliveries.find(({ number }) => number === ref.number)
    if (delivery?.dueAt === undefined || closing.signal.aborted) return
    if (delivery.dueAt > now()) wakeAt(delivery.dueAt)
    else if (!delivery.redelivery && isGone(deliveries, delivery.url)) await withdrawUnsent(delivery)
    else if (kindOf(delivery) === 'webhook') await claimAndSend(delivery)
    else await claimAndTransfer(delivery)
  }

  const claimAndSend = async (delivery: Delivery) => {
    const started = startDeliveryAttempt(delivery, now(), claimMs)
    if (await store.updateDelivery(started, delivery.revision)) await record(started, await send(started))
  }

  const claimAndTransfer = async (delivery: Delivery) => {
    const done = await transfer(delivery, closing.signal)
    if (!done) return
    const { started, finished, job } = done
    if (tracer && job) recordTransfer(tracer, { started, finished, endedAt: now() })
    // The removal of the job came before the end of the copy.
    if (!(await record(started, finished)) && job && !(await store.get(job.id))) await outputs.forget(job)
  }

  const withdrawUnsent = async (delivery: Delivery) => {
    const withdrawn = withdraw(delivery, 'not sent: the receiver answered 410 to an earlier webhook of this job', now())
    if (!(await store.updateDelivery(withdrawn, delivery.revision))) return
    logOutcome(withdrawn)
    recordMetric?.({ type: 'webhook-withdrawn' })
  }

  /** Makes the attempt and gives the delivery with its result. */
  const send = async (started: Delivery): Promise<Delivery> => {
    const { url, body, caller, traceparent: parent, tracestate } = started
    try {
      const traceparent = parent && childTraceparent(parent)
      const trace = traceparent ? { traceparent, ...(tracestate !== undefined && { tracestate }) } : {}
      const message = { id: webhookIdOf(started), at: now(), url, body, caller, ...trace }
      const result = await sender.send(message, closing.signal)
      if (tracer && traceparent)
        tracer.record(webhookSpan(started, result, { traceparent, from: message.at, to: now() }))
      return finishDeliveryAttempt(started, result, { now: now(), random })
    } catch (error) {
      if (closing.signal.aborted) return abandonDeliveryAttempt(started, now())
      log.error({ ...fieldsOf(started), event: 'webhook_defect', err: error }, 'making a webhook request failed')
      return finishDeliveryAttempt(started, { error: 'the server could not make the request' }, { now: now(), random })
    }
  }

  const sendTest = ({ url, caller }: WebhookTest, signal: AbortSignal): Promise<WebhookTestResult> =>
    semaphore.use(caller, signal, async () => {
      const [webhookId, at] = [`msg_test_${createId()}`, now()]
      const body = JSON.stringify({ type: 'webhook.test', timestamp: formatTime(at), data: {} })
      const result = await sender.send({ id: webhookId, at, url, body, caller }, signal)
      return { ...result, webhookId, durationMs: now() - at }
    })

  /** If the write fails, the claim expires and the attempt is repeated. */
  const record = async (started: Delivery, finished: Delivery): Promise<boolean> => {
    if (!(await store.updateDelivery(finished, started.revision))) return false
    logOutcome(finished)
    if (!closing.signal.aborted) recordMetric?.(metricEventOf(started, finished))
    if (finished.dueAt !== undefined) wakeAt(finished.dueAt)
    return true
  }

  return {
    secretsOf: (caller) => sender.secretsOf(caller),
    check: (url) => sender.check(url),
    checkOutput: (url) => dependencies.outputSender.check(url),
    wake,
    sendTest,
    sendDue,
    async close() {
      closing.abort(new Error('the server is shutting down'))
      clearTimeout(timer?.handle)
      await queues.close()
    },
  }
}

type AttemptTrace = { readonly traceparent: string; readonly from: number; readonly to: number }

/** Without the URL, whose path may be a secret. */
const attemptSpan = (
  delivery: Delivery,
  { status, error }: DeliveryResult,
  { traceparent, from, to }: AttemptTrace,
) => ({
  kind: 'client' as const,
  traceparent,
  tracestate: delivery.tracestate,
  parentId: spanIdOf(delivery.traceparent ?? ''),
  startedAt: from,
  endedAt: to,
  attributes: {
    'http.response.status_code': status,
    'server.address': delivery.host || undefined,
    'musetalk.job.id': delivery.jobId,
  },
  error: isSuccess(status) ? error : (error ?? String(status)),
})

function webhookSpan(delivery: Delivery, result: DeliveryResult, trace: AttemptTrace) {
  const { attributes, ...span } = attemptSpan(delivery, result, trace)
  const ids = { 'musetalk.webhook.id': webhookIdOf(delivery), 'musetalk.webhook.event': delivery.event }
  return { ...span, name: 'POST webhook', attributes: { 'http.request.method': 'POST', ...attributes, ...ids } }
}

type EndedTransfer = { readonly started: Delivery; readonly finished: Delivery; readonly endedAt: number }

function recordTransfer(tracer: Tracer, { started, finished, endedAt }: EndedTransfer) {
  const traceparent = started.traceparent && childTraceparent(started.traceparent)
  const last = finished.tries.at(-1)
  if (!traceparent || !last) return
  const { attributes, ...span } = attemptSpan(started, last, { traceparent, from: last.at, to: endedAt })
  tracer.record({ ...span, name: 'PUT output', attributes: { 'http.request.method': 'PUT', ...attributes } })
}

/** A redelivery counts as an end only if it changes the delivery's state. */
function metricEventOf({ redelivery }: Delivery, finished: Delivery): MetricEvent {
  const { state, tries } = finished
  const { status, durationMs = 0 } = tries.at(-1) ?? {}
  const end = state === 'pending' || state === redelivery?.state ? undefined : state
  const kind = kindOf(finished)
  return kind === 'webhook'
    ? { type: 'webhook-attempted', status, tookMs: durationMs, end }
    : { type: 'output-attempted', kind, status, end }
}
