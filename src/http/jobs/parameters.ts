import { Type } from '@sinclair/typebox'
import { JobId } from './job-schema.ts'
import { OneOf, Text, Whole } from '../schemas.ts'

const LinkParameters = {
  expires: Type.Optional(
    Text({ description: 'Of a signed link: when it ends, in s since 1970.', example: '1769864400', maxLength: 20 }),
  ),
  signature: Type.Optional(
    Text({
      description: 'Of a signed link.',
      example: '2sJ0c3bq5u8VZk4m1xYw7dLr9aTnQeGhPfUoBiHyKtM',
      maxLength: 100,
    }),
  ),
}

/** Query of `GET /jobs`. What is in the texts is checked by `listQueryOf`. */
export const ListJobsQuery = Type.Object(
  {
    status: Type.Optional(
      Text({ description: 'States, separated by commas.', example: 'submitted,running', maxLength: 100 }),
    ),
    created_after: Type.Optional(
      Text({
        description: 'Only jobs accepted later (RFC 3339).',
        example: '2026-01-31T00:00:00Z',
        format: 'date-time',
        maxLength: 40,
      }),
    ),
    created_before: Type.Optional(
      Text({
        description: 'Only jobs accepted before (RFC 3339).',
        example: '2026-02-01T00:00:00Z',
        format: 'date-time',
        maxLength: 40,
      }),
    ),
    limit: Type.Optional(
      Whole({
        description: 'Jobs on a page, 50 if not given; fewer where they have more than 1 MiB.',
        example: 20,
        minimum: 1,
        maximum: 200,
      }),
    ),
    caller: Type.Optional(
      Text({
        description: 'Only jobs of this caller; for administrators.',
        example: 'key:studio',
        minLength: 1,
        maxLength: 1024,
      }),
    ),
    cursor: Type.Optional(
      Text({
        description: 'The `next_cursor` of the page before.',
        example: 'MTc2OTg2MDgwMDAwMC4wMTk4YTZmMC03YzFlLTdhNTItOWQ1Yi0zZjFmNWEwYzJiMTE',
        maxLength: 100,
      }),
    ),
  },
  { additionalProperties: false },
)

/** Path of every route of one job. */
export const JobParams = Type.Object({ id: JobId })

/** Path of a delivery. A number that no delivery can have is unknown rather than invalid. */
export const DeliveryParams = Type.Object({
  id: JobId,
  n: Text({ description: 'The number of the delivery.', example: '1' }),
})

/** Query of `GET /jobs/:id`. */
export const JobQuery = Type.Object(
  {
    wait: Type.Optional(
      Whole({
        description: 'Seconds that the answer may wait for the end of the job.',
        example: 30,
        minimum: 0,
        maximum: 60,
      }),
    ),
  },
  { additionalProperties: false },
)

/** Query of `GET /jobs/:id/logs`. */
export const LogsQuery = Type.Object(
  {
    attempt: Type.Optional(
      Whole({ description: 'Which attempt; the current one by default.', example: 1, minimum: 1 }),
    ),
  },
  { additionalProperties: false },
)

/** Query of `GET /jobs/:id/output`. */
export const OutputQuery = Type.Object(
  {
    download: Type.Optional(
      OneOf(['0', '1'], { description: '`1`: to be saved to a file, not shown.', examples: ['1'] }),
    ),
    ...LinkParameters,
  },
  { additionalProperties: false },
)

/** Path of `GET /jobs/:id/inputs/:kind`. A kind that is none is 404, as one that the job does not have. */
export const InputParams = Type.Object({
  id: JobId,
  kind: Text({ description: 'Which file: `video`, `image` or `audio`.', example: 'video' }),
})

/** Query of a route that takes signed links, and nothing else. */
export const LinkQuery = Type.Object(LinkParameters, { additionalProperties: false })
