import { expect, test } from 'vitest'
import { createTokenBucket } from '../../src/lib/limits.ts'

/** A bucket of 100 a second with a burst of a tenth of that, and the clock that it goes by. */
function start() {
  const clock = { now: 0 }
  const bucket = createTokenBucket(100, () => clock.now)
  /** When each of so many tokens is taken, in ms, by one who takes each as soon as it is there. */
  const takeAll = (count: number) =>
    Array.from({ length: count }, () => {
      bucket.refill(0.1)
      clock.now += bucket.msUntil(1)
      bucket.refill(0.1)
      bucket.take()
      return Math.round(clock.now)
    })
  return { clock, bucket, takeAll }
}

test('a bucket gives a burst, then one at a time at its rate', () => {
  const { takeAll } = start()
  expect(takeAll(13)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 20, 30])
})

test('a paused bucket gives nothing for so long, then one token at once and the others at half the rate', () => {
  const { bucket, takeAll } = start()
  takeAll(10)
  bucket.pause(2_000)
  expect(bucket.msUntil(1)).toBeGreaterThanOrEqual(2_000)
  const [first = 0, second = 0, third = 0] = takeAll(3)
  expect([first, second - first, third - second].map((ms) => Math.round(ms / 10) * 10)).toEqual([2_020, 20, 20])
})

test('concurrent pauses of a bucket halve its rate once, and last as long as the longest', () => {
  const { bucket, takeAll } = start()
  for (const ms of [1_000, 3_000, 2_000]) bucket.pause(ms)
  const [first = 0, second = 0] = takeAll(2)
  expect({ first, second }).toEqual({ first: 3_000, second: 3_020 })
})

test('a rate that is halved repeatedly stays above one per second, and recovers within a minute', () => {
  const { clock, bucket, takeAll } = start()
  for (let n = 0; n < 20; n++) {
    bucket.pause(1_000)
    clock.now += 1_000
  }
  takeAll(1)
  expect(bucket.msUntil(1)).toBeGreaterThan(900)
  expect(bucket.msUntil(1)).toBeLessThanOrEqual(1_000)
  clock.now += 60_000
  takeAll(20)
  bucket.refill(0.1)
  expect(bucket.msUntil(1)).toBeLessThanOrEqual(10)
})
