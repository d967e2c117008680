import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'
import { isFinished, isOverdue, hasPendingStop, type Job } from '../../jobs/job.ts'
import { createFifo, readPages } from '../../lib/collections.ts'
import {
  newSecret,
  type Additions,
  type BatchInserted,
  type InsertLimits,
  type NewBatch,
  type PendingWork,
  type Reopened,
  type SecretKeeper,
  type Store,
} from '../../jobs/ports/store.ts'
import { batchOf, deliveryOfEnd } from '../../jobs/batch.ts'
import { createBatchTable } from './batches.ts'
import { createDeliveryTimeline, createTimelines, createUsageSums } from './timeline.ts'

/**
 * What V8 takes on a 64-bit machine, in bytes: for a job with its indexes but without attempts and texts, for an attempt,
 * for a delivery, for one attempt of a delivery, and for a member of an object. Texts are taken to be Latin-1, as most are.
 */
const JOB_BYTES = 1_100
const ATTEMPT_BYTES = 250
/** Times and cost of an attempt; the facts of face and speech. */
const USAGE_BYTES = 160
const MEDIA_BYTES = 270
const DELIVERY_BYTES = 950
const TRY_BYTES = 220
const MEMBER_BYTES = 64
/** For a label's entries in the indexes of lists, at most: if two jobs share it. The text of a label is kept once beside that of its job. */
const LABEL_BYTES = 800
/** Due deliveries in one page: tens of thousands may be due, and the event loop must not be blocked. */
const DUE_PAGE = 200

type MemoryStoreOptions = {
  /** Finished jobs kept. Beyond them the one that finished first is removed, unless it has pending work. */
  readonly maxFinished?: number
  /**
   * Estimated bytes of all jobs, batches and deliveries. Beyond them finished jobs are removed likewise; where that is not enough,
   * an insert is `full`.
   */
  readonly maxBytes?: number
  /** Called with each job that is removed to make room. */
  readonly onForgotten?: (job: Job) => void
}

/**
 * Jobs in a `Map`, lost with the process. Pending work is in small indexes beside it, so that listing it never walks over
 * finished jobs.
 */
export function createMemoryStore(options: MemoryStoreOptions = {}): Store & SecretKeeper {
  const { maxFinished = Infinity, maxBytes = Infinity, onForgotten } = options
  const jobs = new Map<string, Job>()
  const timelines = createTimelines()
  const indexes = {
    unfinished: new Map<string, Job>(),
    stopping: new Map<string, Job>(),
    submitted: new Map<string, Job>(),
    removable: new Map<string, Job>(),
  }
  /** Ids of removable jobs, the first to be removed first. */
  const removalOrder = createFifo<string>()
  /** By id: takes a job out of `removalOrder`. */
  const leaveRemovalOrder = new Map<string, () => void>()
  const activeByCaller = new Map<string, number>()
  const idsByKey = new Map<string, string>()
  const deliveries = createDeliveryTimeline()
  const sums = createUsageSums()
  const batches = createBatchTable()
  /** Estimated, of all jobs and deliveries. */
  let bytes = 0

  const isOverLimit = () => bytes + batches.bytes > maxBytes

  const addActive = (caller: string, by: number) => {
    const count = (activeByCaller.get(caller) ?? 0) + by
    if (count > 0) activeByCaller.set(caller, count)
    else activeByCaller.delete(caller)
  }

  const write = (job: Job) => {
    addActive(job.caller, Number(!isFinished(job)) - Number(indexes.unfinished.has(job.id)))
    const before = jobs.get(job.id)
    bytes += bytesOfJob(job) - (before ? bytesOfJob(before) : 0)
    timelines.move(before, job)
    jobs.set(job.id, job)
    updateIndex(indexes.unfinished, job, !isFinished(job))
    updateIndex(indexes.stopping, job, hasPendingStop(job))
    updateIndex(indexes.submitted, job, job.status === 'submitted')
    updateRemovable(job)
  }

  const writeDelivery = (delivery: Delivery) => {
    const before = deliveries.get(delivery.jobId, delivery.number)
    bytes += bytesOfDelivery(delivery) - (before ? bytesOfDelivery(before) : 0)
    deliveries.set(delivery)
  }

  /** A job joins the end of the list when its last pending work is done. */
  const updateRemovable = (job: Job) => {
    const isRemovable = isFinished(job) && !hasPendingStop(job) && !deliveries.isPending(job.id)
    updateIndex(indexes.removable, job, isRemovable)
    if (!isRemovable) keepFromRemoval(job.id)
    else if (!leaveRemovalOrder.has(job.id)) leaveRemovalOrder.set(job.id, removalOrder.add(job.id))
  }

  const keepFromRemoval = (id: string) => {
    leaveRemovalOrder.get(id)?.()
    leaveRemovalOrder.delete(id)
  }

  const forget = (job: Job) => {
    if (indexes.unfinished.has(job.id)) addActive(job.caller, -1)
    batches.change(job, undefined)
    jobs.delete(job.id)
    timelines.move(job, undefined)
    keepFromRemoval(job.id)
    bytes -= bytesOfJob(job)
    for (const delivery of deliveries.of(job.id)) bytes -= bytesOfDelivery(delivery)
    deliveries.forget(job.id)
    for (const index of Object.values(indexes)) index.delete(job.id)
    if (job.idempotencyKey !== undefined) idsByKey.delete(idempotencyKeyOf(job))
  }

  const forgetBeyondLimit = () => {
    while (indexes.removable.size > maxFinished || (isOverLimit() && indexes.removable.size > 0)) {
      const oldest = jobs.get(removalOrder.first ?? '')
      if (!oldest) return
      forget(oldest)
      onForgotten?.(oldest)
    }
  }

  /** How many more jobs of a caller the limits allow, and which of them is the narrowest. */
  const roomFor = (caller: string, { maxSubmitted = Infinity, maxActiveOfCaller = Infinity }: InsertLimits) => {
    const inAll = isOverLimit() ? 0 : maxSubmitted - indexes.submitted.size
    const ofCaller = maxActiveOfCaller - (activeByCaller.get(caller) ?? 0)
    return inAll <= ofCaller
      ? ({ room: inAll, kind: 'full' } as const)
      : ({ room: ofCaller, kind: 'caller-full' } as const)
  }

  const insertBatch = (
    { batch, jobs, isAtomic, exempt = 0, results }: NewBatch,
    limits: InsertLimits,
  ): BatchInserted => {
    const existing = batch.idempotencyKey === undefined ? undefined : batches.find(batch.caller, batch.idempotencyKey)
    if (existing) return { kind: 'existing', ...existing }
    const { room: within, kind } = roomFor(batch.caller, limits)
    const room = isOverLimit() ? 0 : exempt + Math.max(within, 0)
    if (room < (isAtomic ? jobs.length : 1)) return { kind }
    const added = batchOf(batch, jobs.length, room)
    batches.add({ batch: added, results })
    for (const job of jobs.slice(0, room)) write(job)
    forgetBeyondLimit()
    return { kind: 'inserted', batch: added }
  }

  const limitReached = (job: Job, { maxSubmitted = Infinity, maxActiveOfCaller = Infinity }: InsertLimits) => {
    if (indexes.submitted.size >= maxSubmitted || isOverLimit()) return 'full'
    return (activeByCaller.get(job.caller) ?? 0) >= maxActiveOfCaller ? 'caller-full' : undefined
  }

  const insert = (job: Job, limits: InsertLimits) => {
    const existing = job.idempotencyKey === undefined ? undefined : jobs.get(idsByKey.get(idempotencyKeyOf(job)) ?? '')
    if (existing) return { kind: 'existing', job: existing } as const
    if (jobs.has(job.id)) throw new Error(`job ${job.id} exists already`)
    const full = limitReached(job, limits)
    if (full) return { kind: full } as const
    write(job)
    if (job.idempotencyKey !== undefined) idsByKey.set(idempotencyKeyOf(job), job.id)
    forgetBeyondLimit()
    return { kind: 'inserted' } as const
  }

  const update = (
    job: Job,
    expectedRevision: number,
    { deliveries: added = [], usage, batchEnd, unlessLabel }: Additions,
  ) => {
    const before = jobs.get(job.id)
    if (before?.revision !== expectedRevision) return false
    if (unlessLabel !== undefined && timelines.has(job.caller, unlessLabel)) return false
    const taken = added.find(({ number }) => deliveries.get(job.id, number))
    if (taken) throw new Error(`delivery ${taken.number} exists already`)
    added.forEach(writeDelivery)
    if (usage) sums.add(usage)
    const batch = batches.change(before, job, usage)
    const end = batchEnd && batch && deliveryOfEnd(batchEnd, batch.counts)
    if (end) writeDelivery(end)
    write(job)
    forgetBeyondLimit()
    return true
  }

  const reopen = (job: Job, expectedRevision: number, limits: InsertLimits): Reopened => {
    const before = jobs.get(job.id)
    if (before?.revision !== expectedRevision) return 'stale'
    const full = limitReached(job, limits)
    if (full) return full
    batches.change(before, job)
    write(job)
    return 'reopened'
  }

  const updateDelivery = (delivery: Delivery, expectedRevision: number) => {
    const job = jobs.get(delivery.jobId)
    if (!job || deliveries.get(job.id, delivery.number)?.revision !== expectedRevision) return false
    writeDelivery(delivery)
    updateRemovable(job)
    forgetBeyondLimit()
    return true
  }

  return {
    insert: (job, limits = {}) => settle(() => insert(job, limits)),
    get: (id) => Promise.resolve(jobs.get(id)),
    update: (job, expectedRevision, additions = {}) => settle(() => update(job, expectedRevision, additions)),
    reopen: (job, expectedRevision, limits = {}) => Promise.resolve(reopen(job, expectedRevision, limits)),
    remove(id, expectedRevision) {
      const job = jobs.get(id)
      if (job?.revision !== expectedRevision) return Promise.resolve(false)
      forget(job)
      return Promise.resolve(true)
    },
    list: (query) => timelines.read(query, (positions) => positions.flatMap(({ id }) => jobs.get(id) ?? [])),
    async *pending(what, now) {
      for (const job of [...candidates(what).values()]) if (isPending(what, job, now)) yield await Promise.resolve(job)
    },
    insertBatch: (batch, limits = {}) => settle(() => insertBatch(batch, limits)),
    getBatch: (id) => Promise.resolve(batches.get(id)),
    findBatch: (caller, key) => Promise.resolve(batches.find(caller, key)),
    listBatches: (query) => batches.list(query),
    deliveriesOf: (jobId) => Promise.resolve(deliveries.of(jobId)),
    dueDeliveries: (now) => readPages<DueDelivery>(DUE_PAGE, (after) => deliveries.due(after, now, DUE_PAGE)),
    updateDelivery: (delivery, expectedRevision) => Promise.resolve(updateDelivery(delivery, expectedRevision)),
    usageOn: (day, query) => Promise.resolve(sums.on(day, query)),
    removeUsage: (day) => settle(() => sums.removeBefore(day)),
    recentRuns: (version) => Promise.resolve(sums.recentRuns(version)),
    countSubmitted: () => Promise.resolve(indexes.submitted.size),
    ...createMemorySecrets(),
    close: () => Promise.resolve(),
  }

  function candidates(what: PendingWork): Map<string, Job> {
    if (what === 'stop') return indexes.stopping
    return what === 'removal' ? indexes.removable : indexes.unfinished
  }
}

/** Lost with the process, as its jobs. */
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

/** Rejects where `work` throws. */
const settle = <T>(work: () => T) => new Promise<T>((resolve) => resolve(work()))

/** The same for the same job, so that it need not be kept. Only texts and attempts vary much. */
function bytesOfJob(job: Job): number {
  const { input, parameters, media, metadata, webhook, output, contentKey, attempts } = job
  const { error = '', outputPath = '', batch } = job
  let bytes = JOB_BYTES + bytesOfMembers(input) + bytesOfMembers(parameters)
  bytes += bytesOfLabels(metadata) + bytesOfMembers(webhook) + bytesOfMembers(output)
  bytes += error.length + outputPath.length
  if (contentKey !== undefined) bytes += LABEL_BYTES + 2 * contentKey.length
  if (batch) bytes += LABEL_BYTES + 2 * batch.id.length
  if (media) bytes += MEDIA_BYTES
  for (const { error: reason = '', usage } of attempts)
    bytes += ATTEMPT_BYTES + reason.length + (usage ? USAGE_BYTES : 0)
  return bytes
}

function bytesOfDelivery({ url, body, tries }: Delivery): number {
  let bytes = DELIVERY_BYTES + url.length + body.length
  for (const { error = '' } of tries) bytes += TRY_BYTES + error.length
  return bytes
}

function bytesOfLabels(metadata: Job['metadata'] = {}): number {
  return Object.keys(metadata).length * LABEL_BYTES + 2 * bytesOfMembers(metadata)
}

function bytesOfMembers(record: object = {}): number {
  let bytes = 0
  for (const [name, value] of Object.entries(record) as [string, unknown][]) {
    bytes += MEMBER_BYTES + name.length + (typeof value === 'string' ? value.length : MEMBER_BYTES)
  }
  return bytes
}

const idempotencyKeyOf = ({ caller, idempotencyKey }: Job) => JSON.stringify([caller, idempotencyKey])

function isPending(what: PendingWork, job: Job, now: number): boolean {
  if (what === 'expiry') return isOverdue(job, now)
  return what !== 'removal' || (job.finishedAt ?? Infinity) <= now
}

// A key set again keeps its position in a Map: iteration stays in the order in which jobs came into the index.
function updateIndex(index: Map<string, Job>, job: Job, belongs: boolean) {
  if (belongs) index.set(job.id, job)
  else index.delete(job.id)
}
