import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunTimes } from '../../src/jobs/job.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { until } from '../helpers/until.ts'

type Sums = {
  group?: string
  jobs: number
  attempts: number
  queued_seconds: number
  startup_seconds: number
  run_seconds: number
  costs: { amount: string; currency: string }[]
}
type Report = { from: string; to: string; groups: Sums[]; total: Sums }

const price = { nanosPerSecond: 164_000n, currency: 'USD' }
const NOTHING = { jobs: 0, attempts: 0, queued_seconds: 0, startup_seconds: 0, run_seconds: 0, costs: [] }

function ask(app: TestApp, caller?: string) {
  const get = (url: string) => app.app.inject({ method: 'GET', url, headers: as(caller) })
  return {
    get,
    report: async (query = '') => (await get(`/usage${query}`)).json<Report>(),
    async run(times: RunTimes, body: object = {}) {
      const { job_id: id } = (await app.post('/jobs', { ...aBody, ...body }, as(caller))).json<JobView>()
      const { attempts } = await app.untilStatus(id, 'running')
      app.backend.end(attempts[0]?.callId ?? '', aSuccess, times)
      await app.untilStatus(id, 'succeeded')
      return id
    },
  }
}

describe('GET /usage', () => {
  let app: TestApp
  beforeAll(async () => {
    app = await startApp({ price, authenticator: knownCallers, http: { limits: { read: 0, submit: 0 } } })
    app.clock.now = Date.parse('2026-01-30T23:00:00Z')
    await ask(app, 'alice').run({ queuedMs: 100, startupMs: 8_000, runMs: 10_000 }, { metadata: { scene: '12' } })
    await ask(app, 'bob').run({ queuedMs: 0, runMs: 30_000 })
    app.clock.now = Date.parse('2026-01-31T01:00:00Z')
    const id = await ask(app, 'alice').run({ runMs: 20_500 }, { metadata: { scene: '12', take: 'a' } })
    await app.app.inject({ method: 'DELETE', url: `/jobs/${id}`, headers: as('alice') })
    const { job_id: canceled } = (await app.post('/jobs', aBody, as('alice'))).json<JobView>()
    await app.untilStatus(canceled, 'running')
    await app.post(`/jobs/${canceled}/cancel`, undefined, as('alice'))
  })
  afterAll(() => app.close())

  test('has the sums of each day, also of a job that is removed', async () => {
    expect(await ask(app, 'alice').report()).toEqual({
      from: '2026-01-02',
      to: '2026-01-31',
      groups: [
        {
          group: '2026-01-30',
          ...{ jobs: 1, attempts: 1, queued_seconds: 0.1, startup_seconds: 8, run_seconds: 10 },
          costs: [{ amount: '0.00164', currency: 'USD' }],
        },
        {
          group: '2026-01-31',
          ...{ jobs: 2, attempts: 2, queued_seconds: 0, startup_seconds: 0, run_seconds: 20.5 },
          costs: [{ amount: '0.003362', currency: 'USD' }],
        },
      ],
      total: {
        ...{ jobs: 3, attempts: 3, queued_seconds: 0.1, startup_seconds: 8, run_seconds: 30.5 },
        costs: [{ amount: '0.005002', currency: 'USD' }],
      },
    })
  })

  test.each([
    ['caller', ['key:alice 30.5']],
    ['status', ['succeeded 30.5', 'canceled 0']],
    ['metadata.scene', ['12 30.5', 'undefined 0']],
    ['metadata.take', ['a 20.5', 'undefined 10']],
    ['metadata.none', ['undefined 30.5']],
  ])('grouped by %s has the group with the longest runs first, and the rest last', async (groupBy, expected) => {
    const { groups, total } = await ask(app, 'alice').report(`?group_by=${groupBy}`)
    expect(groups.map(({ group, run_seconds: seconds }) => `${group} ${seconds}`)).toEqual(expected)
    expect(total).toMatchObject({ jobs: 3, run_seconds: 30.5 })
  })

  test('of an administrator is about all callers, and can be about one', async () => {
    const { groups, total } = await ask(app, 'root').report('?group_by=caller')
    expect(groups.map(({ group, jobs }) => `${group} ${jobs}`)).toEqual(['key:alice 3', 'key:bob 1'])
    expect(total.run_seconds).toBe(60.5)
    expect((await ask(app, 'root').report('?caller=key:bob')).total.run_seconds).toBe(30)
    expect(problemOf(await ask(app, 'alice').get('/usage?caller=key:bob'))).toMatchObject({ status: 403 })
  })

  test('covers the days that are asked for, both included', async () => {
    const totalOf = async (query: string) => (await ask(app, 'alice').report(query)).total.attempts
    expect(await totalOf('?from=2026-01-31&to=2026-01-31')).toBe(2)
    expect(await totalOf('?to=2026-01-30')).toBe(1)
    expect(await totalOf('?from=2025-01-01')).toBe(3)
    expect(await ask(app, 'alice').report('?from=2026-02-01&to=2026-02-02')).toEqual({
      from: '2026-02-01',
      to: '2026-02-02',
      groups: [],
      total: NOTHING,
    })
  })

  test.each([
    ['?from=2026-1-1', '/from'],
    ['?to=2026-02-30', '/to'],
    ['?from=2026-01-31&to=2026-01-30', '/from'],
    ['?from=2024-01-01', '/from'],
    ['?group_by=hour', '/group_by'],
    ['?group_by=metadata.', '/group_by'],
    ['?group_by=metadata', '/group_by'],
    ['?limit=1', '/limit'],
  ])('refuses %s', async (query, path) => {
    expect(problemOf(await ask(app, 'alice').get(`/usage${query}`))).toMatchObject({ status: 400, paths: [path] })
  })

  test('is answered 304 while it has not changed', async () => {
    const { headers } = await ask(app, 'alice').get('/usage')
    const again = { ...as('alice'), 'if-none-match': String(headers.etag) }
    expect((await app.app.inject({ method: 'GET', url: '/usage', headers: again })).statusCode).toBe(304)
  })
})

test('a job shows what each attempt used and cost, and the sums', async () => {
  const app = await startApp({ price })
  try {
    const { job_id: id } = (await app.post('/jobs', aBody)).json<JobView>()
    const callOf = async (attempt: number) =>
      (await app.untilJob(id, ({ attempts }) => attempts[attempt - 1]?.callId !== undefined, 'a call')).attempts
    const [first] = await callOf(1)
    app.backend.end(first?.callId ?? '', { kind: 'interrupted', error: 'preempted' }, { queuedMs: 1, runMs: 2_000 })
    const second = (await callOf(2))[1]
    app.backend.end(second?.callId ?? '', aSuccess, { queuedMs: 2, startupMs: 3, runMs: 4_000 })
    await app.untilStatus(id, 'succeeded')
    expect((await app.get(`/jobs/${id}`)).json()).toMatchObject({
      usage: { queued_seconds: 0.003, startup_seconds: 0.003, run_seconds: 6 },
      cost: { amount: '0.000984', currency: 'USD' },
      attempts: [
        { usage: { queued_seconds: 0.001, run_seconds: 2 }, cost: { amount: '0.000328', currency: 'USD' } },
        { usage: { queued_seconds: 0.002, startup_seconds: 0.003, run_seconds: 4 }, cost: { amount: '0.000656' } },
      ],
    })
    const { body } = await app.get('/metrics')
    expect(body).toContain('musetalk_run_seconds_total{outcome="interrupted"} 2\n')
    expect(body).toContain('musetalk_run_seconds_total{outcome="succeeded"} 4\n')
    expect(body).toMatch(/musetalk_cost_total\{currency="USD"\} 0\.00098\d*\n/)
  } finally {
    await app.close()
  }
})

test('a canceled run counts from its start, which is asked for where there is a price', async () => {
  const app = await startApp({ price })
  try {
    const { job_id: id } = (await app.post('/jobs', aBody)).json<JobView>()
    const { attempts } = await app.untilStatus(id, 'running')
    const callId = attempts[0]?.callId ?? ''
    expect(app.backend.subscriberOf(callId)?.isNeeded).toBe(true)
    app.clock.now += 1_000
    app.backend.startRun(callId, app.clock.now)
    await app.untilJob(id, (job) => job.attempts[0]?.runStartedAt !== undefined, 'a start')
    app.clock.now += 5_000
    await app.post(`/jobs/${id}/cancel`)
    expect((await app.get(`/jobs/${id}`)).json()).toMatchObject({
      usage: { queued_seconds: 1, run_seconds: 5 },
      cost: { amount: '0.00082', currency: 'USD' },
    })
  } finally {
    await app.close()
  }
})

test('a canceled run counts without a price too, from its start as the backend shows it', async () => {
  const app = await startApp()
  try {
    const submit = async () => {
      const { job_id: id } = (await app.post('/jobs', aBody)).json<JobView>()
      return { id, callId: (await app.untilStatus(id, 'running')).attempts[0]?.callId ?? '' }
    }
    const [run, waiting] = [await submit(), await submit()]
    await until(() => app.backend.waiting.has(run.callId) && app.backend.waiting.has(waiting.callId), 'the calls')
    expect(app.backend.subscriberOf(run.callId)?.isNeeded).toBe(false)
    app.clock.now += 1_000
    app.backend.changeStage(run.callId, 'running')
    app.backend.changeStage(waiting.callId, 'starting')
    app.clock.now += 5_000
    const cancel = async ({ id }: { id: string }) => (await app.post(`/jobs/${id}/cancel`)).json<JobView>()
    expect(await cancel(run)).toMatchObject({ usage: { queued_seconds: 1, run_seconds: 5 } })
    expect(await cancel(waiting)).not.toHaveProperty('usage')
    expect(await ask(app).report('')).toMatchObject({ total: { attempts: 2, queued_seconds: 1, run_seconds: 5 } })
  } finally {
    await app.close()
  }
})

test('an expired run counts until its expiry, however late the server notices it', async () => {
  const app = await startApp({ price, runTimeoutSeconds: 10 })
  try {
    const { job_id: id } = (await app.post('/jobs', aBody)).json<JobView>()
    const { attempts } = await app.untilStatus(id, 'running')
    app.backend.startRun(attempts[0]?.callId ?? '', app.clock.now)
    await app.untilJob(id, (job) => job.attempts[0]?.runStartedAt !== undefined, 'a start')
    app.clock.now += 3_600_000
    await app.reconciler.expireOverdue()
    expect((await app.get(`/jobs/${id}`)).json()).toMatchObject({ status: 'failed', usage: { run_seconds: 10 } })
  } finally {
    await app.close()
  }
})

test('old days are removed after their retention', async () => {
  const app = await startApp({ usageRetentionDays: 2 })
  try {
    app.clock.now = Date.parse('2026-01-30T12:00:00Z')
    await ask(app).run({ runMs: 1_000 })
    const attempts = async () => (await ask(app).report('?from=2026-01-30&to=2026-01-30')).total.attempts
    app.clock.now = Date.parse('2026-02-01T23:59:59Z')
    await app.reconciler.removeOldUsage()
    expect(await attempts()).toBe(1)
    app.clock.now = Date.parse('2026-02-02T00:00:00Z')
    await app.reconciler.removeOldUsage()
    expect(await attempts()).toBe(0)
  } finally {
    await app.close()
  }
})
