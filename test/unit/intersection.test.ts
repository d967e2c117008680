import fc from 'fast-check'
import { expect, test } from 'vitest'
import { intersect, type SortedSet } from '../../src/lib/intersection.ts'

const compare = (a: number, b: number) => a - b

/** A set of these numbers, and how often it was read. */
const countingSet = (numbers: readonly number[]) => {
  let reads = 0
  const set: SortedSet<number> = (start, size) => {
    reads++
    const from = start ? numbers.findIndex((n) => (start.isIncluded ? n >= start.at : n > start.at)) : 0
    return from < 0 ? [] : numbers.slice(from, from + size)
  }
  return { set, reads: () => reads }
}

const find = (values: readonly number[]) => values
const sorted = (numbers: readonly number[]) => [...new Set(numbers)].toSorted(compare)

test('an intersection has the values that are in some set of every group, in order, from its start, up to its limit', async () => {
  const numbers = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(numbers, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 4 }),
      fc.option(fc.record({ at: fc.integer({ min: 0, max: 40 }), isIncluded: fc.boolean() }), { nil: undefined }),
      fc.integer({ min: 1, max: 50 }),
      async (groups, start, limit) => {
        const sets = groups.map((group) => group.map((values) => countingSet(sorted(values)).set))
        const expected = sorted(groups.flat(2))
          .filter((n) => groups.every((group) => group.flat().includes(n)))
          .filter((n) => start === undefined || n > start.at || (start.isIncluded && n === start.at))
          .slice(0, limit)
        expect(await intersect(sets, { compare, start, limit, find })).toEqual(expected)
      },
    ),
    { numRuns: 300 },
  )
})

test('an intersection of a large set with a small one reads both about as often as the small one has values', async () => {
  const large = countingSet(Array.from({ length: 100_000 }, (_, n) => n))
  const small = countingSet([5, 50_000, 99_999, 200_000])
  expect(await intersect([[large.set], [small.set]], { compare, start: undefined, limit: 50, find })).toEqual([
    5, 50_000, 99_999,
  ])
  expect([large.reads(), small.reads()]).toEqual([3, 1])
})

test('sets that have no value in common, however large, leave turns to others, and the limit counts what is found', async () => {
  const even = countingSet(Array.from({ length: 5_000 }, (_, n) => 2 * n))
  const odd = countingSet([...Array.from({ length: 5_000 }, (_, n) => 2 * n + 1), 20_000])
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  const found = await intersect([[even.set], [odd.set]], { compare, start: undefined, limit: 5, find })
  expect(found).toEqual([])
  const all = countingSet(Array.from({ length: 30 }, (_, n) => n))
  const someMissing = (values: readonly number[]) => values.filter((n) => n % 3 === 0)
  expect(await intersect([[all.set]], { compare, start: undefined, limit: 5, find: someMissing })).toEqual([
    0, 3, 6, 9, 12,
  ])
  clearInterval(timer)
  expect(turns).toBeGreaterThan(2)
})
