import { createRequire } from 'node:module'
import type BTreeType from 'sorted-btree'
import { type Job, JOB_STATUSES } from '../../jobs/job.ts'
import { comparePositions, type ListPosition, type ListQuery } from '../../jobs/ports/store.ts'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'

/** The places of jobs in the lists that can be asked for. */
export type Timelines = {
  /** A job is now `after`: new where there is no `before`, gone where there is no `after`. */
  move(before: Job | undefined, after: Job | undefined): void
  /** The ids of a page, newest first. */
  page(query: ListQuery): string[]
}

// CommonJS with a default export of its own: loaders disagree on what importing it gives.
const { default: BTree } = createRequire(import.meta.url)('sorted-btree') as { default: typeof BTreeType.default }

/** Positions in order. */
type Line = BTreeType.default<ListPosition, undefined>

const createLine = (): Line => new BTree<ListPosition, undefined>(undefined, comparePositions)

/** One timeline for each state, and one for each state of each caller; a page is put together from those it asks for. */
export function createTimelines(): Timelines {
  const lines = new Map<string, Line>()

  const remove = (key: string, position: ListPosition) => {
    const line = lines.get(key)
    line?.delete(position)
    if (line?.isEmpty) lines.delete(key)
  }

  const add = (key: string, position: ListPosition) => {
    const line = lines.get(key) ?? createLine()
    lines.set(key, line)
    line.set(position, undefined)
  }

  return {
    move(before, after) {
      if (before?.status === after?.status) return
      if (before) for (const key of keysOf(before)) remove(key, before)
      if (after) for (const key of keysOf(after)) add(key, { createdAt: after.createdAt, id: after.id })
    },
    page({ statuses = JOB_STATUSES, caller, createdAfter = -Infinity, limit, ...query }) {
      const chosen = [...new Set(statuses)].flatMap((status) => lines.get(keyOf(status, caller)) ?? [])
      const ids: string[] = []
      for (const { id, createdAt } of newestFirst(chosen.map((line) => walk(line, query)))) {
        if (createdAt <= createdAfter || ids.length >= limit) break
        ids.push(id)
      }
      return ids
    },
  }
}

const keyOf = (status: Job['status'], caller?: string) => (caller === undefined ? status : `${status} ${caller}`)
const keysOf = ({ status, caller }: Job) => [keyOf(status), keyOf(status, caller)]

/** From the newest on that the query's `after` and `createdBefore` allow. */
function* walk(line: Line, { after, createdBefore }: Pick<ListQuery, 'after' | 'createdBefore'>) {
  const before = after ?? (createdBefore === undefined ? undefined : { createdAt: createdBefore, id: '' })
  for (const [position] of line.entriesReversed(before, undefined, true)) yield position
}

/** Puts walks together, each of which is newest first. */
function* newestFirst(walks: readonly Iterator<ListPosition, unknown>[]): Generator<ListPosition> {
  const heads = walks.map((steps) => ({ steps, next: steps.next() }))
  for (;;) {
    let newest: { head: (typeof heads)[number]; position: ListPosition } | undefined
    for (const head of heads) {
      if (head.next.done) continue
      const position = head.next.value
      if (!newest || comparePositions(position, newest.position) > 0) newest = { head, position }
    }
    if (!newest) return
    yield newest.position
    newest.head.next = newest.head.steps.next()
  }
}

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
      unlist(deliveryKeyOf(delivery))
      list(delivery, deliveryKeyOf(delivery))
    },
    forget(jobId) {
      for (const delivery of of(jobId)) unlist(deliveryKeyOf(delivery))
      byJob.delete(jobId)
    },
    due(after, now, limit) {
      // The least that is greater.
      const from = after
        ? { createdAt: after.dueAt, id: `${deliveryKeyOf(after)}\0` }
        : { createdAt: -Infinity, id: '' }
      const page = line.getRange(from, { createdAt: now + 1, id: '' }, false, limit)
      return page.flatMap(([{ id }]) => byKey.get(id) ?? [])
    },
  }
}

/** Names a delivery. */
export const deliveryKeyOf = ({ jobId, number }: Pick<Delivery, 'jobId' | 'number'>) => `${jobId}/${number}`
