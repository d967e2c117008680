import { afterEach, describe, expect, test } from 'vitest'
import { createMemoryStore } from '../../src/store/memory.ts'
import { createSqliteStore } from '../../src/store/sqlite.ts'
import { type Core, startCore } from '../helpers/core.ts'
import { aDelivery, delivered } from '../helpers/deliveries.ts'
import { aJob, after, spawned, succeeded } from '../helpers/jobs.ts'

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
    let turns = 0
    const counting = setInterval(() => turns++, 0)
    await reconciler.removeOld()
    clearInterval(counting)
    expect((await store.list({ limit: 1_000 })).map(({ id }) => id)).toEqual([kept.id])
    if (kind === 'sqlite') expect(turns).toBeGreaterThan(1)
  })
})

describe.each(['memory', 'sqlite'])('retention in %s', (kind) => {
  test('a job stays as long as a delivery is pending, and goes when that has ended', async () => {
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
