import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Batch, NO_COUNTS } from '../../src/jobs/batch.ts'
import { RESUME_SWEEP_MS } from '../../src/jobs/reconciler.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import type { Outputs } from '../../src/jobs/ports/files.ts'
import { anyCaller, type Core, noOutputs, startCore } from '../helpers/core.ts'
import { aDelivery, delivered } from '../helpers/deliveries.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { aJob, after, spawned, succeeded } from '../helpers/jobs.ts'
import { until } from '../helpers/until.ts'

let core: Core
afterEach(() => core.close())

describe.each(['memory', 'sqlite'])('retention in %s', (kind) => {
  test('jobs are removed after their retention, at most 100 at the same time', async () => {
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
    // Jobs of the helpers finish at 2,000 ms; they are kept for 1,000 s.
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

test('a running server removes old jobs in every sweep', async () => {
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

test('a clock that jumps back expires and removes no job early, and one that jumps ahead leaves none behind', async () => {
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
  const { attempts, createdAt } = await service.get(id, anyCaller)
  backend.end(attempts[0]?.callId ?? '', aSuccess)
  const finished = await untilStatus(id, 'succeeded')
  expect(finished.finishedAt).toBeLessThan(createdAt)
  expect((await service.list({ limit: 5 })).jobs.map((job) => job.id)).toEqual([id, young.id])
  clock.now += 7_200_000
  await reconciler.expireOverdue()
  await untilStatus(young.id, 'failed')
  await reconciler.removeOld()
  expect(await store.get(id)).toBeUndefined()
})

describe.each(['memory', 'sqlite'])('retention in %s', (kind) => {
  test('a job with a pending delivery is kept, and removed after that is delivered', async () => {
    const store = kind === 'memory' ? createMemoryStore() : await createSqliteStore({ path: ':memory:' })
    core = await startCore({ running: false, store })
    const { clock, reconciler } = core
    const job = aJob()
    const finished = after(job, spawned(), succeeded())
    await store.insert(job)
    await store.update(finished, job.revision, { deliveries: [aDelivery(job, { dueAt: 1e12 })] })
    clock.now = 1e10
    await reconciler.removeOld()
    expect(await store.get(job.id)).toEqual(finished)
    await store.updateDelivery(delivered(aDelivery(job)), 1)
    await reconciler.removeOld()
    expect(await store.get(job.id)).toBeUndefined()
  })
})

test('the memory store removes no job with a pending delivery to make room, until that is delivered', async () => {
  const store = createMemoryStore({ maxFinished: 2 })
  core = await startCore({ running: false, store })
  const jobs = Array.from({ length: 5 }, (_, n) => aJob({ createdAt: n }))
  for (const job of jobs) await store.insert(job)
  const [undelivered = aJob(), ...others] = jobs
  await store.update(after(undelivered, { type: 'canceled' }), 1, { deliveries: [aDelivery(undelivered)] })
  for (const job of others) await store.update(after(job, { type: 'canceled' }), 1)
  const left = async () => (await store.list({ limit: 10 })).map(({ createdAt }) => createdAt)
  expect(await left()).toEqual([4, 3, 0])
  await store.updateDelivery(delivered(aDelivery(undelivered)), 1)
  expect(await left()).toEqual([4, 0])
})

test('the memory store keeps the jobs that finished last, up to its maximum', async () => {
  const store = createMemoryStore({ maxFinished: 3 })
  core = await startCore({ running: false, store })
  const jobs = Array.from({ length: 6 }, (_, n) => aJob({ createdAt: n }))
  for (const job of jobs) await store.insert(job)
  for (const job of jobs.slice(0, 5).reverse()) await store.update(after(job, { type: 'canceled' }), job.revision)
  const left = (await store.list({ limit: 10 })).map(({ createdAt }) => createdAt)
  expect(left).toEqual([5, 2, 1, 0])
})

test('the memory store beyond its bytes removes finished jobs, and refuses new ones if there are none', async () => {
  const big = () => aJob({ input: { video_path: 'x'.repeat(10_000), audio_path: 'speech.wav' } })
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

test('the memory store counts the facts of media, and what attempts used', async () => {
  const room = async (change: Parameters<typeof aJob>[0]) => {
    const store = createMemoryStore({ maxBytes: 30_000 })
    let count = 0
    while ((await store.insert(aJob(change))).kind === 'inserted') count++
    return count
  }
  const plain = await room({})
  expect(await room({ media: { audio: { durationSeconds: 5 } } })).toBeLessThan(plain)
  expect(await room({ attempts: [{ attempt: 1, usage: { runMs: 5 } }] })).toBeLessThan(plain)
})

describe('the memory store and batches', () => {
  const NO_USAGE = { queuedMs: 0, startupMs: 0, runMs: 0 }
  const batchOf = (change: Partial<Batch> = {}, results = '[]') => {
    const id = randomUUID()
    const job = aJob({ batch: { id } })
    const counted = { refused: 0, counts: NO_COUNTS, stored: 0, usage: NO_USAGE, nanos: {} }
    return {
      batch: { id, caller: job.caller, createdAt: 1, ...counted, ...change },
      jobs: [job],
      results,
      isAtomic: false,
    }
  }

  test('counts their bytes: results and labels leave room for fewer', async () => {
    const roomFor = async (insert: (store: Store) => Promise<{ kind: string }>) => {
      const store = createMemoryStore({ maxBytes: 60_000 })
      let count = 0
      while ((await insert(store)).kind === 'inserted') count++
      return count
    }
    const room = (next: () => ReturnType<typeof batchOf>) => roomFor((store) => store.insertBatch(next()))
    const plain = await room(batchOf)
    expect(plain).toBeLessThan(await roomFor((store) => store.insert(batchOf().jobs[0]!)))
    expect(await room(() => batchOf({}, 'x'.repeat(2_000)))).toBeLessThan(plain)
    expect(await room(() => batchOf({ metadata: { scene: 'x'.repeat(2_000) } }))).toBeLessThan(plain)
  })

  test('removes one with its last job, with its bytes, to make room', async () => {
    const store = createMemoryStore({ maxBytes: 60_000 })
    for (let n = 0; n < 20; n++) {
      const added = batchOf({ idempotencyKey: `k${n}` }, 'x'.repeat(20_000))
      expect((await store.insertBatch(added)).kind).toBe('inserted')
      const [job = aJob()] = added.jobs
      await store.update(after(job, { type: 'canceled' }), job.revision)
      // Finished jobs of earlier ones are gone, and their batches with them.
      expect((await store.listBatches({ limit: 50 })).length).toBeLessThanOrEqual(3)
    }
  })
})

test('the memory store no longer counts the bytes of a removed job and its deliveries', async () => {
  const store = createMemoryStore({ maxBytes: 30_000 })
  core = await startCore({ running: false, store })
  for (let n = 0; n < 20; n++) {
    const job = aJob({ input: { video_path: 'x'.repeat(10_000), audio_path: 'speech.wav' } })
    expect(await store.insert(job)).toEqual({ kind: 'inserted' })
    await store.update(after(job, { type: 'canceled' }), job.revision, { deliveries: [aDelivery(job)] })
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
  /** Records the calls of the outputs; `forget` fails while `state.fails`. */
  const recorder = () => {
    const calls: unknown[] = []
    const state = { fails: false }
    const outputs: Outputs = {
      ...noOutputs,
      prefetch: ({ id, outputPath }) => void calls.push(['prefetch', id, outputPath]),
      async forget({ id }) {
        calls.push(['forget', id])
        if (state.fails) throw new Error('the disk is read-only')
      },
      async sweep({ before, isKnown }) {
        calls.push([
          'sweep',
          before,
          await isKnown(aJob().id),
          await Promise.all((await core.store.list({ limit: 9 })).map(({ id }) => isKnown(id))),
        ])
      },
    }
    return { calls, state, outputs }
  }

  test('are prefetched when a job succeeds, and deleted when it is removed or too old', async () => {
    const { calls, outputs } = recorder()
    core = await startCore({ outputs })
    const jobs = [await core.submit(), await core.submit()]
    for (const { id } of jobs) {
      await core.untilStatus(id, 'running')
      core.backend.end(`fc-${id}-1`, aSuccess)
      await core.untilStatus(id, 'succeeded')
    }
    const [first, second] = jobs.map(({ id }) => id)
    expect(calls).toEqual([first, second].map((id) => ['prefetch', id, '/shared/results/run/v15/output.mp4']))
    calls.length = 0
    await core.service.remove(first!, anyCaller)
    core.clock.now += 1_000_000
    await core.reconciler.removeOld()
    expect(calls).toEqual([
      ['forget', first],
      ['forget', second],
    ])
  })

  test('that cannot be deleted do not keep a job from being removed', async () => {
    const { state, outputs } = recorder()
    core = await startCore({ running: false, outputs })
    const { id } = await core.submit()
    await core.service.cancel(id, anyCaller)
    state.fails = true
    await core.service.remove(id, anyCaller)
    await expect(core.service.get(id, anyCaller)).rejects.toThrow('no job')
    expect(core.lines).toContainEqual(expect.objectContaining({ level: 'warn', job_id: id }))
  })

  test('of unknown jobs are swept, if they are older than any job may be', async () => {
    const { calls, outputs } = recorder()
    core = await startCore({ running: false, outputs })
    await core.submit()
    await core.reconciler.sweepFiles()
    expect(calls).toEqual([['sweep', core.clock.now - 1_000_000, false, [true]]])
  })
})
