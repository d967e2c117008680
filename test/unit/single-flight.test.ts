import { expect, test } from 'vitest'
import { createBatch, createOnce, shareInFlight } from '../../src/lib/concurrency.ts'

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

test('work that is forgotten is done once more, and forgetting or failing later does not affect what replaced it', async () => {
  const { runs, work } = createWork()
  const once = createOnce(work)
  const first = once.get()
  once.forget(first)
  const second = once.get()
  once.forget(first)
  runs[0]?.reject(new Error('first run'))
  await expect(first).rejects.toThrow('first run')
  expect(once.get()).toBe(second)
  expect(runs).toHaveLength(2)
  once.forget()
  expect(once.current).toBeUndefined()
})

function createEcho(maxSize = 10) {
  const batches: (readonly number[])[] = []
  const ask = createBatch<number, string>((numbers) => {
    batches.push(numbers)
    if (numbers.includes(-1)) return Promise.reject(new Error('the batch failed'))
    return Promise.resolve(numbers.map((number) => (number === 0 ? new Error('one failed') : `answer ${number}`)))
  }, maxSize)
  return { batches, ask }
}

test('requests of one turn are one batch, and each gets its own answer', async () => {
  const { batches, ask } = createEcho()
  const first = Promise.all([ask(1), ask(2), Promise.resolve().then(() => ask(3))])
  expect(await first).toEqual(['answer 1', 'answer 2', 'answer 3'])
  expect(await ask(4)).toBe('answer 4')
  expect(batches).toEqual([[1, 2, 3], [4]])
})

test('a batch has at most its maximum size', async () => {
  const { batches, ask } = createEcho(2)
  expect(await Promise.all([1, 2, 3, 4, 5].map(ask))).toHaveLength(5)
  expect(batches).toEqual([[1, 2], [3, 4], [5]])
})

test('an error in the answers rejects its request only, and a batch that rejects all of them', async () => {
  const { ask } = createEcho()
  expect(await Promise.allSettled([ask(1), ask(0)])).toMatchObject([
    { value: 'answer 1' },
    { reason: { message: 'one failed' } },
  ])
  expect(await Promise.allSettled([ask(1), ask(-1)])).toMatchObject([
    { reason: { message: 'the batch failed' } },
    { reason: { message: 'the batch failed' } },
  ])
})
