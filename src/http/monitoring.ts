import type { Socket } from 'node:net'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { DEGRADED_REASONS } from '../jobs/job.ts'
import { type MetricEvent, type Metrics, METRICS_TYPE, type RecordMetric } from '../jobs/ports/metrics.ts'
import type { Readiness } from '../jobs/readiness.ts'
import type { Operation } from './docs/operation.ts'
import type { Unsent } from './plugins/unsent.ts'
import { NoQuery, OneOf, ProblemReply } from './schemas.ts'

/** Answer of `GET /healthz`. */
const HealthReply = Type.Object(
  { status: OneOf(['ok'], { description: 'The process answers.', examples: ['ok'] }) },
  { $id: 'Health', description: 'The process answers.' },
)

/** Answer of `GET /readyz`. */
const ReadyReply = Type.Object(
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

const probeDocs: Record<'health' | 'readiness', Operation> = {
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
      config: { ...PROBE, docs: probeDocs.health },
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
      config: { ...PROBE, docs: probeDocs.readiness },
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

declare module 'fastify' {
  interface FastifyContextConfig {
    /** How long an answer takes is up to its client, or to a job: it is not timed. */
    untimed?: true
  }
  interface FastifyRequest {
    /** How long its answer waited because the client asked for that, in ms. */
    longPollMs: number
  }
}

export type MetricsParts = { readonly metrics: Pick<Metrics, 'render'>; readonly unsent: Pick<Unsent, 'admit'> }

/** Answer of `GET /metrics`. */
const MetricsReply = Type.Unsafe<string>({
  content: {
    'text/plain': {
      schema: {
        type: 'string',
        description: 'Metrics in the text format of Prometheus.',
        examples: [
          [
            '# HELP musetalk_jobs_submitted_total New jobs accepted.',
            '# TYPE musetalk_jobs_submitted_total counter',
            'musetalk_jobs_submitted_total 3',
            '',
          ].join('\n'),
        ],
      },
    },
  },
})

const metricsDocs: Operation = {
  operationId: 'getMetrics',
  tag: 'health',
  summary: 'Read the metrics',
  description:
    'For Prometheus to scrape, in its text format: what was counted since the process began, and how it is now. Not rate limited; 503 while too much of earlier answers has not been read.',
  problems: ['overloaded'],
  answers: { 200: { description: 'The metrics.' } },
}

/** Counts every answer, by the pattern of its route. Call it before any route is added. */
export function countRequests(
  app: FastifyInstance,
  { record: recordMetric, registerGauges }: Pick<Metrics, 'record' | 'registerGauges'>,
): void {
  let openConnections = 0
  // The server itself counts those of its own listening socket, of several.
  app.server.on('connection', (socket: Socket) => {
    openConnections++
    socket.once('close', () => openConnections--)
  })
  registerGauges({ http_connections: () => openConnections })
  app.decorateRequest('longPollMs', 0)
  app.addHook('onRequest', (request, reply, done) => {
    // Fastify's `onResponse` does not hear of clients that leave.
    reply.raw.on('close', () => recordMetric(answerOf(request, reply)))
    done()
  })
}

function answerOf(request: FastifyRequest, reply: FastifyReply): MetricEvent {
  const { url, config } = request.routeOptions
  const status = reply.raw.headersSent ? reply.statusCode : BROKEN_OFF
  const isTimed = config.untimed !== true && status !== BROKEN_OFF && !isUpload(request)
  const tookMs = isTimed ? reply.elapsedTime - request.longPollMs : undefined
  return { type: 'request-answered', method: request.method, route: url, status, tookMs }
}

/** What nginx made the usual name for a request whose client did not wait for the answer. */
const BROKEN_OFF = 499

const isUpload = ({ headers }: FastifyRequest) => headers['content-type']?.startsWith('multipart/') === true

/** Of a request whose URL, or anything of it, cannot be read Fastify runs no hook. */
export function countUnreadable(recordMetric: RecordMetric, { method }: { method: string }, status: number): void {
  recordMetric({ type: 'request-answered', method, route: undefined, status, tookMs: undefined })
}

/**
 * `GET /metrics`: asked for every few seconds, and needed most when the server has too much to do. Its rate is not
 * limited: requests at the same time share one rendering, which takes some ms. What is not read of it is.
 */
export const metricsRoutes: FastifyPluginAsyncTypebox<MetricsParts> = (app, { metrics, unsent }) => {
  let rendering: Promise<string> | undefined
  const render = () =>
    (rendering ??= metrics.render().finally(() => {
      rendering = undefined
    }))
  app.get(
    '/metrics',
    {
      logLevel: 'warn',
      config: { access: 'metrics:read', alwaysAnswered: true, docs: metricsDocs },
      schema: { querystring: NoQuery, response: { 200: MetricsReply, '4xx': ProblemReply, '5xx': ProblemReply } },
    },
    async (request, reply) => {
      const text = await render()
      // After the wait, so that requests at the same time are not all let in.
      unsent.admit(request)
      return reply.type(METRICS_TYPE).header('cache-control', 'no-store').send(text)
    },
  )
  return Promise.resolve()
}
