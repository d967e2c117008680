import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { LATE_PROBES, PROBE_MS } from '../../src/http/plugins/refusals.ts'
import { aBody, problemOf, shippedHttp, startApp, type TestApp } from '../helpers/app.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
afterEach(() => app.close())

const statusOfJobs = async () => (await app.get('/jobs')).statusCode

test('a blocked event loop answers 503 until it is free', async () => {
  app = await startApp({ http: { maxEventLoopDelayMs: 50 } })
  expect(await statusOfJobs()).toBe(200)
  for (let n = 0; n < LATE_PROBES; n++) {
    // Without using the processor, which other tests need.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3 * PROBE_MS)
    await sleep(0)
  }
  expect(await statusOfJobs()).toBe(503)
  await until(async () => (await statusOfJobs()) === 200, 'a server that has recovered')
})

describe('an event loop', () => {
  let nowMs = 0
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
  })
  afterEach(() => {
    vi.restoreAllMocks()
    vi.useRealTimers()
  })

  /** Lets so many probes run, each so late, in ms. */
  function probe(lateMs: number, times: number) {
    for (let n = 0; n < times; n++) {
      nowMs += PROBE_MS + lateMs
      vi.advanceTimersByTime(PROBE_MS)
    }
  }

  test('that makes every request wait answers 503 until it no longer does, except on the probes', async () => {
    app = await startApp({ http: { maxEventLoopDelayMs: 100 } })
    probe(1_400, LATE_PROBES)

    for (const answer of await Promise.all([app.get('/jobs'), app.post('/jobs', aBody), app.get('/nothing')])) {
      expect(problemOf(answer)).toMatchObject({ status: 503, code: 'overloaded' })
      expect(answer.headers).toMatchObject({ 'retry-after': '2', 'x-content-type-options': 'nosniff' })
    }
    for (const url of ['/healthz', '/readyz']) expect((await app.get(url)).statusCode).toBe(200)
    expect(app.requestLines.filter(({ event }) => event === 'server_overloaded')).toHaveLength(1)
    probe(100, 1)
    expect(await statusOfJobs()).toBe(200)
  })

  test('that stalls for some hundred ms, which many jobs cause, refuses no request', async () => {
    const { maxEventLoopDelayMs } = shippedHttp
    app = await startApp({ http: { maxEventLoopDelayMs } })
    probe(400, 2 * LATE_PROBES)
    expect(await statusOfJobs()).toBe(200)
  })

  test('with one stall fewer than overload, however long, refuses no request', async () => {
    app = await startApp({ http: { maxEventLoopDelayMs: 100 } })
    probe(60_000, LATE_PROBES - 1)
    expect(await statusOfJobs()).toBe(200)
    probe(101, 1)
    expect(await statusOfJobs()).toBe(503)
  })

  test('that stalls, and answers requests at once in between, refuses none', async () => {
    app = await startApp({ http: { maxEventLoopDelayMs: 100 } })
    for (let n = 0; n < LATE_PROBES; n++) {
      probe(60_000, LATE_PROBES - 1)
      probe(0, 1)
      expect(await statusOfJobs()).toBe(200)
    }
  })

  test('without a limit refuses nothing, however late it is', async () => {
    app = await startApp()
    probe(60_000, 2 * LATE_PROBES)
    expect(await statusOfJobs()).toBe(200)
  })
})

test('a nearly full heap answers 503', async () => {
  app = await startApp({ http: { maxOldGenerationBytes: 1 } })
  await until(async () => (await app.get('/jobs')).statusCode === 503, 'a refusal')
  expect((await app.get('/healthz')).statusCode).toBe(200)
})
