import type { FastifyInstance, HTTPMethods } from 'fastify'
import { problem } from '../../problems.ts'

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
        config: { access: 'open' },
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
