import { JOBS } from '../jobs/examples.ts'
import type { Operations } from '../docs/operation.ts'

const pending = {
  number: 1,
  webhook_id: `msg_${JOBS.succeeded.value.job_id}_1`,
  event: 'job.succeeded',
  attempt: 1,
  state: 'pending',
  created_at: '2026-01-31T12:01:30.000Z',
  next_try_at: '2026-01-31T12:01:35.000Z',
  tries: [{ at: '2026-01-31T12:01:30.010Z', status: 503, duration_ms: 42, error: 'the receiver answered 503' }],
}
const secret = 'whsec_c2VjcmV0LW9mLW9uZS1jYWxsZXItMDE='

/** What the reference says of webhooks. */
export const webhookOperations: Operations = {
  'GET /jobs/:id/deliveries': {
    ...{ operationId: 'listDeliveries', tag: 'webhooks', summary: 'List the webhooks of a job' },
    description: 'Each webhook that the job has been due, with its tries. Without a `webhook_url` there is none.',
    answers: {
      200: {
        description: 'The deliveries.',
        examples: {
          pending: {
            summary: 'One that is tried again soon',
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

  'POST /jobs/:id/deliveries/:n/redeliver': {
    ...{ operationId: 'redeliver', tag: 'webhooks', summary: 'Send a webhook once more' },
    description: 'Makes one try more, now, whatever became of the delivery. Its schedule goes on beside it.',
    answers: {
      202: {
        description: 'The delivery is due.',
        examples: { due: { summary: 'Due now', value: { ...pending, next_try_at: '2026-01-31T12:01:31.000Z' } } },
      },
    },
    problems: ['job_not_found', 'delivery_not_found', 'delivery_in_progress'],
  },

  'GET /webhooks/secret': {
    ...{ operationId: 'getWebhookSecret', tag: 'webhooks', summary: 'Get the secret of your webhooks' },
    description: 'What verifies your webhooks by Standard Webhooks; every caller has its own.',
    answers: {
      200: {
        description: 'The secrets.',
        examples: { secret: { summary: 'One secret', value: { secret, secrets: [secret] } } },
      },
    },
    problems: ['webhooks_not_configured', 'webhook_secret_not_shown'],
  },
}
