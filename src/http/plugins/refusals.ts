import { getHeapSpaceStatistics } from 'node:v8'
import type { FastifyInstance, FastifyRequest, HTTPMethods } from 'fastify'
import { createLogThrottle } from '../../jobs/log.ts'
import { problem } from '../../problems.ts'
import type { AddressLimit } from './rate-limits.ts'

/** Gives the error that refuses a request, or undefined. */
export type Refusal = (request: FastifyRequest) => Error | undefined

/** `limit` counts by address the requests that these refuse, which the limits of callers do not count. */
export type CountedRefusals = { readonly refusals: readonly Refusal[]; readonly limit: AddressLimit }

/**
 * Refuses a request with the first reason that applies, those of `counted` first. One hook, since each Fastify hook costs
 * more than most checks.
 */
export function refuse(app: FastifyInstance, refusals: readonly Refusal[], counted?: CountedRefusals): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const reason = counted && firstReason(counted.refusals, request)
    if (reason) void counted.limit(request.ip).then((tooMany) => done(tooMany ?? reason))
    else done(firstReason(refusals, request))
  })
}

function firstReason(refusals: readonly Refusal[], request: FastifyRequest): Error | undefined {
  for (const refusal of refusals) {
    const reason = refusal(request)
    if (reason) return reason
  }
  return undefined
}

/**
 * Answers 405 with `Allow` (RFC 9110 15.5.6) if a path exists, but not for this method. Call it before the first route is
 * added, and the returned function after the last one: it adds the missing methods.
 */
export function collectMethods(app: FastifyInstance): () => void {
  const methods = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const known = methods.get(url) ?? new Set()
    for (const name of [method].flat()) known.add(name)
    methods.set(url, known)
  })
  return () => {
    for (const [url, known] of [...methods]) {
      const allow = [...known].sort().join(', ')
      const others = app.supportedMethods.filter((name) => !known.has(name)) as HTTPMethods[]
      app.route({
        url,
        method: others,
        config: { access: 'public' },
        schema: { hide: true },
        // Before the body is read, whose errors do not matter here.
        onRequest: async (_request, reply) => {
          reply.header('allow', allow)
          return Promise.reject(problem('method_not_allowed', { detail: `This path supports ${allow}.` }))
        },
        handler: () => undefined,
      })
    }
  }
}

/** Aborts when shutdown starts; the reason is the problem for later requests. */
export function createClosingSignal(app: FastifyInstance): AbortSignal {
  const closing = new AbortController()
  // This hook runs before Fastify waits for open answers.
  app.addHook('preClose', (done) => {
    closing.abort(problem('server_ending'))
    done()
  })
  return closing.signal
}

/**
 * Refuses new requests on open connections during the shutdown, except on routes that are `alwaysAnswered`. Every answer
 * has `Connection: close`: a connection kept open would delay the shutdown, and a proxy would send its next request to a
 * server that is about to exit.
 */
export function closingRefusal(app: FastifyInstance, closing: AbortSignal): Refusal {
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing.aborted) reply.header('connection', 'close')
    done()
  })
  return (request) =>
    closing.aborted && !request.routeOptions.config.alwaysAnswered ? (closing.reason as Error) : undefined
}

export type PressureLimits = {
  /** How long requests may wait for the event loop, in ms; 0: no limit. */
  readonly maxEventLoopDelayMs: number
  /** Use of V8's old generation, in bytes. */
  readonly maxOldGenerationBytes: number
}

/** How long after one probe the next is due, in ms. */
export const PROBE_MS = 100
/** Number of late probes in a row that counts as overload. */
export const LATE_PROBES = 3
/** How long a reading of the heap is used, in ms. */
const HEAP_READING_MS = 100

type Measure = {
  readonly measure: string
  readonly value: number
  /** When a new request may succeed, in seconds; by default as the problem says. */
  readonly retryAfterSeconds?: number
}

/**
 * Answers 503 while the process is overloaded, except on routes that are `alwaysAnswered`.
 *
 * The measure is how long a request waits. A timer stands for one that arrives `PROBE_MS` after the last was answered: its
 * delay is the time that the loop was busy with what came earlier. As in CoDel (RFC 8289), a single delay is no overload,
 * however long, such as a stop of the machine or a burst that is answered at once; several in a row are: the server no
 * longer catches up, most clients give up before their answer, and more requests make it worse. The first probe that is
 * on time ends it, since there was nothing left to do. The loop's utilization is no measure, since a server that is merely
 * busy is at 1; nor is resident memory, since the kernel's limit is not known.
 *
 * It is not `@fastify/under-pressure`: that reads resident memory from a file in a timer, and an exception in a timer, such
 * as for lack of a file descriptor, ends the process. Nothing here opens a file.
 */
export function pressureRefusal(app: FastifyInstance, limits: PressureLimits): Refusal {
  const isDue = createLogThrottle()
  const delay = watchEventLoop(app, limits.maxEventLoopDelayMs)
  const oldGeneration = createHeapReading()

  const excess = (): Measure | undefined => {
    const delayMs = delay()
    // Once the requests that wait now are served, a new one may succeed.
    if (delayMs > 0) {
      return { measure: 'eventLoopDelay', value: delayMs, retryAfterSeconds: Math.ceil(delayMs / 1000) }
    }
    const value = oldGeneration()
    return value > limits.maxOldGenerationBytes ? { measure: 'oldGenerationBytes', value } : undefined
  }

  return (request) => {
    const measured = excess()
    // Last, since `routeOptions` is a getter that builds an object each time.
    if (!measured || request.routeOptions.config.alwaysAnswered) return undefined
    const { retryAfterSeconds, ...fields } = measured
    if (isDue()) {
      request.log.warn(
        { event: 'server_overloaded', ...fields },
        'server overloaded; requests are refused until it recovers',
      )
    }
    return problem('overloaded', retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
  }
}

/** Returns a function that reads how long requests wait, in ms, during overload; 0 otherwise, and without a limit. */
function watchEventLoop(app: FastifyInstance, limitMs: number): () => number {
  if (limitMs === 0) return () => 0
  let [late, delayMs, dueAt] = [0, 0, performance.now() + PROBE_MS]
  const probe = () => {
    delayMs = performance.now() - dueAt
    late = delayMs > limitMs ? late + 1 : 0
    dueAt = performance.now() + PROBE_MS
    timer.refresh()
  }
  const timer = setTimeout(probe, PROBE_MS).unref()
  app.addHook('onClose', (_app, done) => {
    clearTimeout(timer)
    done()
  })
  return () => (late >= LATE_PROBES ? delayMs : 0)
}

/** Reads the use of the old generation, in bytes, at most once per `HEAP_READING_MS`. */
function createHeapReading(): () => number {
  let [bytes, readAt] = [0, -Infinity]
  return () => {
    if (performance.now() - readAt < HEAP_READING_MS) return bytes
    readAt = performance.now()
    // The young generation has its own limit, and may be full.
    const spaces = getHeapSpaceStatistics().filter(({ space_name: name }) => !name.startsWith('new_'))
    bytes = spaces.reduce((sum, { space_used_size: used }) => sum + used, 0)
    return bytes
  }
}
