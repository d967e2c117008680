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
    /** Undefined before authentication, and on public routes of a server with authentication. */
    caller: Caller | undefined
  }
}

/** Declares `request.caller`. */
export function registerCaller(app: FastifyInstance): void {
  app.decorateRequest('caller')
}

/** The caller, on a route that is not public. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller) return request.caller
  throw new Error(`${request.routeOptions.url ?? ''} needs a caller and is public`)
}

/**
 * The client's address for limits: of an IPv6 address the /64 network, which belongs to one customer of a provider. Empty
 * if the connection is closed.
 */
export const addressOf = ({ ip }: { readonly ip: string | undefined }): string =>
  ip === undefined ? '' : normalizeIP(ip)

/** The address of a connection, likewise; behind a proxy it is the proxy's. */
export const connectionAddressOf = ({ remoteAddress }: Socket): string => addressOf({ ip: remoteAddress })

/** The key under which limits count a request: its caller, or the address of an anonymous client. */
export const limitKeyOf = (request: FastifyRequest): string =>
  isAuthenticated(request) ? request.caller.id : `address:${addressOf(request)}`

/** Whether the caller is known by a credential. */
export const isAuthenticated = (request: FastifyRequest): request is FastifyRequest & { caller: Caller } =>
  request.caller !== undefined && request.caller.id !== ANONYMOUS_ID

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route accepts signed links, and verifies them itself. */
    takesLinks?: true
  }
}

/**
 * Whether a request has a signed link, or a part of one, on a route that accepts them. Then the route verifies the link,
 * and credentials are ignored.
 */
export function isLink(request: FastifyRequest): boolean {
  const { expires, signature } = request.query as LinkQuery
  // Last, since `routeOptions` is a getter that builds a new object each time.
  return (expires !== undefined || signature !== undefined) && request.routeOptions.config.takesLinks === true
}

/** The caller of a request with a signed link, which may read the one job of the link. */
export const LINK_HOLDER: Caller = { id: 'link', seesAll: true }

export type LinkDependencies = { readonly links: LinkSigner; readonly service: Pick<JobService, 'get'> }

/** The target of a signed link. */
export type Linked = { readonly id: string; readonly purpose: LinkPurpose }

/**
 * The job that a link permits to read. Rejects with `link_invalid` (403), also for an unknown job: a made-up link must not
 * reveal which jobs exist.
 */
export async function jobOfLink(
  { id, purpose }: Linked,
  query: LinkQuery,
  { links, service }: LinkDependencies,
): Promise<Job> {
  const job = await service.get(id, LINK_HOLDER).catch((error: unknown) => {
    if (isProblem(error, 'job_not_found')) throw problem('link_invalid')
    throw error
  })
  if (!links.verify(purpose, linkSubjectOf(job), query)) throw problem('link_invalid')
  return job
}
