import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { Job } from '../jobs/job.ts'
import type { Log } from '../jobs/log.ts'
import { createLru } from '../lib/collections.ts'
import { createBatch } from '../lib/concurrency.ts'
import type { Channels } from '../redis/channels.ts'
import type { ChangeBus, JobSubscriber } from '../jobs/ports/notifications.ts'

const ALL = Symbol('every job')

/** The change bus of a single server. */
export function createEmitterBus(log: Log): ChangeBus {
  const emitter = new EventEmitter()
  emitter.setMaxListeners(0)

  const catchErrors =
    (listener: JobSubscriber): JobSubscriber =>
    (job) => {
      try {
        listener(job)
      } catch (error) {
        log.error({ event: 'subscriber_failed', job_id: job.id, err: error }, 'a subscriber failed')
      }
    }

  return {
    publish(job) {
      emitter.emit(job.id, job)
      emitter.emit(ALL, job)
    },
    subscribe(id, listener) {
      const safe = catchErrors(listener)
      emitter.on(id ?? ALL, safe)
      return () => emitter.off(id ?? ALL, safe)
    },
    // Within a process no message is lost.
    onGap: () => () => undefined,
    close() {
      emitter.removeAllListeners()
      return Promise.resolve()
    },
  }
}

type RedisBusOptions = { readonly channels: Channels; readonly log: Log }

/** The version of the message format; messages of a newer release are ignored. */
const SCHEMA = 1
/** Changes published by one message. */
const MAX_CHANGES = 100
/** Jobs whose last published revision is remembered: more than change at the same time. */
const MAX_TRACKED_JOBS = 20_000

/**
 * The change bus of all replicas. Subscribers of this process are notified at once, others through Redis, by one message
 * for all changes of a turn of the event loop. Each change is published once, and never after a newer one of the same job.
 */
export function createRedisBus({ channels, log }: RedisBusOptions): ChangeBus {
  const local = createEmitterBus(log)
  const publishedRevisions = createLru<number>(MAX_TRACKED_JOBS)
  const head = JSON.stringify({ schema: SCHEMA, sender: randomUUID() }).slice(0, -1)
  const unsubscribes = new Set<() => void>()

  const publishLocally = (job: Job) => {
    if (job.revision <= (publishedRevisions.get(job.id) ?? -Infinity)) return
    publishedRevisions.set(job.id, job.revision, 1)
    local.publish(job)
  }

  const receive = (message: string) => {
    // Skip our own messages without parsing them.
    if (message.startsWith(head)) return
    const jobs = readJobs(message)
    if (jobs) for (const job of jobs) publishLocally(job)
    else
      log.debug({ event: 'message_ignored', message: message.slice(0, 200) }, 'ignored a message in an unknown format')
  }
  unsubscribes.add(channels.subscribe('jobs', receive))

  /** Never rejects. */
  const publishRemotely = createBatch<Job, unknown>(async (jobs) => {
    // A single change as earlier releases publish and read it.
    const body = jobs.length === 1 ? `"job":${JSON.stringify(jobs[0])}` : `"jobs":${JSON.stringify(jobs)}`
    try {
      await channels.publish('jobs', `${head},${body}}`)
    } catch (error) {
      log.debug(
        { event: 'change_not_published', job_ids: jobs.map(({ id }) => id), err: error },
        'cannot publish changes to other replicas; announcing a gap later',
      )
    }
    return []
  }, MAX_CHANGES)

  return {
    publish(job) {
      publishLocally(job)
      void publishRemotely(job)
    },
    subscribe: local.subscribe,
    onGap(listener) {
      const unsubscribe = channels.onGap(listener)
      unsubscribes.add(unsubscribe)
      return () => {
        unsubscribes.delete(unsubscribe)
        unsubscribe()
      }
    },
    close() {
      for (const unsubscribe of unsubscribes) unsubscribe()
      return local.close()
    },
  }
}

function readJobs(message: string): Job[] | undefined {
  try {
    const { schema, job, jobs = [job] } = JSON.parse(message) as { schema?: unknown; job?: unknown; jobs?: unknown[] }
    return schema === SCHEMA && jobs.every(isJob) ? jobs : undefined
  } catch {
    return undefined
  }
}

function isJob(value: unknown): value is Job {
  const { id, revision } = (value ?? {}) as Partial<Job>
  return typeof id === 'string' && typeof revision === 'number'
}
