import { monitorEventLoopDelay } from 'node:perf_hooks'
import { getHeapSpaceStatistics } from 'node:v8'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { problem } from '../../problems.ts'
import { createLogThrottle } from '../../jobs/log.ts'

export type PressureLimits = {
  /** Mean delay of the event loop over a sample, in ms; 0: no limit. */
  readonly maxEventLoopDelayMs: number
  /** Use of V8's old generation, in bytes. */
  readonly maxOldGenerationBytes: number
}

/** Shortest sample of the event loop's delay, in ms. */
export const SAMPLE_MS = 1_000
/** Resolution of the measured delay, in ms, which the measurement includes. */
const RESOLUTION_MS = 10
/** How long a reading of the heap is used, in ms. */
const HEAP_READING_MS = 100

type Measure = { readonly measure: string; readonly value: number }

/**
 * Answers 503 while the process is overloaded, except on routes that are `alwaysAnswered`.
 *
 * The delay is a mean over a second or more: stalls of a few hundred ms, which thousands of jobs in flight cause, or a
 * single stop of a second hardly move it. It exceeds 1,000 ms if every round of the loop takes more than a second: then
 * most clients have given up before their answer, and more requests make it worse. The loop's utilization is no measure,
 * since a server that is merely busy is at 1; nor is resident memory, since the kernel's limit is not known.
 *
 * It is not `@fastify/under-pressure`: that reads resident memory from a file in a timer, and an exception in a timer, such
 * as for lack of a file descriptor, ends the process. Nothing here opens a file.
 */
export function registerPressure(app: FastifyInstance, limits: PressureLimits): void {
  const isDue = createLogThrottle()
  const delay = watchEventLoop(app, limits.maxEventLoopDelayMs)
  const oldGeneration = createHeapReading()

  const excess = (): Measure | undefined => {
    if (delay() > limits.maxEventLoopDelayMs) return { measure: 'eventLoopDelay', value: delay() }
    const value = oldGeneration()
    return value > limits.maxOldGenerationBytes ? { measure: 'oldGenerationBytes', value } : undefined
  }

  app.addHook('onRequest', (request: FastifyRequest, _reply, done) => {
    const measured = request.routeOptions.config.alwaysAnswered ? undefined : excess()
    if (measured && isDue()) {
      request.log.warn(
        { event: 'server_overloaded', ...measured },
        'server overloaded; requests are refused until it recovers',
      )
    }
    done(measured && problem('overloaded'))
  })
}

/** Samples the mean delay of the event loop, in ms. 0 without a limit. */
function watchEventLoop(app: FastifyInstance, limitMs: number): () => number {
  if (limitMs === 0) return () => 0
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  histogram.enable()
  let delayMs = 0
  const sample = () => {
    // A sample without a single turn of the loop has no mean; the delay is then at least the length of the sample.
    delayMs = Number.isNaN(histogram.mean) ? Infinity : Math.max(0, histogram.mean / 1e6 - RESOLUTION_MS)
    histogram.reset()
  }
  const timer = setInterval(sample, Math.max(SAMPLE_MS, limitMs)).unref()
  app.addHook('onClose', (_app, done) => {
    clearInterval(timer)
    histogram.disable()
    done()
  })
  return () => delayMs
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
