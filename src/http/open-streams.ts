import type { FastifyInstance } from 'fastify'
import { TooManyStreams } from '../errors.ts'
import type { EventStream } from './event-stream.ts'

/** The streams that are open. */
export type OpenStreams = {
  /** Rejects a further one of this caller with `TooManyStreams`. */
  admit(caller: string): void
  /** Keeps a stream as one of this caller's until it is over. */
  add(caller: string, stream: EventStream): void
}

/** Ends all streams before the server waits for its connections; no more than `maxPerCaller` of one caller, 0: any number. */
export function createOpenStreams(app: FastifyInstance, { maxPerCaller }: { maxPerCaller: number }): OpenStreams {
  const streams = new Set<EventStream>()
  const counts = new Map<string, number>()
  let isEnding = false
  app.addHook('preClose', (done) => {
    isEnding = true
    for (const stream of streams) stream.end()
    done()
  })

  const count = (caller: string, by: 1 | -1) => {
    const now = (counts.get(caller) ?? 0) + by
    if (now === 0) counts.delete(caller)
    else counts.set(caller, now)
  }

  return {
    admit(caller) {
      if (maxPerCaller > 0 && (counts.get(caller) ?? 0) >= maxPerCaller) throw new TooManyStreams(maxPerCaller)
    },
    add(caller, stream) {
      streams.add(stream)
      count(caller, 1)
      stream.whenOver(() => {
        streams.delete(stream)
        count(caller, -1)
      })
      if (isEnding) stream.end()
    },
  }
}
