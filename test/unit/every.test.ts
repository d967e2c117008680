import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { every } from '../../src/lib/timing.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function createWork() {
  const runs: PromiseWithResolvers<undefined>[] = []
  const work = async () => {
    const run = Promise.withResolvers<undefined>()
    runs.push(run)
    await run.promise
  }
  return { runs, work }
}

test('repeated work does not overlap: turns during a run are skipped', async () => {
  const { runs, work } = createWork()
  const repeated = every(1_000, work)
  await vi.advanceTimersByTimeAsync(999)
  expect(runs).toHaveLength(0)
  await vi.advanceTimersByTimeAsync(3_001)
  repeated.run()
  expect(runs).toHaveLength(1)
  runs[0]?.resolve(undefined)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(runs).toHaveLength(2)
})

test('repeated work runs at once on request', () => {
  const { runs, work } = createWork()
  every(1_000, work).run()
  expect(runs).toHaveLength(1)
})

test('stop waits for the run under way, and no further one starts', async () => {
  const { runs, work } = createWork()
  const repeated = every(1_000, work)
  repeated.run()
  let hasStopped = false
  const stopped = repeated.stop().then(() => (hasStopped = true))
  await vi.advanceTimersByTimeAsync(5_000)
  expect(hasStopped).toBe(false)
  runs[0]?.resolve(undefined)
  await stopped
  repeated.run()
  await vi.advanceTimersByTimeAsync(5_000)
  expect(runs).toHaveLength(1)
})
