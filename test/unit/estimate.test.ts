import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { estimateFinish, estimateStart, MEDIANS_FOR_MS } from '../../src/jobs/estimate.ts'
import { JOBS_ESTIMATED } from '../../src/jobs/batch-states.ts'
import { problem } from '../../src/problems.ts'
import { medianOf } from '../../src/lib/collections.ts'
import { expiresAt, type Job, JOB_STAGES } from '../../src/jobs/job.ts'
import { createStepShares } from '../../src/jobs/step-shares.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { anyCaller, startCore } from '../helpers/core.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { aJob, after, failed, interrupted, spawned, started, succeeded } from '../helpers/jobs.ts'
import { until } from '../helpers/until.ts'

/** Of jobs that were made at 1,000, taken at 2,000, and have their deadline at 100,000. */
const waiting = aJob()
const running = after(waiting, spawned())
const stageSince = (since: number) => ({ stage: 'running', since }) as const

describe('an estimate', () => {
  const basis = { now: 3_000, runMs: 10_000, stage: undefined, done: undefined, startsAt: 5_000 }

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
    const arbitrary = fc.record({
      now: clock,
      runMs: fc.option(numbers),
      stage: fc.option(state),
      done: fc.option(fc.record({ part: numbers, at: numbers })),
      startsAt: numbers,
    })
    fc.assert(
      fc.property(jobs, arbitrary, (job, { runMs, stage, done, ...rest }) => {
        const finishAt = estimateFinish(job, {
          ...rest,
          runMs: runMs ?? undefined,
          stage: stage ?? undefined,
          done: done ?? undefined,
        })
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
  [[NaN, 0, -Infinity, Infinity, 5], 2.5],
])('the median of %j is %j', (numbers, median) => {
  expect(medianOf(numbers)).toBe(median)
})

/** A core whose reader says that each speech lasts so long; `run` takes a job through a run of `runMs`. */
async function coreOfTest(options: Parameters<typeof startCore>[0] = {}, seconds = 10) {
  const media = {
    read: () => Promise.resolve({ media: { audio: { durationSeconds: seconds } } }),
    close: () => Promise.resolve(),
  }
  const core = await startCore({ media, ...options })
  return {
    ...core,
    callOf: (id: string) => `fc-${id}-1`,
    /** Waits until the job's call is followed, and its run starts. */
    async startRun(id: string) {
      await until(() => core.backend.waiting.has(`fc-${id}-1`), 'the call')
      core.backend.changeStage(`fc-${id}-1`, 'running')
    },
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
    await core.startRun(id)
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

  test('is absent while it waits for the output of another job', async () => {
    const core = await coreOfTest(NEVER_SLOWER)
    await core.run(10_000)
    await core.estimator.load()
    const job = aJob({ deadlineAt: 9_000_000, media: { audio: { durationSeconds: 10 } } })
    expect(core.estimator.finishOf(job, undefined)).toBe(1_010_000)
    expect(core.estimator.finishOf({ ...job, isWaiting: true }, undefined)).toBeUndefined()
    await core.close()
  })

  test('counts the queue ahead: places that get free, one after the other', async () => {
    const core = await coreOfTest({ ...NEVER_SLOWER, maxConcurrentJobs: 1 })
    await core.run(100_000)
    await core.estimator.load()
    const [first, second, third] = [await core.submit(), await core.submit(), await core.submit()]
    await core.untilStatus(first.id, 'running')
    await core.startRun(first.id)
    const ends = [await core.estimateOf(first.id), await core.estimateOf(second.id), await core.estimateOf(third.id)]
    expect(ends).toEqual([1_100_000, 1_200_000, 1_300_000])
    await core.close()
  })

  test('of a batch is the latest of its newest unfinished jobs, read once in a while; absent if nothing is known', async () => {
    const core = await coreOfTest({ ...NEVER_SLOWER, maxConcurrentJobs: 1 })
    const submit = async (count: number) => {
      const input = { video_path: 'face.mp4', audio_path: 'speech.wav' }
      const jobs = Array.from({ length: count }, () => ({ input, version: 'v15' }) as const)
      return (await core.batches.submit({ jobs, isAtomic: false, content: String(count) }, anyCaller)).batch
    }
    expect(await core.batches.estimateFinish(await submit(1))).toBeUndefined()
    const [first] = await core.store.list({ limit: 1 })
    await core.untilStatus(first!.id, 'running')
    core.backend.end(core.callOf(first!.id), aSuccess, { runMs: 10_000 })
    await core.untilStatus(first!.id, 'succeeded')
    await core.estimator.load()
    const batch = await submit(JOBS_ESTIMATED + 20)
    await until(() => core.backend.waiting.size === 1, 'the call of its first job')
    await core.startRun([...core.backend.waiting.keys()][0]!.slice('fc-'.length, -'-1'.length))
    const reads: (number | undefined)[] = []
    const { list } = core.store
    core.store.list = (query) => (reads.push(query.limit), list(query))
    const ends = [1, 2, 3].map(() => core.batches.estimateFinish(batch))
    expect(await Promise.all(ends)).toEqual(Array(3).fill(1_000_000 + (JOBS_ESTIMATED + 20) * 10_000))
    expect(reads).toEqual([JOBS_ESTIMATED])
    core.clock.now += 6_000
    await core.batches.estimateFinish(batch)
    expect(reads).toHaveLength(2)
    core.store.list = () => Promise.reject(problem('store_unavailable'))
    core.clock.now += 6_000
    expect(await core.batches.estimateFinish(batch)).toBeUndefined()
    await core.close()
  })

  test('counts a run that an earlier process has started, until it ends, even if it was canceled elsewhere', async () => {
    const store = { ...createMemoryStore(), recentRuns: () => Promise.resolve([5_000]) }
    const callId = 'fc-earlier-1'
    const running = after(aJob({ deadlineAt: 9_000_000 }), { type: 'spawned', attempt: 1, callId })
    await store.insert(running)
    const core = await coreOfTest({ ...NEVER_SLOWER, store, maxConcurrentJobs: 1, running: false })
    core.backend.adopt(callId)
    const next = aJob({ media: { audio: { durationSeconds: 10 } } })
    const queuedMs = async () => (await core.estimator.ofSubmit(next)).queuedMs
    expect(await queuedMs()).toBe(0)
    await core.start()
    await until(() => core.backend.waiting.has(callId), 'the call')
    expect(await queuedMs()).toBeGreaterThan(0)
    // Another replica writes the cancel and the stop of the call; this one only notices that the call has ended.
    const canceled = after(after(running, { type: 'canceled' }), { type: 'stopped', attempt: 1 })
    await store.update(canceled, running.revision)
    core.backend.end(callId, aSuccess)
    await until(async () => (await queuedMs()) === 0, 'the end')
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

describe('with progress', () => {
  const basis = { now: 30_000, runMs: 20_000, stage: stageSince(10_000), startsAt: 0 }
  const estimate = (change: Partial<Parameters<typeof estimateFinish>[1]>) =>
    estimateFinish(running, { ...basis, done: undefined, ...change })

  test.each([
    ['half done at the median pace', { part: 0.5, at: 20_000 }, 10_000 + 20_000],
    ['half done at half the pace: the mean of both', { part: 0.5, at: 30_000 }, 10_000 + 30_000],
    ['nearly done at half the pace: nearly its own', { part: 0.9, at: 46_000 }, 10_000 + 38_000],
    ['hardly begun: the median alone', { part: 0.01, at: 25_000 }, undefined],
    ['more done than there is: the median alone', { part: 1.5, at: 29_000 }, undefined],
    ['not a number: the median alone', { part: NaN, at: 29_000 }, undefined],
    ['reported before the start: the median alone', { part: 0.5, at: 9_000 }, undefined],
  ])('a run that is %s', (_what, done, finishAt) => {
    expect(estimate({ now: 25_000, done })).toBe(finishAt ?? 10_000 + 20_000)
  })

  test('a run is estimated without the runs of others', () => {
    expect(estimate({ runMs: undefined, done: { part: 0.25, at: 20_000 } })).toBe(10_000 + 40_000)
    expect(estimate({ runMs: undefined })).toBeUndefined()
  })
})

describe('the shares of steps', () => {
  const report = (step: string, done: number, at: number, total = 100) => ({ step, done, total, at })
  const anotherJob = () => ({ ...running, id: crypto.randomUUID() })

  /** Steps `one` from 0 to 20 % and `two` from 20 to 100 % of a run of 100 s. */
  function learned() {
    const shares = createStepShares()
    const job = anotherJob()
    for (const done of [10, 90]) shares.observe(job, report('one', done, 1_000_000 + done * 200))
    for (const done of [25, 75]) shares.observe(job, report('two', done, 1_020_000 + done * 800))
    shares.learn(job, { startedAt: 1_000_000, endedAt: 1_100_000 })
    return shares
  }

  test('say how much of another run is done', () => {
    const shares = learned()
    const job = anotherJob()
    expect(shares.doneOf(job)).toBeUndefined()
    for (const [step, done, part] of [
      ['one', 50, 0.1],
      ['two', 0, 0.2],
      ['two', 50, 0.6],
      ['two', 100, 1],
    ] as const) {
      shares.observe(job, report(step, done, 7))
      expect(shares.doneOf(job)).toEqual({ part: expect.closeTo(part) as number, at: 7 })
    }
  })

  test('are not known of other steps and versions, nor of another attempt', () => {
    const shares = learned()
    const job = anotherJob()
    shares.observe(job, report('three', 50, 7))
    expect(shares.doneOf(job)).toBeUndefined()
    shares.observe({ ...job, version: 'v1' }, report('one', 50, 7))
    expect(shares.doneOf({ ...job, version: 'v1' })).toBeUndefined()
    shares.observe(job, report('one', 50, 7))
    expect(shares.doneOf(job)).toBeDefined()
    expect(shares.doneOf({ ...job, attempts: [...job.attempts, { attempt: 2 }] })).toBeUndefined()
  })

  test('are not learned from a step that was seen once, or outside of its run', () => {
    const shares = createStepShares()
    const job = anotherJob()
    shares.observe(job, report('once', 50, 1_000_500))
    for (const done of [10, 90]) shares.observe(job, report('late', done, 2_000_000 + done))
    shares.observe(job, { done: 1, total: 2, at: 1_000_500 })
    shares.observe(job, report('none', 1, 1_000_500, 0))
    shares.learn(job, { startedAt: 1_000_000, endedAt: 1_001_000 })
    for (const step of ['once', 'late', 'none']) {
      const other = anotherJob()
      shares.observe(other, report(step, 50, 7))
      expect(shares.doneOf(other), step).toBeUndefined()
    }
  })

  test('are bounded, however many steps a function prints', () => {
    const shares = createStepShares()
    const seen = (n: number) => {
      const job = anotherJob()
      for (const done of [10, 90]) shares.observe(job, report(`step ${n}`, done, 1_000_000 + done))
      shares.learn(job, { startedAt: 1_000_000, endedAt: 1_000_100 })
      shares.observe(job, report(`step ${n}`, 50, 7))
      return shares.doneOf(job) !== undefined
    }
    expect(Array.from({ length: 200 }, (_, n) => seen(n)).filter(Boolean)).toHaveLength(50)
  })
})

test('a job whose progress is followed is estimated by the shares of the steps of earlier ones', async () => {
  const core = await coreOfTest(NEVER_SLOWER)
  const follow = async (done: number[], everyMs: number) => {
    const { id } = await core.submit()
    const job = await core.untilStatus(id, 'running')
    await core.startRun(id)
    for (const part of done) {
      core.clock.now += everyMs
      core.estimator.observeProgress(job, { step: 'lips', done: part, total: 10, at: core.clock.now })
    }
    return id
  }
  const first = await follow([2, 4, 6, 8, 10], 4_000)
  core.backend.end(core.callOf(first), aSuccess, { runMs: 20_000 })
  await core.untilStatus(first, 'succeeded')
  await core.estimator.load()
  const startedAt = core.clock.now
  const second = await follow([2, 4], 8_000)
  // 0.4 of it took 16 s: 40 s by its own pace, 20 s by the run before.
  expect(await core.estimateOf(second)).toBe(startedAt + 0.4 * 40_000 + 0.6 * 20_000)
  await core.close()
})
