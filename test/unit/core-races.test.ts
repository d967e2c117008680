import { afterEach, describe, expect, test } from 'vitest'
import { entryOf } from '../../src/jobs/ports/queue.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import { problem } from '../../src/problems.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { anyCaller, type Core, startCore } from '../helpers/core.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { after, aJob, failed, spawned, succeeded } from '../helpers/jobs.ts'
import { until } from '../helpers/until.ts'

let core: Core
const start = async (options?: Parameters<typeof startCore>[0]) => (core = await startCore(options))
afterEach(() => core.close())

const callOf = (id: string, attempt = 1) => `fc-${id}-${attempt}`

describe('races', () => {
  test('two runs of one entry record one call and stop the other', async () => {
    const { backend, run, store, untilStatus } = await start({ running: false })
    let calls = 0
    backend.spawnWith = async () => ({ kind: 'spawned', callId: `fc-${++calls}` })
    const job = aJob()
    await store.insert(job)
    const signal = new AbortController().signal
    const runs = [run({ id: job.id, attempt: 1 }, signal), run({ id: job.id, attempt: 1 }, signal)]
    const { attempts } = await untilStatus(job.id, 'running')
    const callId = attempts[0]!.callId!
    await until(() => backend.stopped.length > 0)
    backend.end(callId, aSuccess)
    await Promise.all(runs)
    expect([callId, ...backend.stopped].toSorted()).toEqual(['fc-1', 'fc-2'])
    expect(await store.get(job.id)).toMatchObject({ status: 'succeeded', revision: 3 })
  })

  test('after a gap on the change bus, runs whose job finished elsewhere are dequeued, and no others', async () => {
    const { backend, queue, reconciler, store, submit, announceGap, untilStatus } = await start()
    await reconciler.start()
    const [removed, finished, running] = [await submit(), await submit(), await submit()]
    for (const { id } of [removed, finished, running]) await untilStatus(id, 'running')
    const canceled = after((await store.get(finished.id))!, { type: 'canceled' })
    await store.update(canceled, canceled.revision - 1)
    await store.remove(removed.id, (await store.get(removed.id))!.revision)
    expect(queue.running()).toHaveLength(3)
    announceGap()
    await until(() => queue.running().length === 1)
    expect(queue.running()).toMatchObject([{ id: running.id, attempt: 1 }])
    await until(() => backend.stopped.length === 2)
  })

  test('a call that only this server can stop is stopped, even if another server recorded its stop as done', async () => {
    const { backend, queue, store, submit, transition, untilStatus } = await start()
    const { id } = await submit()
    await untilStatus(id, 'running')
    await until(() => backend.waiting.has(callOf(id)))
    const job = after((await store.get(id))!, { type: 'canceled' })
    await store.update(job, job.revision - 1)
    await transition(job, { type: 'stopped', attempt: 1 })
    expect(backend.stopped).toEqual([])
    await queue.dequeue(entryOf(job, 1))
    await until(() => backend.stopped.length > 0)
    expect(backend.stopped).toEqual([callOf(id)])
  })

  test('an event whose compare-and-set loses is applied to the job as read again, until it is written', async () => {
    const kept = createMemoryStore()
    let losses = 3
    const update: Store['update'] = (...write) => (losses-- > 0 ? Promise.resolve(false) : kept.update(...write))
    const { store, transition } = await start({ running: false, store: { ...kept, update } })
    const job = aJob()
    await store.insert(job)
    expect(await transition(job, failed())).toMatchObject({ accepted: true, job: { status: 'failed' } })
    expect(losses).toBe(-1)
  })

  test('an event for a stale copy is applied to the job as stored, whether the copy accepts or refuses it', async () => {
    const { store, transition } = await start({ running: false })
    const job = aJob()
    const running = after(job, spawned())
    await store.insert(job)
    await store.update(running, job.revision)
    expect(await transition(job, succeeded())).toMatchObject({
      accepted: true,
      job: { status: 'succeeded', revision: 3 },
    })
    expect(await transition(running, failed())).toMatchObject({ accepted: false, job: { status: 'succeeded' } })
    await store.remove(job.id, 3)
    await expect(transition(running, failed())).rejects.toMatchObject({ code: 'job_not_found' })
  })

  test('a run reads the store once if nothing else changes its job, and so does a cancel', async () => {
    const kept = createMemoryStore()
    const reads: string[] = []
    const get: Store['get'] = (id) => (reads.push(id), kept.get(id))
    const { backend, queue, service, submit } = await start({ store: { ...kept, get } })
    const [ends, canceled] = [await submit({ runTimeoutSeconds: 5 }), await submit()]
    await until(() => backend.waiting.size === 2)
    backend.startRun(callOf(ends.id), 1_000_000)
    backend.end(callOf(ends.id), aSuccess)
    await until(() => queue.running().length === 1)
    expect(await kept.get(ends.id)).toMatchObject({ status: 'succeeded', revision: 4 })
    expect(reads.filter((id) => id === ends.id)).toHaveLength(1)
    await service.cancel(canceled.id, anyCaller)
    // The read of the run, that of the cancel, and another of the run, which the cancel aborted.
    await until(() => backend.stopped.length === 1)
    expect(reads.filter((id) => id === canceled.id)).toHaveLength(3)
  })

  test('an entry of a finished attempt, or of a removed job, runs nothing', async () => {
    const { backend, run, store } = await start({ running: false })
    const job = after(aJob(), { type: 'canceled' }, { type: 'retried' })
    await store.insert(job)
    await run({ id: job.id, attempt: 1 }, new AbortController().signal)
    await run({ id: aJob().id, attempt: 1 }, new AbortController().signal)
    expect(backend.requests).toEqual([])
  })
})

describe('a store or a queue that fails', () => {
  test('a call that is spawned while the store is unavailable is recorded once it is available again, and not spawned again', async () => {
    const { backend, reconciler, store, submit, untilStatus } = await start()
    const { update } = store
    let failures = 3
    store.update = (next, expected) =>
      failures-- > 0 ? Promise.reject(new Error('disk full')) : update(next, expected)
    const { id } = await submit()
    await reconciler.resumeRuns()
    expect((await untilStatus(id, 'running')).attempts).toMatchObject([{ callId: callOf(id) }])
    expect(backend.requests).toHaveLength(1)
  })

  test('the outcome of a call is recorded once the store is available again, and not retried after a shutdown', async () => {
    const { backend, queue, lines, store, submit, untilStatus } = await start()
    const [first, second] = [await submit(), await submit()]
    for (const { id } of [first, second]) await untilStatus(id, 'running')
    const { update } = store
    let failures = 3
    store.update = (next, expected) =>
      failures-- > 0 ? Promise.reject(new Error('the disk is full')) : update(next, expected)
    await until(() => backend.waiting.has(callOf(first.id)))
    backend.end(callOf(first.id), aSuccess)
    await untilStatus(first.id, 'succeeded')
    store.update = () => Promise.reject(new Error('the disk is full'))
    await until(() => backend.waiting.has(callOf(second.id)))
    backend.end(callOf(second.id), aSuccess)
    await until(() => lines.filter(({ event }) => event === 'outcome_not_recorded').length > 4)
    await queue.close()
    expect(queue.running()).toEqual([])
    expect(lines.filter(({ level, event }) => level === 'warn' && event === 'outcome_not_recorded')).toHaveLength(1)
  })

  test('each call that is not recorded before the shutdown is logged', async () => {
    const { lines, queue, store, submit } = await start()
    const refused = new Set<string>()
    store.update = ({ id }) => {
      refused.add(id)
      return Promise.reject(new Error('the disk is full'))
    }
    const jobs = [await submit(), await submit()]
    await until(() => refused.size === jobs.length)
    await queue.close()
    const named = lines.filter(({ event }) => event === 'outcome_dropped')
    expect(named.map((line) => line.call_id).sort()).toEqual(jobs.map(({ id }) => callOf(id)).sort())
  })

  test('a call that an ambiguous write recorded is followed, and neither stopped nor spawned again', async () => {
    const { backend, store, submit, untilStatus } = await start()
    const { update } = store
    let answersLost = 2
    store.update = async (next, expected) => {
      const done = await update(next, expected)
      if (answersLost-- > 0) throw new Error('the connection broke')
      return done
    }
    const { id } = await submit()
    await until(() => backend.waiting.has(callOf(id)))
    backend.end(callOf(id), aSuccess)
    await untilStatus(id, 'succeeded')
    expect({ requests: backend.requests.length, stopped: backend.stopped }).toEqual({ requests: 1, stopped: [] })
  })

  test('an ambiguous write that was applied is published once, and its run is dequeued', async () => {
    const { backend, changes, store, service, queue, submit } = await start()
    const { id } = await submit()
    await until(() => backend.waiting.has(callOf(id)))
    const received: string[] = []
    changes.subscribe(undefined, ({ status }) => received.push(status))
    const { update, get } = store
    store.update = async (next, expected) => {
      Object.assign(store, { update })
      await update(next, expected)
      throw problem('store_unavailable', { isAmbiguousWrite: true })
    }
    await expect(service.cancel(id, anyCaller)).rejects.toMatchObject({ status: 503 })
    let reads = 0
    store.get = (asked) => (reads++ === 0 ? Promise.reject(problem('store_unavailable')) : get(asked))
    expect(received).toEqual([])
    await until(() => received.includes('canceled'))
    await until(() => queue.running().length === 0)
    await expect(service.cancel(id, anyCaller)).resolves.toMatchObject({ status: 'canceled' })
    expect(backend.stopped).toEqual([callOf(id)])
  })

  test('an ambiguous submit that was applied is published and run once', async () => {
    const { backend, changes, lines, store, submit } = await start()
    const received: string[] = []
    changes.subscribe(undefined, ({ status }) => received.push(status))
    const { insert } = store
    store.insert = async (...job) => {
      await insert(...job)
      throw problem('store_unavailable', { isAmbiguousWrite: true })
    }
    await expect(submit()).rejects.toMatchObject({ status: 503 })
    expect(received).toEqual([])
    await until(() => backend.waiting.size > 0)
    expect(received).toEqual(['submitted', 'running'])
    expect(lines.filter((line) => line.event === 'submitted')).toHaveLength(1)
  })

  test('the jobs of a batch whose ambiguous write was applied are published and run once', async () => {
    const { backend, batches, lines, store, service } = await start()
    const { insertBatch } = store
    let ids: string[] = []
    store.insertBatch = async (request, limits) => {
      ids = request.jobs.map(({ id }) => id)
      await insertBatch(request, limits)
      // One has gone on by another way.
      await service.cancel(ids[2] ?? '', anyCaller)
      throw problem('store_unavailable', { isAmbiguousWrite: true })
    }
    const jobs = Array.from({ length: 3 }, () => ({ input: aJob().input, version: 'v15' as const }))
    const submitting = batches.submit({ jobs, isAtomic: false, content: '' }, anyCaller)
    await expect(submitting).rejects.toMatchObject({ status: 503 })
    expect(lines.filter((line) => line.event === 'submitted')).toEqual([])
    await until(() => backend.waiting.size === 2)
    const submitted = lines.filter((line) => line.event === 'submitted').map((line) => line.job_id)
    expect(submitted).toEqual(ids.slice(0, 2))
  })

  test('an ambiguous write that was not applied is not published', async () => {
    const { backend, changes, store, service, submit } = await start()
    const { id } = await submit()
    await until(() => backend.waiting.has(callOf(id)))
    const received: number[] = []
    changes.subscribe(undefined, ({ revision }) => received.push(revision))
    const { update } = store
    store.update = () => {
      Object.assign(store, { update })
      return Promise.reject(problem('store_unavailable', { isAmbiguousWrite: true }))
    }
    await expect(service.cancel(id, anyCaller)).rejects.toMatchObject({ status: 503 })
    backend.end(callOf(id), aSuccess)
    const { get } = store
    let reads = 0
    store.get = (asked) => get(asked).finally(() => reads++)
    // The run makes no more reads: these are the reads after the ambiguous write.
    await until(() => received.length > 0 && reads > 0)
    expect(received).toEqual([3])
    expect((await service.get(id, anyCaller)).status).toBe('succeeded')
  })

  test('a submit and a cancel succeed although the queue rejects', async () => {
    const { queue, backend, reconciler, service, submit, untilStatus } = await start()
    const { enqueue, dequeue } = queue
    const rejects = () => Promise.reject(new Error('the queue is unavailable'))
    Object.assign(queue, { enqueue: rejects })
    const { id } = await submit()
    Object.assign(queue, { enqueue, dequeue: rejects })
    await reconciler.resumeRuns()
    await untilStatus(id, 'running')
    expect(await service.cancel(id, anyCaller)).toMatchObject({ status: 'canceled' })
    await reconciler.stopCalls()
    expect(backend.stopped).toEqual([callOf(id)])
    Object.assign(queue, { dequeue })
  })
})
