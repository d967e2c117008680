import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { asking } from '../helpers/jobs.ts'
import { noRedisServer } from '../helpers/redis.ts'
import { startCluster } from '../helpers/replicas.ts'
import type { ServerProcess } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

if (noRedisServer !== undefined) process.stderr.write(`a pause of replicas is not tested: ${noRedisServer}\n`)

const admin = async ({ url }: ServerProcess, verb: 'pause' | 'resume') =>
  (await fetch(`${url}/admin/${verb}`, { method: 'POST' })).status

describe.skipIf(noRedisServer !== undefined)('a pause during an outage of Modal', () => {
  test(
    'keeps jobs from starting when Modal returns, also after their replica was replaced',
    { timeout: 60_000 },
    async () => {
      const { redis, plane, replicas, start } = await startCluster(1)
      const first = replicas[0]!
      const running = await first.untilStatus((await first.submit(asking('end=never'))).job_id, 'running')
      await plane.disrupt({ method: 'FunctionMap' })
      const waiting = [await first.submit(asking('end=never')), await first.submit(asking('end=never'))]
      await until(() => first.lines.some(({ event }) => event === 'backend_degraded'))
      expect(await admin(first, 'pause')).toBe(200)
      await plane.clearDisruptions()
      // The probes of the circuit breaker notice it.
      await until(() => first.lines.some(({ event }) => event === 'backend_recovered'))
      expect((await plane.stats()).spawned).toBe(1)

      expect(await first.end()).toBe(0)
      const second = await start()
      // It has taken up all three jobs again.
      const connection = new Redis(redis.url)
      onTestFinished(() => connection.disconnect())
      await until(async () => {
        const [active] = await connection.keys('*:runs:active')
        return active !== undefined && (await connection.llen(active)) === 3
      })
      await plane.end(running.attempts[0]?.call_id ?? '', { kind: 'return' })
      await second.untilStatus(running.job_id, 'succeeded')
      expect((await plane.stats()).spawned).toBe(1)
      for (const { job_id: id } of waiting) expect((await second.job(id)).status).toBe('submitted')

      expect(await admin(second, 'resume')).toBe(200)
      for (const { job_id: id } of waiting) await second.untilStatus(id, 'running')
      expect((await plane.stats()).spawned).toBe(3)
    },
  )
})
