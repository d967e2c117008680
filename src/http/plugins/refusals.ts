import type { FastifyInstance, FastifyRequest } from 'fastify'
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
