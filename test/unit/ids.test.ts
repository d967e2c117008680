import { describe, expect, test } from 'vitest'
import { createIds } from '../../src/jobs/ids.ts'
import { isJobId } from '../../src/jobs/job.ts'

const NOW = 0x01a212e75348
const many = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)
const millisecondOf = (id: string) => Number.parseInt(id.slice(0, 13).replace('-', ''), 16)
const countOf = (id: string) => Number.parseInt(id.slice(15, 18), 16)

describe('ids of jobs', () => {
  test('are UUIDs of version 7 of the time they are made at', () => {
    const id = createIds(() => NOW)()
    expect(id).toMatch(/^01a212e7-5348-7000-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(isJobId(id)).toBe(true)
  })

  test('are of now', () => {
    const before = Date.now()
    const millisecond = millisecondOf(createIds()())
    expect(millisecond).toBeGreaterThanOrEqual(before)
    expect(millisecond).toBeLessThanOrEqual(Date.now())
  })

  test('count within a millisecond, and begin again with the next', () => {
    const times = [0, 0, 1, 1].map((later) => NOW + later)
    const ids = many(
      4,
      createIds(() => times.shift()!),
    )
    expect(ids.map((id) => [millisecondOf(id) - NOW, countOf(id)])).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ])
  })

  test('rise and are different, however many are made in a millisecond', () => {
    const ids = many(
      10_000,
      createIds(() => NOW),
    )
    expect(new Set(ids).size).toBe(10_000)
    expect(ids).toEqual([...ids].sort())
    expect(ids.every(isJobId)).toBe(true)
  })

  test('rise though the clock goes back', () => {
    let clock = NOW
    const ids = many(
      100,
      createIds(() => clock--),
    )
    expect(ids).toEqual([...ids].sort())
  })

  test('of two servers are different', () => {
    const [one, other] = [createIds(() => NOW)(), createIds(() => NOW)()]
    expect(one.slice(18)).not.toBe(other.slice(18))
  })
})
