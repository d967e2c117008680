import type { FastifyRequest } from 'fastify'
import { isAdmin } from '../jobs/caller.ts'
import type { Job } from '../jobs/job.ts'
import type { JobService } from '../jobs/service.ts'
import { type JobView, viewOf } from '../jobs/view.ts'

/** A job as whoever asks may see it: the same in every answer and every event. */
export type ShowJob = (job: Job, request: FastifyRequest) => Promise<JobView>

/** Makes what shows jobs. */
export const createShow =
  (service: Pick<JobService, 'queuePosition'>): ShowJob =>
  async (job, { caller }) =>
    viewOf(job, { queuePosition: await service.queuePosition(job), withCaller: caller ? isAdmin(caller) : false })
