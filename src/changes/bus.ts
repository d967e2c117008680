import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { Job } from '../jobs/job.ts'
import { callSubscriber, type Log } from '../jobs/log.ts'
import { createLru } from '../lib/collections.ts'
import type { Channels } from '../redis/channels.ts'
import type { ChangeBus, JobSubscriber } from '../jobs/ports/notifications.ts'

const ALL = Symbol('every job')

/** The change bus of a single server. */
export function createEmitterBus(log: Log): ChangeBus {
  const emitter = new EventEmitter()
  emitter.setMaxListeners(0)

  const catchErrors =
    (listener: JobSubscriber): JobSubscriber =>
    (job) =>
      callSubscriber(log, { job_id: job.id }, () => listener(job))

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

/**
 * The version of the message format. During an update replicas of two releases share the channel, and the older one
 * ignores a format that it does not know, without a gap: a release that changes it must also publish the previous one.
 */
const SCHEMA = 1
/** Jobs whose last published revision is remembered: more than change at the same time. */
const MAX_TRACKED_JOBS = 20_000

/**
 * The change bus of all replicas. Subscribers of this process are notified at once, others through Redis. Each change is
 * published once, and never after a newer one of the same job.
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
    const job = readJob(message)
    if (job) publishLocally(job)
    else
      log.debug({ event: 'message_ignored', message: message.slice(0, 200) }, 'ignored a message in an unknown format')
  }
  unsubscribes.add(channels.subscribe('jobs', receive))

  return {
    publish(job) {
      publishLocally(job)
      const logFailure = (error: unknown) =>
        log.debug(
          { event: 'change_not_published', job_id: job.id, err: error },
          'cannot publish a change to other replicas; announcing a gap later',
        )
      channels.publish('jobs', `${head},"job":${JSON.stringify(job)}}`).catch(logFailure)
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

function readJob(message: string): Job | undefined {
  try {
    const { schema, job } = JSON.parse(message) as { schema?: unknown; job?: Partial<Job> }
    const isJob = typeof job?.id === 'string' && typeof job.revision === 'number'
    return schema === SCHEMA && isJob ? (job as Job) : undefined
  } catch {
    return undefined
  }
}
