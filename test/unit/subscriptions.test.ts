import { getEventListeners } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createEmitterBus } from '../../src/changes/bus.ts'
import type { ChangeBus } from '../../src/jobs/ports/notifications.ts'
import type { Job } from '../../src/jobs/job.ts'
import { createStages, waitUntilFinished, createSubscriptions, READ_EVERY_MS } from '../../src/jobs/subscriptions.ts'
import { aJob, after, failed, spawned, succeeded } from '../helpers/jobs.ts'
import { recordingLog } from '../helpers/log.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] }))
afterEach(() => void vi.useRealTimers())

const submitted = aJob()
const running = after(submitted, spawned())
const finished = after(running, succeeded())
const forever = new AbortController().signal

/** Subscriptions on a store and a bus that the test controls; counts `reads` and `listening` subscribers. */
async function start() {
  const { log, lines } = await recordingLog()
  const bus = createEmitterBus(log)
  const gaps = new Set<() => void>()
  const stand = {
    ...{ bus, lines, stored: running as Job | undefined, reads: 0, listening: 0 },
    get: async (): Promise<Job | undefined> => stand.stored,
    gap: () => gaps.forEach((listener) => listener()),
    gaps,
  }
  const changes: Pick<ChangeBus, 'subscribe' | 'onGap'> = {
    subscribe(id, listener) {
      stand.listening++
      const stop = bus.subscribe(id, listener)
      return () => {
        stand.listening--
        stop()
      }
    },
    onGap(listener) {
      gaps.add(listener)
      return () => gaps.delete(listener)
    },
  }
  const store = {
    get: async () => {
      stand.reads++
      return stand.get()
    },
  }
  const subscriptions = createSubscriptions({ store, changes, stages: createStages(), log })
  const wait = (known = running, timeoutMs = 60_000, signal = forever) =>
    waitUntilFinished(subscriptions, known, { timeoutMs, signal })
  return { ...{ stand, subscriptions, wait }, settle: () => vi.advanceTimersByTimeAsync(0) }
}

const isSettled = async (promise: Promise<unknown>) => {
  const late = Symbol('late')
  const first = await Promise.race([promise, new Promise((resolve) => setImmediate(() => resolve(late)))])
  return first !== late
}

describe('a long poll', () => {
  test('resolves when the job finishes, and leaves nothing behind', async () => {
    const { stand, wait } = await start()
    const { signal } = new AbortController()
    const waiting = wait(running, 60_000, signal)
    expect(await isSettled(waiting)).toBe(false)
    stand.bus.publish(finished)
    expect(await waiting).toBe(finished)
    expect({
      listening: stand.listening,
      timers: vi.getTimerCount(),
      listeners: getEventListeners(signal, 'abort'),
    }).toEqual({ listening: 0, timers: 0, listeners: [] })
  })

  test('resolves with the current job at its timeout', async () => {
    const { stand, wait } = await start()
    const waiting = wait(submitted, 5_000)
    stand.bus.publish(running)
    await vi.advanceTimersByTimeAsync(4_999)
    expect(await isSettled(waiting)).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await waiting).toBe(running)
    expect({ listening: stand.listening, timers: vi.getTimerCount() }).toEqual({ listening: 0, timers: 0 })
  })

  test('resolves with the current job when its signal aborts', async () => {
    const { stand, wait } = await start()
    const leaving = new AbortController()
    const waiting = wait(running, 60_000, leaving.signal)
    expect(await isSettled(waiting)).toBe(false)
    leaving.abort()
    expect(await waiting).toBe(running)
    expect({ listening: stand.listening, timers: vi.getTimerCount() }).toEqual({ listening: 0, timers: 0 })
  })

  test.each([
    ['the job has finished', finished, 60_000, forever],
    ['its timeout is 0', running, 0, forever],
    ['its signal has aborted', running, 60_000, AbortSignal.abort()],
  ])('resolves at once if %s', async (_which, job, timeoutMs, signal) => {
    const { stand, wait } = await start()
    expect(await wait(job, timeoutMs, signal)).toBe(job)
    expect(stand.reads).toBe(0)
  })

  test('resolves if the job finished between its read and the wait', async () => {
    const { stand, wait } = await start()
    stand.stored = finished
    expect(await wait(running)).toBe(finished)
  })

  test('resolves if the job finishes during a read', async () => {
    const { stand, wait } = await start()
    const reading = Promise.withResolvers<Job>()
    stand.get = () => reading.promise
    const waiting = wait(running)
    stand.bus.publish(finished)
    reading.resolve(running)
    expect(await waiting).toBe(finished)
  })

  test('ignores a stale read that arrives after the end', async () => {
    const { stand, subscriptions, settle } = await start()
    const received: (Job | undefined)[] = []
    const reading = Promise.withResolvers<Job>()
    stand.get = () => reading.promise
    subscriptions.subscribe(submitted, (job) => received.push(job))
    stand.bus.publish(finished)
    reading.resolve(running)
    await settle()
    subscriptions.subscribe(submitted, (job) => received.push(job))
    await settle()
    expect(received).toEqual([finished, finished])
  })

  test('resolves at the next read if the end was not published', async () => {
    const { stand, wait, settle } = await start()
    const waiting = wait()
    await settle()
    stand.stored = finished
    await vi.advanceTimersByTimeAsync(READ_EVERY_MS - 1)
    expect(await isSettled(waiting)).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await waiting).toBe(finished)
  })

  test('resolves at once after a gap of the bus in which the job finished, also during a read', async () => {
    const { stand, wait, settle } = await start()
    const reading = Promise.withResolvers<Job>()
    stand.get = () => reading.promise
    const waiting = wait()
    stand.get = async () => finished
    stand.gap()
    reading.resolve(running)
    expect(await waiting).toBe(finished)
    stand.stored = running
    stand.get = async () => stand.stored
    const next = wait()
    await settle()
    stand.stored = finished
    stand.gap()
    expect(await next).toBe(finished)
  })

  test('rejects when the job is removed', async () => {
    const { stand, wait } = await start()
    stand.stored = undefined
    await expect(wait()).rejects.toMatchObject({ code: 'job_not_found' })
    expect({ listening: stand.listening, timers: vi.getTimerCount() }).toEqual({ listening: 0, timers: 0 })
  })

  test('resolves with the finished job, though a retry follows at once', async () => {
    const { stand, wait } = await start()
    const lost = after(running, failed())
    const waiting = wait()
    stand.bus.publish(lost)
    stand.bus.publish(after(lost, { type: 'retried' }))
    expect(await waiting).toBe(lost)
  })

  test('continues while the store is unavailable', async () => {
    const { stand, wait, settle } = await start()
    stand.get = () => Promise.reject(new Error('the store is away'))
    const waiting = wait()
    await settle()
    stand.get = async () => finished
    await vi.advanceTimersByTimeAsync(READ_EVERY_MS)
    expect(await waiting).toBe(finished)
  })
})

test('a thousand long polls of one job share one subscription and one read, and all resolve with it', async () => {
  const { stand, wait, settle } = await start()
  const waiting = Array.from({ length: 1_000 }, () => wait())
  await settle()
  expect({ listening: stand.listening, reads: stand.reads }).toEqual({ listening: 1, reads: 1 })
  await vi.advanceTimersByTimeAsync(2 * READ_EVERY_MS)
  expect({ listening: stand.listening, reads: stand.reads }).toEqual({ listening: 1, reads: 3 })
  stand.bus.publish(finished)
  expect(new Set(await Promise.all(waiting))).toEqual(new Set([finished]))
  expect({ listening: stand.listening, timers: vi.getTimerCount() }).toEqual({ listening: 0, timers: 0 })
})

describe('a subscription', () => {
  test('that is added later gets the latest state, and notifies the others of a newer one', async () => {
    const { stand, subscriptions, settle } = await start()
    const received = { first: [] as unknown[], second: [] as unknown[], third: [] as unknown[] }
    subscriptions.subscribe(submitted, (job) => received.first.push(job))
    stand.bus.publish(running)
    subscriptions.subscribe(submitted, (job) => received.second.push(job))
    expect(received.second).toEqual([])
    subscriptions.subscribe(finished, (job) => received.third.push(job))
    await settle()
    expect(received).toEqual({ first: [running, finished], second: [finished], third: [] })
  })

  test('stays open when its state makes all others unsubscribe', async () => {
    const { stand, subscriptions } = await start()
    const stop = subscriptions.subscribe(submitted, () => stop())
    const received: unknown[] = []
    subscriptions.subscribe(running, (job) => received.push(job))
    stand.bus.publish(finished)
    expect({ received, listening: stand.listening }).toEqual({ received: [finished], listening: 1 })
  })

  test('that throws is logged, and the others are notified', async () => {
    const { stand, subscriptions } = await start()
    subscriptions.subscribe(running, () => {
      throw new Error('a broken subscriber')
    })
    const received: unknown[] = []
    subscriptions.subscribe(running, (job) => received.push(job))
    stand.bus.publish(finished)
    expect(received).toEqual([finished])
    expect(stand.lines.filter(({ level }) => level === 'error')).toMatchObject([{ job_id: running.id }])
  })

  test('to all jobs is notified of those that its caller may see, and of a gap', async () => {
    const { stand, subscriptions } = await start()
    const subscribe = (id: string, seesAll: boolean) => {
      const received = { jobs: [] as Job[], gaps: 0 }
      const subscriber = { onChange: (job: Job) => received.jobs.push(job), onGap: () => received.gaps++ }
      return { received, stop: subscriptions.subscribeAll({ id, seesAll }, subscriber) }
    }
    const [alice, root] = [subscribe('key:alice', false), subscribe('key:root', true)]
    const [hers, others] = [aJob({ caller: 'key:alice' }), aJob({ caller: 'key:bob' })]
    for (const job of [hers, others]) stand.bus.publish(job)
    stand.gap()
    alice.stop()
    stand.bus.publish(hers)
    stand.gap()
    expect(alice.received).toEqual({ jobs: [hers], gaps: 1 })
    expect(root.received).toEqual({ jobs: [hers, others, hers], gaps: 2 })
  })

  test('ends when all are closed', async () => {
    const { stand, subscriptions } = await start()
    const received: unknown[] = []
    subscriptions.subscribe(running, (job) => received.push(job))
    subscriptions.subscribeAll(
      { id: 'anonymous', seesAll: true },
      { onChange: (job) => received.push(job), onGap: () => undefined },
    )
    await subscriptions.close()
    await subscriptions.close()
    stand.bus.publish(finished)
    expect({ received, listening: stand.listening, gaps: stand.gaps.size, timers: vi.getTimerCount() }).toEqual({
      received: [],
      listening: 0,
      gaps: 0,
      timers: 0,
    })
  })
})
