import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Counter } from '../../jobs/ports/access.ts'
import { type Problem, problem } from '../../problems.ts'
import { addressOf, isAuthenticated, limitKeyOf } from './caller.ts'

/** What a request counts as: `submit` starts work on a GPU, everything else is a `read`. */
export type Bucket = 'read' | 'submit'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What requests of this route count as; `read` if not given. */
    bucket?: Bucket
    /** For probes: neither limited nor refused under load. */
    alwaysAnswered?: true
  }
}

/** Requests of each kind that a caller may make in a minute; 0: as many as it likes. */
export type RequestLimits = Readonly<Record<Bucket, number>>

/** Failed authentications of an address in a minute that are answered as such. */
export const FAILURES_PER_MINUTE = 60

/** What limits count in, in ms. It begins with a caller's first request. */
export const WINDOW_MS = 60_000

/** Callers counted at a time, the one seen longest ago forgotten first: strangers must not fill the memory. */
export const MAX_COUNTED = 10_000

const bucketOf = (request: FastifyRequest): Bucket => request.routeOptions.config.bucket ?? 'read'

/**
 * What counts requests; the other functions here need it. One store for all routes: one of a route's own shares nothing.
 * `counter`: counts for several servers together; else this one counts by itself.
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

/** A counter in the form of the plugin's stores, which it makes itself. Keys tell apart what is counted there. */
const storeOf = (counter: Counter) =>
  class {
    incr(key: string, done: Answer, windowMs = WINDOW_MS) {
      counter.count(key, windowMs).then(({ current, ttlMs }) => done(null, { current, ttl: ttlMs }), done)
    }

    child() {
      return this
    }
  }

/** Bytes of an answer, or read for one, that count as much as a request: beyond them it costs its caller more than one. */
export const BYTES_PER_REQUEST = 64 * 1024

/** Counts an answer that has been made as one more request of its caller for each `BYTES_PER_REQUEST` it has. */
export type ChargeAnswer = (request: FastifyRequest, reply: FastifyReply, bytes: number) => Promise<void>

/**
 * Counts a request of which no more is known than its address. Resolves with the refusal where there were too many;
 * where counting fails, with nothing: such a request is refused in any case.
 */
export type AddressLimit = (address: string | undefined) => Promise<Problem | undefined>

/** What the limits of an application are checked with. */
export type RateLimits = {
  /** Refuses, from this point of the hooks on, clients that send too many requests. */
  addTo(app: FastifyInstance): void
  readonly chargeAnswer: ChargeAnswer
  readonly countAddress: AddressLimit
}

/**
 * The limits on requests. A hook of the whole app and not of each route, so that it comes where it is added, and for
 * unknown routes too. It runs before a body is read.
 */
export function createRateLimits(app: FastifyInstance, limits: RequestLimits): RateLimits {
  // Each has a memory of its own: strangers, who may be many, cannot make the server forget a caller's count.
  const [callers, addresses] = [app.createRateLimit({}), app.createRateLimit({})]
  const count = (request: FastifyRequest) => (isAuthenticated(request) ? callers : addresses)(request)
  return {
    addTo(hooked) {
      if (limits.read === 0 && limits.submit === 0) return
      hooked.addHook('onRequest', async (request, reply) => {
        const { bucket = 'read', alwaysAnswered = false } = request.routeOptions.config
        if (limits[bucket] === 0 || alwaysAnswered) return
        const counted = await count(request)
        if (counted.isAllowed) return
        const { max, remaining, ttlInSeconds } = counted
        // draft-ietf-httpapi-ratelimit-headers-03, which clients know; later drafts have one structured field instead.
        reply.headers({ 'ratelimit-limit': max, 'ratelimit-remaining': remaining, 'ratelimit-reset': ttlInSeconds })
        const refusal = refusalOf(counted, bucket)
        if (refusal) throw refusal
      })
    },
    async chargeAnswer(request, reply, bytes) {
      const requests = Math.floor(bytes / BYTES_PER_REQUEST)
      if (limits[bucketOf(request)] === 0 || requests === 0) return
      const counts = await Promise.all(Array.from({ length: requests }, () => count(request)))
      const last = counts.at(-1)
      if (last && !last.isAllowed) reply.header('ratelimit-remaining', last.remaining)
    },
    async countAddress(ip) {
      if (limits.read === 0) return undefined
      // All that is looked at of a request, here and by the plugin.
      const request = { ip, caller: undefined, routeOptions: { config: {} } } as unknown as FastifyRequest
      const counted = await addresses(request).catch(() => undefined)
      return counted && refusalOf(counted, 'read')
    },
  }
}

type Counted = Awaited<ReturnType<ReturnType<FastifyInstance['createRateLimit']>>>

function refusalOf(counted: Counted, bucket: Bucket): Problem | undefined {
  if (counted.isAllowed || !counted.isExceeded) return undefined
  const { max, ttlInSeconds } = counted
  return rateLimited(`These are more than ${max} ${PLURALS[bucket]} a minute.`, ttlInSeconds)
}

const rateLimited = (reason: string, retryAfterSeconds: number): Problem =>
  problem('rate_limited', { detail: `${reason} Try again in ${retryAfterSeconds} s.`, retryAfterSeconds })

const PLURALS = { read: 'requests', submit: 'submits' } as const

/** Failed authentications by address, so that credentials cannot be tried out by the million. Good ones are not its business. */
export type FailureLimit = {
  /** Counts a failure. Rejects with `rate_limited` (429) where its address has had `FAILURES_PER_MINUTE` already. */
  count(request: FastifyRequest): Promise<void>
}

/** For the hook that authenticates: call `count` where a credential is wrong, and never where it is good. */
export function createFailureLimit(app: FastifyInstance): FailureLimit {
  const count = app.createRateLimit({
    max: FAILURES_PER_MINUTE,
    keyGenerator: (request) => `failure:${addressOf(request)}`,
  })
  return {
    async count(request) {
      const counted = await count(request)
      if (counted.isAllowed || !counted.isExceeded) return
      throw rateLimited('Too many wrong credentials came from this address.', counted.ttlInSeconds)
    },
  }
}
