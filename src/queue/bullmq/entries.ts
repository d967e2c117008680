import { hash } from 'node:crypto'
import type { Job as BullJob } from 'bullmq'
import { PRIORITIES } from '../../jobs/job.ts'
import type { QueueEntry } from '../../jobs/ports/queue.ts'

/** What BullMQ stores of an entry, beside its key. */
export type EntryData = Partial<Pick<QueueEntry, 'caller' | 'priority'>> & {
  /** Its job has a call: it runs whatever the share of its caller, and while the start of jobs is paused. */
  readonly hasCall?: boolean
  /** How many claims of it have started no run. */
  readonly idleClaims?: number
}

/**
 * The key of an entry in BullMQ. It begins with a digest of its caller and its priority, so that a list of keys shows whose
 * entries they are; those of one caller sort by priority and, as ids are in the order of submits, by arrival.
 */
export const bullKeyOf = ({ id, attempt, caller, priority }: QueueEntry): string =>
  `${keyPrefixOf(caller)}${PRIORITIES.indexOf(priority)}-${id}-${attempt}`

export function entryOfBullJob({ id: key = '', data }: BullJob<EntryData>): QueueEntry {
  const [, id = '', attempt] = /^(?:[0-9a-f]{16}-\d-)?(.*)-(\d+)$/.exec(key) ?? []
  const { caller = '', priority = 'normal' } = data
  return { id, attempt: Number(attempt), caller, priority }
}

/** What the keys of a caller's entries begin with, and no others. */
export const keyPrefixOf = (caller: string): string => `${hash('sha256', caller, 'hex').slice(0, 16)}-`
const KEY_PREFIX_LENGTH = 17

/** Whose entry it is: `keyPrefixOf` its caller. */
export const callerPrefixOf = (key: string): string => key.slice(0, KEY_PREFIX_LENGTH)

/** The index of its priority in `PRIORITIES`. */
export const rankOf = (key: string): number => Number(key[KEY_PREFIX_LENGTH])
