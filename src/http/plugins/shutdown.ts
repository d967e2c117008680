import type { FastifyInstance } from 'fastify'
import { problem } from '../../problems.ts'
import type { Refusal } from './refusals.ts'

/** Aborts, with the problem of requests that are refused from then on, when the server starts to shut down. */
export function createClosingSignal(app: FastifyInstance): AbortSignal {
  const closing = new AbortController()
  // Before Fastify waits for the answers that are still open.
  app.addHook('preClose', (done) => {
    closing.abort(problem('server_ending'))
    done()
  })
  return closing.signal
}

/**
 * Refuses new requests while the server shuts down, on connections that were open already, except on routes that are
 * `alwaysAnswered`; every answer says that its connection closes. One that was kept would hold up the shutdown, and a
 * proxy would send its next request to a server that is about to exit.
 */
export function closingRefusal(app: FastifyInstance, closing: AbortSignal): Refusal {
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing.aborted) reply.header('connection', 'close')
    done()
  })
  return ({ routeOptions }) =>
    closing.aborted && !routeOptions.config.alwaysAnswered ? (closing.reason as Error) : undefined
}
