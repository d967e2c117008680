import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { SAMPLE_MS } from '../../src/http/plugins/pressure.ts'
import { aBody, problemOf, shippedHttp, startApp, type TestApp } from '../helpers/app.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
afterEach(() => app.close())

/** Keeps the event loop busy for so long, with a round only every `stallMs`. */
async function stall(stallMs: number, forMs: number) {
  const end = performance.now() + forMs
  while (performance.now() < end) {
    // Without using the processor, which other tests need.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, stallMs)
    await sleep(0)
  }
}

test('a blocked event loop answers 503 until it runs again, except on the probes', async () => {
  app = await startApp({ http: { maxEventLoopDelayMs: 100 } })
  expect((await app.get('/jobs')).statusCode).toBe(200)
  await stall(300, 2 * SAMPLE_MS)

  for (const answer of [await app.get('/jobs'), await app.post('/jobs', aBody), await app.get('/nothing')]) {
    expect(problemOf(answer)).toMatchObject({ status: 503, code: 'overloaded' })
    expect(answer.headers).toMatchObject({ 'retry-after': '10', 'x-content-type-options': 'nosniff' })
  }
  for (const url of ['/healthz', '/readyz']) expect((await app.get(url)).statusCode).toBe(200)
  expect(app.requestLines.filter(({ event }) => event === 'server_overloaded')).toHaveLength(1)
  await until(async () => (await app.get('/jobs')).statusCode === 200, 'a server that has recovered')
})

test('stalls of some hundred ms, which many jobs cause, refuse no request', async () => {
  const { maxEventLoopDelayMs } = shippedHttp
  app = await startApp({ http: { maxEventLoopDelayMs } })
  await stall(400, 2 * SAMPLE_MS)
  expect((await app.get('/jobs')).statusCode).toBe(200)
})

test('without a limit nothing is refused, however late the loop runs', async () => {
  app = await startApp()
  await stall(SAMPLE_MS + 100, 3 * SAMPLE_MS)
  expect((await app.get('/jobs')).statusCode).toBe(200)
})

test('a nearly full heap answers 503', async () => {
  app = await startApp({ http: { maxOldGenerationBytes: 1 } })
  await until(async () => (await app.get('/jobs')).statusCode === 503, 'a refusal')
  expect((await app.get('/healthz')).statusCode).toBe(200)
})
