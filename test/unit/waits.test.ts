import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { backOffMs, limitTime, resolvesWithin, untilAborted } from '../../src/lib/timing.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const never = new Promise<never>(() => undefined)
const timeoutError = (cause: unknown) => new Error('too slow', { cause })

/** Work that rejects with its own error, and only when it is aborted. */
const untilSignal = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')))
  })

test('resolvesWithin gives true, rejects, or gives false for a promise that resolves, rejects or hangs', async () => {
  expect(await resolvesWithin(Promise.resolve(false), 1_000)).toBe(true)
  await expect(resolvesWithin(Promise.reject(new Error('broken')), 1_000)).rejects.toThrow('broken')
  const hanging = resolvesWithin(never, 1_000)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(await hanging).toBe(false)
  expect(vi.getTimerCount()).toBe(0)
})

test('a wait rejects with the reason of its signal', async () => {
  const abort = new AbortController()
  const wait = untilAborted(never, abort.signal)
  abort.abort(new Error('shutting down'))
  await expect(wait).rejects.toThrow('shutting down')
})

test('work that takes longer than its limit is aborted and rejects with the error for that', async () => {
  const { signal } = new AbortController()
  const work = expect(limitTime({ limitMs: 1_000, signal, timeoutError }, untilSignal)).rejects.toMatchObject({
    message: 'too slow',
    cause: { message: 'aborted' },
  })
  await vi.advanceTimersByTimeAsync(1_000)
  await work
})

test('work whose signal aborts rejects with its reason, and work that fails with its own error', async () => {
  const abort = new AbortController()
  const limit = { limitMs: 1_000, signal: abort.signal, timeoutError }
  await expect(limitTime(limit, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  expect(await limitTime(limit, () => Promise.resolve('done'))).toBe('done')
  const stopped = expect(limitTime(limit, untilSignal)).rejects.toThrow('stopped')
  abort.abort(new Error('stopped'))
  await stopped
  expect(vi.getTimerCount()).toBe(0)
})

test('a back-off doubles up to its maximum, with jitter down to half of it', () => {
  const limits = { firstMs: 100, maxMs: 1_000 }
  const pauses = (random: number) => [0, 1, 2, 3, 4, 60].map((failures) => backOffMs(failures, limits, () => random))
  expect(pauses(1)).toEqual([100, 200, 400, 800, 1_000, 1_000])
  expect(pauses(0)).toEqual([50, 100, 200, 400, 500, 500])
})
