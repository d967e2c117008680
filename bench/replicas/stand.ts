import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { noRedisServer, startRedis } from '../../test/helpers/redis.ts'
import type { Bench } from '../part.ts'
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
