import { describe, expect, test } from 'vitest'
import { isJobId } from '../../src/jobs/job.ts'
import { createUuids, uuidOfName } from '../../src/lib/ids.ts'

test('the UUID of a name is the one in RFC 9562, appendix A.4', () => {
  const dns = '6ba7b810-9dad-11d1-80b4-00c04fd430c8'
  expect(uuidOfName('www.example.com', dns)).toBe('2ed6657d-e927-568b-95e1-2665a8aea6a2')
})

const NOW = 0x01a212e75348
const many = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)
const millisecondOf = (id: string) => Number.parseInt(id.slice(0, 13).replace('-', ''), 16)
const countOf = (id: string) => Number.parseInt(id.slice(15, 18), 16)

describe('UUIDs of version 7', () => {
  test('have the time of their creation', () => {
    const id = createUuids(() => NOW)()
    expect(id).toMatch(/^01a212e7-5348-7000-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(isJobId(id)).toBe(true)
  })

  test('have the current time by default', () => {
    const before = Date.now()
    const millisecond = millisecondOf(createUuids()())
    expect(millisecond).toBeGreaterThanOrEqual(before)
    expect(millisecond).toBeLessThanOrEqual(Date.now())
  })

  test('count within a millisecond, and start at 0 in the next', () => {
    const times = [0, 0, 1, 1].map((later) => NOW + later)
    const ids = many(
      4,
      createUuids(() => times.shift()!),
    )
    expect(ids.map((id) => [millisecondOf(id) - NOW, countOf(id)])).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ])
  })

  test('ascend and are unique, however many are created in a millisecond', () => {
    const ids = many(
      10_000,
      createUuids(() => NOW),
    )
    expect(new Set(ids).size).toBe(10_000)
    expect(ids).toEqual([...ids].sort())
    expect(ids.every(isJobId)).toBe(true)
  })

  test('ascend even if the clock goes back', () => {
    let clock = NOW
    const ids = many(
      100,
      createUuids(() => clock--),
    )
    expect(ids).toEqual([...ids].sort())
  })

  test('of two servers differ', () => {
    const [one, other] = [createUuids(() => NOW)(), createUuids(() => NOW)()]
    expect(one.slice(18)).not.toBe(other.slice(18))
  })
})
