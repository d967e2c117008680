import { fastifySSE } from '@fastify/sse'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Batch, unfinishedIn } from '../../jobs/batch.ts'
import type { Batches } from '../../jobs/batches.ts'
import { isFinished, isSettled, type Job, JOB_STATUSES, type JobStage } from '../../jobs/job.ts'
import type { Caller } from '../../jobs/ports/access.ts'
import type { JobProgress } from '../../jobs/progress.ts'
import type { ProgressFollower } from '../../jobs/progress-follower.ts'
import type { JobService } from '../../jobs/service.ts'
import type { Subscriptions } from '../../jobs/subscriptions.ts'
import { createTurns } from '../../lib/limits.ts'
import { createPacer } from '../../lib/timing.ts'
import { problem } from '../../problems.ts'
import { BatchParams, presentBatch } from '../batches.ts'
import type { Operation } from '../docs/operation.ts'
import { JobParams } from '../jobs/job-schema.ts'
import type { Renderer } from '../jobs/view.ts'
import { callerOf } from '../plugins/auth.ts'
import type { OpenAnswers } from '../plugins/open-answers.ts'
import { NoQuery, ProblemReply, Text } from '../schemas.ts'
import { createEventFrames, type EventStream, openEventStream } from './stream.ts'

/** A stream of server-sent events, each with a job as its data. */
const EventsReply = Type.Unsafe<unknown>({
  content: {
    'text/event-stream': {
      schema: {
        type: 'string',
        description:
          'Events named `status`, with a job as `data`; events named `batch`, with a batch; events named `stage` and `progress`, with the id of a running job and its stage or progress; and comments that keep the connection alive.',
        examples: [
          'id: 2\nevent: status\ndata: {"job_id":"0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11", ...}\n\n: heartbeat\n\n',
        ],
      },
    },
  },
})

const LastEventId = Type.Object({
  'Last-Event-ID': Type.Optional(
    Text({
      description: 'The id of the last event that you received; an `EventSource` sends it by itself.',
      example: '2',
    }),
  ),
})

const docs: Record<'ofJob' | 'ofBatch' | 'ofAll', Operation> = {
  ofJob: {
    operationId: 'followJob',
    tag: 'events',
    summary: 'Follow a job',
    description:
      'Server-sent events named `status`: the job as it is now and after every change. The stream ends when the job finishes; that of a job with an `output` when that is delivered, or will not be. The `id` is the revision. States in quick succession may be merged; the final state always comes. Events named `stage`, without an id, say where the running job is at the backend: `{"job_id", "stage"}`; events named `progress` say how far it is: `{"job_id", "progress"}`. The newest of each is sent first, then at most one a second.',
    headers: LastEventId,
    answers: {
      200: { description: 'The stream of events.' },
      204: {
        description: 'The job has finished, and by `Last-Event-ID` you have its last event: do not connect again.',
      },
    },
    problems: ['job_not_found', 'not_acceptable', 'stream_limit_reached'],
  },

  ofBatch: {
    operationId: 'followBatch',
    tag: 'batches',
    summary: 'Follow a batch',
    description:
      'Server-sent events named `batch`: the batch as it is now and after its counts have changed, at most one a second. The stream ends when all its jobs have finished. The `id` stands for the counts.',
    headers: LastEventId,
    answers: {
      200: { description: 'The stream of events.' },
      204: { description: 'All jobs have finished, and by `Last-Event-ID` you have the last event.' },
    },
    problems: ['batch_not_found', 'not_acceptable', 'stream_limit_reached'],
  },

  ofAll: {
    operationId: 'followJobs',
    tag: 'events',
    summary: 'Follow all your jobs',
    description:
      'Server-sent events named `status`: each of your jobs after every change from now on. The `id` is `<job>:<revision>`. States in quick succession may be merged. Events named `stage`, without an id, say where a running job is at the backend: `{"job_id", "stage"}`. Past changes are not repeated: after a break, list the jobs.',
    answers: { 200: { description: 'The stream of events.' } },
    problems: ['not_acceptable', 'stream_limit_reached'],
  },
}

export type EventRoutesOptions = {
  readonly service: JobService
  readonly batches: Pick<Batches, 'get' | 'follow' | 'estimateFinish'>
  readonly subscriptions: Subscriptions
  readonly progress: Pick<ProgressFollower, 'get' | 'watch'>
  readonly renderer: Pick<Renderer, 'render'>
  readonly openAnswers: OpenAnswers
}

const READ = { access: 'jobs:read', untimed: true } as const
// We send our own heartbeat: the plugin's does not stop for a client that reads nothing.
const SSE = { kind: 'only', heartbeat: false } as const

/** The stage and the progress of one job are sent at most once in this time each, in ms. */
const HINT_PACE = { firstMs: 0, intervalMs: 1_000 }

/** Streams that get an event in one turn of the event loop: about 3 ms of work. */
const EVENTS_PER_TURN = 50

/**
 * `GET /jobs/:id/events` and `GET /events`: the state of jobs now and after every change (server-sent events). An event
 * is called `status`, has the job as data and its revision as id. `GET /batches/:id/events` has events called `batch`.
 */
export const eventRoutes: FastifyPluginAsyncTypebox<EventRoutesOptions> = async (app, options) => {
  const { service, batches, subscriptions, progress, renderer, openAnswers } = options
  const renderEvent = createEventFrames(renderer)
  const turns = createTurns(EVENTS_PER_TURN)
  await app.register(fastifySSE)
  app.addHook('preSerialization', refuseOtherTypes)

  const open = (request: FastifyRequest, reply: FastifyReply, idOf: (job: Job) => string): EventStream => {
    const signal = openAnswers.openStream(reply)
    const stream = openEventStream(reply, { turns, render: (job) => renderEvent(job, idOf(job), request.caller) })
    if (signal.aborted) stream.end()
    else signal.addEventListener('abort', stream.end, { once: true })
    if (request.method === 'HEAD') stream.finish()
    return stream
  }

  /** Sends stage and progress of a job as they are, and then the newest of each. */
  const sendHints = (stream: EventStream, job: Job) => {
    const stages = createPacer((stage: JobStage) => stream.pushStage(job, stage), HINT_PACE)
    const progresses = createPacer((now: JobProgress) => stream.pushProgress(job, now), HINT_PACE)
    const [stage, known] = [service.stageOf(job), progress.get(job)]
    if (stage) stages.push(stage)
    if (known) progresses.push(known)
    stream.whenClosed(subscriptions.subscribeStages({ id: job.id }, (_job, now) => stages.push(now)))
    stream.whenClosed(progress.watch(job, progresses.push))
    stream.whenClosed(stages.stop)
    stream.whenClosed(progresses.stop)
  }

  app.get(
    '/jobs/:id/events',
    {
      config: { ...READ, docs: docs.ofJob },
      sse: SSE,
      schema: {
        params: JobParams,
        querystring: NoQuery,
        response: { 200: EventsReply, 204: Type.Null(), '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const job = await service.get(request.params.id, callerOf(request))
      const seen = seenRevision(reply.sse.lastEventId)
      if (isSettled(job) && job.revision <= seen) return reply.code(204).header('cache-control', 'no-store').send()
      const stream = open(request, reply, ({ revision }) => String(revision))
      const push = (now: Job | undefined) => {
        if (now) stream.push(now)
        if (!now || isSettled(now)) stream.finish()
      }
      if (job.revision > seen) push(job)
      if (!isSettled(job)) stream.whenClosed(subscriptions.subscribe(job, push))
      if (!isFinished(job)) sendHints(stream, job)
      return reply
    },
  )

  /** Sends the batch when it has other counts than those of the event that the client has. */
  const sendBatch = async (stream: EventStream, known: Batch, by: { caller: Caller; seen: string | null }) => {
    const closed = new AbortController()
    stream.whenClosed(() => closed.abort())
    let { seen } = by
    for await (const batch of batches.follow(known.id, by.caller, closed.signal)) {
      const id = eventIdOf(batch)
      if (id === seen) continue
      const data = JSON.stringify(presentBatch(batch, await batches.estimateFinish(batch)))
      stream.pushEvent(batch.id, Buffer.from(`id: ${id}\nevent: batch\ndata: ${data}\n\n`))
      seen = id
    }
  }

  app.get(
    '/batches/:id/events',
    {
      config: { ...READ, docs: docs.ofBatch },
      sse: SSE,
      schema: {
        params: BatchParams,
        querystring: NoQuery,
        response: { 200: EventsReply, 204: Type.Null(), '4xx': ProblemReply, '5xx': ProblemReply },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const batch = await batches.get(request.params.id, caller)
      const seen = reply.sse.lastEventId
      if (unfinishedIn(batch.counts) === 0 && seen === eventIdOf(batch)) {
        return reply.code(204).header('cache-control', 'no-store').send()
      }
      const stream = open(request, reply, ({ id }) => id)
      // Deleted meanwhile, or the store is unavailable: the answer to the next request says which.
      void sendBatch(stream, batch, { caller, seen })
        .catch((error: unknown) => request.log.debug({ batch_id: batch.id, err: error }, 'a batch cannot be read'))
        .then(stream.finish)
      return reply
    },
  )

  app.get(
    '/events',
    {
      config: { ...READ, docs: docs.ofAll },
      sse: SSE,
      schema: { querystring: NoQuery, response: { 200: EventsReply, '4xx': ProblemReply, '5xx': ProblemReply } },
    },
    (request, reply) => {
      const stream = open(request, reply, ({ id, revision }) => `${id}:${revision}`)
      // After missed changes the client has to list its jobs, as after any break.
      const subscriber = { onChange: stream.push, onGap: stream.finish }
      const caller = callerOf(request)
      stream.whenClosed(subscriptions.subscribeAll(caller, subscriber))
      stream.whenClosed(subscriptions.subscribeStages({ caller }, stream.pushStage))
      return reply
    },
  )
}

/** Names the counts of a batch. */
const eventIdOf = ({ counts }: Batch): string => JOB_STATUSES.map((status) => counts[status]).join('-')

/** The revision that a client has; 0 if it names none, or one of another form. */
const seenRevision = (lastEventId: string | null): number =>
  lastEventId !== null && /^\d{1,15}$/.test(lastEventId) ? Number(lastEventId) : 0

/** The plugin refuses an `Accept` header in plain JSON, the only such answer of these routes. */
async function refuseOtherTypes(_request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
  const isPlain = String(reply.getHeader('content-type')).startsWith('application/json')
  if (reply.statusCode === 406 && isPlain) {
    throw problem('not_acceptable', {
      detail: 'This path has only text/event-stream, and the Accept header excludes it.',
    })
  }
  return Promise.resolve(payload)
}
