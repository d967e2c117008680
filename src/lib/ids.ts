import { createHash, randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { codeOf } from './errors.ts'

/** The same UUID for the same name within a namespace, itself a UUID: version 5 of RFC 9562 (section 5.5). */
export function uuidOfName(name: string, namespace: string): string {
  const hash = createHash('sha1')
  const bytes = hash
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name)
    .digest()
    .subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** What 12 bits count to. */
const MAX_COUNT = 0xfff
/** Where in a UUID the variant begins, with its hyphen; 62 random bits follow. */
const VARIANT = 18

/**
 * Makes UUIDs of version 7 (RFC 9562), each greater than the one before. Within a millisecond, and while the clock
 * stands still or goes back, the 12 bits behind the version count (6.2, method 1). `now` gives epoch ms.
 */
export function createUuids(now: () => number = Date.now): () => string {
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

/** Name of this process among those that share a data folder. Process ids are reused, so it has the start time too. */
export const PROCESS_NAME = `${hostname()}-${process.pid}-${Math.round(performance.timeOrigin)}`

/** Whether a process of this machine has exited, by its name; false for processes of other machines. */
export function hasExited(name: string): boolean {
  const [, host, pid] = /^(.+)-(\d+)-\d+$/.exec(name) ?? []
  if (host !== hostname() || name === PROCESS_NAME) return false
  return Number(pid) === process.pid || !isAlive(Number(pid))
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}
