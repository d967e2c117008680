import type { Bench } from '../part.ts'
import { median } from '../percentiles.ts'
import { openPlane } from '../plane.ts'
import { processorMs } from '../process-facts.ts'
import { startServer } from '../server.ts'
import { forkGenerator } from '../store/generator.ts'
import { HELD_BACK } from '../store/stand.ts'
import { openCluster, openRedis, SIZES } from './stand.ts'

export type Comparison = {
  readonly unit: string
  readonly rounds: number
  readonly roundMs: number
  readonly warmUpMs: number
  /** So many jobs are submitted to either side first, and are what is asked for; undefined: jobs are submitted. */
  readonly jobs?: number
}

type Load = (urls: readonly string[]) => Promise<{ readonly perSecond: number; readonly answered: number }>

/** Loads 1, 2 and 3 replicas, each in turns with a server of `memory` mode, their backend held back, and reports. */
export async function compareReplicas(bench: Bench, { unit, rounds, roundMs, warmUpMs, jobs }: Comparison) {
  const [plane, redis, generator] = [await openPlane(bench), await openRedis(bench), await forkGenerator(bench)]
  const env = { ...plane.env, ...HELD_BACK }
  const server = await startServer(env)
  bench.own(() => server.end())
  const memory = { urls: [server.url], pids: [server.pid] }
  const submit = async (urls: readonly string[]) =>
    jobs === undefined ? {} : { ids: (await generator.run(urls, { count: bench.scaled(jobs) })).ids }
  const ofMemory = await submit(memory.urls)
  for (const size of SIZES) {
    const replicas = await openCluster(bench, { redis, size, env })
    const ofReplicas = await submit(replicas.urls)
    const load = (durationMs: number) => (urls: readonly string[]) =>
      generator.run(urls, { ...(urls === memory.urls ? ofMemory : ofReplicas), durationMs: bench.scaled(durationMs) })
    await compare({ memory, replicas }, load(warmUpMs), 1)
    reportComparison(bench, await compare({ memory, replicas }, load(roundMs), rounds), { size, unit })
    await replicas.end()
  }
}

type Side = { readonly urls: readonly string[]; readonly pids: readonly number[] }

/** Loads both sides in turns, `rounds` times; tells each one's rate and what a request costs in processor time. */
async function compare(sides: Readonly<Record<'memory' | 'replicas', Side>>, load: Load, rounds: number) {
  const seen = { memory: newTally(), replicas: newTally() }
  for (let n = 0; n < rounds; n++) {
    for (const name of ['memory', 'replicas'] as const) {
      const { urls, pids } = sides[name]
      const before = pids.map(processorMs)
      const { perSecond, answered } = await load(urls)
      const usedMs = pids.map((pid, index) => processorMs(pid) - (before[index] ?? 0))
      const tally = seen[name]
      tally.rates.push(perSecond)
      tally.answered += answered
      // Of replicas the last is Redis.
      const ofRedis = name === 'replicas' ? (usedMs.pop() ?? 0) : 0
      tally.redisMs += ofRedis
      tally.serversMs += usedMs.reduce((sum, ms) => sum + ms, 0)
    }
  }
  return { memory: summaryOf(seen.memory), replicas: summaryOf(seen.replicas) }
}

const newTally = () => ({ rates: [] as number[], answered: 0, serversMs: 0, redisMs: 0 })

const summaryOf = ({ rates, answered, serversMs, redisMs }: ReturnType<typeof newTally>) => ({
  perSecond: median(rates),
  answered,
  serverMsEach: serversMs / answered,
  redisMsEach: redisMs / answered,
})

/** One row a figure: of `memory` once, of the replicas with their number. */
function reportComparison(
  { report }: Bench,
  { memory, replicas }: Awaited<ReturnType<typeof compare>>,
  { size, unit }: { size: number; unit: string },
): void {
  const name = size === 1 ? '1 replica' : `${size} replicas`
  report({ name: `memory, beside ${name}`, value: memory.perSecond, unit: `${unit}s/s` })
  report({ name, value: replicas.perSecond, unit: `${unit}s/s` })
  report({ name: `${name} / memory`, value: replicas.perSecond / memory.perSecond, unit: '' })
  report({ name: `memory: processor time a ${unit}`, value: memory.serverMsEach, unit: 'ms' })
  report({ name: `${name}: processor time a ${unit}, all servers`, value: replicas.serverMsEach, unit: 'ms' })
  report({ name: `${name}: processor time a ${unit}, Redis`, value: replicas.redisMsEach, unit: 'ms' })
}
