import { createLru } from '../lib/collections.ts'
import { createPause } from '../lib/timing.ts'
import { type Batch, unfinishedIn } from './batch.ts'
import { isFinished, type Job } from './job.ts'
import type { Caller } from './ports/access.ts'
import { batchLabel, type JobStore } from './ports/store.ts'
import type { JobService } from './service.ts'
import type { Subscriptions } from './subscriptions.ts'

/** `pauseMs`: the least time between two reads. `onlyEnds`: whether only jobs that finish make a new state. */
export type BatchStatesOptions = {
  readonly signal: AbortSignal
  readonly pauseMs: number
  readonly onlyEnds?: boolean
}

export type BatchStates = {
  /**
   * The batch as it is now and after changes of its jobs, of which several make one state; the last one is that in which
   * all have finished, or the one when `signal` aborts. Rejects as the read of the batch does.
   */
  follow(id: string, caller: Caller, options: BatchStatesOptions): AsyncGenerator<Batch, void>
  /**
   * When the last job is expected to finish, in epoch ms: by the newest unfinished jobs, which start last. Undefined if
   * nothing is known of one of them, or the store is unavailable.
   */
  estimateFinish(batch: Batch): Promise<number | undefined>
}

type BatchStatesDependencies = {
  readonly get: (id: string, caller: Caller) => Promise<Batch>
  readonly store: Pick<JobStore, 'list'>
  readonly service: Pick<JobService, 'queuePosition' | 'estimateFinish'>
  readonly subscriptions: Pick<Subscriptions, 'subscribeAll'>
  readonly now: () => number
}

/** A batch that is followed is read at least so often, in ms: the bus may lose messages. */
const READ_EVERY_MS = 15_000
/** Jobs that an estimate is made of, for how long it is used, in ms, and of how many batches it is kept. */
export const JOBS_ESTIMATED = 50
const ESTIMATE_FOR_MS = 5_000
const ESTIMATES_KEPT = 1_000

type Estimate = { readonly until: number; readonly finishAt: Promise<number | undefined> }

export function createBatchStates(dependencies: BatchStatesDependencies): BatchStates {
  const { get, store, service, subscriptions, now } = dependencies
  const estimates = createLru<Estimate>(ESTIMATES_KEPT)

  const estimateOf = async (job: Job) => service.estimateFinish(job, await service.queuePosition(job))

  const readEstimate = async ({ id, caller }: Batch): Promise<number | undefined> => {
    const query = { caller, statuses: ['submitted', 'running'], labels: [batchLabel(id)] } as const
    const jobs = await store.list({ ...query, limit: JOBS_ESTIMATED })
    const known = (await Promise.all(jobs.map(estimateOf))).filter((finishAt) => finishAt !== undefined)
    // One of which nothing is known may be the last.
    return known.length === 0 || known.length < jobs.length ? undefined : Math.max(...known)
  }

  return {
    async *follow(id, caller, { signal, pauseMs, onlyEnds = false }) {
      let changed = Promise.withResolvers<undefined>()
      const notify = () => changed.resolve(undefined)
      const onChange = (job: Job) => job.batch?.id === id && (!onlyEnds || isFinished(job)) && notify()
      const unsubscribe = subscriptions.subscribeAll(caller, { onChange, onGap: notify })
      signal.addEventListener('abort', notify)
      const reading = setInterval(notify, READ_EVERY_MS).unref()
      const pause = createPause(pauseMs)
      try {
        for (;;) {
          changed = Promise.withResolvers()
          pause.start()
          // Read after the subscription: no change in between is missed.
          const batch = await get(id, caller)
          yield batch
          if (signal.aborted || unfinishedIn(batch.counts) === 0) return
          await changed.promise
          await pause.waitUntilOver(signal).catch(() => undefined)
        }
      } finally {
        unsubscribe()
        clearInterval(reading)
        signal.removeEventListener('abort', notify)
      }
    },
    async estimateFinish(batch) {
      if (unfinishedIn(batch.counts) === 0) return undefined
      const known = estimates.get(batch.id)
      const estimate =
        known !== undefined && known.until > now()
          ? known
          : { until: now() + ESTIMATE_FOR_MS, finishAt: readEstimate(batch).catch(() => undefined) }
      if (estimate !== known) estimates.set(batch.id, estimate, 1)
      const finishAt = await estimate.finishAt
      return finishAt !== undefined && finishAt > now() ? finishAt : undefined
    },
  }
}
