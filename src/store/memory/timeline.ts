import { createRequire } from 'node:module'
import type BTreeType from 'sorted-btree'
import { type Job, JOB_STATUSES, type ModelVersion } from '../../jobs/job.ts'
import { comparePositions, type ListPosition, type ListQuery, type UsageStore } from '../../jobs/ports/store.ts'
import {
  OUTCOME_DIMENSION,
  SAMPLES_KEPT,
  type UsageGroup,
  type UsageRecord,
  type UsageRow,
  VALUES_PER_DAY,
  VALUES_PER_DIMENSION,
} from '../../jobs/usage.ts'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'

/** Jobs in order of creation, for every filter that a list may have. */
type Timelines = {
  /** Records a change of a job: no `before` means that it is new, no `after` that it is removed. */
  move(before: Job | undefined, after: Job | undefined): void
  /** The ids of a page, newest first. */
  page(query: ListQuery): string[]
}

// CommonJS with a default export of its own: loaders disagree on what importing it gives.
const { default: BTree } = createRequire(import.meta.url)('sorted-btree') as { default: typeof BTreeType.default }

/** A sorted set of positions. */
type SortedPositions = BTreeType.default<ListPosition, undefined>

const createSortedPositions = (): SortedPositions => new BTree<ListPosition, undefined>(undefined, comparePositions)

/** One sorted set for each state, and one for each state of each caller: a page merges those that its query names. */
export function createTimelines(): Timelines {
  const timelines = new Map<string, SortedPositions>()

  const remove = (key: string, position: ListPosition) => {
    const timeline = timelines.get(key)
    timeline?.delete(position)
    if (timeline?.isEmpty) timelines.delete(key)
  }

  const add = (key: string, position: ListPosition) => {
    const timeline = timelines.get(key) ?? createSortedPositions()
    timelines.set(key, timeline)
    timeline.set(position, undefined)
  }

  return {
    move(before, after) {
      if (before?.status === after?.status) return
      if (before) for (const key of timelineKeysOf(before)) remove(key, before)
      if (after) for (const key of timelineKeysOf(after)) add(key, { createdAt: after.createdAt, id: after.id })
    },
    page({ statuses = JOB_STATUSES, caller, createdAfter = -Infinity, limit, ...query }) {
      const chosen = [...new Set(statuses)].flatMap((status) => timelines.get(timelineKeyOf(status, caller)) ?? [])
      const ids: string[] = []
      for (const { id, createdAt } of mergeNewestFirst(chosen.map((timeline) => walk(timeline, query)))) {
        if (createdAt <= createdAfter || ids.length >= limit) break
        ids.push(id)
      }
      return ids
    },
  }
}

const timelineKeyOf = (status: Job['status'], caller?: string) =>
  caller === undefined ? status : `${status} ${caller}`
const timelineKeysOf = ({ status, caller }: Job) => [timelineKeyOf(status), timelineKeyOf(status, caller)]

/** Yields positions, newest first, from where the query's `after` or `createdBefore` starts. */
function* walk(timeline: SortedPositions, { after, createdBefore }: Pick<ListQuery, 'after' | 'createdBefore'>) {
  const before = after ?? (createdBefore === undefined ? undefined : { createdAt: createdBefore, id: '' })
  for (const [position] of timeline.entriesReversed(before, undefined, true)) yield position
}

/** Merges walks, each of which is newest first. */
function* mergeNewestFirst(walks: readonly Iterator<ListPosition, unknown>[]): Generator<ListPosition> {
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

/** Deliveries by job, and the pending ones in the order in which they are due. */
type DeliveryTimeline = {
  /** Adds a delivery, or replaces the one of its number. */
  set(delivery: Delivery): void
  get(jobId: string, number: number): Delivery | undefined
  /** By number. */
  of(jobId: string): Delivery[]
  isPending(jobId: string): boolean
  forget(jobId: string): void
  /** One page of the deliveries due by `now`, the longest due first, after `after`. */
  due(after: DueDelivery | undefined, now: number, limit: number): DueDelivery[]
}

export function createDeliveryTimeline(): DeliveryTimeline {
  const byJob = new Map<string, Map<number, Delivery>>()
  const pending = new Map<string, DueDelivery>()
  const order = createSortedPositions()

  const removePending = (key: string) => {
    const known = pending.get(key)
    if (known) order.delete({ createdAt: known.dueAt, id: key })
    pending.delete(key)
  }
  const addPending = ({ jobId, number, caller, host, dueAt }: Delivery, key: string) => {
    if (dueAt === undefined) return
    pending.set(key, { jobId, number, caller, host, dueAt })
    order.set({ createdAt: dueAt, id: key }, undefined)
  }
  const of = (jobId: string) => [...(byJob.get(jobId)?.values() ?? [])]

  return {
    get: (jobId, number) => byJob.get(jobId)?.get(number),
    of: (jobId) => of(jobId).sort((a, b) => a.number - b.number),
    isPending: (jobId) => of(jobId).some(({ dueAt }) => dueAt !== undefined),
    set(delivery) {
      const ofJob = byJob.get(delivery.jobId) ?? new Map<number, Delivery>()
      byJob.set(delivery.jobId, ofJob.set(delivery.number, delivery))
      removePending(deliveryKeyOf(delivery))
      addPending(delivery, deliveryKeyOf(delivery))
    },
    forget(jobId) {
      for (const delivery of of(jobId)) removePending(deliveryKeyOf(delivery))
      byJob.delete(jobId)
    },
    due(after, now, limit) {
      // `\0` makes the least key that is greater.
      const from = after
        ? { createdAt: after.dueAt, id: `${deliveryKeyOf(after)}\0` }
        : { createdAt: -Infinity, id: '' }
      const page = order.getRange(from, { createdAt: now + 1, id: '' }, false, limit)
      return page.flatMap(([{ id }]) => pending.get(id) ?? [])
    },
  }
}

const deliveryKeyOf = ({ jobId, number }: Pick<Delivery, 'jobId' | 'number'>) => `${jobId}/${number}`

/** Daily sums, lost with the process. */
type UsageSums = {
  add(record: UsageRecord): void
  on(...query: Parameters<UsageStore['usageOn']>): UsageRow[]
  removeBefore(day: string): void
  recentRuns(version: ModelVersion): number[]
}

export function createUsageSums(): UsageSums {
  /** By day, then by caller, then by group and currency. */
  const days = new Map<string, Map<string, Map<string, UsageRow>>>()
  const samples = new Map<ModelVersion, number[]>()

  const addTo = (rows: Map<string, UsageRow>, group: UsageGroup, record: UsageRecord) => {
    const key = JSON.stringify([group.dimension, group.value, record.currency])
    const before = rows.get(key)
    if (!before && !hasRoom(rows, group)) return
    rows.set(key, sumOf(group, record, before))
  }

  return {
    add(record) {
      const ofDay = days.get(record.day) ?? new Map<string, Map<string, UsageRow>>()
      const rows = ofDay.get(record.caller) ?? new Map<string, UsageRow>()
      days.set(record.day, ofDay.set(record.caller, rows))
      for (const group of record.groups) addTo(rows, group, record)
      if (!record.sample) return
      const { version, msPerSecond } = record.sample
      samples.set(version, [msPerSecond, ...(samples.get(version) ?? [])].slice(0, SAMPLES_KEPT))
    },
    on(day, { dimension, caller }) {
      const ofDay = days.get(day)
      const chosen = caller === undefined ? [...(ofDay?.values() ?? [])] : [ofDay?.get(caller)]
      return chosen.flatMap((rows) => [...(rows?.values() ?? [])].filter((row) => row.dimension === dimension))
    },
    removeBefore(day) {
      for (const known of days.keys()) if (known < day) days.delete(known)
    },
    recentRuns: (version) => samples.get(version) ?? [],
  }
}

function hasRoom(rows: Map<string, UsageRow>, { dimension }: UsageGroup): boolean {
  if (dimension === OUTCOME_DIMENSION) return true
  const alike = [...rows.values()].filter((row) => row.dimension === dimension)
  return alike.length < VALUES_PER_DIMENSION && rows.size < VALUES_PER_DAY
}

function sumOf(group: UsageGroup, record: UsageRecord, before?: UsageRow): UsageRow {
  const { day, caller, currency, jobs, attempts, queuedMs, startupMs, runMs, nanos } = record
  return {
    ...group,
    day,
    caller,
    currency,
    jobs: jobs + (before?.jobs ?? 0),
    attempts: attempts + (before?.attempts ?? 0),
    queuedMs: queuedMs + (before?.queuedMs ?? 0),
    startupMs: startupMs + (before?.startupMs ?? 0),
    runMs: runMs + (before?.runMs ?? 0),
    nanos: nanos + (before?.nanos ?? 0n),
  }
}
