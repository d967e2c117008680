import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseRetryPolicy } from '../../src/backend/modal/rpc-observers.ts'
import { status } from '../helpers/control-plane/control-plane.ts'
import { retryAfterTrailer } from '../helpers/control-plane/wire.ts'

const trailer = (seconds: number, message = 'slow down') =>
  retryAfterTrailer(status.RESOURCE_EXHAUSTED, message, seconds).get('grpc-status-details-bin')[0] as Buffer

test.each([
  [0.25, 250],
  [1.5, 1_500],
  [60, 60_000],
  [1e9, 600_000],
])('a policy of %d s asks for %d ms, ten minutes at most', (seconds, ms) => {
  expect(parseRetryPolicy(trailer(seconds))).toBe(ms)
  expect(parseRetryPolicy(trailer(seconds, 'x'.repeat(5_000)))).toBe(ms)
})

test.each([0, -1, NaN])('a policy of %d s asks for nothing', (seconds) => {
  expect(parseRetryPolicy(trailer(seconds))).toBeUndefined()
})

test('a detail of another type is skipped', () => {
  const other = Buffer.from(trailer(5).toString('latin1').replace('RPCRetryPolicy', 'RPCOtherPolicy'), 'latin1')
  expect(parseRetryPolicy(other)).toBeUndefined()
  expect(parseRetryPolicy(Buffer.concat([other, trailer(7)]))).toBe(7_000)
})

test('any bytes are parsed without an error, into a valid pause or none', () => {
  const whole = trailer(3)
  const broken = fc.nat(whole.length).map((length) => whole.subarray(0, length))
  const changed = fc
    .tuple(fc.nat(whole.length - 1), fc.nat(255))
    .map(([at, byte]) => Buffer.from(whole.map((was, index) => (index === at ? byte : was))))
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), broken, changed), (bytes) => {
      const ms = parseRetryPolicy(bytes)
      expect(ms === undefined || (ms > 0 && ms <= 600_000)).toBe(true)
    }),
    { numRuns: 2_000 },
  )
})
