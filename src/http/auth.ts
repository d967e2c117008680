import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Authenticator, Credential, Identity, Scope } from '../auth/port.ts'
import { AppError, Forbidden, Unauthorized } from '../errors.ts'
import { ANONYMOUS_ID, type Caller } from '../jobs/caller.ts'
import type { FailureLimit } from './rate-limits.ts'
import { isLink } from './signed-links.ts'

declare module 'fastify' {
  // Declarations merge with an interface only.
  // eslint-disable-next-line @typescript-eslint/consistent-type-definitions
  interface FastifyContextConfig {
    /** Who may use the route: anybody, whoever has a valid credential, or whoever has the scope. Every route says it. */
    access?: 'open' | 'known' | Scope
  }
}

/** Everybody, where no credentials are asked for: one caller, who owns all jobs. */
const ANYBODY: Caller = { id: ANONYMOUS_ID, seesAll: true }

export type AuthParts = {
  /** Undefined: the server is open, and credentials that come along are not looked at. */
  readonly authenticator?: Authenticator | undefined
  readonly failures: FailureLimit
}

/**
 * Says who asks, before anything else is done for a request: sets `request.caller`, or refuses with 401
 * (`WWW-Authenticate` as in RFC 6750), 403 where the scope is missing, 429 after too many wrong credentials. Call it
 * before any route is added: one that does not say who may use it is a mistake that keeps the server from starting.
 */
export function registerAuth(app: FastifyInstance, { authenticator, failures }: AuthParts): void {
  app.addHook('onRoute', ({ method, url, config }) => {
    if (config?.access === undefined) throw new Error(`${String(method)} ${url} does not say who may use it`)
  })
  app.addHook('onRequest', async (request) => {
    // Unknown routes have none: there is nothing to guard.
    const { access = 'open' } = request.routeOptions.config
    if (!authenticator) request.caller = ANYBODY
    else if (access !== 'open' && !isLink(request))
      request.caller = await admit(request, access, { authenticator, failures })
  })
}

type Gate = { readonly authenticator: Authenticator; readonly failures: FailureLimit }

async function admit(
  request: FastifyRequest,
  needed: 'known' | Scope,
  { authenticator, failures }: Gate,
): Promise<Caller> {
  const credential = credentialOf(request.headers)
  if (!credential) throw new Unauthorized('missing')
  const identity = await authenticator.authenticate(credential)
  if (!identity) {
    await failures.count(request)
    throw new Unauthorized('invalid')
  }
  if (needed !== 'known' && !mayUse(identity, needed)) throw new Forbidden(needed)
  return { id: identity.id, seesAll: identity.scopes.has('admin') }
}

const mayUse = ({ scopes }: Identity, scope: Scope) => scopes.has(scope) || scopes.has('admin')

/** The one credential of a request; undefined where it has none. Two that differ could mean either caller: 400. */
function credentialOf(headers: IncomingHttpHeaders): Credential | undefined {
  const bearer = /^bearer +([^\s]+) *$/i.exec(headers.authorization ?? '')?.[1]
  const key = headers['x-api-key']
  if (headers.authorization !== undefined && key !== undefined) {
    throw new AppError('invalid_request', 400, 'Give one credential: Authorization, or X-API-Key.')
  }
  if (typeof key === 'string') return { kind: 'key', text: key }
  return bearer === undefined ? undefined : { kind: 'bearer', text: bearer }
}
