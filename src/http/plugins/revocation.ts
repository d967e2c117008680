import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Authenticator } from '../../jobs/ports/authenticator.ts'
import { isStillAllowed } from './auth.ts'

/**
 * Calls back when the credential of a request no longer permits what it was let in for: the keys were read again
 * without it, or its token has expired. Not after what it returns has been called.
 */
export type WhenRevoked = (reply: FastifyReply, callback: () => void) => () => void

/** The longest that a timer of Node can wait, in ms: 25 days. */
const MAX_TIMER_MS = 2 ** 31 - 1

export function watchRevocations(authenticator: Authenticator | undefined): WhenRevoked {
  if (!authenticator) return () => () => undefined
  const watched = new Map<() => void, FastifyRequest>()
  let reloadedAt = -Infinity

  const check = async (callback: () => void, request: FastifyRequest) => {
    // An issuer that cannot be asked now takes nothing back.
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
    // It may have been let in just before.
    if (reloadedAt >= performance.now() - elapsedTime) void check(callback, request)
    return () => {
      watched.delete(callback)
      clearTimeout(timer)
    }
  }
}
