import { promisify } from 'node:util'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type MetricEvent, type Metrics, METRICS_TYPE, type RecordMetric } from '../jobs/ports/metrics.ts'
import type { Operation } from './docs/operation.ts'
import type { Unsent } from './plugins/unsent.ts'
import { NoQuery, ProblemReply } from './schemas.ts'

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
export const MetricsReply = Type.Unsafe<string>({
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

const docs: Operation = {
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
  const openConnections = promisify(app.server.getConnections.bind(app.server))
  registerGauges({ http_connections: () => openConnections() })
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
      config: { access: 'metrics:read', alwaysAnswered: true, docs },
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
