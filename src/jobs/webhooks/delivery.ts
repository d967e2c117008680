import type { WebhookEvent } from '../job.ts'

/**
 * A delivery's life, written down once:
 *
 *   pending    to be tried at `dueAt`; while a try runs, `dueAt` is when it counts as lost and another may begin
 *   delivered  the receiver answered 2xx
 *   failed     every scheduled try was in vain, or the receiver answered 410
 *
 * A caller may ask for one try more in any of them. All functions here are pure and raise `revision`, which is the
 * counter of the store's compare-and-set: who writes a try down as begun is the only one to send it.
 */
export type Delivery = {
  readonly jobId: string
  /** Per job, from 1. */
  readonly number: number
  readonly revision: number
  /** Whose job it is: decides on the secret. */
  readonly caller: string
  readonly url: string
  /** Host and port of the URL: what is tried at the same time is limited by it. */
  readonly host: string
  readonly event: WebhookEvent
  /** The job's: each try is a part of its own in that trace. */
  readonly traceparent?: string
  /** The job's attempt that the event speaks of. */
  readonly attempt: number
  /** What is sent, the same in every try. */
  readonly body: string
  /** Epoch ms, as all times here. */
  readonly createdAt: number
  readonly state: 'pending' | 'delivered' | 'failed'
  /** Set as long as it is pending. */
  readonly dueAt?: number
  /** Scheduled tries that have ended. */
  readonly triesMade: number
  /** Set while it is pending for a try that was asked for: what it goes back to where that fails. */
  readonly redelivery?: Pick<Delivery, 'state' | 'dueAt'>
  /** The last `TRIES_KEPT`; one that runs has neither status nor error. */
  readonly tries: readonly DeliveryAttempt[]
}

export type DeliveryAttempt = {
  readonly at: number
  readonly status?: number
  readonly durationMs?: number
  readonly error?: string
}

/** What names a delivery, whose it is, and where it goes. */
export type DeliveryRef = Pick<Delivery, 'jobId' | 'number' | 'caller' | 'host'>
/** One that is pending, as the store tells it. */
export type DueDelivery = DeliveryRef & { readonly dueAt: number }

/** What came of a try: the status of the answer, or why there is none. `retryAfterMs`: the receiver's own wish. */
export type DeliveryResult = { readonly status?: number; readonly error?: string; readonly retryAfterMs?: number }

/** The time before each scheduled try, in ms, from the end of the one before. */
export const DELIVERY_DELAYS_MS = [0, 5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 36_000_000] as const
/** Each is longer or shorter by up to this part, so that what failed together does not come back together. */
const DELIVERY_JITTER = 0.1
/** Longest `Retry-After` that is heeded, in ms. */
export const RETRY_AFTER_MAX_MS = 86_400_000
/** Tries shown; a caller may ask for any number. */
export const DELIVERY_ATTEMPTS_KEPT = 50

/** The Standard Webhooks `webhook-id`: the same in every try, so that a receiver knows a second one. */
export const webhookIdOf = ({ jobId, number }: Delivery): string => `msg_${jobId}_${number}`

const isOpen = ({ status, error }: DeliveryAttempt) => status === undefined && error === undefined

/** Whether a try is on record as begun and not as ended. */
export const isRunning = ({ tries }: Delivery): boolean => tries.slice(-1).some(isOpen)

/** Writes a try down as begun; it counts as lost after `claimMs`. A try before it that never ended was lost. */
export function startDeliveryAttempt(delivery: Delivery, now: number, claimMs: number): Delivery {
  const tries = [...closeOpenAttempts(delivery.tries, { error: LOST }), { at: now }].slice(-DELIVERY_ATTEMPTS_KEPT)
  return { ...delivery, revision: delivery.revision + 1, dueAt: now + claimMs, tries }
}

const LOST = 'the server ended during the try'

/** `random` gives a number from 0 up to 1. */
export type DeliveryClock = { readonly now: number; readonly random: () => number }

/** Writes down how the try that runs has ended, and when the next is due. */
export function finishDeliveryAttempt(delivery: Delivery, result: DeliveryResult, moment: DeliveryClock): Delivery {
  const { status, error = describeStatus(status) } = result
  const { dueAt, redelivery, ...rest } = delivery
  const startedAt = delivery.tries.at(-1)?.at ?? moment.now
  const ended: Delivery = {
    ...rest,
    revision: delivery.revision + 1,
    triesMade: delivery.triesMade + (redelivery ? 0 : 1),
    tries: closeOpenAttempts(delivery.tries, {
      ...(status !== undefined && { status }),
      ...(error !== undefined && { error }),
      durationMs: moment.now - startedAt,
    }),
  }
  if (isSuccess(status)) return { ...ended, state: 'delivered' }
  if (redelivery?.state === 'delivered') return { ...ended, ...redelivery }
  if (status === 410) return { ...ended, state: 'failed' }
  return redelivery
    ? restoreSchedule(ended, redelivery, notBefore(result, moment))
    : scheduleNext(ended, result, moment)
}

function scheduleNext(ended: Delivery, result: DeliveryResult, { now, random }: DeliveryClock): Delivery {
  const delayMs = DELIVERY_DELAYS_MS[ended.triesMade]
  if (delayMs === undefined) return { ...ended, state: 'failed' }
  const spreadMs = Math.round(delayMs * (1 + DELIVERY_JITTER * (2 * random() - 1)))
  return { ...ended, dueAt: Math.max(now + spreadMs, notBefore(result, { now })) }
}

/** After a try that was asked for, in vain. What the receiver wishes holds for the next scheduled one too. */
const restoreSchedule = (ended: Delivery, before: NonNullable<Delivery['redelivery']>, earliest: number): Delivery => ({
  ...ended,
  ...before,
  ...(before.dueAt !== undefined && { dueAt: Math.max(before.dueAt, earliest) }),
})

/** Until when the receiver asks to be left alone; 0 where it does not. */
const notBefore = ({ retryAfterMs }: DeliveryResult, { now }: Pick<DeliveryClock, 'now'>): number =>
  retryAfterMs === undefined ? 0 : now + Math.min(retryAfterMs, RETRY_AFTER_MAX_MS)

/** Gives the try that runs up: the next may begin at once. */
export function abandonDeliveryAttempt(delivery: Delivery, now: number): Delivery {
  return {
    ...delivery,
    revision: delivery.revision + 1,
    dueAt: now,
    tries: closeOpenAttempts(delivery.tries, { error: LOST }),
  }
}

/** Ends a delivery that nobody wants any more, without a try. One that never ended was lost. */
export function withdraw({ dueAt, ...delivery }: Delivery, error: string, now: number): Delivery {
  const tries = [...closeOpenAttempts(delivery.tries, { error: LOST }), { at: now, error }].slice(
    -DELIVERY_ATTEMPTS_KEPT,
  )
  return { ...delivery, revision: delivery.revision + 1, state: 'failed', tries }
}

/** Makes a try due now, beside the scheduled ones; undefined where one runs or is due already. */
export function requestRedelivery(delivery: Delivery, now: number): Delivery | undefined {
  const { state, dueAt } = delivery
  if (isRunning(delivery) || (dueAt !== undefined && dueAt <= now)) return undefined
  const redelivery = { state, ...(dueAt !== undefined && { dueAt }) }
  return { ...delivery, revision: delivery.revision + 1, state: 'pending', dueAt: now, redelivery }
}

/** Whether the last answer to any of a job's deliveries was 410: the receiver wants none of them any more. */
export function isGone(deliveries: readonly Delivery[]): boolean {
  const answered = deliveries.flatMap(({ tries }) => tries.filter(({ status }) => status !== undefined))
  return answered.toSorted((a, b) => a.at - b.at).at(-1)?.status === 410
}

export const isSuccess = (status: number | undefined): boolean => status !== undefined && status >= 200 && status < 300

const closeOpenAttempts = (
  tries: readonly DeliveryAttempt[],
  end: Omit<DeliveryAttempt, 'at'>,
): readonly DeliveryAttempt[] => tries.map((one) => (isOpen(one) ? { ...one, ...end } : one))

function describeStatus(status: number | undefined): string | undefined {
  if (status === undefined || isSuccess(status)) return undefined
  return status >= 300 && status < 400
    ? `the receiver answered ${status}; redirects are not followed`
    : `the receiver answered ${status}`
}
