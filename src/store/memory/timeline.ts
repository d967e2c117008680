import { createRequire } from 'node:module'
import type BTreeType from 'sorted-btree'
import type { Job, ModelVersion } from '../../jobs/job.ts'
import {
  changingLabelsOf,
  compareNewestFirst,
  comparePositions,
  filtersOf,
  labelsOf,
  type ListPosition,
  type ListQuery,
  type UsageStore,
} from '../../jobs/ports/store.ts'
import {
  OUTCOME_DIMENSION,
  SAMPLES_KEPT,
  type UsageGroup,
  type UsageRecord,
  type UsageRow,
  VALUES_PER_DAY,
  VALUES_PER_DIMENSION,
} from '../../jobs/usage.ts'
import { intersect, type SortedSet, type Start } from '../../lib/intersection.ts'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'

/** Jobs in order of creation, for every filter that a list may have. */
type Timelines = {
  /** Records a change of a job: no `before` means that it is new, no `after` that it is removed. */
  move(before: Job | undefined, after: Job | undefined): void
  /** Whether a job of the caller is in this state or has this label. */
  has(caller: string, name: string): boolean
  /** What `find` finds at the positions of a page, newest first. */
  read(query: ListQuery, find: (positions: readonly ListPosition[]) => Job[]): Promise<Job[]>
}

// CommonJS with a default export of its own: loaders disagree on what importing it gives.
const { default: BTree } = createRequire(import.meta.url)('sorted-btree') as { default: typeof BTreeType.default }

/** A sorted set of positions. */
type SortedPositions = BTreeType.default<ListPosition, undefined>

const createSortedPositions = (...positions: ListPosition[]): SortedPositions =>
  new BTree<ListPosition, undefined>(
    positions.map((position) => [position, undefined]),
    comparePositions,
  )

/** Most labels, such as the id of an order, have one job only, and a tree for it would take 800 bytes. */
type Timeline = SortedPositions | ListPosition
type TimelinesByName = Map<string, Timeline>

/** One sorted set for each state and each label, of all callers and of each: a page intersects those of its filters. */
export function createTimelines(): Timelines {
  const ofAll: TimelinesByName = new Map()
  const ofCallers = new Map<string, TimelinesByName>()

  const change = (job: Job, names: readonly string[], apply: (timelines: TimelinesByName, name: string) => void) => {
    const ofCaller = ofCallers.get(job.caller) ?? new Map<string, Timeline>()
    for (const name of names) {
      apply(ofAll, name)
      apply(ofCaller, name)
    }
    if (ofCaller.size > 0) ofCallers.set(job.caller, ofCaller)
    else ofCallers.delete(job.caller)
  }

  return {
    move(before, after) {
      const [old, current] = namesToMove(before, after)
      if (before && old.length > 0) change(before, old, (timelines, name) => removePosition(timelines, name, before))
      if (!after || current.length === 0) return
      const position = { createdAt: after.createdAt, id: after.id }
      change(after, current, (timelines, name) => addPosition(timelines, name, position))
    },
    has: (caller, name) => ofCallers.get(caller)?.has(name) ?? false,
    read({ statuses, labels = [], caller, createdAfter = -Infinity, createdBefore, after, limit }, find) {
      const at = after ?? (createdBefore === undefined ? undefined : { createdAt: createdBefore, id: '' })
      const timelines = caller === undefined ? ofAll : ofCallers.get(caller)
      const setOf = (name: string): SortedSet<ListPosition> => {
        const known = timelines?.get(name) ?? createSortedPositions()
        const timeline = known instanceof BTree ? known : createSortedPositions(known)
        return (start, size) => readNewestFirst(timeline, { start, size, createdAfter })
      }
      return intersect(
        filtersOf({ statuses, labels }).map((group) => group.map(setOf)),
        { compare: compareNewestFirst, start: at && { at, isIncluded: false }, limit, find },
      )
    },
  }
}

/** The names that a change of a job takes it out of, and those that it puts it into. */
function namesToMove(before: Job | undefined, after: Job | undefined): [string[], string[]] {
  if (!before || !after)
    return [before, after].map((job) => (job ? [job.status, ...labelsOf(job)] : [])) as [string[], string[]]
  const [old, current] = [before, after].map((job) => [job.status, ...changingLabelsOf(job)]) as [string[], string[]]
  return [old.filter((name) => !current.includes(name)), current.filter((name) => !old.includes(name))]
}

function addPosition(timelines: TimelinesByName, name: string, position: ListPosition): void {
  const timeline = timelines.get(name)
  if (timeline === undefined) timelines.set(name, position)
  else if (timeline instanceof BTree) timeline.set(position, undefined)
  else timelines.set(name, createSortedPositions(timeline, position))
}

function removePosition(timelines: TimelinesByName, name: string, position: ListPosition): void {
  const timeline = timelines.get(name)
  if (timeline instanceof BTree) timeline.delete(position)
  if (!(timeline instanceof BTree) || timeline.isEmpty) timelines.delete(name)
}

type Range = { readonly start: Start<ListPosition> | undefined; readonly size: number; readonly createdAfter: number }

function readNewestFirst(timeline: SortedPositions, { start, size, createdAfter }: Range): ListPosition[] {
  const page: ListPosition[] = []
  for (const [position] of timeline.entriesReversed(start?.at, undefined, start && !start.isIncluded)) {
    if (position.createdAt <= createdAfter || page.push(position) >= size) break
  }
  return page
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

/** Sums of labels kept in all, about 35 MB: what is beyond counts in the dimension of outcomes alone. */
export const MAX_LABEL_SUMS = 100_000

/** The sums of one caller on one day: by dimension, then by group and currency. */
type Dimensions = Map<string, Map<string, UsageRow>>

export function createUsageSums(): UsageSums {
  /** By day, then by caller. */
  const days = new Map<string, Map<string, Dimensions>>()
  const samples = new Map<ModelVersion, number[]>()
  let labelSums = 0

  const addTo = (dimensions: Dimensions, group: UsageGroup, record: UsageRecord) => {
    const isLabel = group.dimension !== OUTCOME_DIMENSION
    const rows = dimensions.get(group.dimension) ?? new Map<string, UsageRow>()
    const key = JSON.stringify([group.value, record.currency])
    const before = rows.get(key)
    if (!before && isLabel && (labelSums >= MAX_LABEL_SUMS || !hasRoom(dimensions, rows))) return
    if (!before && isLabel) labelSums++
    dimensions.set(group.dimension, rows.set(key, sumOf(group, record, before)))
  }

  const remove = (day: string) => {
    for (const dimensions of days.get(day)?.values() ?? []) {
      labelSums -= countSums(dimensions) - (dimensions.get(OUTCOME_DIMENSION)?.size ?? 0)
    }
    days.delete(day)
  }

  return {
    add(record) {
      const ofDay = days.get(record.day) ?? new Map<string, Dimensions>()
      const dimensions: Dimensions = ofDay.get(record.caller) ?? new Map<string, Map<string, UsageRow>>()
      days.set(record.day, ofDay.set(record.caller, dimensions))
      for (const group of record.groups) addTo(dimensions, group, record)
      if (!record.sample) return
      const { version, msPerSecond } = record.sample
      samples.set(version, [msPerSecond, ...(samples.get(version) ?? [])].slice(0, SAMPLES_KEPT))
    },
    on(day, { dimension, caller }) {
      const ofDay = days.get(day)
      const chosen = caller === undefined ? [...(ofDay?.values() ?? [])] : [ofDay?.get(caller)]
      return chosen.flatMap((dimensions) => [...(dimensions?.get(dimension)?.values() ?? [])])
    },
    removeBefore(day) {
      for (const known of days.keys()) if (known < day) remove(known)
    },
    recentRuns: (version) => samples.get(version) ?? [],
  }
}

function countSums(dimensions: Dimensions): number {
  let count = 0
  for (const { size } of dimensions.values()) count += size
  return count
}

const hasRoom = (dimensions: Dimensions, { size }: ReadonlyMap<string, UsageRow>) =>
  size < VALUES_PER_DIMENSION && countSums(dimensions) < VALUES_PER_DAY

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
