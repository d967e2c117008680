import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Readiness } from '../jobs/readiness.ts'
import { HealthReply, ReadyReply } from './schemas/health.ts'
import { NoQuery } from './schemas/parts.ts'

/** Probes come every few seconds, which is not worth a line each, and a busy server is not to be restarted. */
const PROBE = { logLevel: 'warn', config: { alwaysAnswered: true, access: 'open' } } as const

/** `GET /healthz`: the process answers. `GET /readyz`: it should be given requests; 503 where not. */
export const healthRoutes: FastifyPluginAsyncTypebox<{ readiness: Pick<Readiness, 'report'> }> = (
  app,
  { readiness },
) => {
  app.get('/healthz', { ...PROBE, schema: { querystring: NoQuery, response: { 200: HealthReply } } }, () => ({
    status: 'ok' as const,
  }))
  app.get(
    '/readyz',
    { ...PROBE, schema: { querystring: NoQuery, response: { 200: ReadyReply, 503: ReadyReply } } },
    (_request, reply) => {
      const report = readiness.report()
      if (report.status !== 'ready') reply.code(503)
      return report
    },
  )
  return Promise.resolve()
}
