import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { METRICS_TYPE } from '../../src/jobs/ports/metrics.ts'
import { openMetricsServer } from '../../src/http/metrics-server.ts'
import { aBody, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { listen } from '../helpers/listen.ts'
import { countsOf, parseMetrics } from '../helpers/metrics.ts'
import { face, FORM_TYPE, formOf, speech } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
afterEach(() => app.close())

const requests = async () => {
  const counts = await countsOf(app.metrics, 'musetalk_http_requests_total')
  return Object.fromEntries(
    Object.entries(counts).map(([name, count]) => [
      name.replace(/.*method="(.*)",route="(.*)",status="(.*)".*/, '$1 $2 $3'),
      count,
    ]),
  )
}
const timed = async () =>
  Object.keys(await countsOf(app.metrics, 'musetalk_http_request_duration_seconds_count')).map((name) =>
    name.replace(/.*method="(.*)",route="(.*)".*/, '$1 $2'),
  )

test('GET /metrics answers in the text format of Prometheus and must not be cached', async () => {
  app = await startApp()
  const answer = await app.get('/metrics')
  expect(answer).toMatchObject({ statusCode: 200, headers: { 'content-type': METRICS_TYPE } })
  expect(answer.headers['cache-control']).toBe('no-store')
  expect(parseMetrics(answer.body).get('musetalk_jobs_submitted_total')).toBe(0)
  expect((await app.app.inject({ method: 'HEAD', url: '/metrics' })).headers['content-type']).toBe(METRICS_TYPE)
})

test('GET /metrics includes what happened before the first scrape', async () => {
  app = await startApp()
  const { id } = await app.submit()
  await app.untilStatus(id, 'running')
  app.backend.end(`fc-${id}-1`, aSuccess)
  await app.untilStatus(id, 'succeeded')
  const series = parseMetrics((await app.get('/metrics')).body)
  expect(series.get('musetalk_jobs_submitted_total')).toBe(1)
  expect(series.get('musetalk_jobs_ended_total{state="succeeded",error_code=""}')).toBe(1)
})

test('GET /metrics renders once for all requests that come at the same time', async () => {
  app = await startApp()
  const render = vi.spyOn(app.metrics, 'render')
  const answers = await Promise.all(Array.from({ length: 20 }, () => app.get('/metrics')))
  expect(answers.map(({ statusCode }) => statusCode)).toEqual(answers.map(() => 200))
  expect(render.mock.calls.length).toBeLessThan(20)
  const before = render.mock.calls.length
  await app.get('/metrics')
  expect(render).toHaveBeenCalledTimes(before + 1)
})

test('GET /metrics is neither rate limited nor refused by an overloaded server', async () => {
  app = await startApp({ http: { limits: { read: 1, submit: 1 }, maxOldGenerationBytes: 1 } })
  await until(async () => (await app.get('/jobs')).statusCode === 503, 'a refusal')
  for (let n = 0; n < 5; n++) expect((await app.get('/metrics')).statusCode).toBe(200)
})

test('GET /metrics leaves out only the gauge of an unavailable store', async () => {
  app = await startApp()
  app.metrics.registerGauges({ jobs_waiting: () => Promise.reject(new Error('unavailable')), store_up: () => 0 })
  const { statusCode, body } = await app.get('/metrics')
  expect(statusCode).toBe(200)
  expect(parseMetrics(body).get('musetalk_store_up')).toBe(0)
  expect(parseMetrics(body).has('musetalk_jobs_waiting')).toBe(false)
})

test('the listener of METRICS_PORT closes connections beyond 32', async () => {
  app = await startApp()
  const server = await openMetricsServer(app.metrics, { host: '127.0.0.1', port: 0 })
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const sockets = Array.from({ length: 40 }, () => connect({ host: '127.0.0.1', port }).on('error', () => undefined))
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()))
  await until(() => sockets.filter(({ closed }) => closed).length === 8, 'the others are closed')
  sockets.find(({ closed }) => !closed)?.destroy()
  await until(
    () =>
      fetch(`http://127.0.0.1:${port}/metrics`).then(
        ({ ok }) => ok,
        () => false,
      ),
    'an answer',
  )
})

describe('requests', () => {
  test('are counted by method, pattern of the route and status', async () => {
    app = await startApp()
    const { job_id: id } = (await app.post('/jobs', aBody)).json<{ job_id: string }>()
    await app.post('/jobs', {})
    await app.get(`/jobs/${id}`)
    await app.get(`/jobs/${crypto.randomUUID()}`)
    await app.get('/jobs/%ff')
    await app.app.inject({ method: 'PUT', url: `/jobs/${id}` })
    await app.get('/nothing')
    await app.app.inject({ method: 'HEAD', url: '/healthz' })
    expect(await requests()).toEqual({
      'POST /jobs 202': 1,
      'POST /jobs 400': 1,
      'GET /jobs/:id 200': 1,
      'GET /jobs/:id 404': 1,
      'PUT /jobs/:id 405': 1,
      'GET unknown 404': 1,
      'GET unknown 400': 1,
      'HEAD /healthz 200': 1,
    })
  })

  test('whose client disconnects before the answer have the status 499', async () => {
    app = await startApp()
    const { id } = await app.submit()
    const { port, url } = await listen(app.app)
    const socket = connect({ host: '127.0.0.1', port })
    socket.write(`GET /jobs/${id}?wait=60 HTTP/1.1\r\nHost: a\r\n\r\n`)
    await once(socket, 'connect')
    expect(await countsOf(app.metrics)).toMatchObject({ musetalk_http_connections: 1 })
    // Answered once the server has taken in what came before it.
    await (await fetch(`${url}/healthz`)).text()
    socket.destroy()
    await until(async () => (await requests())['GET /jobs/:id 499'] === 1, 'the count')
    expect(await timed()).toEqual(['GET /healthz'])
  })

  test('are timed without the time that they asked to wait', async () => {
    app = await startApp()
    const { id } = await app.submit()
    await app.untilStatus(id, 'running')
    await app.get(`/jobs/${id}?wait=1`)
    const counts = await countsOf(app.metrics, 'musetalk_http_request_duration_seconds')
    expect(counts['musetalk_http_request_duration_seconds_count{method="GET",route="/jobs/:id"}']).toBe(1)
    expect(counts['musetalk_http_request_duration_seconds_sum{method="GET",route="/jobs/:id"}']).toBeLessThan(1)
  })

  test('whose duration depends on the client are counted and not timed: uploads, outputs, logs, events', async () => {
    app = await startApp()
    const { id } = await app.submit()
    await app.untilStatus(id, 'running')
    app.backend.end(`fc-${id}-1`, aSuccess)
    await app.untilStatus(id, 'succeeded')
    await app.app.inject({
      ...({ method: 'POST', url: '/jobs', headers: { 'content-type': FORM_TYPE } } as const),
      payload: formOf([face(), speech()]),
    })
    for (const part of ['events', 'logs', 'output']) await app.get(`/jobs/${id}/${part}`)
    expect(Object.keys(await requests()).map((name) => name.replace(/ \d+$/, ''))).toEqual([
      ...['POST /jobs', 'GET /jobs/:id/events', 'GET /jobs/:id/logs', 'GET /jobs/:id/output'],
    ])
    expect(await timed()).toEqual([])
  })
})

test('no caller can create a series: ids, names, URLs, unknown methods and credentials are no label values', async () => {
  app = await startApp({
    authenticator: knownCallers,
    http: { limits: { read: 0, submit: 0 }, maxEventLoopDelayMs: 0 },
  })
  const callers = ['alice', 'bob', 'root', 'mallory', 'nothing', undefined]
  const odd = ['PROPFIND', 'MKCOL', 'SEARCH', 'UNSUBSCRIBE', 'M-SEARCH', 'LINK']
  const { url } = await listen(app.app)

  /** One of everything, with names that have not been there before. */
  const round = async (n: number) => {
    for (const caller of callers) {
      const key = {
        'idempotency-key': `key-${n}`,
        traceparent: `00-${String(n).padStart(32, '1')}-00f067aa0ba902b7-01`,
      }
      const body = { ...aBody, video_path: `face-${n}.mp4`, metadata: { n: String(n) } }
      const submitted = await app.post(
        '/jobs',
        { ...body, webhook_url: `https://host-${n}.example/${n}` },
        { ...as(caller), ...key },
      )
      const id = submitted.statusCode === 202 ? submitted.json<{ job_id: string }>().job_id : crypto.randomUUID()
      const ask = (method: string, path: string) =>
        app.app.inject({ method: method as 'GET', url: path, headers: as(caller) })
      for (const part of ['', '/result', '/logs', '/deliveries', `/inputs/kind-${n}`, `/nothing-${n}`]) {
        await ask('GET', `/jobs/${id}${part}?x${n}=1`)
      }
      await ask('GET', `/jobs?caller=key:caller-${n}`)
      await ask('GET', `/nothing/${n}/%f${n % 10}`)
      await ask('GET', `/${n}/${crypto.randomUUID()}`)
      await ask('PUT', `/jobs/${id}`)
      await ask('POST', `/jobs/${id}/cancel`)
      await ask('POST', `/jobs/${id}/deliveries/${n}/redeliver`)
    }
    for (const method of odd) await fetch(`${url}/jobs/${n}`, { method })
    await fetch(`${url}/${'é'.repeat(n % 7)}?${n}`, { headers: { 'x-api-key': `mto_${n}` } })
  }
  const seriesNames = async () => {
    const own = [...parseMetrics(await app.metrics.render()).keys()].filter((name) => name.startsWith('musetalk_'))
    return own.sort()
  }

  // Until every route has had all its answers: after sixty wrong credentials there are 429 too.
  for (let n = 0; n < 8; n++) await round(n)
  const before = await seriesNames()
  for (let n = 8; n < 16; n++) await round(n)
  expect(await seriesNames()).toEqual(before)
  expect(before.filter((name) => /caller|host-|face-|key-|mto_|[0-9a-f]{8}-/.test(name))).toEqual([])
  expect(before.length).toBeLessThan(1_500)
})
