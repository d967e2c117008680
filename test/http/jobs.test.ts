import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { field, FORM_TYPE, formOf } from '../helpers/uploads.ts'
import type { JobView } from '../../src/jobs/view.ts'

let app: TestApp
beforeAll(async () => {
  app = await startApp()
})
afterAll(() => app.close())

const submit = async (body: object = aBody) => (await app.post('/jobs', body)).json<JobView>()
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

async function submitAndEnd(outcome: Parameters<TestApp['backend']['end']>[1]) {
  const { job_id: id } = await submit()
  await app.untilStatus(id, 'running')
  app.backend.end(`fc-${id}-1`, outcome)
  await app.untilStatus(id, outcome.kind === 'succeeded' ? 'succeeded' : 'failed')
  return id
}

describe('POST /jobs', () => {
  test('answers 202 with the job, its queue position and its links', async () => {
    const response = await app.post('/jobs', { ...aBody, metadata: { team: 'dubbing', 'a b': '' } })
    expect(response.statusCode).toBe(202)
    const job = response.json<JobView>()
    expect(response.headers.location).toBe(`/jobs/${job.job_id}`)
    expect(job).toEqual({
      job_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      status: 'submitted',
      version: 'v15',
      backend: 'modal',
      revision: 1,
      input: aBody,
      metadata: { team: 'dubbing', 'a b': '' },
      created_at: expect.stringMatching(RFC3339) as string,
      deadline_at: expect.stringMatching(RFC3339) as string,
      attempts: [{ attempt: 1 }],
      links: {
        self: `/jobs/${job.job_id}`,
        result: `/jobs/${job.job_id}/result`,
        output: `/jobs/${job.job_id}/output`,
        events: `/jobs/${job.job_id}/events`,
        logs: `/jobs/${job.job_id}/logs`,
        cancel: `/jobs/${job.job_id}/cancel`,
      },
    })
  })

  test.each([
    { video_url: 'https://a.example/face.mp4', audio_url: 'https://a.example/speech.wav' },
    { image_url: 'https://a.example/face.png', audio_url: 'http://a.example/speech.wav?token=x', version: 'v1' },
    { video_path: 'data/video/yongen.mp4', audio_path: 'data/audio/yongen.wav', version: 'v15' },
    { image_url: 'https://a.example/face.png', audio_path: 'Ünïcode spaced name.wav' },
  ])('takes the body shape of the original: %j', async (body) => {
    const { job_id: id, input, version } = await submit(body)
    const { version: asked = 'v15', ...sent } = body
    expect({ input, version }).toEqual({ input: sent, version: asked })
    await app.untilStatus(id, 'running')
    expect(app.backend.requests.at(-1)).toMatchObject({ jobId: id, input: sent, version: asked })
  })
})

describe('GET /jobs/:id and its result', () => {
  test('follow a job to its success', async () => {
    const { job_id: id } = await submit()
    await app.untilStatus(id, 'running')
    expect((await app.get(`/jobs/${id}`)).json()).toMatchObject({ status: 'running', started_at: expect.any(String) })
    expect(problemOf(await app.get(`/jobs/${id}/result`))).toMatchObject({ status: 409, code: 'job_not_finished' })
    app.backend.end(`fc-${id}-1`, aSuccess)
    await app.untilStatus(id, 'succeeded')
    const output_path = '/shared/results/run/v15/output.mp4'
    expect((await app.get(`/jobs/${id}`)).json()).toMatchObject({
      ...{ job_id: id, status: 'succeeded', output_path, revision: 3 },
      attempts: [{ attempt: 1, call_id: `fc-${id}-1`, outcome: 'succeeded' }],
    })
    expect((await app.get(`/jobs/${id}/result`)).json()).toEqual({
      ...{ job_id: id, status: 'succeeded', output_path },
      output_url: expect.stringContaining(`/jobs/${id}/output?expires=`),
    })
  })

  test('show why a job failed', async () => {
    const id = await submitAndEnd({ kind: 'failed', code: 'inference_failed', error: 'no face in frame 3' })
    expect((await app.get(`/jobs/${id}`)).json()).toMatchObject({
      ...{ status: 'failed', error: 'no face in frame 3', error_code: 'inference_failed' },
      attempts: [{ error: 'no face in frame 3', error_code: 'inference_failed', outcome: 'failed' }],
    })
    const problem = problemOf(await app.get(`/jobs/${id}/result`))
    expect(problem).toMatchObject({ status: 409, code: 'job_failed' })
    expect(problem.detail).toContain('no face in frame 3')
  })

  test('HEAD answers like GET, without a body', async () => {
    const { job_id: id } = await submit()
    const response = await app.app.inject({ method: 'HEAD', url: `/jobs/${id}` })
    expect(response).toMatchObject({ statusCode: 200, body: '' })
  })
})

describe('POST /jobs/:id/cancel', () => {
  test('cancels, also repeatedly, with or without an empty body', async () => {
    const { job_id: id } = await submit()
    for (const body of [undefined, {}, '{}', '']) {
      const response = await app.post(`/jobs/${id}/cancel`, body)
      expect(response.statusCode).toBe(200)
      expect(response.json<JobView>().status).toBe('canceled')
    }
    expect(problemOf(await app.get(`/jobs/${id}/result`))).toMatchObject({ status: 409, code: 'job_canceled' })
  })

  test('is a conflict after another final state', async () => {
    const id = await submitAndEnd(aSuccess)
    expect(problemOf(await app.post(`/jobs/${id}/cancel`))).toMatchObject({ status: 409, code: 'job_finished' })
  })
})

describe('POST /jobs/:id/retry', () => {
  test('answers 202 with the job submitted again', async () => {
    const id = await submitAndEnd({ kind: 'failed', code: 'inference_failed', error: 'no face' })
    const response = await app.post(`/jobs/${id}/retry`)
    expect(response.statusCode).toBe(202)
    expect(response.json()).toMatchObject({ status: 'submitted', attempts: [{ outcome: 'failed' }, { attempt: 2 }] })
    expect(response.json()).not.toHaveProperty('error')
  })

  test('is a conflict for a running job and for one that succeeded', async () => {
    const { job_id: running } = await submit()
    expect(problemOf(await app.post(`/jobs/${running}/retry`))).toMatchObject({ code: 'job_not_finished', status: 409 })
    const done = await submitAndEnd(aSuccess)
    expect(problemOf(await app.post(`/jobs/${done}/retry`))).toMatchObject({ code: 'job_finished', status: 409 })
  })
})

test('run_timeout_seconds is shown if given, and does not move the deadline', async () => {
  expect(await submit()).not.toHaveProperty('run_timeout_seconds')
  const job = await submit({ ...aBody, run_timeout_seconds: 604_800 })
  expect(job.run_timeout_seconds).toBe(604_800)
  expect(Date.parse(job.deadline_at) - Date.parse(job.created_at)).toBe(60_000)
})

test('timeout_seconds sets the deadline', async () => {
  const job = await submit({ ...aBody, timeout_seconds: 5 })
  expect(Date.parse(job.deadline_at) - Date.parse(job.created_at)).toBe(5_000)
})

test('queued jobs show their position, and a full queue answers 503 with Retry-After', async () => {
  const full = await startApp({ maxConcurrentJobs: 1, maxQueuedJobs: 1 })
  const first = (await full.post('/jobs', aBody)).json<JobView>()
  await full.untilStatus(first.job_id, 'running')
  const second = (await full.post('/jobs', aBody)).json<JobView>()
  expect(second).toMatchObject({ status: 'submitted', queue_position: 1 })
  expect((await full.get(`/jobs/${second.job_id}`)).json()).toMatchObject({ queue_position: 1 })
  const refused = await full.post('/jobs', aBody)
  expect(problemOf(refused)).toMatchObject({ status: 503, code: 'queue_full' })
  expect(refused.headers['retry-after']).toBe('30')
  await full.close()
})

test('GET /healthz answers exactly {"status":"ok"}', async () => {
  const response = await app.get('/healthz')
  expect(response).toMatchObject({ statusCode: 200, body: '{"status":"ok"}' })
})

describe('below /v1', () => {
  test('there is every route, with the same answers, and paths in answers have no /v1', async () => {
    const accepted = await app.post('/v1/jobs', aBody)
    expect(accepted.statusCode).toBe(202)
    const job = accepted.json<JobView>()
    expect(accepted.headers.location).toBe(`/jobs/${job.job_id}`)
    expect((await app.get(`/v1/jobs/${job.job_id}`)).json()).toMatchObject({ links: { self: `/jobs/${job.job_id}` } })
    expect((await app.get('/v1/jobs?limit=1')).json()).toMatchObject({ jobs: [{ job_id: job.job_id }] })
    for (const url of ['/v1/healthz', '/v1/readyz', '/v1/openapi.json', '/v1/docs', '/v1', '/v1/', '/v1?'])
      expect((await app.get(url)).statusCode, url).toBe(200)
    for (const url of ['/v1/nothing', '/v10/jobs', '/v1jobs', '/v2/jobs', '/v1/v1/jobs'])
      expect(problemOf(await app.get(url)), url).toMatchObject({ status: 404, code: 'route_not_found' })
    expect(problemOf(await app.app.inject({ method: 'PUT', url: '/v1/jobs' })).status).toBe(405)
  })

  test('a request is logged and counted as one of its route, by the job that it names', async () => {
    const { job_id: id } = await submit()
    const before = app.requestLines.length
    await app.get(`/v1/jobs/${id}`)
    expect(app.requestLines.slice(before)).toMatchObject([{ req: { url: `/jobs/${id}` }, job_id: id }])
    expect((await app.get('/metrics')).body).not.toContain('/v1')
  })
})

test('probes and scrapes have no log line, other requests do', async () => {
  const before = app.requestLines.length
  for (const url of ['/healthz', '/readyz', '/metrics', '/jobs']) expect((await app.get(url)).statusCode).toBe(200)
  expect(app.requestLines.slice(before)).toMatchObject([{ event: 'request', req: { url: '/jobs' } }])
})

test('every line of a request names the request and the job, and no line shows a query string', async () => {
  const { job_id: id } = await submit()
  await app.get(`/jobs/${id}?signature=secret`)
  const lines = app.requestLines.filter((line) => line.job_id === id)
  expect(lines.length).toBeGreaterThan(0)
  expect(app.requestLines.every((line) => typeof line.request_id === 'string')).toBe(true)
  expect(app.requestLog()).not.toContain('signature=secret')
})

test('priority orders the jobs of a caller that wait, in JSON and in a form, and is shown', async () => {
  const busy = await startApp({ maxConcurrentJobs: 1 })
  const add = async (priority?: string) => {
    const response = await busy.post('/jobs', { ...aBody, ...(priority !== undefined && { priority }) })
    expect(response.statusCode, response.body).toBe(202)
    return response.json<JobView>()
  }
  const running = await add('low')
  await busy.untilStatus(running.job_id, 'running')
  const waiting = [await add('low'), await add(), await add('high')]
  const payload = formOf([...Object.entries(aBody), ['priority', 'high'] as const].map(([n, value]) => field(n, value)))
  const form = await busy.app.inject({ method: 'POST', url: '/jobs', payload, headers: { 'content-type': FORM_TYPE } })
  waiting.push(form.json<JobView>())
  const jobs = await Promise.all(waiting.map(async ({ job_id: id }) => (await busy.get(`/jobs/${id}`)).json<JobView>()))
  expect(jobs.map((job) => [job.priority, job.queue_position])).toEqual([
    ['low', 4],
    [undefined, 3],
    ['high', 1],
    ['high', 2],
  ])
  const { jobs: listed } = (await busy.get('/jobs')).json<{ jobs: JobView[] }>()
  expect(listed.map(({ priority }) => priority).toSorted()).toEqual(['high', 'high', 'low', 'low', undefined])
  const refused = await busy.post('/jobs', { ...aBody, priority: 'urgent' })
  expect(problemOf(refused)).toMatchObject({ status: 400, paths: ['/priority'] })
  await busy.close()
})

test('POST /admin/pause keeps waiting jobs from starting until POST /admin/resume, and shows in /readyz and the metrics', async () => {
  const paused = await startApp()
  const add = async () => (await paused.post('/jobs', aBody)).json<JobView>()
  const running = await add()
  await paused.untilStatus(running.job_id, 'running')
  expect((await paused.get('/readyz')).json()).not.toHaveProperty('paused')
  for (const response of [await paused.post('/admin/pause'), await paused.post('/admin/pause')])
    expect([response.statusCode, response.json()]).toEqual([200, { paused: true }])
  expect((await paused.get('/readyz')).json()).toMatchObject({ status: 'ready', paused: true })
  const waiting = await add()
  expect(waiting).toMatchObject({ status: 'submitted', queue_position: 1 })
  paused.backend.end(`fc-${running.job_id}-1`, aSuccess)
  await paused.untilStatus(running.job_id, 'succeeded')
  expect((await paused.get(`/jobs/${waiting.job_id}`)).json()).toMatchObject({ status: 'submitted' })
  expect((await paused.post('/admin/resume')).json()).toEqual({ paused: false })
  await paused.untilStatus(waiting.job_id, 'running')
  expect((await paused.get('/readyz')).json()).not.toHaveProperty('paused')
  expect(paused.lines).toMatchObject(
    expect.arrayContaining([
      expect.objectContaining({ event: 'jobs_paused', level: 'warn' }),
      expect.objectContaining({ event: 'jobs_resumed', level: 'info' }),
    ]),
  )
  await paused.close()
})
