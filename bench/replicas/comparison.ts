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
  /** What one replica is to reach: the ratio of its rate to that of `memory`, and what a request costs a server, in ms. */
  readonly targets: { readonly ratio: number; readonly serverMs?: number }
}

type Load = (urls: readonly string[]) => Promise<{ readonly perSecond: number; readonly answered: number }>

/** Loads 1, 2 and 3 replicas, each in turns with a server of `memory` mode, their backend held back, and reports. */
export async function compareReplicas(bench: Bench, { unit, rounds, roundMs, warmUpMs, jobs, targets }: Comparison) {
  const [plane, redis, generator] = [await openPlane(bench), await openRedis(bench), await forkGenerator(bench)]
  const env = { ...plane.env, ...HELD_BACK }
  const server = await startServer(env)
  bench.own(() => server.end())
  const memory = { urls: [server.url], pids: [server.pid] }
  const submit = async (urls: readonly string[]) =>
    jobs === undefined ? {} : { ids: (await generator.run(urls, { count: bench.scaled(jobs) })).ids }
  const ofMemory = await submit(memory.urls)
  let capacityOfOne = 0
  for (const size of SIZES) {
    const replicas = await openCluster(bench, { redis, size, env })
    const ofReplicas = await submit(replicas.urls)
    const load = (durationMs: number) => (urls: readonly string[]) =>
      generator.run(urls, { ...(urls === memory.urls ? ofMemory : ofReplicas), durationMs: bench.scaled(durationMs) })
    await compare({ memory, replicas }, load(warmUpMs), 1)
    const figures = await compare({ memory, replicas }, load(roundMs), rounds)
    reportComparison(bench, figures, { size, unit, targets: size === 1 ? targets : undefined })
    const perSecond = capacityOf(figures.replicas, size)
    if (size === 1) capacityOfOne = perSecond
    const row = { name: `${nameOf(size)}: with a core for each process`, value: perSecond, unit: `${unit}s/s` }
    bench.report(size === 1 ? row : { ...row, target: { atLeast: capacityOfOne } })
    await replicas.end()
  }
}

type Side = { readonly urls: readonly string[]; readonly pids: readonly number[] }

/** Loads both sides in turns, `rounds` times; returns the rate of each and the CPU time of a request. */
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

type Summary = ReturnType<typeof summaryOf>

const nameOf = (size: number) => (size === 1 ? '1 replica' : `${size} replicas`)

/** What the processor time allows where no process waits for a core, by whichever is the first to need all of its own. */
const capacityOf = ({ serverMsEach, redisMsEach }: Summary, size: number) =>
  Math.min((size * 1000) / serverMsEach, 1000 / redisMsEach)

type Row = { readonly size: number; readonly unit: string; readonly targets: Comparison['targets'] | undefined }

/** One row a figure: of `memory` once, of the replicas with their number. */
function reportComparison(
  { report }: Bench,
  { memory, replicas }: Awaited<ReturnType<typeof compare>>,
  { size, unit, targets }: Row,
): void {
  const name = nameOf(size)
  const ratio = { name: `${name} / memory`, value: replicas.perSecond / memory.perSecond, unit: '' }
  const ofServers = { name: `${name}: processor time a ${unit}, all servers`, value: replicas.serverMsEach, unit: 'ms' }
  report({ name: `memory, beside ${name}`, value: memory.perSecond, unit: `${unit}s/s` })
  report({ name, value: replicas.perSecond, unit: `${unit}s/s` })
  report(targets ? { ...ratio, target: { atLeast: targets.ratio } } : ratio)
  report({ name: `memory: processor time a ${unit}`, value: memory.serverMsEach, unit: 'ms' })
  report(targets?.serverMs === undefined ? ofServers : { ...ofServers, target: { atMost: targets.serverMs } })
  report({ name: `${name}: processor time a ${unit}, Redis`, value: replicas.redisMsEach, unit: 'ms' })
}
