import { Type } from '@sinclair/typebox'
import { WebhookEventName, WebhookEvents } from '../jobs/submit-schema.ts'
import { OneOf, Text, Time, Whole } from './parts.ts'

const TryReply = Type.Object(
  {
    at: Time({ description: 'When it began.', example: '2026-01-31T12:01:30.010Z' }),
    status: Type.Optional(Whole({ description: 'Status of the answer, where there was one.', example: 200 })),
    duration_ms: Type.Optional(Whole({ description: 'How long it took.', example: 42, minimum: 0 })),
    error: Type.Optional(Text({ description: 'Why it was in vain.', example: 'the receiver answered 503' })),
  },
  { $id: 'DeliveryTry', description: 'One POST. One that runs has neither status nor error.' },
)

/** One event's way to a webhook. */
export const DeliveryReply = Type.Object(
  {
    number: Whole({ description: 'Counts the deliveries of the job.', example: 1, minimum: 1 }),
    webhook_id: Text({
      description: 'The `webhook-id` header, the same in every try.',
      example: 'msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1',
    }),
    event: WebhookEventName,
    attempt: Whole({ description: 'The attempt of the job that it speaks of.', example: 1, minimum: 1 }),
    state: OneOf(['pending', 'delivered', 'failed'], {
      description: '`failed`: every try was in vain, or the receiver answered 410.',
      examples: ['delivered'],
    }),
    created_at: Time({ description: 'When the event happened.', example: '2026-01-31T12:01:30.000Z' }),
    next_try_at: Type.Optional(
      Time({ description: 'When it is tried next, while it is pending.', example: '2026-01-31T12:01:35.000Z' }),
    ),
    tries: Type.Array(TryReply, {
      description: 'The last 50 tries, oldest first.',
      examples: [[{ at: '2026-01-31T12:01:30.010Z', status: 200, duration_ms: 42 }]],
    }),
  },
  { $id: 'Delivery', description: "One event's way to the webhook of a job." },
)

/** Answer of `GET /jobs/:id/deliveries`. */
export const DeliveriesReply = Type.Object(
  {
    webhook_url: Type.Optional(
      Text({ description: 'Where the job tells of itself.', example: 'https://hooks.example.com/lip-sync' }),
    ),
    webhook_events: Type.Optional(WebhookEvents),
    deliveries: Type.Array(DeliveryReply, { description: 'By number.' }),
  },
  { $id: 'DeliveryList', description: 'What became of the webhooks of a job.' },
)

/** Answer of `GET /webhooks/secret`. */
export const WebhookSecretReply = Type.Object(
  {
    secret: Text({
      description: 'Verifies your webhooks: `whsec_` and base64.',
      example: 'whsec_c2VjcmV0LW9mLW9uZS1jYWxsZXItMDE=',
    }),
    secrets: Type.Array(Type.String(), {
      description: 'All that sign at present, the newest first.',
      examples: [['whsec_c2VjcmV0LW9mLW9uZS1jYWxsZXItMDE=']],
    }),
  },
  { $id: 'WebhookSecret', description: 'What verifies the webhooks of a caller.' },
)
