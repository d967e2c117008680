import { randomUUID } from 'node:crypto'

/** What 12 bits count to. */
const MAX_COUNT = 0xfff
/** Where in a UUID the variant begins, with its hyphen; 62 random bits follow. */
const VARIANT = 18

/**
 * Makes ids: UUIDs of version 7 (RFC 9562), each greater than the one before. Within a millisecond, and while the clock
 * stands still or goes back, the 12 bits behind the version count (6.2, method 1). `now` gives epoch ms.
 */
export function createIds(now: () => number = Date.now): () => string {
  let [millisecond, count] = [-1, 0]
  return () => {
    const time = now()
    if (time > millisecond) [millisecond, count] = [time, 0]
    else if (count < MAX_COUNT) count++
    else [millisecond, count] = [millisecond + 1, 0]
    const digits = millisecond.toString(16).padStart(12, '0')
    const [high, low] = [digits.slice(0, 8), digits.slice(8)]
    return `${high}-${low}-7${count.toString(16).padStart(3, '0')}${randomUUID().slice(VARIANT)}`
  }
}
