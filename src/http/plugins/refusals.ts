import type { FastifyInstance, FastifyRequest, HTTPMethods } from 'fastify'
import { problem } from '../../problems.ts'
import type { AddressLimit } from './rate-limits.ts'

/** Why a request is not served; undefined: it may be. */
export type Refusal = (request: FastifyRequest) => Error | undefined

/**
 * Refuses, from this point of the hooks on, what the first of these has a reason against. One hook for several: each
 * of Fastify's costs a request more than most reasons do. `limit` counts those refused here, before the limits of
 * callers count them.
 */
export function refuse(app: FastifyInstance, refusals: readonly Refusal[], limit?: AddressLimit): void {
  app.addHook('onRequest', (request, _reply, done) => {
    for (const refusal of refusals) {
      const reason = refusal(request)
      if (reason) {
        if (limit) void limit(request.ip).then((tooMany) => done(tooMany ?? reason))
        else done(reason)
        return
      }
    }
    done()
  })
}

/**
 * Answers 405 with `Allow` (RFC 9110 15.5.6) where a path exists but not for this method. Call it before any route
 * is added; the returned function, called after the last, adds what is missing.
 */
export function collectMethods(app: FastifyInstance): () => void {
  const methods = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const known = methods.get(url) ?? new Set()
    for (const name of [method].flat()) known.add(name)
    methods.set(url, known)
  })
  return () => {
    for (const [url, known] of [...methods]) {
      const allow = [...known].sort().join(', ')
      const others = app.supportedMethods.filter((name) => !known.has(name)) as HTTPMethods[]
      app.route({
        url,
        method: others,
        config: { access: 'public' },
        schema: { hide: true },
        // Before the body is read: what is wrong with it does not matter here.
        onRequest: async (_request, reply) => {
          reply.header('allow', allow)
          return Promise.reject(problem('method_not_allowed', { detail: `This path supports ${allow}.` }))
        },
        handler: () => undefined,
      })
    }
  }
}

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
