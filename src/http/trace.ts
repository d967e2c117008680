import type { FastifyInstance } from 'fastify'
import { readTraceparent, traceIdOf } from '../jobs/trace.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The trace that the request is a part of, where it says so. */
    traceparent: string | undefined
  }
}

/** Reads the `traceparent` of every request, and puts the trace's id on all its lines. A malformed one is as none. */
export function registerTrace(app: FastifyInstance): void {
  app.decorateRequest('traceparent')
  app.addHook('onRequest', (request, reply, done) => {
    const { traceparent: header } = request.headers
    const traceparent = header === undefined ? undefined : readTraceparent(String(header))
    if (traceparent !== undefined) {
      request.traceparent = traceparent
      reply.log = request.log = request.log.child({ trace_id: traceIdOf(traceparent) })
    }
    done()
  })
}
