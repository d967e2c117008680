import type { Section } from '../part.ts'
import { openPlane } from '../plane.ts'
import { startServer } from '../server.ts'
import { CONNECTIONS, forkGenerator } from '../store/generator.ts'
import { HELD_BACK } from '../store/stand.ts'
import { compare, openCluster, openRedis, reportComparison, SIZES } from './stand.ts'

const ROUNDS = 3
const ROUND_MS = 4_000
const WARM_UP_MS = 3_000

/** What replicas accept together. */
export const submissions: Section = {
  name: 'submissions',
  what:
    `Accepted POST /jobs per second over ${CONNECTIONS} connections spread over 1, 2 and 3 replicas, the backend held ` +
    `back, beside 'memory' in turns: ${ROUNDS} rounds of ${ROUND_MS / 1000} s each, medians. Redis writes every job to ` +
    'disk before it answers. All processes share the machine: with few cores another replica adds its cost only, so ' +
    'the processor time a job is what to size by.',
  deadlineMs: 180_000,
  async run(bench) {
    const [plane, redis, generator] = [await openPlane(bench), await openRedis(bench), await forkGenerator(bench)]
    const env = { ...plane.env, ...HELD_BACK }
    const memory = await startServer(env)
    bench.own(() => memory.end())
    for (const size of SIZES) {
      const cluster = await openCluster(bench, { redis, size, env })
      const sides = { memory: { urls: [memory.url], pids: [memory.pid] }, replicas: cluster }
      const load = (durationMs: number) => (urls: readonly string[]) =>
        generator.run(urls, { durationMs: bench.scaled(durationMs) })
      await compare(sides, load(WARM_UP_MS), 1)
      reportComparison(bench, await compare(sides, load(ROUND_MS), ROUNDS), { size, unit: 'job' })
      await cluster.end()
    }
  },
}
