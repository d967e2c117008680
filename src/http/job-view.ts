import type { FastifyRequest } from 'fastify'
import { isAdmin } from '../jobs/caller.ts'
import type { Job } from '../jobs/job.ts'
import type { LinkSigner } from '../jobs/links.ts'
import type { JobService } from '../jobs/service.ts'
import { type JobView, viewOf } from '../jobs/view.ts'

/** A job as whoever asks may see it: the same in every answer and every event. */
export type ShowJob = (job: Job, request: FastifyRequest) => Promise<JobView>

export type ShowParts = {
  readonly service: Pick<JobService, 'queuePosition'>
  readonly links: Pick<LinkSigner, 'outputUrl'>
}

/** Makes what shows jobs. */
export const createShow =
  ({ service, links }: ShowParts): ShowJob =>
  async (job, { caller }) =>
    viewOf(job, {
      queuePosition: await service.queuePosition(job),
      links,
      withCaller: caller ? isAdmin(caller) : false,
    })
