import type { Delivery, DeliveryRef } from '../jobs/delivery.ts'

/** Deliveries by job, and beside them those that are pending. */
export type DeliveryMaps = {
  has(jobId: string, number: number): boolean
  /** Keeps a delivery in place of the one of its number. */
  set(delivery: Delivery): void
  get(jobId: string, number: number): Delivery | undefined
  /** By number. */
  of(jobId: string): Delivery[]
  isPending(jobId: string): boolean
  forget(jobId: string): void
  due(now: number): DeliveryRef[]
}

export function createDeliveryMaps(): DeliveryMaps {
  const byJob = new Map<string, Map<number, Delivery>>()
  const pendingByJob = new Map<string, Map<number, Delivery>>()

  return {
    has: (jobId, number) => byJob.get(jobId)?.has(number) ?? false,
    get: (jobId, number) => byJob.get(jobId)?.get(number),
    of: (jobId) => [...(byJob.get(jobId)?.values() ?? [])].sort((a, b) => a.number - b.number),
    isPending: (jobId) => pendingByJob.has(jobId),
    set(delivery) {
      put(byJob, delivery)
      if (delivery.dueAt === undefined) drop(pendingByJob, delivery)
      else put(pendingByJob, delivery)
    },
    forget(jobId) {
      byJob.delete(jobId)
      pendingByJob.delete(jobId)
    },
    due(now) {
      const due = [...pendingByJob.values()].flatMap((some) =>
        [...some.values()].filter(({ dueAt = 0 }) => dueAt <= now),
      )
      return due.sort((a, b) => (a.dueAt ?? 0) - (b.dueAt ?? 0))
    },
  }
}

function put(index: Map<string, Map<number, Delivery>>, delivery: Delivery) {
  const some = index.get(delivery.jobId) ?? new Map<number, Delivery>()
  index.set(delivery.jobId, some.set(delivery.number, delivery))
}

function drop(index: Map<string, Map<number, Delivery>>, { jobId, number }: Delivery) {
  const some = index.get(jobId)
  some?.delete(number)
  if (some?.size === 0) index.delete(jobId)
}
