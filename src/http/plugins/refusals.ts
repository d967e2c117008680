import type { FastifyInstance, FastifyRequest, HTTPMethods } from 'fastify'
import { problem } from '../../problems.ts'
import type { AddressLimit } from './rate-limits.ts'

/** Gives the error that refuses a request, or undefined. */
export type Refusal = (request: FastifyRequest) => Error | undefined

/**
 * Refuses a request with the first reason that applies. One hook, since each Fastify hook costs more than most checks.
 * `limit` counts the requests refused here, which the limits of callers do not count.
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
 * Answers 405 with `Allow` (RFC 9110 15.5.6) if a path exists, but not for this method. Call it before the first route is
 * added, and the returned function after the last one: it adds the missing methods.
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
        // Before the body is read, whose errors do not matter here.
        onRequest: async (_request, reply) => {
          reply.header('allow', allow)
          return Promise.reject(problem('method_not_allowed', { detail: `This path supports ${allow}.` }))
        },
        handler: () => undefined,
      })
    }
  }
}

/** Aborts when shutdown starts; the reason is the problem for later requests. */
export function createClosingSignal(app: FastifyInstance): AbortSignal {
  const closing = new AbortController()
  // This hook runs before Fastify waits for open answers.
  app.addHook('preClose', (done) => {
    closing.abort(problem('server_ending'))
    done()
  })
  return closing.signal
}

/**
 * Refuses new requests on open connections during the shutdown, except on routes that are `alwaysAnswered`. Every answer
 * has `Connection: close`: a connection kept open would delay the shutdown, and a proxy would send its next request to a
 * server that is about to exit.
 */
export function closingRefusal(app: FastifyInstance, closing: AbortSignal): Refusal {
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing.aborted) reply.header('connection', 'close')
    done()
  })
  return (request) =>
    closing.aborted && !request.routeOptions.config.alwaysAnswered ? (closing.reason as Error) : undefined
}
