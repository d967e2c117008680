import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createShares, createTurns } from '../../src/lib/limits.ts'
import { createSerial } from '../../src/lib/concurrency.ts'

test('turns admit a limited number per turn of the event loop, first come, first served', async () => {
  const turns = createTurns(3)
  const seen: number[] = []
  for (let name = 0; name < 8; name++) void turns.next().then(() => seen.push(name))
  const counts: number[] = []
  for (let turn = 0; turn < 4; turn++) {
    await Promise.resolve()
    counts.push(seen.length)
    await setImmediate()
  }
  // The immediates of a turn run after the work that started it.
  expect(counts).toEqual([3, 6, 8, 8])
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
})

test('work of one key runs serially, also after a failure, while work of other keys runs', async () => {
  const serial = createSerial()
  const done: string[] = []
  const work = (name: string) => async () => {
    done.push(`${name} starts`)
    await setImmediate()
    done.push(`${name} stops`)
    if (name === 'a1') throw new Error('a1 fails')
    return name
  }
  const [a1, a2, b] = [serial('a', work('a1')), serial('a', work('a2')), serial('b', work('b'))]
  await expect(a1).rejects.toThrow('a1 fails')
  expect(await Promise.all([a2, b])).toEqual(['a2', 'b'])
  expect(done.indexOf('a2 starts')).toBeGreaterThan(done.indexOf('a1 stops'))
  expect(done.indexOf('b starts')).toBeLessThan(done.indexOf('a1 stops'))
})

test('shares are full for a key at its limit, and for all keys at the total limit', () => {
  const shares = createShares({ perKey: 10, inAll: 15 })
  const isFull = (key: string) => shares.isFull(() => key)
  const give = shares.take('a', 10)
  expect({ a: isFull('a'), b: isFull('b') }).toEqual({ a: true, b: false })
  shares.take('b', 5)
  expect({ b: isFull('b'), c: isFull('c') }).toEqual({ b: true, c: true })
  give()
  give()
  expect({ a: isFull('a'), b: isFull('b'), c: isFull('c') }).toEqual({ a: false, b: false, c: false })
})
