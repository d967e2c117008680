import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { type Delivery, DELIVERY_KINDS } from '../jobs/webhooks/delivery.ts'
import { type DeliveryLedger, presentDelivery, presentTest } from '../jobs/webhooks/ledger.ts'
import { URL_MAX_LENGTH } from '../net/url-rule.ts'
import type { Operation } from './docs/operation.ts'
import { BATCH_EVENT, WEBHOOK_EVENTS } from '../jobs/job.ts'
import { JobId, JobParams } from './jobs/job-schema.ts'
import { WebhookEvents } from './jobs/submit-schema.ts'
import { callerOf } from './plugins/auth.ts'
import type { ChargeAnswer } from './plugins/rate-limits.ts'
import { NoBody, NoQuery, OneOf, ProblemReply, Text, Time, Integer } from './schemas.ts'

const DeliveryAttemptReply = Type.Object(
  {
    at: Time({ description: 'When it started.', example: '2026-01-31T12:01:30.010Z' }),
    status: Type.Optional(Integer({ description: 'Status of the answer, if there was one.', example: 200 })),
    duration_ms: Type.Optional(Integer({ description: 'How long it took.', example: 42, minimum: 0 })),
    error: Type.Optional(Text({ description: 'Why it failed.', example: 'the receiver answered 503' })),
  },
  { $id: 'DeliveryTry', description: 'One request to the receiver. While it runs, it has neither status nor error.' },
)

/** Path of a delivery. A number of another form is an unknown delivery, not an invalid request. */
const DeliveryParams = Type.Object({
  id: JobId,
  n: Text({ description: 'The number of the delivery.', example: '1' }),
})

/** The delivery of one event to a webhook, or of an output. */
const DeliveryReply = Type.Object(
  {
    number: Integer({
      description:
        'Its number among the deliveries of the job; those of its batch start at 1,000,001, those of its output at 2,000,001.',
      example: 1,
      minimum: 1,
    }),
    kind: OneOf(DELIVERY_KINDS, {
      description:
        '`webhook`: an event; `output`: the video, by PUT to the `put_url` of the job; `copy`: the video, to the bucket of this server, which only administrators see.',
      examples: ['webhook'],
    }),
    webhook_id: Type.Optional(
      Text({
        description: 'The `webhook-id` header, the same for every POST.',
        example: 'msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1',
      }),
    ),
    event: OneOf([...WEBHOOK_EVENTS, BATCH_EVENT], {
      description:
        'What has happened; for an output, `job.succeeded`. That the batch has finished stands with the job that finished last.',
      examples: ['job.succeeded'],
    }),
    attempt: Integer({ description: 'The attempt of the job that the event is about.', example: 1, minimum: 1 }),
    state: OneOf(['pending', 'delivered', 'failed'], {
      description: '`failed`: every attempt failed, or the receiver answered 410.',
      examples: ['delivered'],
    }),
    created_at: Time({ description: 'When the event happened.', example: '2026-01-31T12:01:30.000Z' }),
    next_try_at: Type.Optional(
      Time({ description: 'When the next attempt is due, while it is pending.', example: '2026-01-31T12:01:35.000Z' }),
    ),
    tries: Type.Array(DeliveryAttemptReply, {
      description: 'The last 50 attempts, oldest first.',
      examples: [[{ at: '2026-01-31T12:01:30.010Z', status: 200, duration_ms: 42 }]],
    }),
  },
  { $id: 'Delivery', description: 'The delivery of one event to the webhook of a job, or of its output.' },
)

/** Answer of `GET /jobs/:id/deliveries`. */
const DeliveriesReply = Type.Object(
  {
    webhook_url: Type.Optional(
      Text({ description: 'Where the job sends its events.', example: 'https://hooks.example.com/lip-sync' }),
    ),
    webhook_events: Type.Optional(WebhookEvents),
    deliveries: Type.Array(DeliveryReply, { description: 'By number.' }),
  },
  { $id: 'DeliveryList', description: 'The deliveries of a job: of its webhooks and its output.' },
)

/** Body of `POST /webhooks/test`. */
const WebhookTestBody = Type.Object(
  {
    url: Text({
      description: 'Where to send the event, as in `webhook_url`.',
      example: 'https://hooks.example.com/lip-sync',
      maxLength: URL_MAX_LENGTH,
    }),
  },
  { additionalProperties: false, $id: 'NewWebhookTest', description: 'A receiver to be tested.' },
)

/** Answer of `POST /webhooks/test`. */
const WebhookTestReply = Type.Object(
  {
    webhook_id: Text({
      description: 'The `webhook-id` header that the receiver got.',
      example: 'msg_test_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11',
    }),
    state: OneOf(['delivered', 'failed'], {
      description: 'The state that the delivery of an event would have.',
      examples: ['delivered'],
    }),
    status: Type.Optional(Integer({ description: 'Status of the answer, if there was one.', example: 204 })),
    duration_ms: Integer({ description: 'How long it took.', example: 42, minimum: 0 }),
    error: Type.Optional(Text({ description: 'Why it failed.', example: 'the receiver answered 503' })),
  },
  { $id: 'WebhookTest', description: 'What a receiver answered to a test event.' },
)

/** Answer of `GET /webhooks/secret`. */
const WebhookSecretReply = Type.Object(
  {
    secret: Text({
      description: 'Verifies your webhooks: `whsec_` and base64.',
      example: 'whsec_c2VjcmV0LW9mLW9uZS1jYWxsZXItMDE=',
    }),
    secrets: Type.Array(Type.String(), {
      description: 'All that currently sign, the newest first.',
      examples: [['whsec_c2VjcmV0LW9mLW9uZS1jYWxsZXItMDE=']],
    }),
  },
  { $id: 'WebhookSecret', description: 'The secrets that verify the webhooks of a caller.' },
)

const pending = {
  number: 1,
  kind: 'webhook',
  webhook_id: 'msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1',
  event: 'job.succeeded',
  attempt: 1,
  state: 'pending',
  created_at: '2026-01-31T12:01:30.000Z',
  next_try_at: '2026-01-31T12:01:35.000Z',
  tries: [{ at: '2026-01-31T12:01:30.010Z', status: 503, duration_ms: 42, error: 'the receiver answered 503' }],
}
const testId = 'msg_test_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11'
const secret = 'whsec_c2VjcmV0LW9mLW9uZS1jYWxsZXItMDE='

const docs: Record<'list' | 'redeliver' | 'secret' | 'test', Operation> = {
  list: {
    operationId: 'listDeliveries',
    tag: 'webhooks',
    summary: 'List the deliveries of a job',
    description:
      'Every delivery of the job, of its webhooks and its output, with its attempts. A job with neither `webhook_url` nor `output` has none.',
    answers: {
      200: {
        description: 'The deliveries.',
        examples: {
          pending: {
            summary: 'One that will be sent again soon',
            value: {
              webhook_url: 'https://hooks.example.com/lip-sync',
              webhook_events: ['job.succeeded', 'job.failed', 'job.canceled'],
              deliveries: [pending],
            },
          },
        },
      },
    },
    problems: ['job_not_found'],
  },

  redeliver: {
    operationId: 'redeliver',
    tag: 'webhooks',
    summary: 'Send a webhook or an output again',
    description: 'Sends the delivery once more, now, whatever its state. Its schedule continues.',
    answers: {
      202: {
        description: 'The delivery is due.',
        examples: { due: { summary: 'Due now', value: { ...pending, next_try_at: '2026-01-31T12:01:31.000Z' } } },
      },
    },
    problems: ['job_not_found', 'delivery_not_found', 'delivery_in_progress'],
  },

  test: {
    operationId: 'testWebhook',
    tag: 'webhooks',
    summary: 'Send a test event to a receiver',
    description:
      'Sends a `webhook.test` event, signed like any webhook of yours, once, and answers what the receiver answered, within the timeout of a delivery attempt. The body of its answer is not read: this server is not a way into the network of its receivers.',
    body: { url: { summary: 'A receiver', value: { url: 'https://hooks.example.com/lip-sync' } } },
    answers: {
      200: {
        description: 'The event was sent, or could not be: see `state`.',
        examples: {
          delivered: {
            summary: 'The receiver took it',
            value: { webhook_id: testId, state: 'delivered', status: 204, duration_ms: 42 },
          },
          failed: {
            summary: 'The receiver refused the signature',
            value: {
              webhook_id: testId,
              state: 'failed',
              status: 401,
              duration_ms: 38,
              error: 'the receiver answered 401',
            },
          },
        },
      },
    },
    problems: ['url_not_allowed', 'webhooks_not_configured'],
  },

  secret: {
    operationId: 'getWebhookSecret',
    tag: 'webhooks',
    summary: 'Get the secret of your webhooks',
    description: 'The secret that verifies your webhooks (Standard Webhooks). Every caller has its own.',
    answers: {
      200: {
        description: 'The secrets.',
        examples: { secret: { summary: 'One secret', value: { secret, secrets: [secret] } } },
      },
    },
    problems: ['webhooks_not_configured', 'webhook_secret_not_shown'],
  },
}

export type WebhookRoutesOptions = {
  readonly ledger: DeliveryLedger
  readonly chargeAnswer: ChargeAnswer
  /** Aborts when shutdown starts: a slow receiver must not delay it. */
  readonly closing: AbortSignal
}

/** Approximate bytes that the store read: a job with many retries has hundreds of deliveries, each with a job as its body. */
const bytesOf = (deliveries: readonly Delivery[]) =>
  deliveries.reduce((sum, { body, tries }) => sum + body.length + BYTES_PER_TRY * tries.length, 0)
const BYTES_PER_TRY = 100

/** The deliveries of a job, and the secrets that verify them. Two routes read all deliveries, and are charged for their size. */
export const webhookRoutes: FastifyPluginAsyncTypebox<WebhookRoutesOptions> = (
  app,
  { ledger, chargeAnswer, closing },
) => {
  app.get(
    '/jobs/:id/deliveries',
    {
      config: { access: 'jobs:read', docs: docs.list },
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
      config: { access: 'jobs:write', docs: docs.redeliver },
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

  app.post(
    '/webhooks/test',
    {
      // The receiver may take as long as it likes, so that its time is not the server's.
      config: { access: 'jobs:write', bucket: 'submit', untimed: true, docs: docs.test },
      schema: {
        querystring: NoQuery,
        body: WebhookTestBody,
        response: { 200: WebhookTestReply, '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request) => presentTest(await ledger.test(request.body.url, callerOf(request), closing)),
  )

  app.get(
    '/webhooks/secret',
    {
      config: { access: 'jobs:write', docs: docs.secret },
      schema: { querystring: NoQuery, response: { 200: WebhookSecretReply, '4xx': ProblemReply } },
    },
    (request, reply) => {
      const [secret = '', ...older] = ledger.secrets(callerOf(request))
      reply.header('cache-control', 'no-store')
      return { secret, secrets: [secret, ...older] }
    },
  )
  return Promise.resolve()
}
