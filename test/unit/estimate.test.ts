import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { estimateFinish, estimateStart, medianOf, MEDIANS_FOR_MS } from '../../src/jobs/estimate.ts'
import { expiresAt, type Job, JOB_STAGES } from '../../src/jobs/job.ts'
import { startCore } from '../helpers/core.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { aJob, after, failed, interrupted, spawned, started, succeeded } from '../helpers/jobs.ts'
import { until } from '../helpers/until.ts'

/** Of jobs that were made at 1,000, taken at 2,000, and have their deadline at 100,000. */
const waiting = aJob()
const running = after(waiting, spawned())
const stageSince = (since: number) => ({ stage: 'running', since }) as const

describe('an estimate', () => {
  const basis = { now: 3_000, runMs: 10_000, stage: undefined, startsAt: 5_000 }

  test.each<[string, Job, Partial<Parameters<typeof estimateFinish>[1]>, number | undefined]>([
    ['a job that waits: from the time at which it starts', waiting, {}, 15_000],
    ['a job whose stage is not known: likewise', running, {}, 15_000],
    ['a job that waits at the backend: likewise', running, { stage: { stage: 'queued', since: 2_100 } }, 15_000],
    ['a job that runs: from the start of its run', running, { stage: stageSince(2_500) }, 13_000],
    [
      'a run whose start was recorded: from that',
      after(running, started(1, 2_000)),
      { stage: stageSince(2_900) },
      12_000,
    ],
    ['a run that started before its job was taken, by another clock', running, { stage: stageSince(10) }, 12_000],
    ['a run that starts in the future, by another clock', running, { stage: stageSince(9e9) }, 13_000],
    ['an interrupted job: as one that waits', after(running, interrupted()), { stage: stageSince(2_500) }, 15_000],
    ['a part of a second: rounded up', waiting, { runMs: 9_001 }, 15_000],
    ['a run that would end after the deadline: the deadline', waiting, { runMs: 1e9 }, 100_000],
    ['a run without a length', waiting, { runMs: undefined }, undefined],
    ['a length that is no number', waiting, { runMs: NaN }, undefined],
    ['a run that takes longer than estimated', running, { stage: stageSince(2_500), now: 14_000 }, undefined],
    ['a job past its deadline', waiting, { now: 100_000 }, undefined],
    ['a clock that jumped back', running, { stage: stageSince(2_500), now: -5_000 }, 5_000],
    ['a job that has succeeded', after(running, succeeded()), {}, undefined],
    ['a job that has failed', after(running, failed()), {}, undefined],
    ['a job that was canceled', after(running, { type: 'canceled' }), {}, undefined],
  ])('of %s', (_what, job, change, finishAt) => {
    expect(estimateFinish(job, { ...basis, ...change })).toBe(finishAt)
  })

  test('is a whole second after now, at the deadline at the latest, whatever it goes by', () => {
    const numbers = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(0, 1_000, 2_000, 1e15))
    const state = fc.record({ stage: fc.constantFrom(...JOB_STAGES), since: numbers })
    const jobs = fc.constantFrom(waiting, running, after(running, started()), { ...running, runTimeoutSeconds: 3 })
    const clock = fc.nat(8.64e15)
    const arbitrary = fc.record({ now: clock, runMs: fc.option(numbers), stage: fc.option(state), startsAt: numbers })
    fc.assert(
      fc.property(jobs, arbitrary, (job, { runMs, stage, ...rest }) => {
        const finishAt = estimateFinish(job, { ...rest, runMs: runMs ?? undefined, stage: stage ?? undefined })
        if (finishAt === undefined) return
        expect(finishAt).toBeGreaterThan(rest.now)
        expect(finishAt).toBeLessThanOrEqual(expiresAt(job))
        expect(finishAt === expiresAt(job) || finishAt % 1_000 === 0).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })
})

test.each([
  [1, 10],
  [2, 20],
  [3, 110],
  [4, 120],
  [5, 210],
])('the job at position %i of two places that get free at 10 and 20 starts at %i', (position, startsAt) => {
  expect(estimateStart(position, { frees: [10, 20], runMs: 100 })).toBe(startsAt)
})

test.each([
  [[], undefined],
  [[3], 3],
  [[1, 9, 2], 2],
  [[4, 1, 2, 3], 2.5],
  [[NaN, 0, -1, Infinity, 5], 5],
])('the median of %j is %j', (numbers, median) => {
  expect(medianOf(numbers)).toBe(median)
})

/** A core whose reader says that each speech lasts so long; `run` takes a job through a run of `runMs`. */
async function coreOfTest(options: Parameters<typeof startCore>[0] = {}, seconds = 10) {
  const media = {
    read: () => Promise.resolve({ audio: { durationSeconds: seconds } }),
    close: () => Promise.resolve(),
  }
  const core = await startCore({ media, ...options })
  return {
    ...core,
    callOf: (id: string) => `fc-${id}-1`,
    async run(runMs: number) {
      const { id } = await core.submit()
      await core.untilStatus(id, 'running')
      core.backend.end(`fc-${id}-1`, aSuccess, { runMs })
      return core.untilStatus(id, 'succeeded')
    },
    estimateOf: async (id: string) => {
      const job = await core.service.get(id, { id: 'anonymous', seesAll: true })
      const position = await core.service.queuePosition(job)
      return core.service.estimateFinish(job, position)
    },
  }
}

const NEVER_SLOWER = { timeoutSeconds: 3_600 }

describe('the estimate of a job', () => {
  test('is absent until a run of its version has succeeded, then goes by the median of recent runs', async () => {
    const core = await coreOfTest(NEVER_SLOWER)
    const { id } = await core.submit()
    await core.untilStatus(id, 'running')
    expect(await core.estimateOf(id)).toBeUndefined()
    for (const runMs of [50_000, 20_000, 40_000]) await core.run(runMs)
    await core.estimator.load()
    // It starts at the next step of ten seconds; 10 s of speech take 4 s each.
    expect(await core.estimateOf(id)).toBe(1_000_000 + 40_000)
    core.clock.now += 5_000
    expect(await core.estimateOf(id)).toBe(1_010_000 + 40_000)
    core.backend.changeStage(core.callOf(id), 'running')
    expect(await core.estimateOf(id)).toBe(1_005_000 + 40_000)
    core.clock.now += 12_345
    expect(await core.estimateOf(id)).toBe(1_005_000 + 40_000)
    core.clock.now += 60_000
    expect(await core.estimateOf(id)).toBeUndefined()
    await core.close()
  })

  test('of another version is absent', async () => {
    const core = await coreOfTest(NEVER_SLOWER)
    await core.run(10_000)
    await core.estimator.load()
    const { id } = await core.submit({ version: 'v1' })
    expect(await core.estimateOf(id)).toBeUndefined()
    await core.close()
  })

  test('counts the queue ahead: places that get free, one after the other', async () => {
    const core = await coreOfTest({ ...NEVER_SLOWER, maxConcurrentJobs: 1 })
    await core.run(100_000)
    await core.estimator.load()
    const [first, second, third] = [await core.submit(), await core.submit(), await core.submit()]
    await core.untilStatus(first.id, 'running')
    core.backend.changeStage(core.callOf(first.id), 'running')
    const ends = [await core.estimateOf(first.id), await core.estimateOf(second.id), await core.estimateOf(third.id)]
    expect(ends).toEqual([1_100_000, 1_200_000, 1_300_000])
    await core.close()
  })

  test('reads the recent runs once in a while, however many ask', async () => {
    const core = await coreOfTest(NEVER_SLOWER)
    let reads = 0
    const { recentRuns } = core.store
    core.store.recentRuns = (version) => {
      reads++
      return recentRuns(version)
    }
    const { id } = await core.submit()
    for (let n = 0; n < 1_000; n++) await core.estimateOf(id)
    await until(() => reads > 0, 'a read')
    expect(reads).toBeLessThanOrEqual(2)
    expect(MEDIANS_FOR_MS).toBeGreaterThanOrEqual(30_000)
    await core.close()
  })

  test('stays as it is while the store is unavailable', async () => {
    const core = await coreOfTest(NEVER_SLOWER)
    await core.run(10_000)
    await core.estimator.load()
    core.store.recentRuns = () => Promise.reject(new Error('unavailable'))
    await core.estimator.load()
    const { id } = await core.submit()
    expect(await core.estimateOf(id)).toBe(1_010_000)
    await core.close()
  })
})
