import { expect, test } from 'vitest'
import { readPages } from '../../src/lib/collections.ts'

const numbers = [1, 2, 3, 4, 5]
const readAfter = (after = 0) => numbers.filter((n) => n > after).slice(0, 2)

test('readPages reads each page after the last item of the one before, up to a short page', async () => {
  const starts: (number | undefined)[] = []
  const items: number[] = []
  const pages = readPages<number>(2, (after) => {
    starts.push(after)
    return readAfter(after)
  })
  for await (const item of pages) items.push(item)
  expect(items).toEqual(numbers)
  expect(starts).toEqual([undefined, 2, 4])
})

test('readPages leaves the event loop free between two pages, and loses no time after the last', async () => {
  let turns = 0
  const turn = () => {
    turns++
    setImmediate(turn).unref()
  }
  setImmediate(turn).unref()
  for await (const item of readPages<number>(5, () => [1])) expect(item).toBe(1)
  expect(turns).toBe(0)
  for await (const item of readPages<number>(2, readAfter)) expect(item).toBeGreaterThan(0)
  expect(turns).toBeGreaterThanOrEqual(2)
})
