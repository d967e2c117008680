import type { WebhookSender } from '../ports/webhook-sender.ts'
import type { Fact, Observe } from '../ports/metrics.ts'
import type { DeliveryStore } from '../ports/store.ts'
import {
  startDeliveryAttempt,
  type Delivery,
  type DeliveryRef,
  finishDeliveryAttempt,
  abandonDeliveryAttempt,
  isGone,
  isSuccess,
  webhookIdOf,
  withdraw,
} from './delivery.ts'
import { createFairSemaphore } from '../../lib/semaphore.ts'
import { createHostQueues } from './host-queue.ts'
import { createThrottledWarning, errorFieldsOf, type Log } from '../log.ts'
import { childTraceparent, logFieldsOf } from '../trace.ts'
import { shareInFlight } from '../../lib/single-flight.ts'

export type OutboxDependencies = {
  readonly store: DeliveryStore
  readonly sender: WebhookSender
  readonly log: Log
  /** Hears of each try, once it is on record. */
  readonly observe?: Observe
  /** After how long, in ms, a try that is not on record as ended counts as lost: longer than any try takes. */
  readonly claimMs: number
  /** Epoch ms. */
  readonly now?: () => number
  /** From 0 up to 1. */
  readonly random?: () => number
}

/** Sends what the outbox holds: each delivery at least once, as long as its schedule lasts. */
export type Outbox = Pick<WebhookSender, 'secretsOf' | 'check'> & {
  /** Has a delivery sent that has just become due. Can be lost: `sendDue` makes up for it. */
  wake(delivery: DeliveryRef): void
  /** Has everything sent that is due, and sets a timer for what is due next; resolves when all waits for its turn. */
  sendDue(): Promise<void>
  /** Gives up the tries that run, to be made again, and begins no others. Idempotent. */
  close(): Promise<void>
}

/** Tries at the same time to one host of one caller, and in all, of which one caller has its share. */
export const ATTEMPTS_PER_HOST = 16
export const ATTEMPTS_IN_TOTAL = 512
/** Deliveries that wait in memory for one host of one caller; further ones wait in the store. */
const WAITING_PER_HOST = 10_000
/** What is due within this time, in ms, has a timer; what is due later is found by the reconciler. */
const TIMER_HORIZON_MS = 60_000
/** Looks for what is due leave so much time between them, in ms, and so many times what the last one took. */
const LOOK_GAP_MS = 100
const LOOK_GAP_FACTOR = 10

export function createOutbox(parts: OutboxDependencies): Outbox {
  const { store, sender, log, observe, claimMs, now = Date.now, random = Math.random } = parts
  const closing = new AbortController()
  let timer: { readonly dueAt: number; readonly handle: NodeJS.Timeout } | undefined
  let gapMs = LOOK_GAP_MS
  const places = createFairSemaphore(ATTEMPTS_IN_TOTAL)
  const lines = createHostQueues({
    perHost: ATTEMPTS_PER_HOST,
    maxQueued: WAITING_PER_HOST,
    drained: () => void sendDue().catch(tell),
  })

  const warnRarely = createThrottledWarning(log)
  /** A store that is away is no news for each of thousands. */
  const tell = (error: unknown) => {
    if (!closing.signal.aborted) warnRarely(errorFieldsOf(error), 'webhooks have to wait')
  }

  const wake = ({ jobId, number, caller, host }: DeliveryRef) => {
    // Only these: a line of thousands must not hold their bodies.
    const ref = { jobId, number, caller, host }
    const run = () => places.use(caller, closing.signal, () => attempt(ref)).catch(tell)
    lines.add({ key: `${jobId}/${number}`, caller, host, run })
  }

  /** One at a time: whoever asks meanwhile is served by the one under way, which meets what becomes due last. */
  const sendDue = shareInFlight(async () => {
    const startedAt = performance.now()
    await look().finally(() => (gapMs = Math.max(LOOK_GAP_MS, LOOK_GAP_FACTOR * (performance.now() - startedAt))))
  })

  const look = async () => {
    for await (const due of store.dueDeliveries(now() + TIMER_HORIZON_MS)) {
      if (closing.signal.aborted) return
      if (due.dueAt > now()) {
        wakeAt(due.dueAt)
        return
      }
      wake(due)
    }
  }

  /** One timer, for what is due next: thousands may be due within a minute. */
  const wakeAt = (dueAt: number) => {
    const delayMs = dueAt - now()
    if (closing.signal.aborted || delayMs > TIMER_HORIZON_MS || (timer && timer.dueAt <= dueAt)) return
    clearTimeout(timer?.handle)
    const handle = setTimeout(
      () => {
        timer = undefined
        sendDue().catch(tell)
      },
      Math.max(gapMs, delayMs),
    ).unref()
    timer = { dueAt, handle }
  }

  /** One try, if it is time for one and nobody else makes it. */
  const attempt = async (ref: DeliveryRef) => {
    const deliveries = await store.deliveriesOf(ref.jobId)
    const delivery = deliveries.find(({ number }) => number === ref.number)
    if (delivery?.dueAt === undefined || closing.signal.aborted) return
    if (delivery.dueAt > now()) wakeAt(delivery.dueAt)
    else if (!delivery.redelivery && isGone(deliveries)) await withdrawUnsent(delivery)
    else await claimAndSend(delivery)
  }

  const claimAndSend = async (delivery: Delivery) => {
    const begun = startDeliveryAttempt(delivery, now(), claimMs)
    if (await store.updateDelivery(begun, delivery.revision)) await record(begun, await send(begun))
  }

  const withdrawUnsent = async (delivery: Delivery) => {
    const withdrawn = withdraw(delivery, 'not sent: the receiver has answered 410 and wants no more of this job', now())
    if (!(await store.updateDelivery(withdrawn, delivery.revision))) return
    logEnd(withdrawn)
    observe?.({ type: 'webhook-withdrawn' })
  }

  /** The delivery as it is after the try. */
  const send = async (begun: Delivery): Promise<Delivery> => {
    const { url, body, caller, traceparent } = begun
    try {
      const trace = traceparent === undefined ? {} : { traceparent: childTraceparent(traceparent) }
      const message = { id: webhookIdOf(begun), at: now(), url, body, caller, ...trace }
      return finishDeliveryAttempt(begun, await sender.send(message, closing.signal), { now: now(), random })
    } catch (error) {
      if (closing.signal.aborted) return abandonDeliveryAttempt(begun, now())
      log.error({ ...fieldsOf(begun), err: error }, 'a webhook could not be made')
      return finishDeliveryAttempt(begun, { error: 'the server could not make the request' }, { now: now(), random })
    }
  }

  /** A record that cannot be made is made up for by the claim's end: the try is made once more. */
  const record = async (begun: Delivery, ended: Delivery) => {
    if (!(await store.updateDelivery(ended, begun.revision))) return
    logEnd(ended)
    if (!closing.signal.aborted) observe?.(factOf(begun, ended))
    if (ended.dueAt !== undefined) wakeAt(ended.dueAt)
  }

  const logEnd = (delivery: Delivery) => {
    const { state, event, tries } = delivery
    const { status, error, durationMs } = tries.at(-1) ?? {}
    const fields = { ...fieldsOf(delivery), event, state, status, error, duration_ms: durationMs }
    if (isSuccess(status)) log.info(fields, 'webhook delivered')
    else if (state === 'pending') log.info(fields, 'webhook not delivered yet')
    else log.warn(fields, 'webhook not delivered')
  }

  return {
    secretsOf: (caller) => sender.secretsOf(caller),
    check: (url) => sender.check(url),
    wake,
    sendDue,
    async close() {
      closing.abort(new Error('the server is ending'))
      clearTimeout(timer?.handle)
      await lines.close()
    },
  }
}

const fieldsOf = ({ jobId: id, number, traceparent }: Delivery) => ({
  ...logFieldsOf({ id, traceparent }),
  delivery: number,
})

/** A try that was asked for ends a delivery only where it makes it another than it was. */
function factOf({ redelivery }: Delivery, { state, tries }: Delivery): Fact {
  const { status, durationMs = 0 } = tries.at(-1) ?? {}
  const end = state === 'pending' || state === redelivery?.state ? undefined : state
  return { type: 'webhook-tried', status, tookMs: durationMs, end }
}
