import underPressure from '@fastify/under-pressure'
import type { FastifyInstance } from 'fastify'
import { Overloaded } from '../errors.ts'
import { createLineLimit } from '../jobs/log.ts'

export type PressureLimits = {
  /** How late the event loop may run, in ms, as a mean over a sample; 0: as late as it likes. */
  readonly maxEventLoopDelayMs: number
  /** How much of the heap may be in use, in bytes. */
  readonly maxHeapUsedBytes: number
}

/** How long a sample is at least, in ms. */
export const SAMPLE_MS = 1_000

/**
 * Answers 503 before the process drowns, except on routes that are `alwaysAnswered`.
 *
 * The delay is a mean over a second or more: stalls of a few hundred ms, which thousands of jobs in flight cause, and
 * even a second's single stop hardly move it. It passes 1,000 ms where the loop took more than a second for every
 * round: then answers come later than most callers wait, and taking on more only makes it worse. The loop's utilization
 * is no measure here, since a server that is just busy is at 1; nor is resident memory, of which the kernel's limit is
 * not known.
 */
export async function registerPressure(app: FastifyInstance, limits: PressureLimits): Promise<void> {
  const isDue = createLineLimit()
  await app.register(underPressure, {
    maxEventLoopDelay: limits.maxEventLoopDelayMs,
    maxHeapUsedBytes: limits.maxHeapUsedBytes,
    // A sample without a round counts as endless delay, so it must be as long as the delay that is borne.
    sampleInterval: Math.max(SAMPLE_MS, limits.maxEventLoopDelayMs),
    async pressureHandler(request, _reply, measure, value) {
      if (request.routeOptions.config.alwaysAnswered) return
      if (isDue()) {
        request.log.warn({ measure, value }, 'the server is overloaded: requests are refused until it has recovered')
      }
      return Promise.reject(new Overloaded())
    },
  })
}
