import { randomUUID } from 'node:crypto'
import type { Job } from '../jobs/job.ts'
import type { Log } from '../jobs/log.ts'
import { createLru } from '../lib/lru.ts'
import type { Channels } from '../redis/channels.ts'
import { createEmitterBus } from './emitter.ts'
import type { EventBus } from '../jobs/ports/changes.ts'

export type RedisBusParts = { readonly channels: Channels; readonly log: Log }

/** The form of the messages. One of a higher number is of a newer release, and left to those who understand it. */
const SCHEMA = 1
/** Of how many jobs it is remembered how far they have been told. */
const REMEMBERED_JOBS = 20_000

/**
 * The bus of all replicas. Listeners of this process hear at once, others through Redis. Whichever way a state comes,
 * it is told once, and never after a newer one of the same job.
 */
export function createRedisBus({ channels, log }: RedisBusParts): EventBus {
  const local = createEmitterBus(log)
  const told = createLru<number>(REMEMBERED_JOBS)
  const head = JSON.stringify({ schema: SCHEMA, sender: randomUUID() }).slice(0, -1)
  const stops = new Set<() => void>()

  const tell = (job: Job) => {
    if (job.revision <= (told.get(job.id) ?? -Infinity)) return
    told.set(job.id, job.revision, 1)
    local.publish(job)
  }

  const hear = (message: string) => {
    // The own echo is not worth reading.
    if (message.startsWith(head)) return
    const job = readJob(message)
    if (job) tell(job)
    else log.debug({ message: message.slice(0, 200) }, 'a message of another form is left alone')
  }
  stops.add(channels.listen('jobs', hear))

  return {
    publish(job) {
      tell(job)
      const lost = (error: unknown) =>
        log.debug({ job_id: job.id, err: error }, 'other replicas were not told of a job')
      channels.publish('jobs', `${head},"job":${JSON.stringify(job)}}`).catch(lost)
    },
    subscribe: local.subscribe,
    onGap(listener) {
      const stop = channels.onGap(listener)
      stops.add(stop)
      return () => {
        stops.delete(stop)
        stop()
      }
    },
    close() {
      for (const stop of stops) stop()
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
