import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Job, JobEvent } from '../../src/jobs/job.ts'
import { account, costOf, formatNanos, parseNanos, type Price, sumCosts, usageOfJob } from '../../src/jobs/usage.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import { expectExactSums } from '../helpers/usage.ts'
import { runTimesOf } from '../../src/backend/modal/outcome.ts'
import { aJob, after, failed, interrupted, spawned, started, succeeded } from '../helpers/jobs.ts'

const price: Price = { nanosPerSecond: 164_000n, currency: 'USD' }

/** The job after the last event, as it is written, and what is added to the sums. */
function accountFor(job: Job, event: JobEvent, of: Price | undefined = price) {
  return account(job, after(job, event), event, { price: of })
}

describe('the usage of an attempt', () => {
  test('has the times of the backend, and its cost to the nano-unit', () => {
    const event = { ...succeeded(), times: { queuedMs: 1_500, startupMs: 8_000, runMs: 12_345.4 } } as JobEvent
    const { job, usage } = accountFor(after(aJob({ metadata: { team: 'dubbing' } }), spawned()), event)
    expect(job.attempts).toMatchObject([
      { usage: { queuedMs: 1_500, startupMs: 8_000, runMs: 12_345 }, cost: { amount: '0.00202458', currency: 'USD' } },
    ])
    expect(usage).toEqual({
      day: '1970-01-01',
      caller: 'anonymous',
      groups: [
        { dimension: 'status', value: 'succeeded' },
        { dimension: 'metadata.team', value: 'dubbing' },
      ],
      jobs: 1,
      attempts: 1,
      queuedMs: 1_500,
      startupMs: 8_000,
      runMs: 12_345,
      nanos: 2_024_580n,
      currency: 'USD',
    })
  })

  test.each([
    ['negative', -1],
    ['not a number', NaN],
    ['infinite', Infinity],
    ['absurd', 1e15],
  ])('leaves out a time that is %s', (_what, runMs) => {
    const { job, usage } = accountFor(after(aJob(), spawned()), {
      ...failed(),
      times: { queuedMs: 5, runMs },
    } as JobEvent)
    expect(job.attempts[0]).toMatchObject({ usage: { queuedMs: 5 } })
    expect(job.attempts[0]?.usage).not.toHaveProperty('runMs')
    expect(job.attempts[0]).not.toHaveProperty('cost')
    expect(usage).toMatchObject({ attempts: 1, runMs: 0, nanos: 0n, currency: '' })
  })

  /** A running job that the backend took at 1,000; events come at 2,000. */
  const taken = (): Job => {
    const { attempts, ...job } = after(aJob(), spawned())
    return { ...job, attempts: [{ ...attempts[0]!, startedAt: 1_000 }] }
  }

  test('of a canceled run lasts from its start until the cancel, if the start is known', () => {
    expect(accountFor(after(taken(), started(1, 1_500)), { type: 'canceled' }).usage).toMatchObject({
      queuedMs: 500,
      runMs: 500,
    })
    expect(accountFor(taken(), { type: 'canceled' }).job.attempts[0]).not.toHaveProperty('usage')
    expect(accountFor(aJob(), { type: 'canceled' }).usage).toMatchObject({ jobs: 1, attempts: 1, runMs: 0 })
  })

  test('of a canceled run is never longer than the time since its spawn, whatever the clock of the backend', () => {
    const { job } = accountFor(after(taken(), started(1, 400)), { type: 'canceled' })
    expect(job.attempts[0]?.usage).toEqual({ queuedMs: 0, runMs: 1_000 })
  })

  test('counts an interrupted attempt without its job, and a retried job at each of its ends', () => {
    const running = after(aJob(), spawned())
    const first = accountFor(running, interrupted())
    expect(first.usage).toMatchObject({ jobs: 0, attempts: 1, groups: [{ value: 'interrupted' }] })
    const second = accountFor(after(first.job, spawned(2)), failed(2))
    expect(second.usage).toMatchObject({ jobs: 1, attempts: 1 })
    const retried = accountFor(second.job, { type: 'retried' })
    expect(retried.usage).toBeUndefined()
    expect(accountFor(retried.job, { type: 'canceled' }).usage).toMatchObject({ jobs: 1, attempts: 1 })
  })

  test('of a success gives a sample for each second of speech, where its length is known', () => {
    const media = { audio: { durationSeconds: 4, hasPicture: false, hasSound: true } }
    const event = { ...succeeded(), times: { runMs: 10_000 } } as JobEvent
    const sampleOf = (job: Job) => accountFor(after(job, spawned()), event).usage?.sample
    expect(sampleOf(aJob({ media }))).toEqual({ version: 'v15', msPerSecond: 2_500 })
    expect(sampleOf(aJob())).toBeUndefined()
    for (const durationSeconds of [0, -1, NaN]) {
      expect(sampleOf(aJob({ media: { audio: { ...media.audio, durationSeconds } } }))).toBeUndefined()
    }
  })

  test('has no cost without a price', () => {
    const event = { ...succeeded(), times: { runMs: 10_000 } } as JobEvent
    const running = after(aJob(), spawned())
    const { job, usage } = account(running, after(running, event), event, {})
    expect(job.attempts[0]).not.toHaveProperty('cost')
    expect(usage).toMatchObject({ nanos: 0n, currency: '' })
  })

  test('of a job that was retried often is in its sum, although the attempt is not kept', () => {
    let job = aJob()
    let runMs = 0
    for (let attempt = 1; attempt <= 60; attempt++) {
      const running = after(job, spawned(attempt))
      runMs += attempt
      const ended = accountFor(running, { ...failed(attempt), times: { runMs: attempt } } as JobEvent)
      job = after(ended.job, { type: 'retried' })
    }
    expect(job.attempts.length).toBeLessThan(60)
    expect(usageOfJob(job)).toEqual({ times: { runMs }, costs: [{ amount: '0.00030012', currency: 'USD' }] })
  })
})

describe('amounts of money', () => {
  test.each([
    [0n, '0.00'],
    [1n, '0.000000001'],
    [500_000_000n, '0.50'],
    [21_300_000n, '0.0213'],
    [12n * 10n ** 9n, '12.00'],
    [10n ** 27n, '1000000000000000000.00'],
  ])('of %s nano-units are written as %s', (nanos, text) => {
    expect(formatNanos(nanos)).toBe(text)
  })

  test.each([
    [1, 499n, '0.00'],
    [1, 500n, '0.000000001'],
    [1_499, 1n, '0.000000001'],
    [1_500, 1n, '0.000000002'],
    [604_800_000, 999_999_999n, '604799.9993952'],
  ])('of a run of %i ms at %i nano-units a second are rounded to the nearest one', (runMs, nanosPerSecond, amount) => {
    expect(costOf(runMs, { nanosPerSecond, currency: 'USD' })).toEqual({ amount, currency: 'USD' })
  })

  test('are read as they were written', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 10n ** 26n), (nanos) => {
        expect(parseNanos(formatNanos(nanos))).toBe(nanos)
      }),
    )
  })

  test.each(['', '-1', '1e3', '1.', '.5', '0.0000000001', 'NaN', ' 1', '1,5'])('are not read from %j', (text) => {
    expect(parseNanos(text)).toBeUndefined()
  })

  test('are added by currency', () => {
    const costs = ['0.10', '0.20', '0.30'].map((amount) => ({ amount, currency: 'USD' }))
    expect(sumCosts([...costs, undefined, { amount: '1.00', currency: 'EUR' }])).toEqual([
      { amount: '0.60', currency: 'USD' },
      { amount: '1.00', currency: 'EUR' },
    ])
  })
})

describe('the sums of any lives of jobs are those of their attempts', () => {
  test('in memory', () =>
    expectExactSums(() => {
      const store = createMemoryStore()
      return Promise.resolve([store, store])
    }, 150))

  test('in SQLite', () =>
    expectExactSums(async () => {
      const store = await createSqliteStore({ path: ':memory:' })
      return [store, store]
    }, 50))
})

describe('the times of a call at Modal', () => {
  const START = 1_700_000_000_000
  const listed = { enqueuedAt: START, isListed: true, startupMs: 8_000, spawnedAt: START - 300 }
  const call = { runStartedAt: START + 10_000, runEndedAt: START + 40_000 }
  const now = START + 41_000

  test('separate queue, start and run if a listing showed them', () => {
    expect(runTimesOf(call, listed, now)).toEqual({ queuedMs: 2_000, startupMs: 8_000, runMs: 30_000 })
  })

  test('count the start as queue time if no listing showed it, or it cannot be right', () => {
    for (const startupMs of [undefined, 0, -1, NaN, 10_001]) {
      expect(runTimesOf(call, { ...listed, startupMs }, now)).toEqual({ queuedMs: 10_000, runMs: 30_000 })
    }
    expect(runTimesOf(call, { ...listed, isListed: false, startupMs: undefined }, now)).toEqual({
      queuedMs: 10_300,
      runMs: 30_000,
    })
  })

  test('leave out times that contradict each other by two clocks', () => {
    const hour = 3_600_000
    expect(runTimesOf({ ...call, runEndedAt: START + hour }, listed, now)).toEqual({
      queuedMs: 2_000,
      startupMs: 8_000,
    })
    expect(runTimesOf({ ...call, runEndedAt: START }, listed, now)).not.toHaveProperty('runMs')
    for (const shift of [hour, -hour]) {
      const shifted = { runStartedAt: call.runStartedAt + shift, runEndedAt: call.runEndedAt + shift }
      expect(runTimesOf(shifted, { ...listed, isListed: false, startupMs: undefined }, now)).toEqual({ runMs: 30_000 })
    }
  })

  test('are absent where Modal says nothing, and a wait is never negative', () => {
    expect(runTimesOf({}, listed, now)).toEqual({})
    const early = { runStartedAt: START - 400, runEndedAt: START }
    expect(runTimesOf(early, { ...listed, isListed: false, startupMs: undefined }, now)).toEqual({
      queuedMs: 0,
      runMs: 400,
    })
  })
})
