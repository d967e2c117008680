import type { Backend, LoggedCall } from './ports/backend.ts'
import type { Estimator } from './estimate.ts'
import type { ChangeBus } from './ports/notifications.ts'
import { currentAttempt, isFinished, type Job } from './job.ts'
import { callSubscriber, type Log, logFieldsOf } from './log.ts'
import { createProgressParser, isSameReport, type JobProgress } from './progress.ts'
import type { Stages } from './subscriptions.ts'
import { createFairSemaphore } from '../lib/concurrency.ts'
import { backOffMs, createPacer, createWaits, every } from '../lib/timing.ts'

/** How long a job is followed after the last look at it, in ms. */
export const LOOK_MS = 30_000
/**
 * Maximum logs read at the same time for their progress; one caller's jobs may have half of them. The backend on Modal
 * reads at most 60 logs, and the others are left to `GET /jobs/:id/logs`.
 */
export const MAX_FOLLOWED = 40
/**
 * The newest progress is published once in this time, in ms, and for the first time after it: a log is read from its
 * beginning, and by then what it says of the past has been passed over.
 */
export const PUBLISH_MS = 1_000
const PUBLISH_PACE = { firstMs: PUBLISH_MS, intervalMs: PUBLISH_MS }
/** So many characters of a log are parsed at once, or what has come by the time of the next publication. */
const PARSED_LENGTH = 64 * 1024
/** How often a job that is watched, and could not be followed so far, is tried again, in ms. */
const TRY_EVERY_MS = 10_000
/** Back-off before a log that failed or ended is read again, in ms. A read of the longest pause or more resets it. */
const READ_RETRY = { firstMs: 1_000, maxMs: 30_000 }

export type ProgressSubscriber = (progress: JobProgress) => void

/**
 * Reads how far running jobs are from the logs of their calls, while someone looks at them: a hint in memory, neither
 * stored nor sent to other replicas. All who look at a job share one reader. Beyond `MAX_FOLLOWED` readers, for a log that
 * cannot be read here, and before the run has started, there is no progress, and no error.
 */
export type ProgressFollower = {
  /** Undefined for a job that is not running, or whose progress is not known. */
  get(job: Pick<Job, 'id' | 'status'>): JobProgress | undefined
  /** Follows a running job for the next `LOOK_MS`. */
  look(job: Job): void
  /** Follows an unfinished job until the returned function is called, and notifies of each new progress. */
  watch(job: Job, subscriber?: ProgressSubscriber): () => void
  /** Closes all readers. Idempotent. */
  close(): Promise<void>
}

export type FollowerDependencies = {
  readonly backend: Pick<Backend, 'name' | 'logs'>
  readonly changes: Pick<ChangeBus, 'subscribe'>
  readonly stages: Pick<Stages, 'get' | 'subscribe'>
  /** Is notified of each new progress of any job. */
  readonly estimator?: Pick<Estimator, 'observeProgress'>
  readonly log: Log
  /** Epoch ms. */
  readonly now?: () => number
}

/** A call whose log may be read, and what gives its place to others. */
type Reservation = { readonly call: LoggedCall; readonly release: () => void }

type Reader = { readonly call: LoggedCall; readonly abort: AbortController }

/** A job that someone looks at. */
type Followed = {
  job: Job
  progress: JobProgress | undefined
  reader: Reader | undefined
  /** Of those who watch. */
  readonly subscribers: Set<ProgressSubscriber>
  /** Runs out some time after the last look. */
  window: NodeJS.Timeout | undefined
  stop: () => void
}

export function createProgressFollower(dependencies: FollowerDependencies): ProgressFollower {
  const { backend, changes, stages, log, now = Date.now } = dependencies
  const followed = new Map<string, Followed>()
  const slots = createFairSemaphore(MAX_FOLLOWED)
  const readings = new Set<Promise<void>>()
  const waits = createWaits()
  let isClosed = false

  /** The call whose log says how far the job is; undefined while no run has started, as far as that is known. */
  const callOf = (job: Job): LoggedCall | undefined => {
    if (job.status !== 'running' || job.backend !== backend.name) return undefined
    const stage = stages.get(job)
    const { callId, startedAt = job.createdAt, finishedAt } = currentAttempt(job)
    const isRunning = (stage === undefined || stage === 'running') && finishedAt === undefined
    return isRunning && callId !== undefined ? { callId, startedAt } : undefined
  }

  const publish = (at: Followed, reader: Reader, progress: JobProgress) => {
    if (at.reader !== reader || isSameReport(at.progress, progress)) return
    at.progress = progress
    dependencies.estimator?.observeProgress(at.job, progress)
    for (const subscriber of at.subscribers) callSubscriber(log, logFieldsOf(at.job), () => subscriber(progress))
  }

  /** Parses what has come once in a while: a function may print 100,000 lines a second, each in a piece of its own. */
  const readLog = async (at: Followed, reader: Reader) => {
    const parse = createProgressParser()
    let text = ''
    let readAt = NaN
    let known: JobProgress | undefined
    const parseAll = () => {
      const report = parse(text)
      text = ''
      if (report) known = { ...report, at: readAt }
    }
    const publishNewest = () => {
      if (at.reader !== reader) return
      parseAll()
      if (known) publish(at, reader, known)
    }
    const pacer = createPacer(publishNewest, PUBLISH_PACE)
    for await (const piece of backend.logs(reader.call, reader.abort.signal)) {
      text += piece
      readAt = now()
      if (text.length >= PARSED_LENGTH) parseAll()
      pacer.push(undefined)
    }
  }

  /** Reads until the reader is stopped: a log may end or fail before its call does. */
  const keepReading = async (at: Followed, reader: Reader) => {
    const { signal } = reader.abort
    const isStopped = () => signal.aborted
    for (let failures = 0; !isStopped(); failures++) {
      const openedAt = performance.now()
      await readLog(at, reader).catch((error: unknown) =>
        log.debug({ ...logFieldsOf(at.job), err: error }, 'reading the progress of a job failed; retrying'),
      )
      if (performance.now() - openedAt >= READ_RETRY.maxMs) failures = 0
      if (!isStopped()) await waits.pause(backOffMs(failures, READ_RETRY), signal).catch(() => undefined)
    }
  }

  /** Undefined if there is nothing to read, or too much is being read. */
  const reserve = (job: Job): Reservation | undefined => {
    const call = isClosed ? undefined : callOf(job)
    const release = call && slots.tryAcquire(job.caller)
    return release && { call, release }
  }

  const startReader = (at: Followed, { call, release }: Reservation) => {
    at.reader = { call, abort: new AbortController() }
    const reading = keepReading(at, at.reader).finally(() => {
      release()
      readings.delete(reading)
    })
    readings.add(reading)
  }

  const stopReader = (at: Followed) => {
    at.reader?.abort.abort()
    at.reader = at.progress = undefined
  }

  /** Starts or stops the reader of a job, as its state requires. */
  const updateReader = (at: Followed) => {
    if (at.reader && at.reader.call.callId !== callOf(at.job)?.callId) stopReader(at)
    const reservation = at.reader ? undefined : reserve(at.job)
    if (reservation) startReader(at, reservation)
  }

  const accept = (at: Followed, job: Job) => {
    if (job.revision >= at.job.revision) at.job = job
    if (isFinished(at.job)) forget(at)
    else updateReader(at)
  }

  const forget = (at: Followed) => {
    followed.delete(at.job.id)
    clearTimeout(at.window)
    at.stop()
    stopReader(at)
  }

  const follow = (job: Job): Followed => {
    const at: Followed = {
      job,
      ...{ progress: undefined, reader: undefined, subscribers: new Set(), window: undefined },
      stop: () => undefined,
    }
    followed.set(job.id, at)
    at.stop = changes.subscribe(job.id, (latest) => accept(at, latest))
    return at
  }

  /** Keeps a job for some time after a look, if it has a reader: thousands without one cost nothing. */
  const keep = (at: Followed) => {
    if (!at.reader && at.subscribers.size === 0) {
      forget(at)
      return
    }
    const close = () => {
      if (at.subscribers.size === 0) forget(at)
    }
    at.window ??= setTimeout(close, LOOK_MS).unref()
    at.window.refresh()
  }

  const unsubscribe = stages.subscribe(undefined, (job) => {
    const at = followed.get(job.id)
    if (at) accept(at, job)
  })
  const attempts = every(TRY_EVERY_MS, () => {
    for (const at of followed.values()) updateReader(at)
    return Promise.resolve()
  })

  return {
    get: ({ id, status }) => (status === 'running' ? followed.get(id)?.progress : undefined),
    look(job) {
      if (job.status !== 'running') return
      const known = followed.get(job.id)
      const reservation = known ? undefined : reserve(job)
      const at = known ?? (reservation && follow(job))
      if (!at) return
      if (reservation) startReader(at, reservation)
      keep(at)
    },
    watch(job, callback) {
      if (isFinished(job)) return () => undefined
      const subscriber: ProgressSubscriber = (progress) => callback?.(progress)
      const at = followed.get(job.id) ?? follow(job)
      at.subscribers.add(subscriber)
      updateReader(at)
      return () => {
        if (at.subscribers.delete(subscriber) && followed.get(at.job.id) === at) keep(at)
      }
    },
    async close() {
      isClosed = true
      unsubscribe()
      await attempts.stop()
      for (const at of followed.values()) forget(at)
      await Promise.all(readings)
    },
  }
}
