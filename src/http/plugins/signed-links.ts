import type { FastifyRequest } from 'fastify'
import { isProblem, problem } from '../../problems.ts'
import type { Caller } from '../../jobs/caller.ts'
import type { Job } from '../../jobs/job.ts'
import { type LinkPurpose, type LinkQuery, type LinkSigner, linkSubjectOf } from '../../jobs/links.ts'
import type { JobService } from '../../jobs/service.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route takes signed links, and judges them itself. */
    takesLinks?: true
  }
}

/**
 * Whether a request comes with a signed link, or what is left of one, on a route that takes them: then that alone is
 * judged, by the route, and credentials are not looked at.
 */
export function isLink(request: FastifyRequest): boolean {
  const { expires, signature } = request.query as LinkQuery
  // `routeOptions` is put together each time it is asked for.
  return (expires !== undefined || signature !== undefined) && request.routeOptions.config.takesLinks === true
}

/** Whoever holds a link: nobody in particular, and let near the one job that the link is for. */
export const LINK_HOLDER: Caller = { id: 'link', seesAll: true }

export type LinkParts = { readonly links: LinkSigner; readonly service: Pick<JobService, 'get'> }

/** What a link is said to be for. */
export type Linked = { readonly id: string; readonly purpose: LinkPurpose }

/**
 * The job of which a link permits to read something. Rejects with `link_invalid` (403), also where there is no such job: a
 * made-up link must not tell which jobs there are.
 */
export async function jobOfLink(
  { id, purpose }: Linked,
  query: LinkQuery,
  { links, service }: LinkParts,
): Promise<Job> {
  const job = await service.get(id, LINK_HOLDER).catch((error: unknown) => {
    if (isProblem(error, 'job_not_found')) throw problem('link_invalid')
    throw error
  })
  if (!links.verify(purpose, linkSubjectOf(job), query)) throw problem('link_invalid')
  return job
}
