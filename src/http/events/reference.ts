import { Type } from '@sinclair/typebox'
import { Text } from '../schemas/parts.ts'
import type { Operations } from '../docs/operation.ts'

const LastEventId = Type.Object({
  'Last-Event-ID': Type.Optional(
    Text({ description: 'The last event that you have; an `EventSource` says it by itself.', example: '2' }),
  ),
})

/** What the reference says of the streams of events. */
export const eventOperations: Operations = {
  'GET /jobs/:id/events': {
    ...{ operationId: 'followJob', tag: 'events', summary: 'Follow a job' },
    description:
      'Server-sent events named `status`: the job as it is now and after every change, until its end, which ends the stream. The `id` is the revision. States that follow each other closely may come as one; the end always comes.',
    headers: LastEventId,
    answers: {
      200: { description: 'The events, as they come.' },
      204: { description: 'The job has ended, and `Last-Event-ID` says that you know: do not connect again.' },
    },
    problems: ['job_not_found', 'not_acceptable', 'stream_limit_reached'],
  },

  'GET /events': {
    ...{ operationId: 'followJobs', tag: 'events', summary: 'Follow all your jobs' },
    description:
      'Server-sent events named `status`: each of your jobs after every change from now on. The `id` is `<job>:<revision>`. States that follow each other closely may come as one. The past is not shown: after a break, list the jobs.',
    answers: { 200: { description: 'The events, as they come.' } },
    problems: ['not_acceptable', 'stream_limit_reached'],
  },
}
