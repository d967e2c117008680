import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Deliveries } from '../jobs/webhooks/ledger.ts'
import { deliveryViewOf } from '../jobs/webhooks/delivery-view.ts'
import { callerOf } from './caller.ts'
import { DeliveryParams, JobParams } from './schemas/parameters.ts'
import { NoBody, NoQuery } from './schemas/parts.ts'
import { ProblemReply } from './schemas/problem.ts'
import { DeliveriesReply, DeliveryReply, WebhookSecretReply } from './schemas/webhook.ts'

const READ = { access: 'jobs:read' } as const
const WRITE = { access: 'jobs:write' } as const

/** The ledger of a job's webhooks, and what verifies them. */
export const webhookRoutes: FastifyPluginAsyncTypebox<{ deliveries: Deliveries }> = (app, { deliveries }) => {
  app.get(
    '/jobs/:id/deliveries',
    {
      config: READ,
      schema: { params: JobParams, querystring: NoQuery, response: { 200: DeliveriesReply, '4xx': ProblemReply } },
    },
    async (request) => {
      const ledger = await deliveries.ledger(request.params.id, callerOf(request))
      const { webhook } = ledger.job
      return {
        ...(webhook && { webhook_url: webhook.url, webhook_events: [...webhook.events] }),
        deliveries: ledger.deliveries.map(deliveryViewOf),
      }
    },
  )

  app.post(
    '/jobs/:id/deliveries/:n/redeliver',
    {
      config: WRITE,
      schema: {
        params: DeliveryParams,
        querystring: NoQuery,
        body: NoBody,
        response: { 202: DeliveryReply, '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const { id, n } = request.params
      const number = /^[1-9]\d{0,8}$/.test(n) ? Number(n) : 0
      reply.code(202)
      return deliveryViewOf(await deliveries.redeliver(id, number, callerOf(request)))
    },
  )

  app.get(
    '/webhooks/secret',
    { config: WRITE, schema: { querystring: NoQuery, response: { 200: WebhookSecretReply, '4xx': ProblemReply } } },
    (request, reply) => {
      const [secret = '', ...older] = deliveries.secrets(callerOf(request))
      reply.header('cache-control', 'no-store')
      return { secret, secrets: [secret, ...older] }
    },
  )
  return Promise.resolve()
}
