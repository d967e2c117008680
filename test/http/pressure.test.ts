import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { LATE_PROBES, PROBE_MS } from '../../src/http/plugins/refusals.ts'
import { aBody, problemOf, shippedHttp, startApp, type TestApp } from '../helpers/app.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
afterEach(() => app.close())

/** Blocks the event loop so often, each time for `stallMs`, with a single turn between. */
async function stall(stallMs: number, times: number) {
  for (let n = 0; n < times; n++) {
    // Without using the processor, which other tests need.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, stallMs)
    await sleep(0)
  }
}

test('an event loop that makes every request wait answers 503 until it no longer does, except on the probes', async () => {
  app = await startApp({ http: { maxEventLoopDelayMs: 100 } })
  expect((await app.get('/jobs')).statusCode).toBe(200)
  await stall(1_400, LATE_PROBES + 1)

  for (const answer of await Promise.all([app.get('/jobs'), app.post('/jobs', aBody), app.get('/nothing')])) {
    expect(problemOf(answer)).toMatchObject({ status: 503, code: 'overloaded' })
    expect(answer.headers).toMatchObject({ 'retry-after': '2', 'x-content-type-options': 'nosniff' })
  }
  for (const url of ['/healthz', '/readyz']) expect((await app.get(url)).statusCode).toBe(200)
  expect(app.requestLines.filter(({ event }) => event === 'server_overloaded')).toHaveLength(1)
  await until(async () => (await app.get('/jobs')).statusCode === 200, 'a server that has recovered')
})

test('stalls of some hundred ms, which many jobs cause, refuse no request', async () => {
  const { maxEventLoopDelayMs } = shippedHttp
  app = await startApp({ http: { maxEventLoopDelayMs } })
  await stall(400, 2 * LATE_PROBES)
  expect((await app.get('/jobs')).statusCode).toBe(200)
})

test.each([
  ['a single stall', LATE_PROBES - 2],
  ['one stall fewer than overload', LATE_PROBES - 1],
])('%s, however long, refuses no request', async (_name, times) => {
  app = await startApp({ http: { maxEventLoopDelayMs: 100 } })
  await sleep(PROBE_MS)
  await stall(1_200, times)
  expect((await app.get('/jobs')).statusCode).toBe(200)
})

test('stalls between which requests are answered at once refuse none', async () => {
  app = await startApp({ http: { maxEventLoopDelayMs: 100 } })
  for (let n = 0; n < 2 * LATE_PROBES; n++) {
    await stall(400, 1)
    await sleep(3 * PROBE_MS)
    expect((await app.get('/jobs')).statusCode).toBe(200)
  }
})

test('without a limit nothing is refused, however late the loop runs', async () => {
  app = await startApp()
  await stall(1_100, LATE_PROBES + 1)
  expect((await app.get('/jobs')).statusCode).toBe(200)
})

test('a nearly full heap answers 503', async () => {
  app = await startApp({ http: { maxOldGenerationBytes: 1 } })
  await until(async () => (await app.get('/jobs')).statusCode === 503, 'a refusal')
  expect((await app.get('/healthz')).statusCode).toBe(200)
})
