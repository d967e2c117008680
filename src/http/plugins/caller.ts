import type { Socket } from 'node:net'
import { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ANONYMOUS_ID, type Caller } from '../../jobs/caller.ts'

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
  isKnown(request) ? request.caller.id : `address:${addressOf(request)}`

/** Whether the caller has a name, or may be anybody. */
export const isKnown = (request: FastifyRequest): request is FastifyRequest & { caller: Caller } =>
  request.caller !== undefined && request.caller.id !== ANONYMOUS_ID
