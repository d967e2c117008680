import { EventEmitter } from 'node:events'
import type { ChangeBus } from './ports/notifications.ts'
import type { JobStore } from './ports/store.ts'
import { type Caller, maySee } from './ports/access.ts'
import { type Job, type JobStage, isFinished, type StageState } from './job.ts'
import { callSubscriber, type Log } from './log.ts'
import { problem } from '../problems.ts'

/** Called with a job as it now stands; with undefined once it is removed. */
export type Subscriber = (job: Job | undefined) => void

/** `onGap`: some changes may have been missed. */
export type AllJobsSubscriber = { readonly onChange: (job: Job) => void; readonly onGap: () => void }

/** Notifies streams and long polls of changes. An error of a subscriber is logged and does not affect the others. */
export type Subscriptions = {
  /**
   * Notifies of states of a job that are newer than `known`, until the returned function is called. May skip states in
   * quick succession, but never the last one; an older state never follows a newer one.
   */
  subscribe(known: Job, subscriber: Subscriber): () => void
  /** Notifies of changes of all jobs that the caller may see, until the returned function is called. */
  subscribeAll(caller: Caller, subscriber: AllJobsSubscriber): () => void
  /**
   * Notifies of each new stage of one job, or of all jobs that the caller may see, until the returned function is called.
   */
  subscribeStages(whose: { readonly id: string } | { readonly caller: Caller }, subscriber: StageSubscriber): () => void
  /** Removes all subscribers. Idempotent. */
  close(): Promise<void>
}

export type SubscriptionsDependencies = {
  readonly stages: Pick<Stages, 'subscribe'>
  readonly store: Pick<JobStore, 'get'>
  readonly changes: Pick<ChangeBus, 'subscribe' | 'onGap'>
  readonly log: Log
}

/** How often a job with subscribers is read, in ms: the bus may lose messages. */
export const READ_EVERY_MS = 15_000

/** What all subscribers of one job share. */
type Topic = {
  latest: Job
  /** Each with the revision that it was notified of. */
  readonly subscribers: Map<Subscriber, number>
  readonly stop: () => void
  reading: 'no' | 'yes' | 'again'
}

/** All subscribers of a job share one subscription on the bus and its reads. */
export function createSubscriptions({ store, changes, stages, log }: SubscriptionsDependencies): Subscriptions {
  const topics = new Map<string, Topic>()
  const stops = new Set<() => void>()

  const call = (subscriber: Subscriber, id: string, job: Job | undefined) =>
    callSubscriber(log, { job_id: id }, () => subscriber(job))

  /** Ends a subscription when the returned function is called, or when all are removed. */
  const keep = (...unsubscribes: readonly (() => void)[]) => {
    const stop = () => {
      for (const unsubscribe of unsubscribes) unsubscribe()
      stops.delete(stop)
    }
    stops.add(stop)
    return stop
  }

  /** Passes the latest state to a subscriber that does not have it yet. */
  const notify = (subscriber: Subscriber, { subscribers, latest }: Topic) => {
    if (latest.revision <= (subscribers.get(subscriber) ?? Infinity)) return
    subscribers.set(subscriber, latest.revision)
    call(subscriber, latest.id, latest)
  }

  const accept = (topic: Topic, job: Job) => {
    if (job.revision <= topic.latest.revision) return
    topic.latest = job
    for (const subscriber of topic.subscribers.keys()) notify(subscriber, topic)
  }

  /** A read that is requested during another follows it: the result of the first may be too old. */
  const read = async (topic: Topic) => {
    if (topic.reading !== 'no') return void (topic.reading = 'again')
    const { id } = topic.latest
    do {
      topic.reading = 'yes'
      try {
        const job = await store.get(id)
        if (job) accept(topic, job)
        else for (const subscriber of topic.subscribers.keys()) call(subscriber, id, undefined)
      } catch (error) {
        log.debug({ job_id: id, err: error }, 'reading a job for its subscribers failed; retrying')
      }
    } while ((topic.reading as Topic['reading']) === 'again')
    topic.reading = 'no'
  }

  /** Subscribes before it reads, so that no change in between is missed. */
  const open = (known: Job): Topic => {
    const unsubscribe = changes.subscribe(known.id, (job) => accept(topic, job))
    const timer = setInterval(() => void read(topic), READ_EVERY_MS).unref()
    const stop = () => {
      unsubscribe()
      clearInterval(timer)
      topics.delete(known.id)
    }
    const topic: Topic = { latest: known, subscribers: new Map(), stop, reading: 'no' }
    topics.set(known.id, topic)
    void read(topic)
    return topic
  }

  const unsubscribeGaps = changes.onGap(() => {
    for (const topic of topics.values()) void read(topic)
  })

  return {
    subscribe(known, callback) {
      // The same function may subscribe twice.
      const subscriber: Subscriber = (job) => callback(job)
      const topic = topics.get(known.id) ?? open(known)
      // Before `accept` notifies the others: if they all unsubscribe then, the topic stays open for this one.
      topic.subscribers.set(subscriber, known.revision)
      accept(topic, known)
      // Later, once the subscriber has its unsubscribe function.
      if (topic.latest.revision > known.revision) queueMicrotask(() => notify(subscriber, topic))
      return () => {
        if (topic.subscribers.delete(subscriber) && topic.subscribers.size === 0) topic.stop()
      }
    },
    subscribeAll(caller, { onChange, onGap }) {
      const unsubscribe = changes.subscribe(undefined, (job) => maySee(caller, job) && onChange(job))
      return keep(unsubscribe, changes.onGap(onGap))
    },
    subscribeStages(whose, subscriber) {
      const notifyStage: StageSubscriber = (job, stage) =>
        callSubscriber(log, { job_id: job.id }, () => subscriber(job, stage))
      return keep(
        'id' in whose
          ? stages.subscribe(whose.id, notifyStage)
          : stages.subscribe(undefined, (job, stage) => maySee(whose.caller, job) && notifyStage(job, stage)),
      )
    },
    close() {
      unsubscribeGaps()
      for (const stop of stops) stop()
      for (const { stop, subscribers } of topics.values()) {
        subscribers.clear()
        stop()
      }
      return Promise.resolve()
    },
  }
}

/** `signal` ends the wait; the job continues. */
export type LongPollOptions = { readonly timeoutMs: number; readonly signal: AbortSignal }

/**
 * The job once it has finished, or its latest known state after `timeoutMs` or when `signal` aborts. `known`: the job
 * as just read; changes since then are not missed. Rejects with `job_not_found` if the job is removed.
 */
export async function waitUntilFinished(
  subscriptions: Subscriptions,
  known: Job,
  { timeoutMs, signal }: LongPollOptions,
): Promise<Job> {
  if (isFinished(known) || timeoutMs === 0 || signal.aborted) return known
  const finished = Promise.withResolvers<Job | undefined>()
  let latest = known
  const stop = subscriptions.subscribe(known, (job) => {
    if (job && !isFinished(job)) latest = job
    else finished.resolve(job)
  })
  const giveUp = () => finished.resolve(latest)
  const timer = setTimeout(giveUp, timeoutMs)
  signal.addEventListener('abort', giveUp)
  const job = await finished.promise
  stop()
  clearTimeout(timer)
  signal.removeEventListener('abort', giveUp)
  if (!job) throw problem('job_not_found')
  return job
}

/** Called with each new stage of a job, as it was when its run began. */
export type StageSubscriber = (job: Job, stage: JobStage) => unknown

/**
 * Where the running jobs of this process are at their backend. A hint: it is neither stored nor sent to other replicas,
 * so only the process that follows a job's call knows its stage.
 */
export type Stages = {
  /**
   * Undefined: the stage is not known, or not any more. `since`: when the job entered it, in epoch ms, where the backend
   * says so; now otherwise.
   */
  set(job: Job, stage: JobStage | undefined, since?: number): void
  /** Undefined for a job that is not running here. */
  get(job: Pick<Job, 'id' | 'status'>): JobStage | undefined
  /** With the time since when; undefined as for `get`. */
  stateOf(job: Pick<Job, 'id' | 'status'>): StageState | undefined
  /** How many jobs are in each stage. */
  counts(): Readonly<Record<JobStage, number>>
  /** Notifies of the stages of one job, or of all when `id` is undefined, until the returned function is called. */
  subscribe(id: string | undefined, subscriber: StageSubscriber): () => void
}

const ALL = Symbol('every job')

/** `now`: epoch ms. */
export function createStages(now: () => number = Date.now): Stages {
  const stages = new Map<string, StageState>()
  const counts: Record<JobStage, number> = { queued: 0, starting: 0, running: 0 }
  const emitter = new EventEmitter().setMaxListeners(0)

  return {
    set(job, stage, since = now()) {
      const before = stages.get(job.id)?.stage
      if (before === stage) return
      if (before !== undefined) counts[before]--
      if (stage === undefined) {
        stages.delete(job.id)
        return
      }
      counts[stage]++
      stages.set(job.id, { stage, since })
      emitter.emit(job.id, job, stage)
      emitter.emit(ALL, job, stage)
    },
    get: ({ id, status }) => (status === 'running' ? stages.get(id)?.stage : undefined),
    stateOf: ({ id, status }) => (status === 'running' ? stages.get(id) : undefined),
    counts: () => ({ ...counts }),
    subscribe(id, subscriber) {
      emitter.on(id ?? ALL, subscriber)
      return () => emitter.off(id ?? ALL, subscriber)
    },
  }
}
