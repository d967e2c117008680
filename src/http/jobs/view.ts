import type { FastifyRequest } from 'fastify'
import { isAdmin } from '../../jobs/caller.ts'
import type { Job } from '../../jobs/job.ts'
import type { LinkSigner } from '../../jobs/links.ts'
import type { JobService } from '../../jobs/service.ts'
import type { Position } from '../../jobs/ports/queue.ts'
import { type JobView, presentJob } from '../../jobs/view.ts'

/** A job as whoever asks may see it: the same in every answer and every event. At once where the queue knows at once. */
export type ShowJob = (job: Job, request: FastifyRequest) => JobView | Promise<JobView>

export type ShowParts = {
  readonly service: Pick<JobService, 'queuePosition'>
  readonly links: Pick<LinkSigner, 'outputUrl'>
}

/** Makes what shows jobs. */
export const createShow =
  ({ service, links }: ShowParts): ShowJob =>
  (job, { caller }) => {
    const withCaller = caller ? isAdmin(caller) : false
    const view = (queuePosition: Position) => presentJob(job, { queuePosition, links, withCaller })
    const position = service.queuePosition(job)
    return position instanceof Promise ? position.then(view) : view(position)
  }
