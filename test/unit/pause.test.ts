import { getEventListeners } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import type { Spawned, SpawnRequest } from '../../src/jobs/ports/backend.ts'
import { createPauseSwitch } from '../../src/lib/concurrency.ts'
import { untilAborted } from '../../src/lib/timing.ts'
import { anyCaller, type Core, startCore } from '../helpers/core.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { until } from '../helpers/until.ts'

const never = new Promise<never>(() => undefined)
const settled = () => new Promise(setImmediate)

describe('a pause of the start of jobs', () => {
  let core: Core
  afterEach(() => core.close())

  /** A backend in an outage: its spawns wait until `recover` is called or their signals abort. */
  async function startInOutage() {
    core = await startCore()
    const [outage, spawning, aborted] = [Promise.withResolvers<undefined>(), [] as string[], [] as string[]]
    const { backend } = core
    const { spawn } = backend
    const spawnAfterOutage = async (request: SpawnRequest, signal: AbortSignal): Promise<Spawned> => {
      spawning.push(request.jobId)
      await untilAborted(outage.promise, signal).catch((error: unknown) => {
        aborted.push(request.jobId)
        throw error
      })
      return spawn(request, signal)
    }
    backend.spawn = spawnAfterOutage
    return { ...core, spawning, aborted, recover: () => outage.resolve(undefined) }
  }

  test('keeps jobs that wait for an unavailable backend from starting when it returns, until the pause ends', async () => {
    const { submit, service, spawning, aborted, recover, backend, untilStatus, store } = await startInOutage()
    const jobs = [await submit(), await submit()]
    await until(() => spawning.length === 2)
    await service.setPaused(true, anyCaller)
    await until(() => aborted.length === 2)
    recover()
    const later = await submit()
    await settled()
    expect([backend.requests, spawning.length]).toEqual([[], 2])
    expect((await store.get(jobs[0]!.id))?.status).toBe('submitted')
    await service.setPaused(false, anyCaller)
    for (const { id } of [...jobs, later]) await untilStatus(id, 'running')
    expect(backend.requests.map(({ jobId }) => jobId)).toEqual([...jobs, later].map(({ id }) => id))
  })

  test('lets a spawn that was sent before go on, and its job finish', async () => {
    core = await startCore()
    const { submit, service, backend, untilStatus, queue } = core
    const answer = Promise.withResolvers<Spawned>()
    backend.spawnWith = () => answer.promise
    const { id } = await submit()
    await until(() => backend.requests.length === 1)
    await service.setPaused(true, anyCaller)
    answer.resolve({ kind: 'spawned', callId: 'fc-sent' })
    await untilStatus(id, 'running')
    backend.end('fc-sent', aSuccess)
    await untilStatus(id, 'succeeded')
    expect([queue.isPaused(), backend.requests.length]).toEqual([true, 1])
  })

  test('keeps the next attempt of an interrupted job from starting until it ends', async () => {
    core = await startCore()
    const { submit, service, backend, untilJob } = core
    const { id } = await submit()
    await untilJob(id, ({ status }) => status === 'running', 'running')
    await service.setPaused(true, anyCaller)
    backend.end(`fc-${id}-1`, { kind: 'interrupted', error: 'the container died' })
    await untilJob(id, ({ attempts }) => attempts.length === 2, 'in its second attempt')
    await settled()
    expect(backend.requests).toHaveLength(1)
    await service.setPaused(false, anyCaller)
    await untilJob(id, ({ attempts }) => attempts[1]?.callId !== undefined, 'started again')
  })

  test('keeps an entry that another process had claimed from starting, but not one whose job has a call', async () => {
    core = await startCore({ running: false })
    const { submit, queue, run, backend, transition, untilStatus } = core
    const [started, unstarted] = [await submit(), await submit()]
    await transition(started, { type: 'spawned', attempt: 1, callId: 'fc-known' })
    backend.adopt('fc-known')
    await queue.setPaused(true)
    const { signal } = new AbortController()
    const runs = [started, unstarted].map(({ id }) => run({ id, attempt: 1 }, signal))
    await until(() => backend.waiting.has('fc-known'))
    backend.end('fc-known', aSuccess)
    await untilStatus(started.id, 'succeeded')
    expect(backend.requests).toEqual([])
    await queue.setPaused(false)
    await untilStatus(unstarted.id, 'running')
    backend.end(`fc-${unstarted.id}-1`, aSuccess)
    await Promise.all(runs)
  })

  test.each(['canceled', 'timed out'] as const)(
    'frees the slot of a claimed job that is %s meanwhile, which never starts',
    async (end) => {
      const { submit, service, spawning, aborted, recover, reconciler, clock, queue, untilStatus, backend } =
        await startInOutage()
      const { id } = await submit()
      await until(() => spawning.length === 1)
      await service.setPaused(true, anyCaller)
      await until(() => aborted.length === 1)
      expect(queue.running()).toHaveLength(1)
      if (end === 'canceled') await service.cancel(id, anyCaller)
      else {
        clock.now += 60_000
        await reconciler.expireOverdue()
      }
      await untilStatus(id, end === 'canceled' ? 'canceled' : 'failed')
      await until(() => queue.running().length === 0)
      recover()
      await service.setPaused(false, anyCaller)
      await untilStatus((await submit()).id, 'running')
      expect(backend.requests.map(({ jobId }) => jobId)).not.toContain(id)
    },
  )

  test('does not keep the server from closing', async () => {
    const { submit, service, spawning, aborted, queue, store } = await startInOutage()
    const { id } = await submit()
    await until(() => spawning.length === 1)
    await service.setPaused(true, anyCaller)
    await until(() => aborted.length === 1)
    await core.close()
    expect(queue.running()).toEqual([])
    expect((await store.get(id))?.status).toBe('submitted')
  })
})

describe('work that a pause switch runs', () => {
  const { signal } = new AbortController()

  test('that does not reject when a pause aborts it gives its result', async () => {
    const [pause, result] = [createPauseSwitch(), Promise.withResolvers<string>()]
    const running = pause.run(signal, () => result.promise)
    pause.set(true)
    result.resolve('sent')
    expect(await running).toBe('sent')
  })

  test('that fails without a pause rejects with its error, and is not run again', async () => {
    const pause = createPauseSwitch()
    let runs = 0
    const failing = pause.run(signal, () => Promise.reject(new Error(`failure ${++runs}`)))
    await expect(failing).rejects.toThrow('failure 1')
  })

  test('waits again when a new pause begins before it continues', async () => {
    const pause = createPauseSwitch()
    let runs = 0
    pause.set(true)
    const running = pause.run(signal, () => Promise.resolve(++runs))
    pause.set(false)
    pause.set(true)
    await settled()
    expect(runs).toBe(0)
    pause.set(false)
    expect(await running).toBe(1)
  })

  test('rejects with the reason of its signal while it waits, and when that aborts after a pause has begun', async () => {
    const pause = createPauseSwitch()
    const [waiting, running] = [new AbortController(), new AbortController()]
    const work = pause.run(running.signal, (given) => untilAborted(never, given))
    pause.set(true)
    running.abort(new Error('shutting down'))
    await expect(work).rejects.toThrow('shutting down')
    const wait = pause.run(waiting.signal, () => Promise.resolve())
    waiting.abort(new Error('dequeued'))
    await expect(wait).rejects.toThrow('dequeued')
  })

  test('leaves no listener at a signal that goes on, after a pause either', async () => {
    const [pause, { signal }] = [createPauseSwitch(), new AbortController()]
    let runs = 0
    const work = pause.run(signal, (given) => (++runs === 1 ? untilAborted(never, given) : Promise.resolve('done')))
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    pause.set(true)
    await settled()
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    pause.set(false)
    expect(await work).toBe('done')
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})
