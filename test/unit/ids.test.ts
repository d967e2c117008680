import { randomUUIDv7 } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createIds } from '../../src/jobs/ids.ts'
import { isJobId } from '../../src/jobs/job.ts'

const many = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)
const millisecondOf = (id: string) => Number.parseInt(id.slice(0, 13).replace('-', ''), 16)

describe('ids of jobs', () => {
  test('are UUIDs of version 7 of the time they are made at', () => {
    const before = Date.now()
    const id = createIds()()
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(isJobId(id)).toBe(true)
    expect(millisecondOf(id)).toBeGreaterThanOrEqual(before)
    expect(millisecondOf(id)).toBeLessThanOrEqual(Date.now())
  })

  test('rise, of whichever millisecond they are', () => {
    const ids = many(2_000, createIds())
    expect(ids).toEqual([...new Set(ids)].sort())
    expect(new Set(ids.map(millisecondOf)).size).toBeLessThan(ids.length)
  })

  test('stay different where a millisecond has more than can be counted', () => {
    const time = randomUUIDv7().slice(0, 13)
    const ids = many(
      6_000,
      createIds(() => time + randomUUIDv7().slice(13)),
    )
    expect(new Set(ids.map(millisecondOf)).size).toBe(1)
    expect(new Set(ids).size).toBe(6_000)
    expect(ids.slice(0, 4_096)).toEqual(ids.slice(0, 4_096).sort())
    expect(ids.every(isJobId)).toBe(true)
  })

  test('begin to count again with each millisecond', () => {
    const times = [0, 0, 1, 1].map((later) => `01a212e7-534${later}`)
    const ids = many(
      4,
      createIds(() => times.shift()! + randomUUIDv7().slice(13)),
    )
    expect(ids.map((id) => id.slice(14, 18))).toEqual(['7000', '7001', '7000', '7001'])
  })
})
