import { afterEach, describe, expect, test } from 'vitest'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { createCounter, createHistogram } from '../../src/metrics/instruments.ts'
import type { MetricEvent } from '../../src/jobs/ports/metrics.ts'
import { anyCaller, type Core, startCore } from '../helpers/core.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { createFakeSender } from '../helpers/fake-sender.ts'
import { countsOf, metricNamesOf, parseMetrics, someFacts } from '../helpers/metrics.ts'
import { until } from '../helpers/until.ts'

const create = () => createMetrics(someFacts)

const cores: Core[] = []
afterEach(async () => {
  for (const core of cores.splice(0)) await core.close()
})
async function start(options: Parameters<typeof startCore>[0] = {}) {
  const metrics = create()
  const core = await startCore({ recordMetric: metrics.record, ...options })
  cores.push(core)
  return { core, metrics, counts: () => countsOf(metrics) }
}

describe('counters and histograms', () => {
  test('count by label values, and export initial ones with 0', () => {
    const counter = createCounter([['a', 'b']])
    counter.add('a', 'c')
    counter.add('a', 'c')
    expect([...counter.rows()]).toEqual([
      { labels: ['a', 'b'], count: 0 },
      { labels: ['a', 'c'], count: 2 },
    ])
  })

  test('put a value into the first bucket whose bound is not below it', () => {
    const histogram = createHistogram([1, 2])
    for (const value of [0, 1, 1.5, 2, 2.1, 99]) histogram.observe(value)
    expect([...histogram.rows()]).toEqual([{ labels: [], counts: [2, 2, 2], sum: 105.6 }])
  })
})

describe('the rendered text', () => {
  test('has every metric once, with its help and type, before anything has happened', async () => {
    const text = await create().render()
    const names = metricNamesOf(text)
    expect(new Set(names).size).toBe(names.length)
    expect(names).toEqual(expect.arrayContaining(['musetalk_jobs_ended_total', 'process_cpu_seconds_total']))
    const series = parseMetrics(text)
    expect(series.get('musetalk_jobs_ended_total{state="failed",error_code="lost"}')).toBe(0)
    expect(series.get('musetalk_build_info{version="1.2.3",backend="modal",store="memory"}')).toBe(1)
  })

  test('names no gauge like a counter, those of the process included', async () => {
    const text = await create().render()
    const gauges = [...text.matchAll(/^# TYPE (\S+) gauge$/gm)].map(([, name]) => name)
    expect(gauges).toEqual(expect.arrayContaining(['musetalk_store_up', 'nodejs_active_handles']))
    expect(gauges.filter((name) => /_(total|count|sum|bucket)$/.test(name!))).toEqual([])
  })

  test('follows the conventions: a prefix, base units, counters that end in _total', async () => {
    const text = await create().render()
    const types = [...text.matchAll(/^# TYPE (musetalk_\S+) (\S+)$/gm)]
    expect(types.length).toBeGreaterThan(20)
    for (const [, name, type] of types) {
      if (type === 'counter') expect(name).toMatch(/_total$/)
      else if (type === 'histogram') expect(name).toMatch(/_seconds$/)
      else expect(name).not.toMatch(/_(total|ms|milliseconds)$/)
    }
    // A label must not select the unit: each limit is a metric of its own.
    expect(
      [...parseMetrics(text).keys()].filter((series) => /^musetalk_.*[{,](limit|type|unit)="/.test(series)),
    ).toEqual([])
  })

  test('shows no limit as infinity, so that a share of it is 0', async () => {
    const series = parseMetrics(await create().render())
    expect(series.get('musetalk_max_queued_jobs')).toBe(7)
    expect(series.get('musetalk_max_http_connections')).toBe(Infinity)
  })

  test('has cumulative buckets, as the format requires', async () => {
    const metrics = create()
    const took = (waitedMs: number): MetricEvent => ({ type: 'poll-turn-started', waitedMs })
    for (const ms of [4, 40, 400, 400_000]) metrics.record(took(ms))
    const series = parseMetrics(await metrics.render())
    const bucket = (le: string) => series.get(`musetalk_modal_turn_wait_seconds_bucket{le="${le}"}`)
    expect(['0.005', '0.05', '0.5', '60', '+Inf'].map(bucket)).toEqual([1, 2, 3, 3, 4])
    expect(series.get('musetalk_modal_turn_wait_seconds_count')).toBe(4)
    expect(series.get('musetalk_modal_turn_wait_seconds_sum')).toBeCloseTo(400.444)
  })

  test('leaves out times of Modal that are not numbers', async () => {
    const metrics = create()
    metrics.record({ type: 'call-finished', ranMs: Infinity, lateMs: NaN })
    metrics.record({ type: 'call-finished', ranMs: undefined, lateMs: undefined })
    metrics.record({ type: 'call-finished', ranMs: 2_000, lateMs: -1 })
    expect(await countsOf(metrics)).toEqual({
      musetalk_modal_run_seconds_sum: 2,
      musetalk_modal_run_seconds_count: 1,
      musetalk_modal_end_to_notice_seconds_count: 1,
    })
  })

  test('is rendered once for concurrent scrapes, and again for a later one', async () => {
    const metrics = create()
    let readings = 0
    metrics.registerGauges({ jobs_waiting: () => Promise.resolve(++readings) })
    const texts = await Promise.all([metrics.render(), metrics.render(), metrics.render()])
    expect(new Set(texts).size).toBe(1)
    expect(await countsOf(metrics)).toMatchObject({ musetalk_jobs_waiting: 2 })
  })

  test('leaves out gauges that cannot be read, and has the rest', async () => {
    const metrics = create()
    const away = () => Promise.reject(new Error('the store is away'))
    const broken = () => {
      throw new Error('a defect')
    }
    metrics.registerGauges({ jobs_waiting: away, modal_polls_open: broken, jobs_in_flight: () => 3 })
    const series = parseMetrics(await metrics.render())
    expect([...series.keys()].filter((name) => /jobs_waiting|polls_open/.test(name))).toEqual([])
    expect(series.get('musetalk_jobs_in_flight')).toBe(3)
  })

  test('has the CPU time of the process since its start, not since the first scrape', async () => {
    const usedSeconds = () => (process.cpuUsage().user + process.cpuUsage().system) / 1e6
    const before = usedSeconds()
    const cpuSeconds = parseMetrics(await create().render()).get('process_cpu_seconds_total')
    expect(cpuSeconds).toBeGreaterThanOrEqual(before)
    expect(cpuSeconds).toBeLessThanOrEqual(usedSeconds())
  })
})

describe('jobs', () => {
  test('are counted from submit to finish, with the duration of each phase', async () => {
    const { core, counts } = await start()
    const spawning = Promise.withResolvers<undefined>()
    const { spawnWith } = core.backend
    core.backend.spawnWith = async (request) => (await spawning.promise, spawnWith(request))
    const { id } = await core.submit()
    core.clock.now += 2_000
    spawning.resolve(undefined)
    await core.untilStatus(id, 'running')
    core.clock.now += 30_000
    core.backend.end(`fc-${id}-1`, aSuccess)
    await core.untilStatus(id, 'succeeded')
    expect(await counts()).toEqual({
      musetalk_jobs_submitted_total: 1,
      musetalk_job_submit_to_spawn_seconds_sum: 2,
      musetalk_job_submit_to_spawn_seconds_count: 1,
      'musetalk_jobs_ended_total{state="succeeded",error_code=""}': 1,
      'musetalk_job_spawn_to_end_seconds_sum{state="succeeded"}': 30,
      'musetalk_job_spawn_to_end_seconds_count{state="succeeded"}': 1,
    })
  })

  test('that fail are counted by error code; a retry is timed on its own', async () => {
    const { core, counts } = await start()
    const { id } = await core.submit()
    await core.untilStatus(id, 'running')
    core.backend.end(`fc-${id}-1`, { kind: 'failed', code: 'invalid_output', error: 'no path' })
    await core.untilStatus(id, 'failed')
    core.clock.now += 50_000
    await core.service.retry(id, anyCaller)
    await core.untilStatus(id, 'running')
    await core.service.cancel(id, anyCaller)
    expect(await counts()).toMatchObject({
      musetalk_jobs_submitted_total: 1,
      musetalk_jobs_retried_total: 1,
      musetalk_job_submit_to_spawn_seconds_count: 2,
      'musetalk_jobs_ended_total{state="failed",error_code="invalid_output"}': 1,
      'musetalk_jobs_ended_total{state="canceled",error_code=""}': 1,
    })
    expect(await counts()).not.toHaveProperty('musetalk_job_submit_to_spawn_seconds_sum')
  })

  test('that are interrupted count one interruption and one submit to spawn; their run time is that of the last attempt', async () => {
    const { core, counts } = await start()
    const { id } = await core.submit()
    await core.untilStatus(id, 'running')
    core.clock.now += 100_000
    core.backend.end(`fc-${id}-1`, { kind: 'interrupted', error: 'preempted' })
    await core.untilJob(id, ({ attempts }) => attempts[1]?.callId !== undefined, 'in its second attempt')
    core.clock.now += 3_000
    core.backend.end(`fc-${id}-2`, { kind: 'interrupted', error: 'preempted' })
    await core.untilStatus(id, 'failed')
    expect(await counts()).toEqual({
      musetalk_jobs_submitted_total: 1,
      musetalk_attempts_interrupted_total: 2,
      musetalk_job_submit_to_spawn_seconds_count: 1,
      'musetalk_jobs_ended_total{state="failed",error_code="backend_unavailable"}': 1,
      'musetalk_job_spawn_to_end_seconds_sum{state="failed"}': 3,
      'musetalk_job_spawn_to_end_seconds_count{state="failed"}': 1,
    })
  })

  test('submitted again with the same idempotency key count once', async () => {
    const { core, counts } = await start({ running: false })
    await core.submit({ idempotencyKey: 'one' })
    await core.submit({ idempotencyKey: 'one' })
    expect(await counts()).toEqual({ musetalk_jobs_submitted_total: 1 })
  })

  test('that several processes work on are counted once in total', async () => {
    const store = createMemoryStore()
    const replicas = [await start({ store, running: false }), await start({ store, running: false })]
    const jobs = await Promise.all(Array.from({ length: 20 }, (_, n) => replicas[n % 2]!.core.submit()))
    const cancelBy = (replica: (typeof replicas)[number]) =>
      jobs.map(({ id }) => replica.core.service.cancel(id, anyCaller))
    await Promise.all(replicas.flatMap(cancelBy))
    const counted = await Promise.all(replicas.map(({ counts }) => counts()))
    const sum = (name: string) => counted.reduce((total, counts) => total + (counts[name] ?? 0), 0)
    expect(sum('musetalk_jobs_submitted_total')).toBe(20)
    expect(sum('musetalk_jobs_ended_total{state="canceled",error_code=""}')).toBe(20)
  })
})

describe('webhooks', () => {
  const deliver = async (answer: { status?: number; error?: string }) => {
    const sender = Object.assign(createFakeSender(), { answerWith: () => Promise.resolve(answer) })
    const scene = await start({ sender })
    const { core } = scene
    const { id } = await core.submit({ webhookUrl: 'https://hooks.example/a' })
    await core.service.cancel(id, anyCaller)
    await until(async () => (await core.store.deliveriesOf(id))[0]?.tries[0]?.durationMs !== undefined)
    return { ...scene, id }
  }

  test.each([
    ['2xx', 'delivered', { status: 204 }],
    ['3xx', undefined, { status: 302 }],
    ['4xx', 'failed', { status: 410 }],
    ['5xx', undefined, { status: 503 }],
    ['other', undefined, { status: 999 }],
    ['none', undefined, { error: 'refused' }],
  ])('count their delivery attempts by outcome: %s', async (outcome, end, answer) => {
    const { counts } = await deliver(answer)
    await until(async () => (await counts())[`musetalk_webhook_tries_total{outcome="${outcome}"}`] === 1)
    const found = Object.keys(await counts()).filter((name) => name.includes('webhooks_ended'))
    expect(found).toEqual(end ? [`musetalk_webhooks_ended_total{state="${end}"}`] : [])
  })

  test('that are redelivered count as finished once', async () => {
    const { core, counts, id } = await deliver({ status: 200 })
    await until(async () => (await counts())['musetalk_webhooks_ended_total{state="delivered"}'] === 1)
    await core.ledger.redeliver(id, 1, anyCaller)
    await until(async () => (await counts())['musetalk_webhook_tries_total{outcome="2xx"}'] === 2)
    expect(await counts()).toMatchObject({ 'musetalk_webhooks_ended_total{state="delivered"}': 1 })
  })
})
