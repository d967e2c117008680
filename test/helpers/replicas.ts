import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { forkControlPlane, type RemoteControlPlane } from './control-plane/remote.ts'
import { startRedis, type TestRedis } from './redis.ts'
import { type ServerProcess, startServer, UNLIMITED } from './server.ts'

export type Cluster = {
  readonly redis: TestRedis
  readonly plane: RemoteControlPlane
  readonly replicas: ServerProcess[]
  /** Starts one more, on the same jobs and the same folder. */
  start(env?: Record<string, string>): Promise<ServerProcess>
}

/** Replicas of the real server on a Redis and a stand-in for Modal of their own; all ended after the test. */
export async function startCluster(count: number, env: Record<string, string> = {}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'replicas-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const [redis, plane] = await Promise.all([startRedis(), forkControlPlane()])
  onTestFinished(async () => {
    await plane.close()
    await redis.close()
  })
  const shared = { JOB_STORE: redis.url, DATA_DIR: folder, DATA_DIR_SHARED: 'true', ...UNLIMITED }
  const start = async (own: Record<string, string> = {}) => {
    const replica = await startServer({ env: { ...shared, ...plane.env, ...env, ...own } })
    onTestFinished(async () => {
      await replica.end('SIGKILL')
    })
    return replica
  }
  const replicas = await Promise.all(Array.from({ length: count }, () => start()))
  return { redis, plane, replicas, start }
}
