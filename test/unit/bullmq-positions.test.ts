import { expect, test } from 'vitest'
import { createPositions } from '../../src/queue/bullmq/queue.ts'

function slowQueue(keys: string[], readMs = 10) {
  let clock = 0
  let reads = 0
  const positions = createPositions({
    now: () => clock,
    readKeys() {
      reads++
      clock += readMs
      return Promise.resolve([...keys])
    },
  })
  return { positions, reads: () => reads, wait: (ms: number) => (clock += ms) }
}

test('one read of positions answers all requests during it, and for twenty times as long as it took', async () => {
  const keys = ['a', 'b']
  const { positions, reads, wait } = slowQueue(keys)
  expect(await Promise.all(['a', 'b', 'c'].map(async (key) => positions.get(key)))).toEqual([1, 2, undefined])
  expect(reads()).toBe(1)
  keys.shift()
  wait(199)
  expect(await positions.get('b')).toBe(2)
  expect(reads()).toBe(1)
  wait(1)
  expect(await positions.get('b')).toBe(1)
  expect(reads()).toBe(2)
})

test('positions are used for at most 5 s, however long their read took', async () => {
  const { positions, reads, wait } = slowQueue(['a'], 2_000)
  await positions.get('a')
  wait(4_999)
  await positions.get('a')
  expect(reads()).toBe(1)
  wait(1)
  await positions.get('a')
  expect(reads()).toBe(2)
})

test('a just enqueued entry has the last position until the next read', async () => {
  const { positions, reads, wait } = slowQueue(['a', 'b'])
  await positions.get('a')
  positions.append('c')
  positions.append('c')
  positions.append('a')
  positions.append('d')
  expect(await Promise.all(['a', 'c', 'd'].map(async (key) => positions.get(key)))).toEqual([1, 3, 4])
  expect(reads()).toBe(1)
  wait(200)
  expect(await positions.get('c')).toBeUndefined()
})

test('an entry enqueued during a read has a position, whether that read returns it or not', async () => {
  const keys = ['a']
  const { promise, resolve } = Promise.withResolvers<string[]>()
  const positions = createPositions({ readKeys: () => promise })
  const answers = ['a', 'seen', 'late'].map(async (key) => positions.get(key))
  positions.append('seen')
  positions.append('late')
  resolve([...keys, 'seen'])
  expect(await Promise.all(answers)).toEqual([1, 2, 3])
})

test('a failed read of positions rejects its requests, and the next request reads again', async () => {
  const answers = [Promise.reject(new Error('unavailable')), Promise.resolve(['a'])]
  const positions = createPositions({ readKeys: () => answers.shift()! })
  await expect(positions.get('a')).rejects.toThrow('unavailable')
  expect(await positions.get('a')).toBe(1)
})
