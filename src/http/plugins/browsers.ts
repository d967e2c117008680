import cors from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { problem } from '../../problems.ts'
import type { Refusal } from './refusals.ts'

/** Response headers that pages of other origins may read, in addition to the default ones. */
const EXPOSED = [
  'Accept-Ranges',
  'Content-Disposition',
  'Content-Length',
  'Content-Range',
  'ETag',
  'Idempotent-Replayed',
  'Link',
  'Location',
  'Preference-Applied',
  'RateLimit',
  'RateLimit-Limit',
  'RateLimit-Policy',
  'RateLimit-Remaining',
  'RateLimit-Reset',
  'Retry-After',
  'WWW-Authenticate',
  'X-Request-Id',
]

/** Request headers that it may send. */
const ALLOWED = [
  'Authorization',
  'Content-Type',
  'Idempotency-Key',
  'If-Match',
  'If-Modified-Since',
  'If-None-Match',
  'If-Range',
  'If-Unmodified-Since',
  'Last-Event-ID',
  'Prefer',
  'Range',
  'Traceparent',
  'X-API-Key',
  'X-Request-Id',
]

/** How long a browser may cache a preflight, in seconds: Chrome's maximum. */
const PREFLIGHT_SECONDS = 7_200

/**
 * The headers of every answer for browsers and caches, unless its route sets others: the type is not sniffed, such as a log
 * as a page; no cache stores what may be private; and no page of another origin embeds it as an image or a script
 * (Cross-Origin-Resource-Policy of the Fetch standard, which is independent of CORS).
 */
const SAFE_HEADERS = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'cross-origin-resource-policy': 'same-origin',
} as const

/** The headers that every answer has: those above, and the id of the request, which is on the server's log lines. */
export const commonHeaders = (requestId: string) => ({ ...SAFE_HEADERS, 'x-request-id': requestId })

/** Puts `commonHeaders` on every answer. */
export function addCommonHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(commonHeaders(request.id))
    done()
  })
}

/** For files, which pages of other origins may embed: `<video src>` with a signed link. */
export const EMBEDDABLE = {
  'cache-control': 'private, no-cache',
  'cross-origin-resource-policy': 'cross-origin',
} as const

/**
 * Permits pages of these origins to use the API (CORS, in the Fetch standard). Call it before `collectMethods`, which would
 * take its `OPTIONS *` for a path like any other.
 */
export async function registerCors(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return
  const allowed = new Set(origins)
  await app.register(cors, {
    // For other origins it does nothing, so that their OPTIONS is answered like any unsupported method.
    origin: (origin, answer) => answer(null, origin !== undefined && allowed.has(origin) ? origin : false),
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
    allowedHeaders: ALLOWED,
    exposedHeaders: EXPOSED,
    maxAge: PREFLIGHT_SECONDS,
    // Otherwise it answers an OPTIONS without a preflight's headers with 400, in plain text.
    strictPreflight: false,
  })
}

/**
 * Refuses changes from pages of other sites, except from these origins: a page must not start GPU jobs on a server that
 * only its visitor can reach, such as one on the visitor's machine. A page can send such a request without a preflight, and
 * has its effect without reading the answer.
 */
export function crossSiteRefusal(origins: readonly string[]): Refusal {
  const allowed = new Set(origins)
  return (request) =>
    SAFE_METHODS.has(request.method) || !isCrossSite(request, allowed) ? undefined : problem('cross_site_refused')
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

function isCrossSite(request: FastifyRequest, allowed: ReadonlySet<string>): boolean {
  const { origin, 'sec-fetch-site': site } = request.headers
  if (origin !== undefined && allowed.has(origin)) return false
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  // Browsers send Sec-Fetch-Site only to https and localhost, and Safari only from 16.4 on; they send Origin with every
  // such request. Other clients send neither.
  return origin !== undefined && !isOwn(origin, request)
}

/** Compares hosts only: behind a proxy that terminates TLS the scheme differs. `null` is an origin too. */
const isOwn = (origin: string, { host }: FastifyRequest): boolean =>
  URL.canParse(origin) && new URL(origin).host === host.toLowerCase()
