import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { RESUME_SWEEP_MS } from '../../src/jobs/reconciler.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { createSqliteStore } from '../../src/store/sqlite.ts'
import { anybody, type Core, startCore } from '../helpers/core.ts'
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
  await reconciler.endOverdue()
  await reconciler.removeOld()
  const young = await submit({ timeoutSeconds: 100 })
  await untilStatus(young.id, 'running')
  const { attempts, createdAt } = await service.get(id, anybody)
  backend.end(attempts[0]?.callId ?? '', aSuccess)
  const ended = await untilStatus(id, 'succeeded')
  expect(ended.finishedAt).toBeLessThan(createdAt)
  expect((await service.list({ limit: 5 })).jobs.map((job) => job.id)).toEqual([id, young.id])
  clock.now += 7_200_000
  await reconciler.endOverdue()
  await untilStatus(young.id, 'failed')
  await reconciler.removeOld()
  expect(await store.get(id)).toBeUndefined()
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
