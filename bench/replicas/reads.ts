import type { Section } from '../part.ts'
import { openPlane } from '../plane.ts'
import { startServer } from '../server.ts'
import { CONNECTIONS, forkGenerator } from '../store/generator.ts'
import { HELD_BACK } from '../store/stand.ts'
import { compare, openCluster, openRedis, reportComparison, SIZES } from './stand.ts'

const ROUNDS = 3
const ROUND_MS = 3_000
const WARM_UP_MS = 2_000
const JOBS = 10_000

/** What replicas tell together. */
export const reads: Section = {
  name: 'reads',
  what:
    `GET /jobs/:id per second over ${CONNECTIONS} connections spread over 1, 2 and 3 replicas, of ` +
    `${JOBS.toLocaleString('en-US')} waiting jobs at random, each with its place in the line, beside 'memory' in turns: ` +
    `${ROUNDS} rounds of ${ROUND_MS / 1000} s each, medians.`,
  deadlineMs: 180_000,
  async run(bench) {
    const [plane, redis, generator] = [await openPlane(bench), await openRedis(bench), await forkGenerator(bench)]
    const env = { ...plane.env, ...HELD_BACK }
    const memory = await startServer(env)
    bench.own(() => memory.end())
    const submit = async (urls: readonly string[]) => (await generator.run(urls, { count: bench.scaled(JOBS) })).ids
    const inMemory = await submit([memory.url])
    for (const size of SIZES) {
      const cluster = await openCluster(bench, { redis, size, env })
      const sides = { memory: { urls: [memory.url], pids: [memory.pid] }, replicas: cluster }
      const shared = await submit(cluster.urls)
      const load = (durationMs: number) => (urls: readonly string[]) =>
        generator.run(urls, { ids: urls === cluster.urls ? shared : inMemory, durationMs: bench.scaled(durationMs) })
      await compare(sides, load(WARM_UP_MS), 1)
      reportComparison(bench, await compare(sides, load(ROUND_MS), ROUNDS), { size, unit: 'GET' })
      await cluster.end()
    }
  },
}
