import { EventEmitter } from 'node:events'
import type { Log } from '../jobs/log.ts'
import type { ChangeBus, JobSubscriber } from '../jobs/ports/changes.ts'

const ALL = Symbol('every job')

/** The change bus of a single process. */
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
