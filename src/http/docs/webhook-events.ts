import { Type } from '@sinclair/typebox'
import { BATCH_EVENT, JOB_STATUSES, type WebhookEvent, WEBHOOK_EVENTS } from '../../jobs/job.ts'
import { JobReply, JOBS } from '../jobs/job-schema.ts'
import { Integer, OneOf, Text, Time } from '../schemas.ts'

/** When an event is sent, and the job of its example. */
const EVENTS: Readonly<Record<WebhookEvent, { readonly when: string; readonly job: object }>> = {
  'job.running': { when: 'The backend has the job for the first time.', job: JOBS.running.value },
  'job.succeeded': { when: 'The job succeeded; its video can be fetched.', job: JOBS.succeeded.value },
  'job.failed': { when: 'The job failed.', job: JOBS.failed.value },
  'job.delivered': { when: 'The video is at the `put_url` of the job.', job: JOBS.delivered.value },
  'job.canceled': { when: 'The job was canceled.', job: JOBS.canceled.value },
}

const EXAMPLE_TIME = '2026-01-31T12:01:30.000Z'

/** A job in a webhook: of one whose body would have 20 KB or more, the largest fields are left out. */
const WebhookJob = {
  ...JobReply,
  required: ['job_id', 'status', 'links'],
  $id: 'WebhookJob',
  description:
    'The job as `GET /jobs/:id` returned it when the event happened. Of a job for which a body of 20 KB is not enough, fields are left out: `links.self` has all.',
}

const BATCH_ID = '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b22'

const BatchData = Type.Object(
  {
    batch_id: Text({ description: 'The batch.', example: BATCH_ID, format: 'uuid' }),
    counts: Type.Object(
      Object.fromEntries(
        JOB_STATUSES.map((status) => [
          status,
          Integer({ description: `Jobs that are ${status}.`, example: 1, minimum: 0 }),
        ]),
      ),
      { description: 'Its jobs by state.' },
    ),
    links: Type.Object(
      { self: Text({ description: 'The batch.', example: `/batches/${BATCH_ID}` }) },
      { description: 'Paths below the server.' },
    ),
  },
  { description: 'The batch as it ended.' },
)

const BATCH = {
  type: BATCH_EVENT,
  when: 'All jobs of a batch have finished.',
  data: {
    batch_id: BATCH_ID,
    counts: { submitted: 0, running: 0, succeeded: 2, failed: 0, canceled: 0 },
    links: { self: `/batches/${BATCH_ID}` },
  },
  schema: BatchData,
}

const eventSchema = (type: string, $id: string, data: object, description: string) =>
  Type.Object(
    {
      type: OneOf([type], { description: 'What has happened.', examples: [type] }),
      timestamp: Time({ description: 'When it happened.', example: EXAMPLE_TIME }),
      data: Type.Unsafe(data),
    },
    { $id, description },
  )

/** `job.succeeded` is `JobSucceededEvent`. */
const schemaNameOf = (type: string): string =>
  `${type.replaceAll(/(?:^|\.)(\w)/g, (_match, letter: string) => letter.toUpperCase())}Event`

const TEST = { type: 'webhook.test', when: 'A caller tests a receiver by `POST /webhooks/test`.', data: {} }

const events = [
  ...WEBHOOK_EVENTS.map((type) => ({ type, when: EVENTS[type].when, data: EVENTS[type].job, schema: WebhookJob })),
  BATCH,
  { ...TEST, schema: Type.Object({}, { description: 'Nothing.', examples: [{}] }) },
].map(({ schema, ...event }) => ({
  ...event,
  schema: eventSchema(event.type, schemaNameOf(event.type), schema, event.when),
}))

/** The bodies of webhooks, one for each `type`. */
export const WEBHOOK_BODIES: readonly object[] = events.map(({ schema }) => schema)

/** The headers of a webhook (Standard Webhooks). */
const HEADERS = {
  'webhook-id': Text({
    description: 'The same for every attempt at one event.',
    example: 'msg_0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11_1',
  }),
  'webhook-timestamp': Text({ description: 'When it was sent, in seconds since 1970.', example: '1769860890' }),
  'webhook-signature': Text({
    description: 'Signatures by each of your secrets, separated by spaces.',
    example: 'v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=',
  }),
}

const parameters = Object.entries(HEADERS).map(([name, { description, examples }]) => ({
  ...{ name, in: 'header', required: true, description },
  schema: { type: 'string' },
  example: (examples as unknown[])[0],
}))

/** The `webhooks` of the document: the requests that this server sends. */
export const describeWebhooks = (): Record<string, object> =>
  Object.fromEntries(
    events.map(({ type, when, data, schema }) => [
      type,
      {
        post: {
          operationId: `on${schemaNameOf(type)}`,
          tags: ['webhooks'],
          summary: `The event ${type}`,
          description: `${when} Verify the signature (Standard Webhooks) before you believe it.`,
          security: [],
          parameters,
          requestBody: {
            required: true,
            content: {
              'application/json': {
                schema: { $ref: `#/components/schemas/${String(schema.$id)}` },
                examples: { event: { summary: when, value: { type, timestamp: EXAMPLE_TIME, data } } },
              },
            },
          },
          responses: {
            '204': { description: 'Any 2xx: the event was received.' },
            '410': { description: 'The receiver wants no more webhooks of this job.' },
          },
        },
      },
    ]),
  )
