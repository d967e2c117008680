import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createEmitterBus } from '../../src/changes/bus.ts'
import type { Job } from '../../src/jobs/job.ts'
import { LOG_GRACE_MS, openLogs } from '../../src/jobs/logs.ts'
import { createFakeBackend } from '../helpers/fake-backend.ts'
import { aJob, after, spawned, succeeded } from '../helpers/jobs.ts'
import { silentLog } from '../helpers/log.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

const forever = new AbortController().signal
const running = after(aJob(), spawned())
const ended = after(running, succeeded())

/** A log with two pieces and without an end; `look` is the job as the store has it then. */
function open(look: Job = running, signal = forever) {
  const bus = createEmitterBus(silentLog())
  let gap = (): void => undefined
  const changes = { ...bus, onGap: (listener: () => void) => ((gap = listener), () => (gap = () => undefined)) }
  const backend = createFakeBackend()
  backend.logsWith = async function* (_call, backendSignal) {
    yield 'one\n'
    backendSignal.throwIfAborted()
    yield 'two\n'
    await new Promise((_resolve, reject) =>
      backendSignal.addEventListener('abort', () => reject(backendSignal.reason as Error)),
    )
  }
  const stored = { job: look }
  const text = openLogs({ job: running }, { backend, changes, get: async () => stored.job }, signal)
  return { changes, backend, stored, announceGap: () => gap(), pieces: text[Symbol.asyncIterator]() }
}

const settled = async (promise: Promise<unknown>) => {
  const race = Promise.race([promise.then(() => true), new Promise((resolve) => setImmediate(() => resolve(false)))])
  return race as Promise<boolean>
}

describe('a log whose backend misses the end of the call', () => {
  test('ends some time after the attempt has finished', async () => {
    const { changes, pieces } = open()
    expect([await pieces.next(), await pieces.next()].map(({ value }) => value as string)).toEqual(['one\n', 'two\n'])
    const next = pieces.next()
    await vi.advanceTimersByTimeAsync(10 * LOG_GRACE_MS)
    expect(await settled(next)).toBe(false)
    changes.publish(ended)
    await vi.advanceTimersByTimeAsync(LOG_GRACE_MS - 1)
    expect(await settled(next)).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await next).toEqual({ done: true, value: undefined })
  })

  test('ends even if the attempt had finished before the read', async () => {
    const { pieces } = open(ended)
    await pieces.next()
    await pieces.next()
    const next = pieces.next()
    await vi.advanceTimersByTimeAsync(LOG_GRACE_MS)
    expect(await next).toEqual({ done: true, value: undefined })
  })

  test('ends even if only a gap of the bus reports that the attempt finished', async () => {
    const { stored, announceGap, pieces } = open()
    await pieces.next()
    await pieces.next()
    const next = pieces.next()
    stored.job = ended
    announceGap()
    await vi.advanceTimersByTimeAsync(LOG_GRACE_MS)
    expect(await next).toEqual({ done: true, value: undefined })
  })

  test('is not cut off for a slow reader', async () => {
    const { changes, pieces } = open()
    await pieces.next()
    changes.publish(ended)
    await vi.advanceTimersByTimeAsync(10 * LOG_GRACE_MS)
    expect(await pieces.next()).toEqual({ done: false, value: 'two\n' })
  })

  test('ends when its signal aborts, and leaves no timer behind', async () => {
    const leave = new AbortController()
    const { pieces } = open(ended, leave.signal)
    await pieces.next()
    await pieces.next()
    const next = pieces.next()
    const reason = new Error('the client has left')
    leave.abort(reason)
    await expect(next).rejects.toBe(reason)
    expect(vi.getTimerCount()).toBe(0)
  })
})

test('an error of the backend is reported without its message, which is kept as the cause', async () => {
  const { backend, pieces } = open()
  const cause = new Error('connect ECONNREFUSED 10.0.0.7:443')
  backend.logsWith = () => {
    throw cause
  }
  await expect(pieces.next()).rejects.toMatchObject({
    ...{ code: 'logs_unavailable', status: 502, message: 'The backend failed to return the log.', cause },
  })
})
