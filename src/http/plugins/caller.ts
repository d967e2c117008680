import type { Socket } from 'node:net'
import { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ANONYMOUS_ID, type Caller } from '../../jobs/ports/access.ts'
import { isProblem, problem } from '../../problems.ts'
import type { Job } from '../../jobs/job.ts'
import { type LinkPurpose, type LinkQuery, type LinkSigner, linkSubjectOf } from '../../jobs/links.ts'
import type { JobService } from '../../jobs/service.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; undefined before authentication, and where nobody needs any. */
    caller: Caller | undefined
  }
}

/** Gives every request its place for the caller. */
export function registerCaller(app: FastifyInstance): void {
  app.decorateRequest('caller')
}

/** Who asks, on a route where that is known; anything else is a route that forgot to say who may use it. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller) return request.caller
  throw new Error(`${request.routeOptions.url ?? ''} asks for a caller and lets anybody in`)
}

/**
 * The address a request came from, as it is counted: an IPv6 address as its /64 network, all of which one customer of
 * a provider has. Empty where the connection has gone meanwhile.
 */
export const addressOf = ({ ip }: { readonly ip: string | undefined }): string =>
  ip === undefined ? '' : normalizeIP(ip)

/** The address of a connection, likewise. Behind a proxy that is the proxy's. */
export const connectionAddressOf = ({ remoteAddress }: Socket): string => addressOf({ ip: remoteAddress })

/** Under what a request is counted: its caller, or its address where that may be anybody. */
export const limitKeyOf = (request: FastifyRequest): string =>
  isAuthenticated(request) ? request.caller.id : `address:${addressOf(request)}`

/** Whether the caller has a name, or may be anybody. */
export const isAuthenticated = (request: FastifyRequest): request is FastifyRequest & { caller: Caller } =>
  request.caller !== undefined && request.caller.id !== ANONYMOUS_ID

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

/** The holder of a link, who has no name and may read the one job that the link is for. */
export const LINK_HOLDER: Caller = { id: 'link', seesAll: true }

export type LinkParts = { readonly links: LinkSigner; readonly service: Pick<JobService, 'get'> }

/** What a link is said to be for. */
export type Linked = { readonly id: string; readonly purpose: LinkPurpose }

/**
 * The job of which a link permits to read something. Rejects with `link_invalid` (403), also where there is no such job: a
 * made-up link must not reveal which jobs there are.
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
