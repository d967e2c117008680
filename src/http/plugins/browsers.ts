import cors from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { problem } from '../../problems.ts'
import type { Refusal } from './refusals.ts'

/** Headers of answers that a page of another origin may read, beside those that it always may. */
const EXPOSED = [
  ...['Accept-Ranges', 'Content-Disposition', 'Content-Length', 'Content-Range', 'ETag', 'Idempotent-Replayed'],
  ...['Link', 'Location', 'Preference-Applied', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'],
  ...['Retry-After', 'WWW-Authenticate'],
]

/** Headers that it may send. */
const ALLOWED = [
  ...['Authorization', 'Content-Type', 'Idempotency-Key', 'If-Match', 'If-Modified-Since', 'If-None-Match', 'If-Range'],
  ...['If-Unmodified-Since', 'Last-Event-ID', 'Prefer', 'Range', 'Traceparent', 'X-API-Key'],
]

/** How long a browser may remember what a preflight allowed, in seconds; Chrome takes no more than these two hours. */
const PREFLIGHT_SECONDS = 7_200

/**
 * What every answer says to browsers and caches, unless its route says otherwise: it is never taken for something else
 * than its type says, such as a log for a page; nobody keeps a copy of what may be one caller's own; and no page of
 * another origin embeds it, as an image or a script (the Cross-Origin-Resource-Policy of the Fetch standard, which CORS
 * does not pass through).
 */
export const SAFE_HEADERS = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'cross-origin-resource-policy': 'same-origin',
} as const

/** Puts `SAFE_HEADERS` on every answer. */
export function addSafeHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(SAFE_HEADERS)
    done()
  })
}

/** For files, which a page of another origin may show: `<video src>` with a signed link. */
export const EMBEDDABLE = {
  'cache-control': 'private, no-cache',
  'cross-origin-resource-policy': 'cross-origin',
} as const

/**
 * Lets pages of these origins use the API (CORS, in the Fetch standard); with none, browsers let no page of another
 * origin read an answer. Call it before `collectMethods`, for which its `OPTIONS *` would be a path like any other.
 */
export async function registerCors(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return
  const allowed = new Set(origins)
  await app.register(cors, {
    // For others it does nothing, so that their OPTIONS is answered like any method that a path does not take.
    origin: (origin, answer) => answer(null, origin !== undefined && allowed.has(origin) ? origin : false),
    methods: ['GET', 'HEAD', 'POST', 'DELETE'],
    allowedHeaders: ALLOWED,
    exposedHeaders: EXPOSED,
    maxAge: PREFLIGHT_SECONDS,
    // Otherwise it answers an OPTIONS that is no preflight with 400, in plain text.
    strictPreflight: false,
  })
}

/**
 * Refuses what a page of another site asks for, unless its origin is one of these: a visitor of a page must not start
 * GPU jobs on a server that only they can reach, on their own machine for instance. A page may send such a request
 * without a preflight; that it cannot read the answer does not undo it.
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
  // Browsers say Sec-Fetch-Site to https and localhost only, and Safari not before 16.4; Origin they send with every
  // such request. What is not a browser sends neither, unless it means to look like one.
  return origin !== undefined && !isOwn(origin, request)
}

/** The scheme is left out: behind a proxy that ends TLS it is not the one of the page. `null` is an origin too. */
const isOwn = (origin: string, { host }: FastifyRequest): boolean =>
  URL.canParse(origin) && new URL(origin).host === host.toLowerCase()
