import type { Socket } from 'node:net'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { DEGRADED_REASONS, FUNCTION_STATES } from '../jobs/job.ts'
import { type MetricEvent, type Metrics, METRICS_TYPE, type RecordMetric } from '../jobs/ports/metrics.ts'
import type { Readiness } from '../jobs/readiness.ts'
import type { Operation } from './docs/operation.ts'
import type { Unsent } from './plugins/open-answers.ts'
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
    store: OneOf(['ok', 'unavailable'], { description: 'Whether the job store answers.', examples: ['ok'] }),
    backend: OneOf(['ok', 'degraded'], {
      description: 'Whether the backend works. Jobs are accepted and kept either way.',
      examples: ['ok'],
    }),
    reason: Type.Optional(
      OneOf(DEGRADED_REASONS, {
        description: [
          'Why the backend is degraded:',
          '- `spend_limit`: its spend limit is reached, so it starts nothing',
          '- `throttled`: it limits our requests',
          '- `unreachable`: it does not answer',
          '- `credentials`: it refuses the credentials of this server',
        ].join('\n'),
        examples: ['unreachable'],
      }),
    ),
    paused: Type.Optional(
      Type.Literal(true, {
        description: 'Present while an administrator has paused the start of jobs.',
        examples: [true],
      }),
    ),
    function: Type.Optional(
      OneOf(FUNCTION_STATES, {
        description: [
          'The deployed function, as last looked up:',
          '- `ok`: it is deployed and takes all arguments of the contract',
          '- `missing`: it is not deployed',
          '- `incompatible`: it lacks an argument of the contract, or needs another one; a warning in the log names it',
        ].join('\n'),
        examples: ['ok'],
      }),
    ),
  },
  { $id: 'Readiness', description: 'Whether this server should get requests.' },
)

const probeDocs: Record<'health' | 'readiness', Operation> = {
  health: {
    operationId: 'getHealth',
    tag: 'health',
    summary: 'Is the process alive?',
    description: 'Answers while the process runs, also under load. Never limited.',
    answers: { 200: { description: 'Yes.', examples: { ok: { summary: 'Alive', value: { status: 'ok' } } } } },
  },

  readiness: {
    operationId: 'getReadiness',
    tag: 'health',
    summary: 'Should it get requests?',
    description:
      'Checked in the background every two seconds. An unavailable backend does not make the server unready.',
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
          ending: { summary: 'Shutting down', value: { status: 'ending', store: 'ok', backend: 'ok' } },
          unavailable: {
            summary: 'The store is unavailable',
            value: { status: 'unavailable', store: 'unavailable', backend: 'ok' },
          },
        },
      },
    },
  },
}

/** Probes come every few seconds: they have no log line, and get an answer under load, so that nothing restarts a busy server. */
const PROBE = { alwaysAnswered: true, access: 'public' } as const

/** `GET /healthz`: the process answers. `GET /readyz`: it should get requests; 503 if not. */
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
    /** The duration of an answer depends on its client or on a job, so it is not measured. */
    untimed?: true
  }
  interface FastifyRequest {
    /** How long the answer waited as a long poll, in ms. */
    longPollMs: number
  }
}

export type MetricsRoutesOptions = { readonly metrics: Pick<Metrics, 'render'>; readonly unsent: Pick<Unsent, 'admit'> }

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
    'For Prometheus, in its text format: counts since the process started, and current values. Not rate limited; 503 while too much of earlier answers is unread.',
  problems: ['overloaded'],
  answers: { 200: { description: 'The metrics.' } },
}

/** Counts every answer, by the pattern of its route. Call it before any route is added. */
export function countRequests(
  app: FastifyInstance,
  { record: recordMetric, registerGauges }: Pick<Metrics, 'record' | 'registerGauges'>,
): void {
  let openConnections = 0
  // Node's own count covers only its first socket.
  app.server.on('connection', (socket: Socket) => {
    openConnections++
    socket.once('close', () => openConnections--)
  })
  registerGauges({ http_connections: () => openConnections })
  app.decorateRequest('longPollMs', 0)
  app.addHook('onRequest', (request, reply, done) => {
    // Fastify runs no `onResponse` when a client leaves.
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

/** nginx's status for a client that left before the answer. */
const BROKEN_OFF = 499

const isUpload = ({ headers }: FastifyRequest) => headers['content-type']?.startsWith('multipart/') === true

/** Counts an unreadable request, for which Fastify runs no hook. */
export function countUnreadable(recordMetric: RecordMetric, { method }: { method: string }, status: number): void {
  recordMetric({ type: 'request-answered', method, route: undefined, status, tookMs: undefined })
}

/**
 * `GET /metrics`: scraped every few seconds, and needed most under load. Its rate is not limited: simultaneous requests
 * share one rendering, which takes some ms. Its unread bytes are limited.
 */
export const metricsRoutes: FastifyPluginAsyncTypebox<MetricsRoutesOptions> = (app, { metrics, unsent }) => {
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
      // After the rendering, so that simultaneous requests count each other.
      unsent.admit(request)
      return reply.type(METRICS_TYPE).header('cache-control', 'no-store').send(text)
    },
  )
  return Promise.resolve()
}
