import { expect, test } from 'vitest'
import { createOnce, shareInFlight } from '../../src/lib/single-flight.ts'

function createWork() {
  const runs: PromiseWithResolvers<number>[] = []
  const work = () => {
    const run = Promise.withResolvers<number>()
    runs.push(run)
    return run.promise
  }
  return { runs, work }
}

test('calls during a run share its outcome, and the next call starts another run', async () => {
  const { runs, work } = createWork()
  const share = shareInFlight(work)
  const [first, second] = [share(), share()]
  runs[0]?.resolve(1)
  expect(await Promise.all([first, second])).toEqual([1, 1])
  const third = share()
  runs[1]?.resolve(2)
  expect(await third).toBe(2)
  expect(runs).toHaveLength(2)
})

test('calls during a run that fails all reject, and the next call starts another run', async () => {
  const { runs, work } = createWork()
  const share = shareInFlight(work)
  const calls = Promise.allSettled([share(), share()])
  runs[0]?.reject(new Error('first run'))
  expect(await calls).toMatchObject([{ status: 'rejected' }, { status: 'rejected' }])
  const next = share()
  runs[1]?.resolve(2)
  expect(await next).toBe(2)
})

test('work that is done once keeps its result, and is done again only after a failure', async () => {
  const { runs, work } = createWork()
  const once = createOnce(work)
  expect(once.current).toBeUndefined()
  const failing = once.get()
  runs[0]?.reject(new Error('first run'))
  await expect(failing).rejects.toThrow('first run')
  expect(once.current).toBeUndefined()
  const calls = [once.get(), once.get()]
  runs[1]?.resolve(2)
  expect(await Promise.all([...calls, once.get(), once.current])).toEqual([2, 2, 2, 2])
  expect(runs).toHaveLength(2)
})
