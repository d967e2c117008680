import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { createLine } from './timeline.ts'

/** Deliveries by job, and beside them the order in which the pending ones are due. */
export type DeliveryMaps = {
  /** Keeps a delivery, in place of the one of its number. */
  set(delivery: Delivery): void
  get(jobId: string, number: number): Delivery | undefined
  /** By number. */
  of(jobId: string): Delivery[]
  isPending(jobId: string): boolean
  forget(jobId: string): void
  /** One page of what is due, the longest due first, from behind one on. */
  due(after: DueDelivery | undefined, now: number, limit: number): DueDelivery[]
}

export function createDeliveryMaps(): DeliveryMaps {
  const byJob = new Map<string, Map<number, Delivery>>()
  const byKey = new Map<string, DueDelivery>()
  const line = createLine()

  const unlist = (key: string) => {
    const known = byKey.get(key)
    if (known) line.delete({ createdAt: known.dueAt, id: key })
    byKey.delete(key)
  }
  const list = ({ jobId, number, caller, host, dueAt }: Delivery, key: string) => {
    if (dueAt === undefined) return
    byKey.set(key, { jobId, number, caller, host, dueAt })
    line.set({ createdAt: dueAt, id: key }, undefined)
  }
  const of = (jobId: string) => [...(byJob.get(jobId)?.values() ?? [])]

  return {
    get: (jobId, number) => byJob.get(jobId)?.get(number),
    of: (jobId) => of(jobId).sort((a, b) => a.number - b.number),
    isPending: (jobId) => of(jobId).some(({ dueAt }) => dueAt !== undefined),
    set(delivery) {
      const some = byJob.get(delivery.jobId) ?? new Map<number, Delivery>()
      byJob.set(delivery.jobId, some.set(delivery.number, delivery))
      unlist(keyOf(delivery))
      list(delivery, keyOf(delivery))
    },
    forget(jobId) {
      for (const delivery of of(jobId)) unlist(keyOf(delivery))
      byJob.delete(jobId)
    },
    due(after, now, limit) {
      // The least that is greater.
      const from = after ? { createdAt: after.dueAt, id: `${keyOf(after)}\0` } : { createdAt: -Infinity, id: '' }
      const page = line.getRange(from, { createdAt: now + 1, id: '' }, false, limit)
      return page.flatMap(([{ id }]) => byKey.get(id) ?? [])
    },
  }
}

const keyOf = ({ jobId, number }: Pick<Delivery, 'jobId' | 'number'>) => `${jobId}/${number}`
