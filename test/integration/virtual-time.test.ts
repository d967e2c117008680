import fc from 'fast-check'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { createVirtualTime } from '../../src/queue/bullmq/virtual-time.ts'
import { describeWithRedis } from '../helpers/redis.ts'

type Waiting = { readonly caller: number; readonly priority: number; readonly number: number }

/** By weight: starts that are less than a sixteenth of a job apart come in order of arrival, and both may be. */
const TICKS = 2 / 16

describeWithRedis('the virtual time in Redis', (redis) => {
  test('while a caller waits, starts of any other are ahead of its own, each by weight, by at most one job of each', async () => {
    const client = new Redis(redis.url())
    onTestFinished(() => client.disconnect())
    const aLoad = fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 2, maxLength: 8 }).chain((weights) =>
      fc.record({
        weights: fc.constant(weights),
        /** A caller that submits some jobs, or a start. */
        steps: fc.array(
          fc.oneof(
            { weight: 2, arbitrary: fc.constant(undefined) },
            fc.record({ caller: fc.nat(weights.length - 1), jobs: fc.integer({ min: 1, max: 6 }) }),
          ),
          { minLength: 20, maxLength: 60 },
        ),
      }),
    )
    await fc.assert(
      fc.asyncProperty(aLoad, async ({ weights, steps }) => {
        const time = createVirtualTime(client, redis.newPrefix())
        const callerOf = (caller: number) => ({ caller: String(caller), weight: weights[caller] ?? 1 })
        let waiting: Waiting[] = []
        let jobs = 0
        // How far each caller is ahead of each other, and the least of it since that one began to wait.
        const [lead, least] = [weights.map(() => weights.map(() => 0)), weights.map(() => weights.map(() => 0))]

        const startNext = async () => {
          const next = waiting.toSorted((a, b) => a.priority - b.priority || a.number - b.number)[0]
          if (!next) return
          for (const [waiter, weight] of weights.entries()) {
            for (const [other, otherWeight] of weights.entries()) {
              if (other === waiter) continue
              const isWaiting = waiting.some(({ caller }) => caller === waiter)
              const step = next.caller === other ? 1 / otherWeight : next.caller === waiter ? -1 / weight : 0
              const now = isWaiting ? lead[waiter]![other]! + step : 0
              lead[waiter]![other] = now
              least[waiter]![other] = isWaiting ? Math.min(least[waiter]![other]!, now) : 0
              expect(now - least[waiter]![other]).toBeLessThanOrEqual(1 / weight + 1 / otherWeight + TICKS)
            }
          }
          waiting = waiting.filter((entry) => entry !== next)
          await time.start(callerOf(next.caller))
        }

        for (const step of steps) {
          if (!step) await startNext()
          else {
            const tags = await time.tag(
              Array.from({ length: step.jobs }, () => ({ ...callerOf(step.caller), rank: 1 })),
            )
            for (const { priority } of tags) waiting.push({ caller: step.caller, priority, number: jobs++ })
          }
        }
        while (waiting.length > 0) await startNext()
      }),
      { numRuns: 25 },
    )
  })
})
