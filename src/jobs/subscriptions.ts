import type { ChangeBus } from './ports/changes.ts'
import type { JobStore } from './ports/store.ts'
import { type Caller, maySee } from './caller.ts'
import type { Job } from './job.ts'
import type { Log } from './log.ts'

/** Hears how a job is now; undefined: it is gone. */
export type Subscriber = (job: Job | undefined) => void

/** `missed`: some changes may have gone unheard. */
export type AllJobsSubscriber = { readonly onChange: (job: Job) => void; readonly onGap: () => void }

/** Who wants to know of changes as they come about. What a watcher throws is logged and harms nobody. */
export type Subscriptions = {
  /**
   * Tells of the states of a job that are newer than `known`, until the returned function is called. States that come
   * close together may be told as one, an older one is never told after a newer, and the last is never left out.
   */
  subscribe(known: Job, watcher: Subscriber): () => void
  /** Tells of the changes of all jobs that the caller may see, until the returned function is called. */
  subscribeAll(caller: Caller, observer: AllJobsSubscriber): () => void
  /** Forgets all watchers. Idempotent. */
  close(): Promise<void>
}

export type SubscriptionsDependencies = {
  readonly store: Pick<JobStore, 'get'>
  readonly events: Pick<ChangeBus, 'subscribe' | 'onGap'>
  readonly log: Log
}

/** How often a watched job is read, in ms: the bus promises nothing. */
export const READ_EVERY_MS = 15_000

/** What all watchers of one job share. */
type Watch = {
  latest: Job
  /** Each with the revision that it knows. */
  readonly watchers: Map<Subscriber, number>
  readonly stop: () => void
  looking: 'no' | 'yes' | 'and again'
}

/** However many watch a job, it is listened to once and read once. */
export function createSubscriptions({ store, events, log }: SubscriptionsDependencies): Subscriptions {
  const watches = new Map<string, Watch>()
  const stops = new Set<() => void>()

  const call = (watcher: Subscriber, id: string, job: Job | undefined) => {
    try {
      watcher(job)
    } catch (error) {
      log.error({ job_id: id, err: error }, 'a watcher failed')
    }
  }

  /** Tells a watcher of the latest state, where it does not know it yet. */
  const tell = (watcher: Subscriber, { watchers, latest }: Watch) => {
    if (latest.revision <= (watchers.get(watcher) ?? Infinity)) return
    watchers.set(watcher, latest.revision)
    call(watcher, latest.id, latest)
  }

  const take = (watch: Watch, job: Job) => {
    if (job.revision <= watch.latest.revision) return
    watch.latest = job
    for (const watcher of watch.watchers.keys()) tell(watcher, watch)
  }

  /** A look that is wished for during another follows it: what that one sees may be too old. */
  const look = async (watch: Watch) => {
    if (watch.looking !== 'no') return void (watch.looking = 'and again')
    const { id } = watch.latest
    do {
      watch.looking = 'yes'
      try {
        const job = await store.get(id)
        if (job) take(watch, job)
        else for (const watcher of watch.watchers.keys()) call(watcher, id, undefined)
      } catch (error) {
        log.debug({ job_id: id, err: error }, 'a watched job cannot be read; it is tried again')
      }
    } while ((watch.looking as Watch['looking']) === 'and again')
    watch.looking = 'no'
  }

  /** Listens first and reads then: what happens in between is heard, and what happened before is read. */
  const begin = (known: Job): Watch => {
    const unsubscribe = events.subscribe(known.id, (job) => take(watch, job))
    const timer = setInterval(() => void look(watch), READ_EVERY_MS).unref()
    const stop = () => {
      unsubscribe()
      clearInterval(timer)
      watches.delete(known.id)
    }
    const watch: Watch = { latest: known, watchers: new Map(), stop, looking: 'no' }
    watches.set(known.id, watch)
    void look(watch)
    return watch
  }

  const unsubscribeGaps = events.onGap(() => {
    for (const watch of watches.values()) void look(watch)
  })

  return {
    subscribe(known, told) {
      // The same function may watch twice.
      const watcher: Subscriber = (job) => told(job)
      const watch = watches.get(known.id) ?? begin(known)
      // Before the others hear: where they leave on what it brings, the watch goes on for it.
      watch.watchers.set(watcher, known.revision)
      take(watch, known)
      // Not before it has the means to stop.
      if (watch.latest.revision > known.revision) queueMicrotask(() => tell(watcher, watch))
      return () => {
        if (watch.watchers.delete(watcher) && watch.watchers.size === 0) watch.stop()
      }
    },
    subscribeAll(caller, { onChange, onGap }) {
      const unsubscribe = events.subscribe(undefined, (job) => maySee(caller, job) && onChange(job))
      const unsubscribeGap = events.onGap(onGap)
      const stop = () => {
        unsubscribe()
        unsubscribeGap()
        stops.delete(stop)
      }
      stops.add(stop)
      return stop
    },
    close() {
      unsubscribeGaps()
      for (const stop of stops) stop()
      for (const { stop, watchers } of watches.values()) {
        watchers.clear()
        stop()
      }
      return Promise.resolve()
    },
  }
}
