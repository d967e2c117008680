import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { DeliveryLedger } from '../jobs/webhooks/ledger.ts'
import { presentDelivery } from '../jobs/webhooks/delivery-view.ts'
import { callerOf } from './caller.ts'
import { DeliveryParams, JobParams } from './schemas/parameters.ts'
import { NoBody, NoQuery } from './schemas/parts.ts'
import { ProblemReply } from './schemas/problem.ts'
import { DeliveriesReply, DeliveryReply, WebhookSecretReply } from './schemas/webhook.ts'

const READ = { access: 'jobs:read' } as const
const WRITE = { access: 'jobs:write' } as const

/** The ledger of a job's webhooks, and what verifies them. */
export const webhookRoutes: FastifyPluginAsyncTypebox<{ ledger: DeliveryLedger }> = (app, { ledger }) => {
  app.get(
    '/jobs/:id/deliveries',
    {
      config: READ,
      schema: { params: JobParams, querystring: NoQuery, response: { 200: DeliveriesReply, '4xx': ProblemReply } },
    },
    async (request) => {
      const { job, deliveries } = await ledger.list(request.params.id, callerOf(request))
      const { webhook } = job
      return {
        ...(webhook && { webhook_url: webhook.url, webhook_events: [...webhook.events] }),
        deliveries: deliveries.map(presentDelivery),
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
      return presentDelivery(await ledger.redeliver(id, number, callerOf(request)))
    },
  )

  app.get(
    '/webhooks/secret',
    { config: WRITE, schema: { querystring: NoQuery, response: { 200: WebhookSecretReply, '4xx': ProblemReply } } },
    (request, reply) => {
      const [secret = '', ...older] = ledger.secrets(callerOf(request))
      reply.header('cache-control', 'no-store')
      return { secret, secrets: [secret, ...older] }
    },
  )
  return Promise.resolve()
}
