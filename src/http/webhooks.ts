import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Delivery } from '../jobs/webhooks/delivery.ts'
import { type DeliveryLedger, presentDelivery } from '../jobs/webhooks/ledger.ts'
import { callerOf } from './plugins/caller.ts'
import type { ChargeAnswer } from './plugins/rate-limits.ts'
import { DeliveryParams, JobParams } from './schemas/parameters.ts'
import { NoBody, NoQuery } from './schemas/parts.ts'
import { ProblemReply } from './schemas/problem.ts'
import { DeliveriesReply, DeliveryReply, WebhookSecretReply } from './schemas/webhook.ts'

const READ = { access: 'jobs:read' } as const
const WRITE = { access: 'jobs:write' } as const

export type WebhookRoutesOptions = { readonly ledger: DeliveryLedger; readonly chargeAnswer: ChargeAnswer }

/** About what the store read, in bytes: a job that was retried often has hundreds of deliveries, each with a job as its body. */
const bytesOf = (deliveries: readonly Delivery[]) =>
  deliveries.reduce((sum, { body, tries }) => sum + body.length + BYTES_PER_TRY * tries.length, 0)
const BYTES_PER_TRY = 100

/** The ledger of a job's webhooks, and what verifies them. Two verbs read all of it, and are charged for its size. */
export const webhookRoutes: FastifyPluginAsyncTypebox<WebhookRoutesOptions> = (app, { ledger, chargeAnswer }) => {
  app.get(
    '/jobs/:id/deliveries',
    {
      config: READ,
      schema: { params: JobParams, querystring: NoQuery, response: { 200: DeliveriesReply, '4xx': ProblemReply } },
    },
    async (request, reply) => {
      const { job, deliveries } = await ledger.list(request.params.id, callerOf(request))
      await chargeAnswer(request, reply, bytesOf(deliveries))
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
      const { delivery, deliveries } = await ledger.redeliver(id, number, callerOf(request))
      await chargeAnswer(request, reply, bytesOf(deliveries))
      reply.code(202)
      return presentDelivery(delivery)
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
