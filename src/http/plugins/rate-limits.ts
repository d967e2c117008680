import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Counter } from '../../jobs/ports/access.ts'
import { type Problem, problem } from '../../problems.ts'
import { addressOf, type FailureLimit, isAuthenticated, limitKeyOf } from './auth.ts'

/** The limit that counts a request: `submit` for work on a GPU, `read` for everything else. */
export type Bucket = 'read' | 'submit'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The limit that counts requests of this route; `read` by default. */
    bucket?: Bucket
    /** For probes: never rate limited, and never refused under load. */
    alwaysAnswered?: true
  }
}

/** Maximum requests of a caller per minute, by kind; 0: no limit. */
export type RequestLimits = Readonly<Record<Bucket, number>>

/** `maxActiveJobs`: maximum unfinished jobs of a caller, which the core enforces; 0: no limit. */
export type AnnouncedLimits = { readonly limits: RequestLimits; readonly maxActiveJobs: number }

/** Failed authentications per address and minute that get 401; beyond it 429. */
export const FAILURES_PER_MINUTE = 60

/** Length of a counting window, in ms; it starts with a caller's first request. */
export const WINDOW_MS = 60_000

/** Maximum callers counted; the least recently seen is dropped. */
export const MAX_COUNTED = 10_000

const bucketOf = (request: FastifyRequest): Bucket => request.routeOptions.config.bucket ?? 'read'

/**
 * Registers the plugin that the other functions here need, with one store for all routes. `counter` counts for all
 * replicas together; without it this process counts alone.
 */
export async function registerLimiter(app: FastifyInstance, limits: RequestLimits, counter?: Counter): Promise<void> {
  await app.register(rateLimit, {
    global: false,
    timeWindow: WINDOW_MS,
    ...(counter ? { store: storeOf(counter) } : { cache: MAX_COUNTED }),
    keyGenerator: (request) => `${bucketOf(request)}:${limitKeyOf(request)}`,
    max: (request) => limits[bucketOf(request)],
  })
}

type Answer = (error: Error | null, result?: { current: number; ttl: number }) => void

/** A store class for the plugin, which creates its instances. All of them share the counter; the keys differ. */
const storeOf = (counter: Counter) =>
  class {
    incr(key: string, done: Answer, windowMs = WINDOW_MS) {
      counter.count(key, windowMs).then(({ current, ttlMs }) => done(null, { current, ttl: ttlMs }), done)
    }

    child() {
      return this
    }
  }

/** Bytes of an answer, or read for it, that count as one more request of its caller. */
const BYTES_PER_REQUEST = 64 * 1024

/** Counts an answer of `bytes` bytes as one more request of its caller for each `BYTES_PER_REQUEST`. */
export type ChargeAnswer = (request: FastifyRequest, reply: FastifyReply, bytes: number) => Promise<void>

/** Counts so many more requests of the caller: those that a batch stands for. */
export type ChargeRequests = (request: FastifyRequest, reply: FastifyReply, requests: number) => Promise<void>

/**
 * Counts a request by its address alone. Resolves with the refusal beyond the limit; with undefined below it, or if
 * counting fails.
 */
export type AddressLimit = (address: string | undefined) => Promise<Problem | undefined>

export type RateLimits = {
  /** Adds the hook that refuses clients beyond their limit, at this point of the hooks. */
  addTo(app: FastifyInstance): void
  readonly chargeAnswer: ChargeAnswer
  readonly chargeRequests: ChargeRequests
  readonly countAddress: AddressLimit
}

/**
 * The values of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), which are structured fields: the limit of
 * each kind of request, and for submits that of unfinished jobs. Undefined: no limit.
 */
function policiesOf({ limits, maxActiveJobs }: AnnouncedLimits): Readonly<Record<Bucket, string | undefined>> {
  const policyOf = (bucket: Bucket) =>
    limits[bucket] === 0 ? [] : [`"${bucket}";q=${limits[bucket]};w=${WINDOW_MS / 1000}`]
  const jobs = maxActiveJobs === 0 ? [] : [`"${JOBS_POLICY}";q=${maxActiveJobs};qu="concurrent-requests"`]
  return {
    read: policyOf('read').join() || undefined,
    submit: [...policyOf('submit'), ...jobs].join(', ') || undefined,
  }
}

const JOBS_POLICY = 'jobs'

/** Notes in an answer that its caller may have no more unfinished jobs. When one of them finishes is not known. */
export function announceJobLimit(reply: FastifyReply): void {
  const requests = reply.getHeader('ratelimit')
  reply.header('ratelimit', [...(requests === undefined ? [] : [requests]), `"${JOBS_POLICY}";r=0`].join(', '))
}

/** One hook for the app, so that it also covers unknown routes, and runs before the body is read. */
export function createRateLimits(app: FastifyInstance, announced: AnnouncedLimits): RateLimits {
  const { limits } = announced
  const policies = policiesOf(announced)
  // Two LRU caches: unauthenticated clients, who may be many, cannot evict a caller's count.
  const [callers, addresses] = [app.createRateLimit({}), app.createRateLimit({})]
  const count = (request: FastifyRequest) => (isAuthenticated(request) ? callers : addresses)(request)
  const chargeRequests: ChargeRequests = async (request, reply, requests) => {
    const bucket = bucketOf(request)
    if (limits[bucket] === 0 || requests === 0) return
    const counts = await Promise.all(Array.from({ length: requests }, () => count(request)))
    const last = counts.at(-1)
    if (last && !last.isAllowed) reply.headers(stateOf(bucket, last.remaining, last.ttlInSeconds))
  }

  return {
    addTo(hooked) {
      if (policies.read === undefined && policies.submit === undefined) return
      hooked.addHook('onRequest', async (request, reply) => {
        const { bucket = 'read', alwaysAnswered = false } = request.routeOptions.config
        const policy = policies[bucket]
        if (policy === undefined || alwaysAnswered) return
        reply.header('ratelimit-policy', policy)
        if (limits[bucket] === 0) return
        const counted = await count(request)
        if (counted.isAllowed) return
        const { max, remaining, ttlInSeconds } = counted
        reply.headers(stateOf(bucket, remaining, ttlInSeconds)).headers({ 'ratelimit-limit': max })
        const refusal = refusalOf(counted, bucket)
        if (refusal) throw refusal
      })
    },
    chargeAnswer: (request, reply, bytes) => chargeRequests(request, reply, Math.floor(bytes / BYTES_PER_REQUEST)),
    chargeRequests,
    async countAddress(ip) {
      if (limits.read === 0) return undefined
      // All that this code and the plugin read of a request.
      const request = { ip, caller: undefined, routeOptions: { config: {} } } as unknown as FastifyRequest
      const counted = await addresses(request).catch(() => undefined)
      return counted && refusalOf(counted, 'read')
    },
  }
}

/** In the form of draft-ietf-httpapi-ratelimit-headers-10, and in that of -03, which more clients know. */
const stateOf = (bucket: Bucket, remaining: number, resetSeconds: number) => ({
  ratelimit: `"${bucket}";r=${remaining};t=${resetSeconds}`,
  'ratelimit-remaining': remaining,
  'ratelimit-reset': resetSeconds,
})

type Counted = Awaited<ReturnType<ReturnType<FastifyInstance['createRateLimit']>>>

function refusalOf(counted: Counted, bucket: Bucket): Problem | undefined {
  if (counted.isAllowed || !counted.isExceeded) return undefined
  const { max, ttlInSeconds } = counted
  return rateLimited(`The limit is ${max} ${PLURALS[bucket]} a minute.`, ttlInSeconds)
}

const rateLimited = (reason: string, retryAfterSeconds: number): Problem =>
  problem('rate_limited', { detail: `${reason} Try again in ${retryAfterSeconds} s.`, retryAfterSeconds })

const PLURALS = { read: 'requests', submit: 'submits' } as const

/** For the hook that authenticates: it calls `count` for an invalid credential only. */
export function createFailureLimit(app: FastifyInstance): FailureLimit {
  const count = app.createRateLimit({
    max: FAILURES_PER_MINUTE,
    keyGenerator: (request) => `failure:${addressOf(request)}`,
  })
  return {
    async count(request) {
      const counted = await count(request)
      if (counted.isAllowed || !counted.isExceeded) return
      throw rateLimited('Too many failed authentications from this address.', counted.ttlInSeconds)
    },
  }
}
