import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { createHeapMeter } from '../../lib/heap.ts'
import { isFinished, isOverdue, hasPendingStop, type Job } from '../../jobs/job.ts'
import { createFifo } from '../../lib/collections.ts'
import {
  newSecret,
  type InsertLimits,
  type PendingWork,
  type Reopened,
  type SecretKeeper,
  type Store,
} from '../../jobs/ports/store.ts'
import { createDeliveryMaps, createTimelines, deliveryKeyOf, type DeliveryMaps } from './timeline.ts'

/** What the indexes take for a job or a delivery, in bytes; measured. */
const INDEX_BYTES = 300
/** Deliveries read at once while looking for what is due. */
const DUE_PAGE = 200

export type MemoryStoreOptions = {
  /** Finished jobs kept; beyond them the one that ended first is forgotten, unless something is still owed to it. */
  readonly maxFinished?: number
  /**
   * Estimated bytes of all jobs and deliveries. Beyond them finished jobs are forgotten likewise, and where that makes no
   * room, an insert is `full`.
   */
  readonly maxBytes?: number
  /** Hears of each job that is forgotten for want of room. */
  readonly onForgotten?: (job: Job) => void
}

/**
 * Jobs in a `Map`, gone with the process. What is owed is kept beside it in small indexes, so that looking for work
 * never walks over the finished jobs.
 */
export function createMemoryStore(options: MemoryStoreOptions = {}): Store & SecretKeeper {
  const { maxFinished = Infinity, maxBytes = Infinity, onForgotten } = options
  const jobs = new Map<string, Job>()
  /** Jobs in order of creation, by state, and by state of each caller: no filter walks over what it leaves out. */
  const timelines = createTimelines()
  const indexes = {
    unfinished: new Map<string, Job>(),
    stopping: new Map<string, Job>(),
    submitted: new Map<string, Job>(),
    finished: new Map<string, Job>(),
  }
  /** The order in which jobs ended; by id, what takes one out of it. */
  const ended = createFifo<string>()
  const leaveEnded = new Map<string, () => void>()
  const activeByCaller = new Map<string, number>()
  const idsByKey = new Map<string, string>()
  const deliveries = createDeliveryMaps()
  const meter = createHeapMeter(INDEX_BYTES)

  /** `by`: how many unfinished jobs more the caller has. */
  const countActive = (caller: string, by: number) => {
    const count = (activeByCaller.get(caller) ?? 0) + by
    if (count > 0) activeByCaller.set(caller, count)
    else activeByCaller.delete(caller)
  }

  const write = (job: Job) => {
    countActive(job.caller, Number(!isFinished(job)) - Number(indexes.unfinished.has(job.id)))
    timelines.move(jobs.get(job.id), job)
    jobs.set(job.id, job)
    meter.set(job.id, job)
    keep(indexes.unfinished, job, !isFinished(job))
    keep(indexes.stopping, job, hasPendingStop(job))
    keep(indexes.submitted, job, job.status === 'submitted')
    listEnded(job)
  }

  const keepDelivery = (delivery: Delivery) => {
    deliveries.set(delivery)
    meter.set(deliveryKeyOf(delivery), delivery)
  }

  /** Only what may be forgotten is listed: a job takes its place once nothing is owed to it any more. */
  const listEnded = (job: Job) => {
    const isRemovable = isFinished(job) && !hasPendingStop(job) && !deliveries.isPending(job.id)
    keep(indexes.finished, job, isRemovable)
    if (!isRemovable) unlist(job.id)
    else if (!leaveEnded.has(job.id)) leaveEnded.set(job.id, ended.add(job.id))
  }

  const unlist = (id: string) => {
    leaveEnded.get(id)?.()
    leaveEnded.delete(id)
  }

  const forget = (job: Job) => {
    if (indexes.unfinished.has(job.id)) countActive(job.caller, -1)
    jobs.delete(job.id)
    timelines.move(job, undefined)
    unlist(job.id)
    meter.delete(job.id)
    for (const delivery of deliveries.of(job.id)) meter.delete(deliveryKeyOf(delivery))
    deliveries.forget(job.id)
    for (const index of Object.values(indexes)) index.delete(job.id)
    if (job.idempotencyKey !== undefined) idsByKey.delete(keyOf(job))
  }

  const forgetBeyondLimit = () => {
    while (indexes.finished.size > maxFinished || (meter.bytes > maxBytes && indexes.finished.size > 0)) {
      const oldest = jobs.get(ended.first ?? '')
      if (!oldest) return
      forget(oldest)
      onForgotten?.(oldest)
    }
  }

  const limitReached = (job: Job, { maxSubmitted = Infinity, maxActiveOfCaller = Infinity }: InsertLimits) => {
    if (indexes.submitted.size >= maxSubmitted || meter.bytes > maxBytes) return 'full'
    return (activeByCaller.get(job.caller) ?? 0) >= maxActiveOfCaller ? 'caller-full' : undefined
  }

  const insert = (job: Job, limits: InsertLimits) => {
    const existing = job.idempotencyKey === undefined ? undefined : jobs.get(idsByKey.get(keyOf(job)) ?? '')
    if (existing) return { kind: 'existing', job: existing } as const
    if (jobs.has(job.id)) throw new Error(`job ${job.id} exists already`)
    const full = limitReached(job, limits)
    if (full) return { kind: full } as const
    write(job)
    if (job.idempotencyKey !== undefined) idsByKey.set(keyOf(job), job.id)
    forgetBeyondLimit()
    return { kind: 'inserted' } as const
  }

  const update = (job: Job, expectedRevision: number, delivery?: Delivery) => {
    if (jobs.get(job.id)?.revision !== expectedRevision) return false
    if (delivery && deliveries.get(job.id, delivery.number))
      throw new Error(`delivery ${delivery.number} exists already`)
    if (delivery) keepDelivery(delivery)
    write(job)
    forgetBeyondLimit()
    return true
  }

  const reopen = (job: Job, expectedRevision: number, limits: InsertLimits): Reopened => {
    if (jobs.get(job.id)?.revision !== expectedRevision) return 'stale'
    const full = limitReached(job, limits)
    if (full) return full
    write(job)
    return 'reopened'
  }

  const updateDelivery = (delivery: Delivery, expectedRevision: number) => {
    const job = jobs.get(delivery.jobId)
    if (!job || deliveries.get(job.id, delivery.number)?.revision !== expectedRevision) return false
    keepDelivery(delivery)
    listEnded(job)
    forgetBeyondLimit()
    return true
  }

  return {
    insert: (job, limits = {}) => promised(() => insert(job, limits)),
    get: (id) => Promise.resolve(jobs.get(id)),
    update: (job, expectedRevision, delivery) => promised(() => update(job, expectedRevision, delivery)),
    reopen: (job, expectedRevision, limits = {}) => Promise.resolve(reopen(job, expectedRevision, limits)),
    remove(id, expectedRevision) {
      const job = jobs.get(id)
      if (job?.revision !== expectedRevision) return Promise.resolve(false)
      forget(job)
      return Promise.resolve(true)
    },
    list(query) {
      const ids = timelines.page(query)
      return Promise.resolve(ids.flatMap((id) => jobs.get(id) ?? []))
    },
    async *pending(what, now) {
      for (const job of [...candidates(what).values()]) if (isOwed(what, job, now)) yield await Promise.resolve(job)
    },
    deliveriesOf: (jobId) => Promise.resolve(deliveries.of(jobId)),
    dueDeliveries: (now) => duePages(deliveries, now),
    updateDelivery: (delivery, expectedRevision) => Promise.resolve(updateDelivery(delivery, expectedRevision)),
    countSubmitted: () => Promise.resolve(indexes.submitted.size),
    ...createMemorySecrets(),
    close: () => Promise.resolve(),
  }

  function candidates(what: PendingWork): Map<string, Job> {
    if (what === 'stop') return indexes.stopping
    return what === 'removal' ? indexes.finished : indexes.unfinished
  }
}

/** Secrets for as long as the process lives, like the jobs beside them. */
function createMemorySecrets(): SecretKeeper {
  const secrets = new Map<string, string>()
  return {
    secret(name) {
      const secret = secrets.get(name) ?? newSecret()
      secrets.set(name, secret)
      return Promise.resolve(secret)
    },
  }
}

/** Page by page: tens of thousands may be due at once, and others get their turn of the event loop. */
async function* duePages({ due }: DeliveryMaps, now: number): AsyncIterable<DueDelivery> {
  let after: DueDelivery | undefined
  do {
    const page = due(after, now, DUE_PAGE)
    yield* page
    after = page.length < DUE_PAGE ? undefined : page.at(-1)
    await new Promise(setImmediate)
  } while (after)
}

/** Rejects where `work` throws. */
const promised = <T>(work: () => T) => new Promise<T>((resolve) => resolve(work()))

const keyOf = ({ caller, idempotencyKey }: Job) => JSON.stringify([caller, idempotencyKey])

function isOwed(what: PendingWork, job: Job, now: number): boolean {
  if (what === 'end') return isOverdue(job, now)
  return what !== 'removal' || (job.finishedAt ?? Infinity) <= now
}

// A value set again keeps its place in a Map, so iteration stays in the order in which jobs came into the index.
function keep(index: Map<string, Job>, job: Job, belongs: boolean) {
  if (belongs) index.set(job.id, job)
  else index.delete(job.id)
}
