import { ClientError, Status } from 'nice-grpc'
import { expect, onTestFinished, test, vi } from 'vitest'
import { attachRetryAfter } from '../../src/backend/modal/outcome.ts'
import type { CallStage } from '../../src/backend/modal/poll-queue.ts'
import {
  createStageTracker,
  INPUTS_PER_PAGE,
  LIST_EVERY_MS,
  type ListedInput,
  type ListRange,
} from '../../src/backend/modal/stage-tracker.ts'

const PENDING = 1
const RUNNING = 2
const SUCCESS = 3

const START = 1_000_000_000_000

type Answer = readonly ListedInput[] | Error

/** A tracker on a fake clock, and what it listed. `answer`: what Modal lists for a range. */
function createWorld(answer: (range: ListRange) => Answer) {
  vi.useFakeTimers({ now: START })
  onTestFinished(() => void vi.useRealTimers())
  const ranges: (ListRange & { readonly at: number })[] = []
  const startedAt = Date.now()
  const tracker = createStageTracker({
    list(range) {
      ranges.push({ ...range, at: Date.now() - startedAt })
      const answered = answer(range)
      return answered instanceof Error ? Promise.reject(answered) : Promise.resolve(answered)
    },
    now: () => Date.now(),
  })
  onTestFinished(() => tracker.close())
  return { tracker, ranges, startedAt, run: (ms: number) => vi.advanceTimersByTimeAsync(ms) }
}

const input = (functionCallId: string, status: number, more: Partial<ListedInput> = {}): ListedInput => ({
  functionCallId,
  status,
  enqueuedAt: new Date(START),
  ...more,
})

test('each call has the stage that the listing shows, and its subscriber the start of the run', async () => {
  const startedAt = new Date(999_999_999_000)
  let listed: ListedInput[] = []
  const { tracker, run } = createWorld(() => listed)
  const seen: [CallStage | undefined, number | undefined][] = []
  const call = tracker.add('fc-1', { onStage: (...stage) => seen.push(stage) })
  const changes = vi.fn()
  call.onChange = changes
  expect(call.stage).toBeUndefined()
  for (const next of [
    input('fc-1', PENDING),
    input('fc-1', PENDING, { containerId: 'ta-1' }),
    input('fc-1', RUNNING, { containerId: 'ta-1', startedAt }),
    input('fc-1', RUNNING, { containerId: 'ta-1', startedAt }),
    input('fc-1', SUCCESS, { startedAt }),
  ]) {
    listed = [next, input('fc-of-somebody-else', RUNNING)]
    await run(LIST_EVERY_MS.min + 10)
  }
  expect(seen).toEqual([
    ['queued', undefined],
    ['starting', undefined],
    ['running', startedAt.getTime()],
    ['ended', startedAt.getTime()],
  ])
  expect(changes).toHaveBeenCalledTimes(4)
})

test('nothing is listed while no call is in flight, nor for calls that finish soon', async () => {
  const { tracker, ranges, run } = createWorld(() => [])
  await run(60_000)
  for (let n = 0; n < 100; n++) {
    const call = tracker.add(`fc-${n}`, {})
    await run(500)
    tracker.remove(`fc-${n}`, call)
  }
  await run(60_000)
  expect(ranges).toEqual([])
})

test('the range starts at the oldest call that is in flight', async () => {
  const enqueuedAt = { old: new Date(999_999_000_000), young: new Date(999_999_500_000) }
  const { tracker, ranges, run } = createWorld(() => [
    input('old', RUNNING, { enqueuedAt: enqueuedAt.old }),
    input('young', PENDING, { enqueuedAt: enqueuedAt.young }),
  ])
  const old = tracker.add('old', { spawnedAt: enqueuedAt.old.getTime() - 300 })
  tracker.add('young', { spawnedAt: enqueuedAt.young.getTime() - 300 })
  await run(2_100)
  await run(2_100)
  tracker.remove('old', old)
  await run(2_100)
  const since = ranges.map((range) => range.since.getTime())
  // Modal's clock is not known at first.
  expect(since[0]).toBeLessThanOrEqual(enqueuedAt.old.getTime() - 60_000)
  expect(since.slice(1)).toEqual([enqueuedAt.old.getTime(), enqueuedAt.young.getTime()])
})

test('a call whose function is not listed does not keep the range open forever', async () => {
  const { tracker, ranges, run } = createWorld(() => [input('listed', RUNNING, { enqueuedAt: new Date(1e12) })])
  tracker.add('of-another-function', { spawnedAt: 1e12 - 3_600_000 })
  tracker.add('listed', { spawnedAt: 1e12 })
  await run(200_000)
  expect(ranges[0]!.since.getTime()).toBeLessThan(1e12 - 3_600_000)
  expect(ranges.at(-1)!.since.getTime()).toBe(1e12)
})

test('a listing longer than a page is read in pages, and one at a time', async () => {
  const size = 2 * INPUTS_PER_PAGE + 10
  const all = Array.from({ length: size }, (_, n) =>
    input(`fc-${n}`, n < 20 ? RUNNING : PENDING, { enqueuedAt: new Date(1e12 + n), startedAt: new Date(1e12) }),
  )
  const { tracker, ranges, run } = createWorld(({ since, limit }) =>
    all.filter(({ enqueuedAt }) => enqueuedAt! >= since).slice(0, limit),
  )
  const calls = all.map(({ functionCallId }, n) => tracker.add(functionCallId, { spawnedAt: 1e12 + n }))
  await run(LIST_EVERY_MS.min + 10)
  expect(ranges).toHaveLength(3)
  expect(calls.map(({ stage }) => stage)).toEqual(all.map(({ status }) => (status === RUNNING ? 'running' : 'queued')))
  const expectedMs = LIST_EVERY_MS.min + LIST_EVERY_MS.perInput * size
  await run(expectedMs - 100)
  expect(ranges).toHaveLength(3)
  await run(200)
  expect(ranges.length).toBeGreaterThan(3)
})

test('a page that is full of one instant does not repeat', async () => {
  const { tracker, ranges, run } = createWorld(({ since, limit }) =>
    since.getTime() > 1e12
      ? []
      : Array.from({ length: limit }, () => input('x', PENDING, { enqueuedAt: new Date(1e12) })),
  )
  tracker.add('x', { spawnedAt: 1e12 })
  await run(LIST_EVERY_MS.min + 10)
  expect(ranges).toHaveLength(3)
})

test('a control plane without the listing gets the next request after ten minutes, and no stage is kept', async () => {
  let answer: Answer = [input('fc-1', RUNNING, { startedAt: new Date() })]
  const { tracker, ranges, run } = createWorld(() => answer)
  const call = tracker.add('fc-1', {})
  await run(2_010)
  expect(call.stage).toBe('running')
  answer = new ClientError('FunctionCallFetch', Status.UNIMPLEMENTED, 'unknown method')
  await run(2_010)
  expect(call.stage).toBeUndefined()
  await run(599_000)
  expect(ranges).toHaveLength(2)
  await run(2_000)
  expect(ranges).toHaveLength(3)
})

test('a throttled listing waits for as long as Modal asks, also when the last call ends meanwhile', async () => {
  const throttled = new ClientError('FunctionCallFetch', Status.RESOURCE_EXHAUSTED, 'slow down')
  attachRetryAfter(throttled, 45_000)
  const { tracker, ranges, run } = createWorld(() => throttled)
  tracker.remove('fc-1', tracker.add('fc-1', {}))
  const call = tracker.add('fc-2', {})
  await run(2_010)
  expect(ranges).toHaveLength(1)
  tracker.remove('fc-2', call)
  await run(10_000)
  tracker.add('fc-3', {})
  await run(34_000)
  expect(ranges).toHaveLength(1)
  await run(2_000)
  expect(ranges).toHaveLength(2)
})

test('stages are kept for 30 s while listings fail, and then forgotten', async () => {
  let answer: Answer = [input('fc-1', RUNNING, { startedAt: new Date() })]
  const { tracker, ranges, run } = createWorld(() => answer)
  const call = tracker.add('fc-1', {})
  await run(2_010)
  answer = new ClientError('FunctionCallFetch', Status.UNAVAILABLE, 'gone')
  await run(29_000)
  expect(call.stage).toBe('running')
  await run(60_000)
  expect(call.stage).toBeUndefined()
  expect(ranges.length).toBeLessThan(8)
  answer = [input('fc-1', RUNNING, { startedAt: new Date() })]
  await run(61_000)
  expect(call.stage).toBe('running')
})

test('a call that is followed twice keeps its stage when the second follower leaves', async () => {
  const { tracker, run } = createWorld(() => [input('fc-1', PENDING)])
  const [first, second] = [tracker.add('fc-1', {}), tracker.add('fc-1', {})]
  tracker.remove('fc-1', second)
  await run(2_010)
  expect([first.stage, second.stage]).toEqual(['queued', undefined])
})
