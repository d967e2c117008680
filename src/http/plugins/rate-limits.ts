import rateLimit, { type CreateRateLimitOptions, type FastifyRateLimitStore } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Counter } from '../../jobs/ports/access.ts'
import { type Charge, createWindows } from '../../lib/limits.ts'
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

/** Length of a counting window, in ms; it starts with a caller's first request. What a batch is beyond the limit prolongs it. */
export const WINDOW_MS = 60_000

/** Maximum callers counted without a shared counter; the least recently seen are dropped. */
export const MAX_COUNTED = 10_000

const bucketOf = (request: FastifyRequest): Bucket => request.routeOptions.config.bucket ?? 'read'
const keyOf = (request: FastifyRequest) => `${bucketOf(request)}:${limitKeyOf(request)}`

/**
 * Registers the plugin that the other functions here need. `counter` counts for all replicas together; without it this
 * process counts alone.
 */
export async function registerLimiter(app: FastifyInstance, limits: RequestLimits, counter?: Counter): Promise<void> {
  await app.register(rateLimit, {
    global: false,
    timeWindow: WINDOW_MS,
    store: storeOf(counter ?? createOwnCounter()),
    keyGenerator: keyOf,
    max: (request) => limits[bucketOf(request)],
  })
}

type Answer = (error: Error | null, result?: { current: number; ttl: number }) => void

/** Counts of this process alone. */
function createOwnCounter(): Pick<Counter, 'count'> {
  const windows = createWindows(MAX_COUNTED)
  return { count: (...counted) => Promise.resolve(windows.count(...counted)) }
}

/** A store class for the plugin, which creates its instances. A limit with a store of its own counts there. */
const storeOf = (counter: Pick<Counter, 'count'>) =>
  class {
    incr(key: string, done: Answer, windowMs = WINDOW_MS) {
      counter.count(key, windowMs).then(({ current, ttlMs }) => done(null, { current, ttl: ttlMs }), done)
    }

    child(limit: object): FastifyRateLimitStore {
      const { store: Store } = limit as Pick<CreateRateLimitOptions, 'store'>
      return Store ? new Store({}) : this
    }
  }

/** Bytes of an answer, or read for it, that count as one more request of its caller. */
const BYTES_PER_REQUEST = 64 * 1024

/** Counts an answer of `bytes` bytes as one more request of its caller for each `BYTES_PER_REQUEST`. */
export type ChargeAnswer = (request: FastifyRequest, reply: FastifyReply, bytes: number) => Promise<void>

/** The submits that one request stands for, beside itself. */
export type ChargeSubmits = {
  /** Rejects with `rate_limited` if the caller has gone beyond its limit since the request was counted. */
  check(request: FastifyRequest): Promise<void>
  /** Counts so many more. Those beyond the limit are not forgotten with the window, which gets longer. */
  charge(request: FastifyRequest, reply: FastifyReply, submits: number): Promise<void>
}

/**
 * Counts a request by its address alone. Resolves with the refusal beyond the limit; with undefined below it, or if
 * counting fails.
 */
export type AddressLimit = (address: string | undefined) => Promise<Problem | undefined>

export type RateLimits = {
  /** Adds the hook that refuses clients beyond their limit, at this point of the hooks. */
  addTo(app: FastifyInstance): void
  readonly chargeAnswer: ChargeAnswer
  readonly chargeSubmits: ChargeSubmits
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

/** One hook for the app, so that it also covers unknown routes, and runs before the body is read. `counter`: as above. */
export function createRateLimits(app: FastifyInstance, announced: AnnouncedLimits, counter?: Counter): RateLimits {
  const { limits } = announced
  const policies = policiesOf(announced)
  // Two counters: unauthenticated clients, who may be many, cannot evict a caller's count.
  const [ofCallers, ofAddresses] = [counter ?? createOwnCounter(), counter ?? createOwnCounter()]
  const callers = app.createRateLimit({ store: storeOf(ofCallers) })
  const addresses = app.createRateLimit({ store: storeOf(ofAddresses) })
  const count = (request: FastifyRequest) => (isAuthenticated(request) ? callers : addresses)(request)
  const charge = async (request: FastifyRequest, charged: Charge) => {
    const counted = isAuthenticated(request) ? ofCallers : ofAddresses
    const { current, ttlMs } = await counted.count(keyOf(request), WINDOW_MS, charged)
    const remaining = Math.max(0, limits[bucketOf(request)] - current)
    return { current, remaining, resetSeconds: Math.ceil(ttlMs / 1000) }
  }
  const chargeAndState = async (request: FastifyRequest, reply: FastifyReply, charged: Charge) => {
    const bucket = bucketOf(request)
    if (limits[bucket] === 0 || charged.amount <= 0) return
    const { remaining, resetSeconds } = await charge(request, charged)
    reply.headers(stateOf(bucket, remaining, resetSeconds))
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
    chargeAnswer: (request, reply, bytes) =>
      chargeAndState(request, reply, { amount: Math.floor(bytes / BYTES_PER_REQUEST) }),
    chargeSubmits: {
      charge: (request, reply, submits) =>
        chargeAndState(request, reply, { amount: submits, max: limits[bucketOf(request)] }),
      async check(request) {
        const bucket = bucketOf(request)
        if (limits[bucket] === 0) return
        const { current, resetSeconds } = await charge(request, { amount: 0 })
        if (current > limits[bucket]) throw limitReached(bucket, limits[bucket], resetSeconds)
      },
    },
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
  return limitReached(bucket, counted.max, counted.ttlInSeconds)
}

const limitReached = (bucket: Bucket, max: number, resetSeconds: number): Problem =>
  rateLimited(`The limit is ${max} ${PLURALS[bucket]} a minute.`, resetSeconds)

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
