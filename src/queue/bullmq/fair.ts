import { setTimeout as sleep } from 'node:timers/promises'
import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { PRIORITIES } from '../../jobs/job.ts'
import type { Log } from '../../jobs/log.ts'
import type { QueueEntry, ShareOf } from '../../jobs/ports/queue.ts'
import { shareInFlight } from '../../lib/concurrency.ts'
import { runCommand } from '../../redis/connection.ts'
import { callerPrefixOf, type EntryData, entryOfBullJob, keyPrefixOf, rankOf } from './entries.ts'
import { createVirtualTime, type PriorityAt } from './virtual-time.ts'

export type FairSharesOptions = {
  readonly queue: Queue<EntryData>
  readonly redis: Redis
  /** The prefix of all keys, with the hash tag. */
  readonly prefix: string
  readonly shareOf: ShareOf
  readonly log: Log
  /** How long nobody must have waited until all callers are equal again, in ms: longer than an add takes. */
  readonly restAfterMs?: number | undefined
}

export type FairShares = {
  /** BullMQ's priorities of new entries. */
  tag(entries: readonly QueueEntry[]): Promise<number[]>
  /** Counts the start of an entry for the share of its caller. */
  started(caller: string): Promise<void>
  /** BullMQ's priorities of entries of a caller that are to start now, one after the other. */
  next(caller: string): Promise<PriorityAt>
  /** To be called when a waiting entry was removed. */
  removed(caller: string): void
  /** To be called when a replica finds nothing to claim. */
  drained(): void
  /** Finishes the work that a killed process, or an outage of Redis, has interrupted. */
  recover(): Promise<void>
  close(): void
}

/** Waiting entries whose priorities are changed at the same time. */
const SPREAD_BATCH = 500
/** The entries of a caller are given new priorities at most so often: the pause is so many times as long as it took. */
const SPREAD_PAUSE_FACTOR = 10
const REST_AFTER_MS = 1_000
/** Callers whose entries are spread after one read of all waiting entries. */
const SPREAD_CALLERS = 50

/**
 * Start-time fair queueing by BullMQ's priorities, as `queue/in-process/queue.ts` does it in memory. An entry gets its
 * virtual start as its priority when it is enqueued; the rest is done once the order turns out to be another: when an entry
 * overtakes others of its caller, or was removed, or the caller has another weight, those that wait are spread anew.
 */
export function createFairShares(options: FairSharesOptions): FairShares {
  const { queue, redis, prefix, shareOf, log, restAfterMs = REST_AFTER_MS } = options
  const time = createVirtualTime(redis, `${prefix}:fair`)
  /** The callers whose entries are being spread, see `recover`. */
  const spreadsKey = `${prefix}:spreads`
  const closing = new AbortController()
  /** The number of tags when nobody waited last. */
  let restingTags: string | undefined

  const weighted = (caller: string) => ({ caller, weight: shareOf(caller).weight })

  /** The keys of the waiting entries of each caller, by what they begin with. */
  const readWaiting = async () => {
    const keys = await runCommand(redis, () => queue.getRanges(['prioritized'], 0, -1, true))
    return Map.groupBy(keys, callerPrefixOf)
  }

  /** Runs work that may fail: the order is then less fair until the next time. */
  const tryTo = (work: () => Promise<unknown>) =>
    work().catch((error: unknown) => {
      if (!closing.signal.aborted)
        log.debug({ event: 'queue_order_not_updated', err: error }, 'cannot update the order of the queue')
    })

  const changePriority = async (key: string, priority: number) => {
    const job = await runCommand(redis, () => queue.getJob(key))
    if (job && job.priority !== priority) await runCommand(redis, () => job.changePriority({ priority }))
  }

  /** The priorities by which the waiting entries of a caller start from now on, in the order in which they are to start. */
  const spread = async (caller: string, waiting: readonly string[]) => {
    const keys = waiting.toSorted((a, b) => rankOf(a) - rankOf(b))
    const counts = PRIORITIES.map((_priority, rank) => keys.filter((key) => rankOf(key) === rank).length)
    const priorityAt = await time.spread(weighted(caller), counts)
    return keys.map((key, n) => ({ key, priority: priorityAt(n) }))
  }

  const requested = new Set<string>()
  const spreadRequested = async () => {
    const callers = [...requested].slice(0, SPREAD_CALLERS)
    for (const caller of callers) requested.delete(caller)
    await runCommand(redis, () => redis.sadd(spreadsKey, ...callers))
    const waiting = await readWaiting()
    const spreads = await Promise.all(callers.map((caller) => spread(caller, waiting.get(keyPrefixOf(caller)) ?? [])))
    const changes = spreads.flat()
    for (let from = 0; from < changes.length; from += SPREAD_BATCH) {
      const batch = changes.slice(from, from + SPREAD_BATCH)
      await Promise.all(batch.map(({ key, priority }) => tryTo(() => changePriority(key, priority))))
    }
    const done = callers.filter((caller) => !requested.has(caller))
    if (done.length > 0) await runCommand(redis, () => redis.srem(spreadsKey, ...done))
  }

  const spreadAllRequested = shareInFlight(async () => {
    while (requested.size > 0 && !closing.signal.aborted) {
      const startedAt = performance.now()
      await tryTo(spreadRequested)
      const pauseMs = SPREAD_PAUSE_FACTOR * (performance.now() - startedAt)
      await sleep(pauseMs, undefined, { ref: false, signal: closing.signal }).catch(() => undefined)
    }
  })

  const requestSpread = (...callers: readonly string[]) => {
    for (const caller of callers) requested.add(caller)
    void spreadAllRequested()
  }

  const recover = async () => requestSpread(...(await runCommand(redis, () => redis.smembers(spreadsKey))))

  /** Counts priorities anew, and has all waiting entries spread. */
  const renumber = async () => {
    for (const [firstKey = ''] of (await readWaiting()).values()) {
      const job = await runCommand(redis, () => queue.getJob(firstKey))
      if (job) await runCommand(redis, () => redis.sadd(spreadsKey, entryOfBullJob(job).caller))
    }
    if (await time.renumber()) await recover()
  }
  const renumberOnce = shareInFlight(() => tryTo(renumber))

  /** Entries that were tagged and are not added yet wait as well: hence the second look after a while. */
  const rest = async () => {
    for (;;) {
      const [tags, waiting] = await Promise.all([time.tags(), runCommand(redis, () => queue.count())])
      if (waiting > 0 || tags === null || tags === restingTags) return
      await sleep(restAfterMs, undefined, { ref: false, signal: closing.signal })
      const isEmpty = (await runCommand(redis, () => queue.count())) === 0
      if (!isEmpty) return
      restingTags = tags
      await time.rest(tags)
    }
  }
  const restOnce = shareInFlight(() => tryTo(rest))

  return {
    async tag(entries) {
      const tags = await time.tag(
        entries.map(({ caller, priority }) => ({ ...weighted(caller), rank: PRIORITIES.indexOf(priority) })),
      )
      for (const [n, { caller }] of entries.entries()) if (tags[n]?.hasJumped) requestSpread(caller)
      return tags.map(({ priority }) => priority)
    },
    async started(caller) {
      await tryTo(async () => {
        const { isFar, isReweighted } = await time.start(weighted(caller))
        if (isReweighted) requestSpread(caller)
        if (isFar) void renumberOnce()
      })
    },
    next: (caller) => time.next(weighted(caller)),
    removed: (caller) => requestSpread(caller),
    drained: () => void restOnce(),
    recover: () => tryTo(recover).then(() => undefined),
    close: () => closing.abort(new Error('the queue is closing')),
  }
}
