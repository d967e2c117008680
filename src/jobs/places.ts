import { ConcurrencyLimitReached, QueueFull } from '../errors.ts'
import type { JobStore } from '../store/port.ts'

export type PlaceLimits = {
  readonly store: Pick<JobStore, 'countSubmitted' | 'list'>
  /** Jobs that may be `submitted` at a time. */
  readonly maxQueuedJobs: number
  /** Unfinished jobs that one caller may have; undefined: as many as it likes. */
  readonly maxActiveOfCaller: number | undefined
}

/** Acts once there is a place for one more job of the caller; else rejects with `QueueFull` or `ConcurrencyLimitReached`. */
export type WithPlace = <T>(caller: string, act: () => Promise<T>) => Promise<T>

/**
 * Gives places to retries: a retry makes an old job one more to be done, and the store counts only what is new. Those
 * under way on this server are counted; each replica counts its own.
 */
export function createPlaces({ store, maxQueuedJobs, maxActiveOfCaller }: PlaceLimits): WithPlace {
  /** The callers of retries under way, which have a place already and are not yet counted by the store. */
  const retrying: string[] = []

  return async (caller, act) => {
    const [ahead, own] = [retrying.length, retrying.filter((other) => other === caller).length]
    retrying.push(caller)
    try {
      if (maxQueuedJobs < Infinity && (await store.countSubmitted()) + ahead >= maxQueuedJobs) throw new QueueFull()
      if (maxActiveOfCaller !== undefined) {
        const active = await store.list({ caller, statuses: ['submitted', 'running'], limit: maxActiveOfCaller })
        if (active.length + own >= maxActiveOfCaller) throw new ConcurrencyLimitReached(maxActiveOfCaller)
      }
      return await act()
    } finally {
      retrying.splice(retrying.indexOf(caller), 1)
    }
  }
}
