import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { HealthReply, NoQuery } from './schemas.ts'

/** `GET /healthz`: the process answers; says nothing of what it depends on. */
export const healthRoutes: FastifyPluginAsyncTypebox = (app) => {
  app.get(
    '/healthz',
    // Probes come every few seconds: only their failures are worth a line.
    { logLevel: 'warn', schema: { querystring: NoQuery, response: { 200: HealthReply } } },
    () => ({ status: 'ok' as const }),
  )
  return Promise.resolve()
}
