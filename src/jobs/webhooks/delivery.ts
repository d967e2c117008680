import type { BATCH_EVENT, WebhookEvent } from '../job.ts'

/**
 * What is delivered: an event to a webhook; the output of a job to the URL that its caller gave, or to the bucket of this
 * server. They share their states, their schedule and their ledger.
 */
export const DELIVERY_KINDS = ['webhook', 'output', 'copy'] as const
export type DeliveryKind = (typeof DELIVERY_KINDS)[number]

/**
 * The numbers of the deliveries of a job: those of its own events count from 1; the others have the number of its attempt,
 * beyond these. A delivery of a batch stands with the job that finished last.
 */
export const NUMBERS_FROM = { batch: 1_000_000, output: 2_000_000, copy: 3_000_000 } as const

export function kindOf({ number }: { readonly number: number }): DeliveryKind {
  if (number > NUMBERS_FROM.copy) return 'copy'
  return number > NUMBERS_FROM.output ? 'output' : 'webhook'
}

/**
 * The states of a delivery:
 *
 *   pending    next attempt at `dueAt`; during an attempt, `dueAt` is when it counts as lost and another may start
 *   delivered  the receiver answered 2xx
 *   failed     every scheduled attempt failed, or the receiver answered 410
 *
 * A caller may request a redelivery in any of them. All functions here are pure and raise `revision`, which is the
 * counter of the store's compare-and-set: only the process that records the start of an attempt sends it.
 */
export type Delivery = {
  readonly jobId: string
  /** Unique in its job: see `NUMBERS_FROM`. */
  readonly number: number
  readonly revision: number
  /** The owner of the job, whose secret signs. */
  readonly caller: string
  /** Empty for the bucket of this server. */
  readonly url: string
  /** Host and port of the URL; concurrent attempts per host are limited. */
  readonly host: string
  readonly event: WebhookEvent | typeof BATCH_EVENT
  /** The span of the job: each attempt is a span below it. */
  readonly traceparent?: string
  readonly tracestate?: string
  /** The job's attempt that the event is about. */
  readonly attempt: number
  /** What is sent, the same in every attempt; empty for an output. */
  readonly body: string
  /** Epoch ms, as all times here. */
  readonly createdAt: number
  readonly state: 'pending' | 'delivered' | 'failed'
  /** Set as long as it is pending. */
  readonly dueAt?: number
  /** Scheduled attempts that have finished. */
  readonly triesMade: number
  /** Set while a requested redelivery is pending: the state to restore if it fails. */
  readonly redelivery?: Pick<Delivery, 'state' | 'dueAt'>
  /** The last `DELIVERY_ATTEMPTS_KEPT`; one that runs has neither status nor error. */
  readonly tries: readonly DeliveryAttempt[]
}

export type DeliveryAttempt = {
  readonly at: number
  readonly status?: number
  readonly durationMs?: number
  readonly error?: string
}

/** Identifies a delivery, its owner and its receiver. */
export type DeliveryRef = Pick<Delivery, 'jobId' | 'number' | 'caller' | 'host'>
/** A pending delivery, as the store lists it. */
export type DueDelivery = DeliveryRef & { readonly dueAt: number }

/** The result of an attempt: the status of the response, or the error without one. `retryAfterMs`: from `Retry-After`. */
export type DeliveryResult = { readonly status?: number; readonly error?: string; readonly retryAfterMs?: number }

const [SECOND, MINUTE, HOUR] = [1_000, 60_000, 3_600_000]

/**
 * The back-off: the pause before each scheduled attempt, in ms, from the end of the one before. It is the example of the
 * Standard Webhooks specification, which takes three days.
 */
export const DELIVERY_DELAYS_MS: readonly number[] = [
  ...[0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE],
  ...[2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR],
]
/** The jitter: each pause varies by up to this fraction, so that what failed together is not retried together. */
const DELIVERY_JITTER = 0.1
/** Maximum `Retry-After` that is respected, in ms. */
export const RETRY_AFTER_MAX_MS = 86_400_000
/** Attempts kept; a caller may request any number. */
export const DELIVERY_ATTEMPTS_KEPT = 50

/** The Standard Webhooks `webhook-id`: the same in every attempt, so that a receiver recognizes a repetition. */
export const webhookIdOf = ({ jobId, number }: Delivery): string => `msg_${jobId}_${number}`

const isOpen = ({ status, error }: DeliveryAttempt) => status === undefined && error === undefined

/** Whether the last attempt has started and not finished. */
export const isRunning = ({ tries }: Delivery): boolean => tries.slice(-1).some(isOpen)

/** Claims an attempt; the claim expires after `claimMs`. An earlier attempt that never finished was lost. */
export function startDeliveryAttempt(delivery: Delivery, now: number, claimMs: number): Delivery {
  const tries = [...closeOpenAttempts(delivery.tries, { error: LOST }), { at: now }].slice(-DELIVERY_ATTEMPTS_KEPT)
  return { ...delivery, revision: delivery.revision + 1, dueAt: now + claimMs, tries }
}

/** Extends the claim of the running attempt. */
export const renewClaim = (delivery: Delivery, now: number, claimMs: number): Delivery => ({
  ...delivery,
  revision: delivery.revision + 1,
  dueAt: now + claimMs,
})

const LOST = 'the server stopped during the attempt'

/** `random` gives a number from 0 up to 1. */
export type DeliveryClock = { readonly now: number; readonly random: () => number }

/** Records the result of the running attempt, and when the next one is due. */
export function finishDeliveryAttempt(delivery: Delivery, result: DeliveryResult, clock: DeliveryClock): Delivery {
  const { status, error = describeStatus(status) } = result
  const { dueAt, redelivery, ...rest } = delivery
  const startedAt = delivery.tries.at(-1)?.at ?? clock.now
  const finished: Delivery = {
    ...rest,
    revision: delivery.revision + 1,
    triesMade: delivery.triesMade + (redelivery ? 0 : 1),
    tries: closeOpenAttempts(delivery.tries, {
      ...(status !== undefined && { status }),
      ...(error !== undefined && { error }),
      durationMs: clock.now - startedAt,
    }),
  }
  if (isSuccess(status) && error === undefined) return { ...finished, state: 'delivered' }
  if (redelivery?.state === 'delivered') return { ...finished, ...redelivery }
  if (status === 410) return { ...finished, state: 'failed' }
  return redelivery
    ? restoreSchedule(finished, redelivery, notBefore(result, clock))
    : scheduleNext(finished, result, clock)
}

function scheduleNext(finished: Delivery, result: DeliveryResult, { now, random }: DeliveryClock): Delivery {
  const delayMs = DELIVERY_DELAYS_MS[finished.triesMade]
  if (delayMs === undefined) return { ...finished, state: 'failed' }
  const spreadMs = Math.round(delayMs * (1 + DELIVERY_JITTER * (2 * random() - 1)))
  return { ...finished, dueAt: Math.max(now + spreadMs, notBefore(result, { now })) }
}

/** After a failed redelivery. A `Retry-After` also delays the next scheduled attempt. */
const restoreSchedule = (
  finished: Delivery,
  before: NonNullable<Delivery['redelivery']>,
  earliest: number,
): Delivery => ({
  ...finished,
  ...before,
  ...(before.dueAt !== undefined && { dueAt: Math.max(before.dueAt, earliest) }),
})

/** The earliest time that the receiver's `Retry-After` allows; 0 without one. */
const notBefore = ({ retryAfterMs }: DeliveryResult, { now }: Pick<DeliveryClock, 'now'>): number =>
  retryAfterMs === undefined ? 0 : now + Math.min(retryAfterMs, RETRY_AFTER_MAX_MS)

/** Releases the claim of the running attempt: the next may start at once. */
export function abandonDeliveryAttempt(delivery: Delivery, now: number): Delivery {
  return {
    ...delivery,
    revision: delivery.revision + 1,
    dueAt: now,
    tries: closeOpenAttempts(delivery.tries, { error: LOST }),
  }
}

/** Finishes a delivery without an attempt, because the receiver wants no more of them. */
export function withdraw({ dueAt, ...delivery }: Delivery, error: string, now: number): Delivery {
  const tries = [...closeOpenAttempts(delivery.tries, { error: LOST }), { at: now, error }].slice(
    -DELIVERY_ATTEMPTS_KEPT,
  )
  return { ...delivery, revision: delivery.revision + 1, state: 'failed', tries }
}

/** Makes an attempt due now, in addition to the scheduled ones; undefined if one runs or is due already. */
export function requestRedelivery(delivery: Delivery, now: number): Delivery | undefined {
  const { state, dueAt } = delivery
  if (isRunning(delivery) || (dueAt !== undefined && dueAt <= now)) return undefined
  const redelivery = { state, ...(dueAt !== undefined && { dueAt }) }
  return { ...delivery, revision: delivery.revision + 1, state: 'pending', dueAt: now, redelivery }
}

/** Whether the last answer to any of a job's deliveries was 410 Gone: the receiver wants no more of them. */
export function isGone(deliveries: readonly Delivery[], url: string): boolean {
  const ofReceiver = deliveries.filter((delivery) => delivery.url === url)
  const answered = ofReceiver.flatMap(({ tries }) => tries.filter(({ status }) => status !== undefined))
  return answered.toSorted((a, b) => a.at - b.at).at(-1)?.status === 410
}

export const isSuccess = (status: number | undefined): boolean => status !== undefined && status >= 200 && status < 300

const closeOpenAttempts = (
  tries: readonly DeliveryAttempt[],
  end: Omit<DeliveryAttempt, 'at'>,
): readonly DeliveryAttempt[] => tries.map((one) => (isOpen(one) ? { ...one, ...end } : one))

/** Why an answer with this status is no success; undefined if it is one, or if there was no answer. */
export function describeStatus(status: number | undefined): string | undefined {
  if (status === undefined || isSuccess(status)) return undefined
  return status >= 300 && status < 400
    ? `the receiver answered ${status}; redirects are not followed`
    : `the receiver answered ${status}`
}
