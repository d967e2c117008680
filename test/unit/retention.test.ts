import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { RESUME_SWEEP_MS } from '../../src/jobs/reconciler.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import type { Outputs } from '../../src/jobs/ports/files.ts'
import { anybody, type Core, startCore } from '../helpers/core.ts'
import { aDelivery, delivered } from '../helpers/deliveries.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { aJob, after, spawned, succeeded } from '../helpers/jobs.ts'
import { until } from '../helpers/until.ts'

let core: Core
afterEach(() => core.close())

describe.each(['memory', 'sqlite'])('retention in %s', (kind) => {
  test('jobs go when they ended long enough ago, in batches that leave the loop free', async () => {
    const store = kind === 'memory' ? createMemoryStore() : await createSqliteStore({ path: ':memory:' })
    core = await startCore({ running: false, store })
    const { clock, reconciler } = core
    const jobs = Array.from({ length: 230 }, () => aJob())
    for (const job of jobs) {
      await store.insert(job)
      await store.update(after(job, spawned(), succeeded()), job.revision)
    }
    const kept = aJob()
    await store.insert(kept)
    // Jobs of the helpers end at 2,000 ms; they are kept for 1,000 s.
    clock.now = 2_000 + 1_000_000 - 1
    await reconciler.removeOld()
    expect(await store.list({ limit: 1_000 })).toHaveLength(231)
    clock.now += 1
    const { remove } = store
    let [under, most] = [0, 0]
    store.remove = async (...args) => {
      most = Math.max(most, ++under)
      await new Promise(setImmediate)
      under--
      return remove(...args)
    }
    await reconciler.removeOld()
    expect(most).toBeLessThanOrEqual(100)
    expect((await store.list({ limit: 1_000 })).map(({ id }) => id)).toEqual([kept.id])
  })
})

test('a server that runs removes old jobs by itself, again and again', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers())
  const store = createMemoryStore()
  core = await startCore({ running: false, store })
  const removed = async (id: string) => (await store.get(id)) === undefined
  await core.reconciler.start()
  for (let round = 0; round < 2; round++) {
    const job = after(aJob(), spawned(), succeeded())
    await store.insert(job)
    core.clock.now += 2_000_000
    vi.advanceTimersByTime(RESUME_SWEEP_MS)
    await until(() => removed(job.id), 'removal')
  }
})

test('a clock that jumps ahead ends jobs and removes them early, one that jumps back keeps them, and none is stuck', async () => {
  const store = createMemoryStore()
  core = await startCore({ store })
  const { clock, reconciler, submit, untilStatus, backend, service } = core
  const { id } = await submit({ timeoutSeconds: 100 })
  await untilStatus(id, 'running')
  clock.now -= 3_600_000
  await reconciler.expireOverdue()
  await reconciler.removeOld()
  const young = await submit({ timeoutSeconds: 100 })
  await untilStatus(young.id, 'running')
  const { attempts, createdAt } = await service.get(id, anybody)
  backend.end(attempts[0]?.callId ?? '', aSuccess)
  const ended = await untilStatus(id, 'succeeded')
  expect(ended.finishedAt).toBeLessThan(createdAt)
  expect((await service.list({ limit: 5 })).jobs.map((job) => job.id)).toEqual([id, young.id])
  clock.now += 7_200_000
  await reconciler.expireOverdue()
  await untilStatus(young.id, 'failed')
  await reconciler.removeOld()
  expect(await store.get(id)).toBeUndefined()
})

describe.each(['memory', 'sqlite'])('retention in %s', (kind) => {
  test('a job stays as long as a delivery is pending, and is removed after that', async () => {
    const store = kind === 'memory' ? createMemoryStore() : await createSqliteStore({ path: ':memory:' })
    core = await startCore({ running: false, store })
    const { clock, reconciler } = core
    const job = aJob()
    const ended = after(job, spawned(), succeeded())
    await store.insert(job)
    await store.update(ended, job.revision, aDelivery(job, { dueAt: 1e12 }))
    clock.now = 1e10
    await reconciler.removeOld()
    expect(await store.get(job.id)).toEqual(ended)
    await store.updateDelivery(delivered(aDelivery(job)), 1)
    await reconciler.removeOld()
    expect(await store.get(job.id)).toBeUndefined()
  })
})

test('memory forgets no job with a delivery pending, and takes it among the others when that has ended', async () => {
  const store = createMemoryStore({ maxFinished: 2 })
  core = await startCore({ running: false, store })
  const jobs = Array.from({ length: 5 }, (_, n) => aJob({ createdAt: n }))
  for (const job of jobs) await store.insert(job)
  const [owing = aJob(), ...others] = jobs
  await store.update(after(owing, { type: 'canceled' }), 1, aDelivery(owing))
  for (const job of others) await store.update(after(job, { type: 'canceled' }), 1)
  const left = async () => (await store.list({ limit: 10 })).map(({ createdAt }) => createdAt)
  expect(await left()).toEqual([4, 3, 0])
  await store.updateDelivery(delivered(aDelivery(owing)), 1)
  expect(await left()).toEqual([4, 0])
})

test('memory keeps at most so many finished jobs, those that ended last', async () => {
  const store = createMemoryStore({ maxFinished: 3 })
  core = await startCore({ running: false, store })
  const jobs = Array.from({ length: 6 }, (_, n) => aJob({ createdAt: n }))
  for (const job of jobs) await store.insert(job)
  for (const job of jobs.slice(0, 5).reverse()) await store.update(after(job, { type: 'canceled' }), job.revision)
  const left = (await store.list({ limit: 10 })).map(({ createdAt }) => createdAt)
  expect(left).toEqual([5, 2, 1, 0])
})

test('memory beyond its bytes forgets finished jobs, and refuses new ones where there are none', async () => {
  const big = () => aJob({ metadata: { text: 'x'.repeat(10_000) } })
  const store = createMemoryStore({ maxBytes: 60_000 })
  core = await startCore({ running: false, store })
  const finished = [big(), big(), big()]
  for (const job of finished) {
    await store.insert(job)
    await store.update(after(job, { type: 'canceled' }), job.revision)
  }
  const unfinished = Array.from({ length: 6 }, big)
  const answers = []
  for (const job of unfinished) answers.push((await store.insert(job)).kind)
  expect(answers).toEqual(['inserted', 'inserted', 'inserted', 'inserted', 'inserted', 'inserted'])
  expect((await store.list({ limit: 10 })).map(({ id }) => id).sort()).toEqual(unfinished.map(({ id }) => id).sort())

  const refused = big()
  expect(await store.insert(refused)).toEqual({ kind: 'full' })
  expect(await store.get(refused.id)).toBeUndefined()
  const [first = aJob()] = unfinished
  await store.update(after(first, { type: 'canceled' }), first.revision)
  expect(await store.insert(refused)).toEqual({ kind: 'inserted' })
})

test('memory counts the bytes of a job and its deliveries no longer than it has them', async () => {
  const store = createMemoryStore({ maxBytes: 30_000 })
  core = await startCore({ running: false, store })
  for (let n = 0; n < 20; n++) {
    const job = aJob({ metadata: { text: 'x'.repeat(10_000) } })
    expect(await store.insert(job)).toEqual({ kind: 'inserted' })
    await store.update(after(job, { type: 'canceled' }), job.revision, aDelivery(job))
    expect(await store.remove(job.id, job.revision + 1)).toBe(true)
  }
})

test('the memory store reports each job that it removes to make room', async () => {
  const forgotten: string[] = []
  const store = createMemoryStore({ maxFinished: 1, onForgotten: ({ id }) => void forgotten.push(id) })
  core = await startCore({ running: false, store })
  const jobs = [aJob(), aJob()]
  for (const job of jobs) {
    await store.insert(job)
    await store.update(after(job, { type: 'canceled' }), job.revision)
  }
  expect(forgotten).toEqual([jobs[0]!.id])
})

describe('files of jobs', () => {
  /** What is asked of the outputs; `forget` fails while it is told to. */
  const recorder = () => {
    const asked: unknown[] = []
    const state = { fails: false }
    const outputs: Outputs = {
      open: () => Promise.reject(new Error('not asked for here')),
      prefetch: ({ id, outputPath }) => void asked.push(['prefetch', id, outputPath]),
      async forget({ id }) {
        asked.push(['forget', id])
        if (state.fails) throw new Error('the disk is read-only')
      },
      async sweep({ before, isKnown }) {
        asked.push([
          'sweep',
          before,
          await isKnown(aJob().id),
          await Promise.all((await core.store.list({ limit: 9 })).map(({ id }) => isKnown(id))),
        ])
      },
      close: () => Promise.resolve(),
    }
    return { asked, state, outputs }
  }

  test('are made ready at success, and go when a job is removed or too old', async () => {
    const { asked, outputs } = recorder()
    core = await startCore({ outputs })
    const jobs = [await core.submit(), await core.submit()]
    for (const { id } of jobs) {
      await core.untilStatus(id, 'running')
      core.backend.end(`fc-${id}-1`, aSuccess)
      await core.untilStatus(id, 'succeeded')
    }
    const [first, second] = jobs.map(({ id }) => id)
    expect(asked).toEqual([first, second].map((id) => ['prefetch', id, '/shared/results/run/v15/output.mp4']))
    asked.length = 0
    await core.service.remove(first!, anybody)
    core.clock.now += 1_000_000
    await core.reconciler.removeOld()
    expect(asked).toEqual([
      ['forget', first],
      ['forget', second],
    ])
  })

  test('that cannot be removed now do not keep a job from being removed', async () => {
    const { state, outputs } = recorder()
    core = await startCore({ running: false, outputs })
    const { id } = await core.submit()
    await core.service.cancel(id, anybody)
    state.fails = true
    await core.service.remove(id, anybody)
    await expect(core.service.get(id, anybody)).rejects.toThrow('no job')
    expect(core.lines).toContainEqual(expect.objectContaining({ level: 'warn', job_id: id }))
  })

  test('are looked for that nobody knows, as old as a job may be', async () => {
    const { asked, outputs } = recorder()
    core = await startCore({ running: false, outputs })
    await core.submit()
    await core.reconciler.sweepFiles()
    expect(asked).toEqual([['sweep', core.clock.now - 1_000_000, false, [true]]])
  })
})
