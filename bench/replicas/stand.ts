import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { noRedisServer, startRedis } from '../../test/helpers/redis.ts'
import type { Bench } from '../part.ts'
import { median } from '../percentiles.ts'
import { processorMs } from '../process-facts.ts'
import { type Server, startServer } from '../server.ts'

/** How many replicas are measured. */
export const SIZES = [1, 2, 3] as const

/** A Redis that keeps every write before it answers: what the promise that no job is lost asks for. */
export type SharedRedis = { readonly url: string; readonly pid: number }

export async function openRedis({ own }: Bench): Promise<SharedRedis> {
  if (noRedisServer !== undefined) throw new Error(noRedisServer)
  const { url, close } = await startRedis()
  own(close)
  const redis = new Redis(url)
  const pid = Number(/^process_id:(\d+)/m.exec(await redis.info('server'))?.[1])
  redis.disconnect()
  return { url, pid }
}

/** Servers that share their jobs; a single one of `memory` mode is held beside them. */
export type Cluster = {
  readonly servers: readonly Server[]
  readonly urls: readonly string[]
  /** The processes that do the work, that of Redis included. */
  readonly pids: readonly number[]
  /** Starts one more. */
  grow(): Promise<Server>
  end(): Promise<void>
}

/** Starts `size` replicas with jobs of their own. */
export async function openCluster(bench: Bench, options: { redis: SharedRedis; size: number; env: Env }) {
  const { redis, size, env } = options
  const shared = { ...env, JOB_STORE: redis.url, REDIS_PREFIX: `bench-${randomUUID()}` }
  const servers: Server[] = []
  const grow = async () => {
    const server = await startServer(shared)
    bench.own(() => server.end())
    servers.push(server)
    return server
  }
  for (let n = 0; n < size; n++) await grow()
  const cluster: Cluster = {
    ...{ servers, grow },
    urls: servers.map(({ url }) => url),
    pids: [...servers.map(({ pid }) => pid), redis.pid],
    async end() {
      await Promise.all(servers.map((server) => server.end()))
    },
  }
  return cluster
}

export type Env = Readonly<Record<string, string>>

/** What a round of load gave. */
export type Round = { readonly perSecond: number; readonly answered: number }
type Side = { readonly urls: readonly string[]; readonly pids: readonly number[] }

/** Loads both sides in turns, `rounds` times; tells each one's rate and what a request costs in processor time. */
export async function compare(sides: Readonly<Record<'memory' | 'replicas', Side>>, load: Load, rounds: number) {
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

export type Load = (urls: readonly string[]) => Promise<Round>

const newTally = () => ({ rates: [] as number[], answered: 0, serversMs: 0, redisMs: 0 })

const summaryOf = ({ rates, answered, serversMs, redisMs }: ReturnType<typeof newTally>) => ({
  perSecond: median(rates),
  answered,
  serverMsEach: serversMs / answered,
  redisMsEach: redisMs / answered,
})

/** One row a figure: of `memory` once, of the replicas with their number. */
export function reportComparison(
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
