import { randomUUIDv7 } from 'node:crypto'

/** Digits of a version 7 UUID: its milliseconds, and what follows the 12 bits behind its version. */
const [TIME_END, REST] = [13, 18]
const MAX_COUNT = 0xfff

/**
 * Makes ids: UUIDs of version 7 (RFC 9562) that rise also within a millisecond, in which their first 12 random bits
 * count (6.2, method 1). Of more than 4,096 in one the last come in any order.
 */
export function createIds(make: () => string = randomUUIDv7): () => string {
  let [millisecond, count] = ['', 0]
  return () => {
    const id = make()
    const now = id.slice(0, TIME_END)
    count = now === millisecond ? Math.min(count + 1, MAX_COUNT) : 0
    millisecond = now
    return `${now}-7${count.toString(16).padStart(3, '0')}${id.slice(REST)}`
  }
}
