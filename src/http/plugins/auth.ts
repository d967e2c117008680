import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Job } from '../../jobs/job.ts'
import { type LinkPurpose, type LinkQuery, type LinkSigner, linkSubjectOf } from '../../jobs/links.ts'
import {
  ANONYMOUS_ID,
  type Authenticator,
  type Caller,
  type Credential,
  type Identity,
  type Scope,
} from '../../jobs/ports/access.ts'
import type { JobService } from '../../jobs/service.ts'
import { invalidCredential, isProblem, missingCredential, missingScope, problem } from '../../problems.ts'

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

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may use the route: all clients, callers with a valid credential, or callers with this scope. Always set. */
    access?: 'public' | 'authenticated' | Scope
  }
  interface FastifyRequest {
    /** The scope of the route, if the caller does not have it. */
    missingScope: Scope | undefined
    /** When the credential expires, in epoch ms; undefined: never. */
    expiresAt: number | undefined
  }
}

/** The one caller of a public server, who owns all jobs. */
const ANONYMOUS: Caller = { id: ANONYMOUS_ID, seesAll: true }

/** Limits failed authentications by address, so that credentials cannot be guessed. Valid credentials are not counted. */
export type FailureLimit = {
  /** Counts a failure. Rejects with `rate_limited` (429) beyond `FAILURES_PER_MINUTE` of its address. */
  count(request: FastifyRequest): Promise<void>
}

export type AuthOptions = {
  /** Undefined: the server is public and ignores credentials. */
  readonly authenticator?: Authenticator | undefined
  readonly failures: FailureLimit
}

/**
 * Authenticates each request: sets `request.caller`, or refuses with 401 (`WWW-Authenticate` as in RFC 6750), or with 429
 * after too many refusals of one address. Call it before any route is added: a route without `access` keeps the server
 * from starting.
 */
export function registerAuth(app: FastifyInstance, { authenticator, failures }: AuthOptions): void {
  app.addHook('onRoute', ({ method, url, config }) => {
    if (config?.access === undefined) throw new Error(`${String(method)} ${url} has no \`access\`: say who may use it`)
  })
  app.decorateRequest('missingScope')
  app.decorateRequest('expiresAt')
  app.addHook('onRequest', (request, _reply, done) => {
    if (!authenticator) {
      request.caller = ANONYMOUS
      done()
      return
    }
    // Unknown routes have no `access`, and nothing to protect.
    const { access = 'public' } = request.routeOptions.config
    if (access === 'public' || isLink(request)) {
      done()
      return
    }
    const refuse = (error: Error) => {
      failures.count(request).then(() => done(error), done)
    }
    const admit = (identity: Identity | undefined) => {
      if (!identity) {
        refuse(invalidCredential())
        return
      }
      if (access !== 'authenticated' && !mayUse(identity, access)) request.missingScope = access
      request.caller = callerFrom(identity)
      request.expiresAt = identity.expiresAt
      done()
    }
    let answer: ReturnType<Authenticator['authenticate']>
    try {
      answer = authenticator.authenticate(credentialOf(request.headers))
    } catch (error) {
      refuse(error as Error)
      return
    }
    // Keys are checked synchronously: a promise would cost each request a tenth of its time.
    if (answer instanceof Promise) answer.then(admit, refuse)
    else admit(answer)
  })
}

/** Refuses with 403 a caller without the scope. It comes after the rate limit, which counts such requests too. */
export const missingScopeRefusal = (request: FastifyRequest): Error | undefined =>
  request.missingScope === undefined ? undefined : missingScope(request.missingScope)

/** Whether the credential of an admitted request would still admit it, as the same caller; rejects like `authenticate`. */
async function isStillAllowed(authenticator: Authenticator, request: FastifyRequest): Promise<boolean> {
  const { access = 'public' } = request.routeOptions.config
  if (access === 'public' || isLink(request)) return true
  const identity = await authenticator.authenticate(credentialOf(request.headers))
  if (!identity || (access !== 'authenticated' && !mayUse(identity, access))) return false
  const { id, seesAll } = callerFrom(identity)
  return id === request.caller?.id && seesAll === request.caller.seesAll
}

const callerFrom = ({ id, scopes }: Identity): Caller => ({ id, seesAll: scopes.has('admin') })

const mayUse = ({ scopes }: Identity, scope: Scope) => scopes.has(scope) || scopes.has('admin')

/** Ignores an empty header, as some proxies send it. */
const given = (header: string | string[] | undefined) => (header === '' ? undefined : header)

/**
 * The one credential of a request. Throws a 401 for none, and a 400 for two, which could mean two callers. The same one
 * in both headers is fine: generated clients set both, since the reference has both schemes.
 */
function credentialOf(headers: IncomingHttpHeaders): Credential {
  const [authorization, key] = [given(headers.authorization), given(headers['x-api-key'])]
  const bearer = /^bearer +([^\s]+) *$/i.exec(String(authorization ?? ''))?.[1]
  if (authorization !== undefined && key !== undefined && bearer !== key) {
    throw problem('invalid_request', {
      detail: 'Authorization and X-API-Key have different credentials. Send one of them.',
    })
  }
  if (bearer !== undefined) return { kind: 'bearer', text: bearer }
  if (typeof key !== 'string') throw missingCredential()
  return { kind: 'key', text: key }
}

/**
 * Calls back when the credential of a request is revoked: the keys were read again without it, or its token has expired.
 * Returns a function that stops watching.
 */
export type WhenRevoked = (reply: FastifyReply, callback: () => void) => () => void

/** The maximum delay of a timer in Node, in ms: 25 days. */
const MAX_TIMER_MS = 2 ** 31 - 1

export function watchRevocations(authenticator: Authenticator | undefined): WhenRevoked {
  if (!authenticator) return () => () => undefined
  const watched = new Map<() => void, FastifyRequest>()
  let reloadedAt = -Infinity

  const check = async (callback: () => void, request: FastifyRequest) => {
    // While the issuer is unavailable, nothing is revoked.
    const isAllowed = await isStillAllowed(authenticator, request).catch(() => true)
    if (!isAllowed && watched.has(callback)) callback()
  }
  authenticator.onReload(() => {
    reloadedAt = performance.now()
    for (const [callback, request] of watched) void check(callback, request)
  })

  return ({ request, elapsedTime }, callback) => {
    watched.set(callback, request)
    const { expiresAt } = request
    const endsInMs = Math.min((expiresAt ?? Infinity) - Date.now(), MAX_TIMER_MS)
    const timer = expiresAt === undefined ? undefined : setTimeout(callback, endsInMs).unref()
    // The keys may have been read again just after the request was admitted.
    if (reloadedAt >= performance.now() - elapsedTime) void check(callback, request)
    return () => {
      watched.delete(callback)
      clearTimeout(timer)
    }
  }
}
