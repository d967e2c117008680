import { problem, isProblem } from '../problems.ts'
import { type BatchStore, contentLabel, type JobStore, type NewBatch, type StoredBatch } from './ports/store.ts'
import type { Delivery } from './webhooks/delivery.ts'
import { applyEvent } from './apply-event.ts'
import type { Job, JobEvent } from './job.ts'
import type { LinkSigner } from './links.ts'
import { batchEndOf, withDeliveries } from './webhooks/options.ts'
import type { Stages } from './subscriptions.ts'
import { account, type Price } from './usage.ts'
import { setTimeout as sleep } from 'node:timers/promises'

/** A change of a job, as written. A new job has no `before` and no `event`. `deliveries`: those of the change. */
export type JobChange = {
  readonly after: Job
  readonly before?: Job
  readonly event?: JobEvent
  readonly deliveries?: readonly Delivery[]
  /** The webhook of its batch, written if it was the last of it to finish. */
  readonly batchDelivery?: Delivery | undefined
}

export type TransitionDependencies = {
  readonly store: Pick<JobStore, 'insert' | 'get' | 'update' | 'reopen'> & Pick<BatchStore, 'insertBatch' | 'getBatch'>
  /** For the links in the bodies of webhooks. */
  readonly links: Pick<LinkSigner, 'outputUrl'>
  /** Publishes a change once it is written. Never rejects. */
  readonly publish: (change: JobChange) => Promise<void>
  readonly maxQueuedJobs?: number | undefined
  readonly maxActiveOfCaller?: number | undefined
  /** Where runs are whose start is not recorded. */
  readonly stages?: Pick<Stages, 'stateOf'>
  /** Undefined: costs are not known. */
  readonly price?: Price | undefined
  /** Whether a copy of each output goes to the bucket of this server. */
  readonly copiesOutputs?: boolean
  /** Epoch ms. */
  readonly now?: () => number
}

/** `accepted` false: the rules of `apply-event.ts` refused the event. `job`: as it now stands. */
export type Transitioned = { readonly accepted: boolean; readonly job: Job }

/** The only writer of jobs: each change is written once, by compare-and-set, and published after that. */
export type Transitions = {
  /**
   * Writes a new job, or gives back the one that its idempotency key has made already. Rejects with `queue_full` or
   * `concurrency_limit_reached`, unless it is exempt from the limits.
   */
  insert(job: Job, options?: { readonly isExempt: boolean }): Promise<Job>
  /**
   * Writes a new batch with its jobs, as many as the limits allow, or gives back the one that its idempotency key has made
   * already. Rejects as `insert` does if they allow none, or not all of a batch that is atomic.
   */
  insertBatch(batch: NewBatch): Promise<StoredBatch>
  /**
   * Applies an event to a job that was read before, however long ago: the job is read again only if that copy is stale
   * or refuses the event. Rejects with `job_not_found` if it has been removed; a retry also as `insert` does.
   */
  transition(job: Job, event: JobEvent): Promise<Transitioned>
}

export function createTransitions(dependencies: TransitionDependencies): Transitions {
  const { store, links, publish, maxQueuedJobs, maxActiveOfCaller, price, stages, now = Date.now } = dependencies
  const { copiesOutputs = false } = dependencies
  const limits = { maxSubmitted: maxQueuedJobs, maxActiveOfCaller }

  const refuseBeyondLimits = (result: string) => {
    if (result === 'full') throw problem('queue_full')
    if (result === 'caller-full') {
      throw problem('concurrency_limit_reached', {
        detail: `You have ${maxActiveOfCaller ?? 0} unfinished jobs, as many as one caller may have. Wait for one to finish.`,
      })
    }
  }

  /** See `Write`. Another state of the same revision is not ours. */
  const isDone = (job: Job) => async () => {
    const stored = await store.get(job.id)
    if (stored === undefined || stored.revision < job.revision) return undefined
    return JSON.stringify(stored) === JSON.stringify(job)
  }

  /** A retry adds an unfinished job, so that the limits of a submit apply; it has no delivery. */
  const reopen = async (job: Job, expectedRevision: number): Promise<boolean> => {
    const result = await store.reopen(job, expectedRevision, limits)
    refuseBeyondLimits(result)
    return result === 'reopened'
  }

  /** The job as written; undefined: `before` is stale. */
  const write = async (before: Job, moved: Job, event: JobEvent): Promise<Job | undefined> => {
    const { job: accounted, usage } = account(before, moved, event, { price, stage: stages?.stateOf(before) })
    const { job, deliveries } = withDeliveries(before, accounted, { now: now(), links, copiesOutputs })
    const batchEnd = batchEndOf(before, job, now())
    const change = { before, after: job, event, deliveries, batchDelivery: batchEnd?.delivery }
    const isWritten = await writeWithFollowUp({ isDone: isDone(job), followUp: () => publish(change) }, () =>
      event.type === 'retried'
        ? reopen(job, before.revision)
        : store.update(job, before.revision, { deliveries, usage, batchEnd, unlessLabel: unlessLabelOf(job, event) }),
    )
    return isWritten ? job : undefined
  }

  return {
    async insert(job, { isExempt } = { isExempt: false }) {
      let existing: Job | undefined
      await writeWithFollowUp({ isDone: isDone(job), followUp: () => publish({ after: job }) }, async () => {
        const inserted = await store.insert(job, isExempt ? {} : limits)
        refuseBeyondLimits(inserted.kind)
        if (inserted.kind === 'existing') existing = inserted.job
        return existing === undefined
      })
      return existing ?? job
    },
    async insertBatch(request) {
      const { batch, jobs, results } = request
      const isInserted = async () => ((await store.getBatch(batch.id)) ? true : undefined)
      const publishIfNew = async (job: Job) => {
        if (await isDone(job)().catch(() => false)) await publish({ after: job })
      }
      const followUp = async () => {
        await Promise.all(jobs.map(publishIfNew))
      }
      const inserted = await resolvingAmbiguity({ isDone: isInserted, followUp }, () =>
        store.insertBatch(request, limits),
      )
      refuseBeyondLimits(inserted.kind)
      if (inserted.kind === 'existing') return inserted
      if (inserted.kind !== 'inserted') throw problem('queue_full')
      const accepted = jobs.slice(0, inserted.batch.stored)
      await Promise.all(accepted.map((job) => publish({ after: job })))
      return { batch: inserted.batch, results }
    },
    async transition(known, event) {
      for (let job = known, isFresh = false; ; isFresh = true) {
        const applied = applyEvent(job, event, now())
        const written = applied.accepted ? await write(job, applied.job, event) : undefined
        if (written) return { accepted: true, job: written }
        if (!applied.accepted && isFresh) return { accepted: false, job }
        const stored = await store.get(job.id)
        if (!stored) throw problem('job_not_found')
        // The store has refused the write for another reason than its revision: see `unlessLabelOf`.
        const isRefused = event.type === 'released' && applied.accepted && stored.revision === job.revision
        if (isRefused) return { accepted: false, job: stored }
        job = stored
      }
    },
  }
}

/** A job is not released while an identical one runs, which another server may have released since this one looked. */
const unlessLabelOf = ({ contentKey }: Job, { type }: JobEvent) =>
  type === 'released' && contentKey !== undefined ? contentLabel('run', contentKey) : undefined

/** Pauses before the store is read, in ms: from the first, each twice as long, to the last. */
const FIRST_PAUSE_MS = 250
const LAST_PAUSE_MS = 64_000

/**
 * `isDone`: whether the store shows what was to be written; undefined: not yet. `followUp`: what follows once it is; never
 * rejects.
 */
type Write = { readonly isDone: () => Promise<boolean | undefined>; readonly followUp: () => Promise<void> }

/** Rejects as `write` does. After an ambiguous write the follow-up waits until the store shows that it is done. */
async function writeWithFollowUp(pending: Write, write: () => Promise<boolean>): Promise<boolean> {
  const isWritten = await resolvingAmbiguity(pending, write)
  if (isWritten) await pending.followUp()
  return isWritten
}

/** As `writeWithFollowUp`, but follows up an ambiguous write only. */
const resolvingAmbiguity = <T>(pending: Write, write: () => Promise<T>): Promise<T> =>
  write().catch((error: unknown) => {
    if (isProblem(error, 'store_unavailable') && error.isAmbiguousWrite) void resolveAmbiguity(pending)
    throw error
  })

/** Never rejects. The store may apply a write long after it was sent. */
async function resolveAmbiguity({ isDone, followUp }: Write): Promise<void> {
  for (let pauseMs = FIRST_PAUSE_MS; pauseMs <= LAST_PAUSE_MS; pauseMs *= 2) {
    await sleep(pauseMs, undefined, { ref: false })
    const isWritten = await isDone().catch(() => undefined)
    if (isWritten === undefined) continue
    if (isWritten) await followUp()
    return
  }
}
