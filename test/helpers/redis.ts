import { execFileSync, type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe } from 'vitest'
import { freePort } from './ports.ts'
import { until } from './until.ts'

const hasBinary = () => {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Why suites that need a Redis are skipped; undefined where they run. Tests that stop Redis need the program itself. */
export const noRedisServer = hasBinary() ? undefined : 'redis-server is not on PATH'
export const noRedis = process.env.TEST_REDIS_URL ? undefined : noRedisServer

/** A Redis of the test's own. */
export type TestRedis = {
  readonly url: string
  readonly port: number
  /** Kills it, as a crash does. */
  kill(): Promise<void>
  /** Starts it again with the same port and files. */
  restart(): Promise<void>
  close(): Promise<void>
}

/** Starts `redis-server` on a free port, its files in a folder of their own. `flags`: as on its command line. */
export async function startRedis(flags: readonly string[] = ['--appendonly', 'yes', '--appendfsync', 'always']) {
  const folder = mkdtempSync(join(tmpdir(), 'redis-'))
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  let child: ChildProcess | undefined

  const start = async () => {
    const own = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--loglevel', 'warning']
    child = spawn('redis-server', [...own, ...flags], { stdio: 'ignore' })
    const probe = new Redis(url, { lazyConnect: true, retryStrategy: () => 20, maxRetriesPerRequest: null })
    probe.on('error', () => undefined)
    try {
      await until(async () => (await probe.ping().catch(() => undefined)) === 'PONG', 'redis-server')
    } finally {
      probe.disconnect()
    }
  }
  const kill = async () => {
    if (child?.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  await start()
  const redis: TestRedis = {
    url,
    port,
    kill,
    restart: start,
    async close() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return redis
}

/** Skips the suite if `reason` is set, and prints it. */
function describeUnless(reason: string | undefined, name: string, suite: () => void) {
  if (reason !== undefined) process.stderr.write(`skipped: ${name}: ${reason}\n`)
  describe.skipIf(reason !== undefined)(name, suite)
}

/** A suite with a Redis of its own, which it may kill and configure. */
export function describeWithRedisServer(name: string, suite: (redis: () => TestRedis) => void): void {
  describeUnless(noRedisServer, name, () => {
    let redis: TestRedis | undefined
    beforeAll(async () => {
      redis = await startRedis()
    })
    afterAll(() => redis?.close())
    suite(() => {
      if (!redis) throw new Error('the Redis of the suite is not started yet')
      return redis
    })
  })
}

/** A Redis that others may use too: each test takes a prefix of its own. */
export type SharedRedis = { url(): string; newPrefix(): string }

/** A suite that needs some Redis: that of `TEST_REDIS_URL`, else one started for it, which keeps nothing on disk. */
export function describeWithRedis(name: string, suite: (redis: SharedRedis) => void): void {
  describeUnless(noRedis, name, () => {
    const run = `test-${randomUUID()}`
    let own: TestRedis | undefined
    let url = process.env.TEST_REDIS_URL ?? ''
    let count = 0
    beforeAll(async () => {
      if (url === '') ({ url } = own = await startRedis([]))
    })
    afterAll(() => (own ? own.close() : removeKeys(url, `{${run}-*`)))
    suite({ url: () => url, newPrefix: () => `${run}-${count++}` })
  })
}

/** Removes the keys of a run from a Redis that is not the test's own. */
async function removeKeys(url: string, pattern: string) {
  const redis = new Redis(url)
  for await (const keys of redis.scanStream({ match: pattern, count: 1_000 }) as AsyncIterable<string[]>) {
    if (keys.length > 0) await redis.unlink(keys)
  }
  await redis.quit()
}
