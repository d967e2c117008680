import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Store } from '../../src/jobs/ports/store.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { openRedisStore } from '../../src/store/redis/store.ts'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import { startApp, type TestApp } from '../helpers/app.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { silentLog } from '../helpers/log.ts'
import { temporaryFolder } from '../helpers/media.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

const SPEECH_SECONDS = 10
const body = { video_path: 'face.mp4', audio_path: 'speech.wav' }

const admin = { id: 'key:admin', seesAll: true }

/** An app with a reader that knows the length of every speech, and the time 1,000,000. */
async function appOn(store?: Store, options: Parameters<typeof startApp>[0] = {}) {
  const media = {
    read: () => Promise.resolve({ media: { audio: { durationSeconds: SPEECH_SECONDS } } }),
    close: () => Promise.resolve(),
  }
  return startApp({ media, timeoutSeconds: 3_600, ...(store && { store }), ...options })
}

async function submit(app: TestApp) {
  const { job_id: id } = (await app.post('/jobs', body)).json<JobView>()
  return id
}

/** Takes a job through a run of so many ms. */
async function run(app: TestApp, runMs: number) {
  const id = await submit(app)
  await app.untilStatus(id, 'running')
  app.backend.end(`fc-${id}-1`, aSuccess, { runMs })
  await app.untilStatus(id, 'succeeded')
  await app.estimator.load()
  return id
}

async function startRun(app: TestApp, id: string) {
  await until(() => app.backend.waiting.has(`fc-${id}-1`), 'the call')
  app.backend.changeStage(`fc-${id}-1`, 'running')
}

const get = async (app: TestApp, id: string, etag?: string) => {
  const headers = etag === undefined ? {} : { 'if-none-match': etag }
  const response = await app.app.inject({ url: `/jobs/${id}`, headers })
  return { status: response.statusCode, etag: String(response.headers.etag), text: response.body }
}
const estimateIn = (text: string) => (JSON.parse(text) as JobView).estimated_finish_at
const dryRun = async (app: TestApp, change: object = {}) =>
  (await app.post('/jobs?dry_run=true', { ...body, ...change })).json<{ estimate?: object }>().estimate

describe('GET /batches/:id', () => {
  test('has the estimate of its last job, and none while nothing is known of that, as the start of jobs is paused', async () => {
    const app = await appOn(undefined, { maxConcurrentJobs: 1 })
    await run(app, 60_000)
    const { batch_id: batch, results } = (await app.post('/batches', { jobs: [body, body] })).json<{
      batch_id: string
      results: { job_id: string }[]
    }>()
    await app.untilStatus(results[0]!.job_id, 'running')
    await startRun(app, results[0]!.job_id)
    const estimate = async () => estimateIn((await app.get(`/batches/${batch}`)).body)
    await app.service.setPaused(true, admin)
    expect(await estimate()).toBeUndefined()
    await app.service.setPaused(false, admin)
    // An estimate is used for some seconds.
    app.clock.now += 10_000
    expect(await estimate()).toBe(new Date(1_120_000).toISOString())
    await app.close()
  })
})

describe('GET /jobs/:id', () => {
  test('has an estimate while the job is unfinished, and the same answer until it changes', async () => {
    const app = await appOn()
    const finished = await run(app, 60_000)
    expect(estimateIn((await get(app, finished)).text)).toBeUndefined()
    const id = await submit(app)
    await app.untilStatus(id, 'running')
    await startRun(app, id)
    const first = await get(app, id)
    expect(estimateIn(first.text)).toBe(new Date(1_060_000).toISOString())
    app.clock.now += 59_000
    expect((await get(app, id, first.etag)).status).toBe(304)
    // It takes longer than estimated.
    app.clock.now += 1_000
    const late = await get(app, id, first.etag)
    expect([late.status, estimateIn(late.text)]).toEqual([200, undefined])
    const page = (await app.get('/jobs')).json<{ jobs: JobView[] }>()
    expect(page.jobs.map(({ estimated_finish_at: at }) => at)).toEqual([undefined, undefined])
    await app.close()
  })

  test('has no estimate for a job without a call while the start of jobs is paused', async () => {
    const app = await appOn(undefined, { maxConcurrentJobs: 1 })
    await run(app, 60_000)
    const [first, waiting] = [await submit(app), await submit(app)]
    await app.untilStatus(first, 'running')
    await startRun(app, first)
    const estimates = async () => [estimateIn((await get(app, first)).text), estimateIn((await get(app, waiting)).text)]
    const known = [new Date(1_060_000).toISOString(), new Date(1_120_000).toISOString()]
    expect(await estimates()).toEqual(known)
    await app.service.setPaused(true, admin)
    expect(await estimates()).toEqual([known[0], undefined])
    await app.service.setPaused(false, admin)
    expect(await estimates()).toEqual(known)
    await app.close()
  })
})

describe('POST /jobs?dry_run=true', () => {
  test('has no estimate without recent runs, then what a run takes', async () => {
    const app = await appOn()
    expect(await dryRun(app)).toBeUndefined()
    await run(app, 25_500)
    expect(await dryRun(app)).toEqual({ run_seconds: 26, finish_at: new Date(1_026_000).toISOString() })
    expect(await dryRun(app, { version: 'v1' })).toBeUndefined()
    await app.close()
  })

  test('has only what a run takes while the start of jobs is paused', async () => {
    const app = await appOn(undefined, { maxConcurrentJobs: 1 })
    await run(app, 25_500)
    await app.service.setPaused(true, admin)
    expect(await dryRun(app)).toEqual({ run_seconds: 26 })
    await app.close()
  })

  test('counts the wait for a place, and the cost of the run', async () => {
    const price = { nanosPerSecond: 310_000n, currency: 'USD' }
    const app = await appOn(undefined, { maxConcurrentJobs: 1, price })
    await run(app, 60_000)
    const cost = { amount: '0.0186', currency: 'USD' }
    const free = { queued_seconds: 0, run_seconds: 60, finish_at: new Date(1_060_000).toISOString(), cost }
    expect(await dryRun(app)).toEqual(free)
    const first = await submit(app)
    await app.untilStatus(first, 'running')
    await startRun(app, first)
    const behindOne = { queued_seconds: 60, run_seconds: 60, finish_at: new Date(1_120_000).toISOString(), cost }
    expect(await dryRun(app)).toEqual(behindOne)
    await submit(app)
    expect(await dryRun(app)).toMatchObject({ queued_seconds: 120, finish_at: new Date(1_180_000).toISOString() })
    await app.close()
  })
})

async function estimateAfterRunElsewhere(open: () => Promise<Store>, areTogether: boolean) {
  const [one, first] = await Promise.all([open(), areTogether ? open() : undefined])
  const appOne = await appOn(one)
  await run(appOne, 40_000)
  await appOne.close()
  if (!areTogether) await one.close()
  const two = first ?? (await open())
  const appTwo = await appOn(two)
  await appTwo.estimator.load()
  const id = await submit(appTwo)
  await appTwo.untilStatus(id, 'running')
  const estimate = estimateIn((await get(appTwo, id)).text)
  await appTwo.close()
  await Promise.all([two.close(), areTogether && one.close()])
  return estimate
}

test('estimates go by the runs before a restart with SQLite', async () => {
  const path = join(await temporaryFolder(), 'jobs.db')
  const estimate = await estimateAfterRunElsewhere(() => createSqliteStore({ path }), false)
  expect(estimate).toBe(new Date(1_040_000).toISOString())
})

describeWithRedis('with Redis', (redis) => {
  test.each([
    ['before a restart', false],
    ['of another replica', true],
  ])('estimates go by the runs %s', async (_whose, areTogether) => {
    const prefix = redis.newPrefix()
    const open = () => openRedisStore({ url: redis.url(), prefix, log: silentLog() })
    expect(await estimateAfterRunElsewhere(open, areTogether)).toBe(new Date(1_040_000).toISOString())
  })
})
