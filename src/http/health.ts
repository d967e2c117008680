import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { DEGRADED_REASONS } from '../jobs/job.ts'
import type { Readiness } from '../jobs/readiness.ts'
import type { Operation } from './docs/operation.ts'
import { NoQuery, OneOf } from './schemas.ts'

/** Answer of `GET /healthz`. */
export const HealthReply = Type.Object(
  { status: OneOf(['ok'], { description: 'The process answers.', examples: ['ok'] }) },
  { $id: 'Health', description: 'The process answers.' },
)

/** Answer of `GET /readyz`. */
export const ReadyReply = Type.Object(
  {
    status: OneOf(['ready', 'unavailable', 'ending'], {
      description: '`unavailable` while the store does not answer, `ending` while the server shuts down.',
      examples: ['ready'],
    }),
    store: OneOf(['ok', 'unavailable'], { description: 'Whether the store of jobs answers.', examples: ['ok'] }),
    backend: OneOf(['ok', 'degraded'], {
      description: 'Whether the backend can be reached. Jobs are taken and kept either way.',
      examples: ['ok'],
    }),
    reason: Type.Optional(
      OneOf(DEGRADED_REASONS, {
        description: [
          'Why the backend is degraded:',
          '- `spend_limit`: it starts nothing, as its spend limit is reached',
          '- `throttled`: it asks to be called less often',
          '- `unreachable`: it does not answer',
          '- `credentials`: it refuses the credentials of this server',
        ].join('\n'),
        examples: ['unreachable'],
      }),
    ),
  },
  { $id: 'Readiness', description: 'Whether this server should be given requests.' },
)

const docs: Record<'health' | 'readiness', Operation> = {
  health: {
    operationId: 'getHealth',
    tag: 'health',
    summary: 'Is the process alive?',
    description: 'Answers as long as the process does, also under load. Never limited.',
    answers: { 200: { description: 'It is.', examples: { ok: { summary: 'Alive', value: { status: 'ok' } } } } },
  },

  readiness: {
    operationId: 'getReadiness',
    tag: 'health',
    summary: 'Should it be given requests?',
    description: 'Looked at in the background every two seconds. A backend that is away does not make it unready.',
    answers: {
      200: {
        description: 'Yes.',
        examples: {
          ready: { summary: 'Ready', value: { status: 'ready', store: 'ok', backend: 'ok' } },
          degraded: {
            summary: 'Ready, while jobs wait for the backend',
            value: { status: 'ready', store: 'ok', backend: 'degraded', reason: 'spend_limit' },
          },
        },
      },
      503: {
        description: 'No: the store does not answer, or the server is shutting down.',
        examples: {
          ending: { summary: 'About to end', value: { status: 'ending', store: 'ok', backend: 'ok' } },
          unavailable: {
            summary: 'The store is away',
            value: { status: 'unavailable', store: 'unavailable', backend: 'ok' },
          },
        },
      },
    },
  },
}

/** Probes come every few seconds, which is not worth a line each, and a busy server is not to be restarted. */
const PROBE = { alwaysAnswered: true, access: 'public' } as const

/** `GET /healthz`: the process answers. `GET /readyz`: it should be given requests; 503 where not. */
export const healthRoutes: FastifyPluginAsyncTypebox<{ readiness: Pick<Readiness, 'report'> }> = (
  app,
  { readiness },
) => {
  app.get(
    '/healthz',
    {
      logLevel: 'warn',
      config: { ...PROBE, docs: docs.health },
      schema: { querystring: NoQuery, response: { 200: HealthReply } },
    },
    () => ({
      status: 'ok' as const,
    }),
  )
  app.get(
    '/readyz',
    {
      logLevel: 'warn',
      config: { ...PROBE, docs: docs.readiness },
      schema: { querystring: NoQuery, response: { 200: ReadyReply, 503: ReadyReply } },
    },
    (_request, reply) => {
      const report = readiness.report()
      if (report.status !== 'ready') reply.code(503)
      return report
    },
  )
  return Promise.resolve()
}
