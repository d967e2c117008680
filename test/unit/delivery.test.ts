import { describe, expect, test } from 'vitest'
import {
  requestRedelivery,
  startDeliveryAttempt,
  type Delivery,
  finishDeliveryAttempt,
  abandonDeliveryAttempt,
  isGone,
  isRunning,
  RETRY_AFTER_MAX_MS,
  DELIVERY_ATTEMPTS_KEPT,
  DELIVERY_DELAYS_MS,
  type DeliveryResult,
  webhookIdOf,
  withdraw,
} from '../../src/jobs/webhooks/delivery.ts'
import { parseRetryAfter } from '../../src/lib/timing.ts'
import { aDelivery } from '../helpers/deliveries.ts'

const even = () => 0.5
const tryOnce = (delivery: Delivery, result: DeliveryResult, now: number, random = even) =>
  finishDeliveryAttempt(startDeliveryAttempt(delivery, now, 25_000), result, { now: now + 100, random })
const fresh = aDelivery({ id: 'job' })

describe('the schedule', () => {
  test('is at once, then 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, and then no more', () => {
    const waits: number[] = []
    let [delivery, now] = [fresh, 0]
    while (delivery.dueAt !== undefined) {
      waits.push(delivery.dueAt - now)
      delivery = tryOnce(delivery, { status: 500 }, delivery.dueAt)
      now = delivery.tries.at(-1)!.at + 100
    }
    const [second, minute, hour] = [1_000, 60_000, 3_600_000]
    expect(waits).toEqual([
      ...[0, 5 * second, 5 * minute, 30 * minute],
      ...[2, 5, 10, 14, 20, 24].map((hours) => hours * hour),
    ])
    expect(delivery).toMatchObject({ state: 'failed', triesMade: 10 })
    expect(delivery.tries).toHaveLength(10)
  })

  test.each([
    [0, 4_500],
    [0.999_999, 5_500],
  ])('spreads each wait by a tenth (random %d)', (random, expected) => {
    expect(tryOnce(fresh, {}, 0, () => random).dueAt! - 100).toBe(expected)
  })

  test.each([
    ['waits as long as the receiver asks', 600_000, 600_000],
    ['waits no shorter than scheduled', 1_000, 5_000],
    ['waits no longer than a day', 10 * RETRY_AFTER_MAX_MS, RETRY_AFTER_MAX_MS],
  ])('waits as long as a Retry-After asks: %s', (_what, retryAfterMs, waitMs) => {
    const delivery = tryOnce(fresh, { status: 429, retryAfterMs }, 0)
    expect(delivery.dueAt).toBe(100 + waitMs)
    expect(delivery.triesMade).toBe(1)
  })
})

describe('a delivery attempt', () => {
  test.each([200, 201, 204, 299])('answered %i is a success', (status) => {
    const delivery = tryOnce(fresh, { status }, 5)
    expect(delivery).toMatchObject({ state: 'delivered', revision: 3, tries: [{ at: 5, status, durationMs: 100 }] })
    expect(delivery).not.toHaveProperty('dueAt')
    expect(delivery.tries[0]).not.toHaveProperty('error')
  })

  test.each([
    [{ status: 302 }, 'the receiver answered 302; redirects are not followed'],
    [{ status: 404 }, 'the receiver answered 404'],
    [{ status: 500 }, 'the receiver answered 500'],
    [{ error: 'the connection was refused' }, 'the connection was refused'],
  ])('with the result %j fails, and its error describes it', (result, error) => {
    const delivery = tryOnce(fresh, result, 5)
    expect(delivery).toMatchObject({ state: 'pending', dueAt: 5_105, tries: [{ at: 5, durationMs: 100, error }] })
  })

  test('answered 410 is the last one', () => {
    const delivery = tryOnce(fresh, { status: 410 }, 5)
    expect(delivery).toMatchObject({ state: 'failed', triesMade: 1 })
    expect(delivery).not.toHaveProperty('dueAt')
    expect(isGone([fresh, delivery], fresh.url)).toBe(true)
    expect(isGone([tryOnce(fresh, { status: 500 }, 5)], fresh.url)).toBe(false)
    expect(isGone([delivery, tryOnce(fresh, { status: 200 }, 6)], fresh.url)).toBe(false)
    expect(isGone([delivery, tryOnce(fresh, { error: 'refused' }, 6)], fresh.url)).toBe(true)
  })

  test('that is running is due again when its claim expires, and replaces no scheduled one', () => {
    const begun = startDeliveryAttempt(fresh, 1_000, 25_000)
    expect(begun).toMatchObject({ revision: 2, dueAt: 26_000, tries: [{ at: 1_000 }] })
    expect(isRunning(begun)).toBe(true)
    const again = startDeliveryAttempt(begun, 30_000, 25_000)
    expect(again.tries).toEqual([{ at: 1_000, error: 'the server stopped during the attempt' }, { at: 30_000 }])
    const finished = finishDeliveryAttempt(again, { status: 503 }, { now: 30_100, random: even })
    expect(finished).toMatchObject({ triesMade: 1, dueAt: 35_100 })
    expect(isRunning(finished)).toBe(false)
  })

  test('that is abandoned is due at once, and does not count', () => {
    const given = abandonDeliveryAttempt(startDeliveryAttempt(fresh, 1_000, 25_000), 2_000)
    expect(given).toMatchObject({ state: 'pending', dueAt: 2_000, triesMade: 0, revision: 3 })
    expect(isRunning(given)).toBe(false)
  })

  test('that is withdrawn is not sent: it has the reason, and the delivery fails', () => {
    const withdrawn = withdraw(fresh, 'not needed', 7)
    expect(withdrawn).toMatchObject({ state: 'failed', tries: [{ at: 7, error: 'not needed' }] })
    expect(withdrawn).not.toHaveProperty('dueAt')
  })

  test('that was lost is closed when the delivery is withdrawn', () => {
    const withdrawn = withdraw(startDeliveryAttempt(fresh, 1, 25_000), 'not needed', 30_000)
    expect(withdrawn.tries).toEqual([
      { at: 1, error: 'the server stopped during the attempt' },
      { at: 30_000, error: 'not needed' },
    ])
  })
})

describe('a redelivery', () => {
  const failed = tryOnce(fresh, { status: 410 }, 0)
  const delivered = tryOnce(fresh, { status: 200 }, 0)
  const waiting = tryOnce(fresh, { status: 500 }, 0)

  test('is due now, and can deliver a failed delivery', () => {
    const asked = requestRedelivery(failed, 50)!
    expect(asked).toMatchObject({ state: 'pending', dueAt: 50, revision: failed.revision + 1 })
    expect(webhookIdOf(asked)).toBe(webhookIdOf(failed))
    const finished = tryOnce(asked, { status: 200 }, 60)
    expect(finished).toMatchObject({ state: 'delivered', triesMade: 1 })
    expect(finished).not.toHaveProperty('redelivery')
  })

  test.each([
    ['failed', failed],
    ['delivered', delivered],
    ['pending', waiting],
  ] as const)('that fails restores a delivery that was %s', (state, before) => {
    const finished = tryOnce(requestRedelivery(before, 50)!, { status: 500 }, 60)
    expect(finished.state).toBe(state)
    expect(finished.dueAt).toBe(before.dueAt)
    expect(finished.triesMade).toBe(before.triesMade)
    expect(finished.tries).toHaveLength(2)
  })

  test.each([
    ['later than the schedule', 600_000, 600_160],
    ['sooner than the schedule', 1_000, waiting.dueAt],
    ['in more than a day', 2 * RETRY_AFTER_MAX_MS, RETRY_AFTER_MAX_MS + 160],
  ])('respects a Retry-After until %s', (_what, retryAfterMs, dueAt) => {
    const finished = tryOnce(requestRedelivery(waiting, 50)!, { status: 429, retryAfterMs }, 60)
    expect(finished).toMatchObject({ state: 'pending', dueAt, triesMade: 1 })
    for (const before of [failed, delivered]) {
      const asLittle = tryOnce(requestRedelivery(before, 50)!, { status: 429, retryAfterMs }, 60)
      expect({ state: asLittle.state, dueAt: asLittle.dueAt }).toEqual({ state: before.state, dueAt: undefined })
    }
  })

  test('answered 410 cancels the scheduled attempts of a pending delivery only', () => {
    expect(tryOnce(requestRedelivery(waiting, 50)!, { status: 410 }, 60)).toMatchObject({ state: 'failed' })
    expect(tryOnce(requestRedelivery(delivered, 50)!, { status: 410 }, 60)).toMatchObject({ state: 'delivered' })
  })

  test('is refused while an attempt runs or is due', () => {
    expect(requestRedelivery(startDeliveryAttempt(fresh, 0, 25_000), 50)).toBeUndefined()
    expect(requestRedelivery(fresh, 0)).toBeUndefined()
    expect(requestRedelivery(requestRedelivery(failed, 50)!, 50)).toBeUndefined()
  })

  test('that was lost is repeated, and still does not count as a scheduled attempt', () => {
    const lost = startDeliveryAttempt(requestRedelivery(waiting, 50)!, 60, 25_000)
    expect(tryOnce(lost, { status: 500 }, 30_000)).toMatchObject({ triesMade: 1, dueAt: waiting.dueAt })
  })

  test('keeps only the last attempts, however often it is requested', () => {
    let delivery = delivered
    for (let n = 1; n < 200; n++) delivery = tryOnce(requestRedelivery(delivery, n)!, { status: 500 }, n)
    expect(delivery.tries).toHaveLength(DELIVERY_ATTEMPTS_KEPT)
    expect(delivery.state).toBe('delivered')
  })
})

test('the schedule takes three days', () =>
  expect(Math.floor(DELIVERY_DELAYS_MS.reduce((sum, ms) => sum + ms, 0) / 86_400_000)).toBe(3))

describe('Retry-After', () => {
  const now = Date.UTC(2026, 0, 1)
  test.each([
    ['120', 120_000],
    [' 0 ', 0],
    ['Thu, 01 Jan 2026 00:01:00 GMT', 60_000],
    ['Thursday, 01-Jan-26 00:01:00 GMT', 60_000],
    ['Thu Jan  1 00:01:00 2026 GMT', 60_000],
    ['Wed, 31 Dec 2025 23:00:00 GMT', 0],
    ['-5', undefined],
    ['1.5', undefined],
    ['soon', undefined],
    ['2026-01-02', undefined],
    ['Sunny', undefined],
    ['', undefined],
  ])('%j is parsed', (header, expected) => {
    expect(parseRetryAfter(header, now)).toBe(expected)
  })
})
