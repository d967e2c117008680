import { describe, expect, test } from 'vitest'
import { createFairSemaphore } from '../../src/lib/concurrency.ts'

const never = new AbortController().signal
const settled = () => new Promise(setImmediate)

/** Tasks that run until the test finishes them. */
function scene(count: number, options = {}) {
  const semaphore = createFairSemaphore(count, options)
  const began: string[] = []
  const running = new Map<string, () => void>()
  const start = (key: string, signal = never) => {
    const name = `${key}${[...began].filter((one) => one.startsWith(key)).length}`
    return semaphore.use(key, signal, () => {
      began.push(name)
      return new Promise<void>((resolve) => running.set(`${key}${running.size}`, resolve))
    })
  }
  const countOf = (key: string) => began.filter((name) => name.startsWith(key)).length
  const finishOne = async (key: string) => {
    const [name, finish] = [...running].find(([candidate]) => candidate.startsWith(key)) ?? []
    running.delete(name ?? '')
    finish?.()
    await settled()
  }
  return { semaphore, start, began, count: countOf, finishOne }
}

describe('a fair semaphore', () => {
  test('gives half of its slots to a key that is alone, so that a later key finds one', async () => {
    const { start, count } = scene(8)
    for (let n = 0; n < 10; n++) void start('a')
    for (let n = 0; n < 10; n++) void start('b')
    for (const key of ['c', 'd', 'e']) void start(key)
    await settled()
    expect({ a: count('a'), b: count('b'), c: count('c'), d: count('d'), e: count('e') }).toEqual({
      a: 4,
      b: 2,
      c: 1,
      d: 1,
      e: 0,
    })
  })

  test('gives a key no more slots than its limit, however many are free', async () => {
    for (const mayHoldAll of [false, true]) {
      const { start, count, finishOne } = scene(8, { perKey: 2, mayHoldAll })
      for (const key of ['a', 'a', 'a', 'b']) void start(key)
      await settled()
      expect({ a: count('a'), b: count('b') }).toEqual({ a: 2, b: 1 })
      await finishOne('a')
      expect(count('a')).toBe(3)
    }
  })

  test('gives a single slot to any key', async () => {
    const { start, count, finishOne } = scene(1)
    void start('a')
    void start('b')
    await settled()
    expect({ a: count('a'), b: count('b') }).toEqual({ a: 1, b: 0 })
    await finishOne('a')
    expect(count('b')).toBe(1)
  })

  test('lets waiting keys take turns, however many tasks one of them has', async () => {
    const { start, began, finishOne } = scene(2)
    for (let n = 0; n < 5; n++) void start('a')
    void start('b')
    void start('c')
    await settled()
    expect(began).toHaveLength(2)
    for (let n = 0; n < 3; n++) await finishOne('a')
    expect(began.some((name) => name.startsWith('c'))).toBe(true)
  })

  test('passes over a key that has its share', async () => {
    const { start, count, finishOne } = scene(3)
    for (const key of ['a', 'a', 'b', 'a', 'c']) void start(key)
    await settled()
    expect({ a: count('a'), b: count('b'), c: count('c') }).toEqual({ a: 2, b: 1, c: 0 })
    await finishOne('b')
    expect({ a: count('a'), c: count('c') }).toEqual({ a: 2, c: 1 })
  })

  test('frees a slot once, however often it is released', () => {
    const semaphore = createFairSemaphore(1)
    const release = semaphore.tryAcquire('a')
    expect(semaphore.tryAcquire('b')).toBeUndefined()
    release?.()
    release?.()
    expect(semaphore.isIdle).toBe(true)
    expect(semaphore.tryAcquire('b')).toBeDefined()
    expect(semaphore.tryAcquire('a')).toBeUndefined()
  })

  test('with mayHoldAll gives all slots to a key that is alone, and the next one to another key', async () => {
    const { start, count, began, finishOne } = scene(3, { mayHoldAll: true })
    for (let n = 0; n < 8; n++) void start('a')
    await settled()
    expect(count('a')).toBe(3)
    for (const key of ['b', 'b', 'c']) void start(key)
    for (let n = 0; n < 3; n++) await finishOne('a')
    const order = began.map((name) => name.charAt(0)).join('')
    expect(order).toMatch(/^aaabc[ab]$/)
  })

  test('serves a key with one task second, behind a key with five', async () => {
    const { semaphore, start, began, finishOne } = scene(1, { mayHoldAll: true })
    for (const key of ['a', 'a', 'a', 'a', 'a', 'b']) void start(key)
    await settled()
    for (const key of ['a', 'b', 'a', 'a', 'a', 'a']) await finishOne(key)
    expect(began.map((name) => name.charAt(0)).join('')).toBe('abaaaa')
    expect(semaphore.isIdle).toBe(true)
  })

  test('lets three keys with many tasks for one slot take turns', async () => {
    const { start, began, finishOne } = scene(1, { mayHoldAll: true })
    for (const key of ['a', 'b', 'c']) for (let n = 0; n < 3; n++) void start(key)
    await settled()
    for (let n = 0; n < 8; n++) await finishOne(began.at(-1)!.charAt(0))
    expect(began.map((name) => name.charAt(0)).join('')).toBe('abcabcabc')
  })

  test('frees the slot of a task that fails, and gives none to an aborted wait', async () => {
    const semaphore = createFairSemaphore(1)
    const held = semaphore.tryAcquire('a')
    const aborting = new AbortController()
    const waiting = semaphore.use('b', aborting.signal, () => Promise.resolve('ran'))
    aborting.abort(new Error('no longer'))
    await expect(waiting).rejects.toThrow('no longer')
    held?.()
    await expect(semaphore.use('b', never, () => Promise.reject(new Error('failed')))).rejects.toThrow('failed')
    expect(await semaphore.use('b', never, () => Promise.resolve('ran'))).toBe('ran')
    expect(semaphore.isIdle).toBe(true)
  })

  test('gives a freed slot to a key behind aborted waits', async () => {
    const { semaphore, start, count, finishOne } = scene(1)
    const aborting = new AbortController()
    void start('a')
    const aborted = ['b', 'c'].map((key) => start(key, aborting.signal))
    void start('d')
    aborting.abort(new Error('no longer'))
    await Promise.allSettled(aborted)
    await finishOne('a')
    expect(count('d')).toBe(1)
    await finishOne('d')
    expect(semaphore.isIdle).toBe(true)
  })

  test('passes on a slot that was granted just before an abort', async () => {
    const semaphore = createFairSemaphore(1)
    const held = semaphore.tryAcquire('a')
    const aborting = new AbortController()
    const waiting = semaphore.use('b', aborting.signal, () => Promise.resolve('ran'))
    const next = semaphore.use('c', never, () => Promise.resolve('next'))
    held?.()
    aborting.abort(new Error('no longer'))
    await Promise.allSettled([waiting])
    expect(await next).toBe('next')
    expect(semaphore.isIdle).toBe(true)
  })
})
