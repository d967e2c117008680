import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createRedisCounter } from '../../src/counters/redis.ts'
import { createRedisReservations } from '../../src/counters/redis-reservations.ts'
import { createMemoryReservations } from '../../src/counters/reservations.ts'
import { type Count, createWindows } from '../../src/lib/limits.ts'
import type { Counter, Reservations } from '../../src/jobs/ports/access.ts'
import { problemOf, startApp } from '../helpers/app.ts'
import { silentLog } from '../helpers/log.ts'
import { noRedisServer, startRedis, type TestRedis } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

if (noRedisServer !== undefined) process.stderr.write(`counters in Redis are not tested: ${noRedisServer}\n`)

describe.skipIf(noRedisServer !== undefined)('a counter in Redis', () => {
  let redis: TestRedis
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.close())

  const open = (prefix: string = randomUUID()) => {
    const counter = createRedisCounter({ url: redis.url, prefix, log: silentLog() })
    onTestFinished(() => counter.close())
    return counter
  }

  test('counts for all replicas, per key, until the window ends', async () => {
    const [a, b] = [open('shared'), open('shared')]
    expect(await a.count('x', 60_000)).toEqual({ current: 1, ttlMs: 60_000 })
    const second = await b.count('x', 60_000)
    expect(second.current).toBe(2)
    expect(second.ttlMs).toBeLessThanOrEqual(60_000)
    expect((await b.count('y', 20)).current).toBe(1)
    expect((await open('other').count('x', 60_000)).current).toBe(1)
    await until(async () => (await b.count('y', 20)).current === 1, 'a new window')
  })

  test('counts many at once, which prolong the window if they are beyond a limit, as in memory', async () => {
    const memory = createWindows(10, () => 0)
    const steps = async (count: (...counted: Parameters<Counter['count']>) => Count | Promise<Count>) => [
      await count('x', 60_000, { amount: 8, max: 10 }),
      await count('x', 60_000, { amount: 0 }),
      await count('x', 60_000, { amount: 7, max: 10 }),
      await count('x', 60_000),
      await count('x', 60_000, { amount: 4, max: 10 }),
      await count('y', 60_000, { amount: 25, max: 10 }),
    ]
    const expected = await steps(memory.count)
    expect(expected.map(({ current, ttlMs }) => [current, ttlMs / 1000])).toEqual([
      ...[
        [8, 60],
        [8, 60],
        [15, 90],
        [16, 90],
        [20, 114],
        [25, 150],
      ],
    ])
    for (const [n, { current, ttlMs }] of (await steps(open().count)).entries()) {
      expect(current).toBe(expected[n]?.current)
      // Redis's own clock goes on.
      expect(ttlMs).toBeLessThanOrEqual(expected[n]?.ttlMs ?? 0)
      expect(ttlMs).toBeGreaterThan((expected[n]?.ttlMs ?? 0) - 6_000)
    }
  })

  test('what callers reserve is the same in Redis, for all replicas, as in memory', async () => {
    const [prefix, limits] = [randomUUID(), { count: 3, bytes: 100 }]
    const openReservations = () => createRedisReservations({ url: redis.url, prefix, log: silentLog() })
    const [a, b, memory] = [openReservations(), openReservations(), createMemoryReservations()]
    onTestFinished(() => a.close())
    onTestFinished(() => b.close())
    const now = Date.now()
    const one = (id: string, bytes: number, expiresAt = now + 60_000) => ({ id, bytes, expiresAt })
    const steps = async (first: Reservations, second: Reservations) => [
      await first.reserve('x', one('1', 60), limits, now),
      await second.reserve('x', one('2', 50), limits, now),
      await second.reserve('x', one('3', 40, now + 1000), limits, now),
      await first.reserve('x', one('4', 1), limits, now),
      await first.reserve('y', one('4', 100), limits, now),
      await first.reserve('x', one('5', 40), limits, now + 1001),
      await second.release('x', '1').then(() => 'released'),
      await second.release('x', '1').then(() => 'released'),
      await first.reserve('x', one('6', 60), limits, now + 1001),
      await second.reserve('x', one('7', 0), limits, now + 1001),
      await second.reserve('x', one('8', 0), limits, now + 1001),
    ]
    const expected = [true, false, true, false, true, true, 'released', 'released', true, true, false]
    expect(await steps(memory, memory)).toEqual(expected)
    expect(await steps(a, b)).toEqual(expected)
  })

  test('limits a caller across all replicas', async () => {
    const prefix = randomUUID()
    const start = async () => {
      const app = await startApp({ counter: open(prefix), http: { limits: { submit: 2, read: 3 } } })
      onTestFinished(() => app.close())
      return app
    }
    const [a, b] = [await start(), await start()]
    const remaining = [await a.get('/jobs'), await b.get('/jobs'), await a.get('/jobs')].map(
      ({ headers }) => headers['ratelimit-remaining'],
    )
    expect(remaining).toEqual(['2', '1', '0'])
    const refused = await b.get('/jobs')
    expect(problemOf(refused)).toMatchObject({ status: 429, code: 'rate_limited' })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    expect((await b.get('/healthz')).statusCode).toBe(200)
  })

  test('that is unavailable rejects soon, and requests answer 503 with Retry-After until it is back', async () => {
    const own = await startRedis()
    onTestFinished(() => own.close())
    const counter = createRedisCounter({ url: own.url, prefix: 'p', log: silentLog() })
    onTestFinished(() => counter.close())
    const app = await startApp({ counter, http: { limits: { submit: 100, read: 100 } } })
    onTestFinished(() => app.close())
    expect((await app.get('/jobs')).statusCode).toBe(200)
    await own.kill()
    await expect(counter.count('x', 1000)).rejects.toMatchObject({ code: 'store_unavailable' })
    const refused = await app.get('/jobs')
    expect(problemOf(refused)).toMatchObject({ status: 503, code: 'store_unavailable' })
    expect(refused.headers).toHaveProperty('retry-after')
    await own.restart()
    await until(async () => (await app.get('/jobs')).statusCode === 200, 'an answer')
  })
})
