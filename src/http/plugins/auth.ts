import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Authenticator, Credential, Identity, Scope } from '../../jobs/ports/authenticator.ts'
import { invalidCredential, missingCredential, missingScope, problem } from '../../problems.ts'
import { ANONYMOUS_ID, type Caller } from '../../jobs/caller.ts'
import type { FailureLimit } from './rate-limits.ts'
import type { Refusal } from './refusals.ts'
import { isLink } from './signed-links.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may use the route: anybody, whoever has a valid credential, or whoever has the scope. Every route says it. */
    access?: 'open' | 'known' | Scope
  }
  interface FastifyRequest {
    /** The scope of the route that the caller has not. */
    lacks: Scope | undefined
    /** When its credential ends, in epoch ms; undefined: not by itself. */
    expiresAt: number | undefined
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
 * (`WWW-Authenticate` as in RFC 6750), or 429 after too many refusals of one address. Call it
 * before any route is added: one that does not say who may use it is a mistake that keeps the server from starting.
 */
export function registerAuth(app: FastifyInstance, { authenticator, failures }: AuthParts): void {
  app.addHook('onRoute', ({ method, url, config }) => {
    if (config?.access === undefined) throw new Error(`${String(method)} ${url} does not say who may use it`)
  })
  app.decorateRequest('lacks')
  app.decorateRequest('expiresAt')
  app.addHook('onRequest', (request, _reply, done) => {
    // Unknown routes have none: there is nothing to guard.
    const { access = 'open' } = request.routeOptions.config
    if (!authenticator) request.caller = ANYBODY
    if (!authenticator || access === 'open' || isLink(request)) {
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
      if (access !== 'known' && !mayUse(identity, access)) request.lacks = access
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
    // A key is known at once: a turn of promises would cost each request a tenth of its time.
    if (answer instanceof Promise) answer.then(admit, refuse)
    else admit(answer)
  })
}

/** Refuses with 403 whoever lacks the scope: after the limits, since a caller who is known is counted like any other. */
export const missingScopeRefusal: Refusal = ({ lacks }) => (lacks === undefined ? undefined : missingScope(lacks))

/** Whether a request that was let in would still be, as the same caller; rejects like `authenticate`. */
export async function isStillAllowed(authenticator: Authenticator, request: FastifyRequest): Promise<boolean> {
  const { access = 'open' } = request.routeOptions.config
  if (access === 'open' || isLink(request)) return true
  const identity = await authenticator.authenticate(credentialOf(request.headers))
  if (!identity || (access !== 'known' && !mayUse(identity, access))) return false
  const { id, seesAll } = callerFrom(identity)
  return id === request.caller?.id && seesAll === request.caller.seesAll
}

const callerFrom = ({ id, scopes }: Identity): Caller => ({ id, seesAll: scopes.has('admin') })

const mayUse = ({ scopes }: Identity, scope: Scope) => scopes.has(scope) || scopes.has('admin')

/** Some proxies send a header that they have nothing for. */
const given = (header: string | string[] | undefined) => (header === '' ? undefined : header)

/** The one credential of a request. Throws a 401 where it has none, and a 400 for two, which could mean either caller. */
function credentialOf(headers: IncomingHttpHeaders): Credential {
  const [authorization, key] = [given(headers.authorization), given(headers['x-api-key'])]
  const bearer = /^bearer +([^\s]+) *$/i.exec(String(authorization ?? ''))?.[1]
  if (authorization !== undefined && key !== undefined) {
    throw problem('invalid_request', { detail: 'Give one credential: Authorization, or X-API-Key.' })
  }
  if (typeof key === 'string') return { kind: 'key', text: key }
  if (bearer === undefined) throw missingCredential()
  return { kind: 'bearer', text: bearer }
}
