import { join } from 'node:path'
import { expect, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { digestOf, formatEntry, makeKey } from '../../src/config/formats.ts'
import { parseMetrics, type Series } from '../helpers/metrics.ts'
import { folderOfTest, planeOfTest, serverOfTest } from '../helpers/of-test.ts'
import { noPromtool, promtool } from '../helpers/promtool.ts'
import { until } from '../helpers/until.ts'
import { startServer } from '../helpers/server.ts'
import { METRICS_TYPE } from '../../src/jobs/ports/metrics.ts'
import { asking } from '../helpers/jobs.ts'

test('a real server on Modal exports its metrics, and only to a key with the scope metrics:read', async () => {
  const [plane, folder] = [await planeOfTest(), folderOfTest()]
  const [callers, prometheus] = [makeKey(), makeKey()]
  const entries = [
    formatEntry({ name: 'app', digest: digestOf(callers), scopes: new Set(['jobs:read', 'jobs:write']) }),
    formatEntry({ name: 'prometheus', digest: digestOf(prometheus), scopes: new Set(['metrics:read']) }),
  ]
  const server = await serverOfTest({
    ...plane.env,
    ...{ BACKEND: 'modal', JOB_STORE: `sqlite:${join(folder, 'jobs.db')}`, API_KEYS: entries.join() },
    ...{ MAX_CONCURRENT_JOBS: '2', NODE_ENV: 'production' },
  })
  const ask = (path: string, key: string, body?: object) =>
    fetch(server.url + path, {
      headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    })
  const submit = (behaviour: string) => ask('/jobs', callers, asking(behaviour))
  const scrape = async (): Promise<Series> => parseMetrics(await (await ask('/metrics', prometheus)).text())

  await submit('end=raise')
  await until(async () => (await ask('/jobs?status=failed', callers)).text().then((text) => text.includes('failed')))
  for (let n = 0; n < 3; n++) await submit('end=never')
  expect((await ask('/metrics', callers)).status).toBe(403)

  const series = await until(async () => {
    const found = await scrape()
    return found.get('musetalk_jobs_in_flight') === 2 && found
  })
  const build = `musetalk_build_info{version="${packageJson.version}",backend="modal",store="sqlite"}`
  const expected = {
    [build]: 1,
    musetalk_max_concurrent_jobs: 2,
    musetalk_max_modal_polls: 1280,
    musetalk_jobs_submitted_total: 4,
    musetalk_jobs_waiting: 1,
    'musetalk_jobs_ended_total{state="failed",error_code="inference_failed"}': 1,
    musetalk_job_submit_to_spawn_seconds_count: 3,
    'musetalk_job_spawn_to_end_seconds_count{state="failed"}': 1,
    'musetalk_modal_rpcs_total{method="FunctionMap",code="OK"}': 3,
    musetalk_modal_end_to_notice_seconds_count: 1,
    musetalk_modal_polls_open: 2,
    musetalk_store_up: 1,
    musetalk_backend_up: 1,
    'musetalk_http_requests_total{method="POST",route="/jobs",status="202"}': 4,
    'musetalk_http_requests_total{method="GET",route="/metrics",status="403"}': 1,
  }
  expect(Object.fromEntries(Object.keys(expected).map((name) => [name, series.get(name)]))).toEqual(expected)
  expect(series.get('process_resident_memory_bytes')).toBeGreaterThan(10_000_000)
  expect((await scrape()).get('process_cpu_seconds_total')).toBeGreaterThan(series.get('process_cpu_seconds_total')!)
})

test('METRICS_PORT serves the metrics, and nothing else, without a key; the main port still wants one', async () => {
  const entry = formatEntry({ name: 'app', digest: digestOf(makeKey()), scopes: new Set(['jobs:read']) })
  const server = await serverOfTest({ BACKEND: 'local', API_KEYS: entry, METRICS_PORT: '0' })
  const line = server.lines.find(({ event }) => event === 'metrics_listening')
  expect(line).toMatchObject({ level: 'info', host: '127.0.0.1', port: expect.any(Number) as number })
  const ask = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${String(line?.port)}${path}`, init)

  const scraped = await ask('/metrics')
  expect(scraped.status).toBe(200)
  expect(scraped.headers.get('content-type')).toBe(METRICS_TYPE)
  expect(parseMetrics(await scraped.text()).get('musetalk_store_up')).toBe(1)
  expect((await ask('/metrics', { method: 'HEAD' })).status).toBe(200)
  expect((await fetch(`${server.url}/metrics`)).status).toBe(401)

  const refused = [await ask('/jobs'), await ask('/metrics', { method: 'POST', body: 'a' })]
  expect(refused.map(({ status }) => status)).toEqual([404, 405])
  expect(await refused[0]?.json()).toMatchObject({ code: 'route_not_found' })
  expect(refused[1]?.headers.get('allow')).toBe('GET, HEAD')

  const taken = await startServer({ env: { BACKEND: 'local', METRICS_PORT: String(line?.port) }, until: 'exit' })
  expect(taken.lines.find(({ event }) => event === 'listen_failed')?.msg).toMatch(/is in use: .* set METRICS_PORT$/)
  expect(await server.end()).toBe(0)
})

test.skipIf(noPromtool !== undefined)('promtool finds nothing wrong with the metrics of a real server', async () => {
  const plane = await planeOfTest()
  const server = await serverOfTest({ ...plane.env, BACKEND: 'modal' })
  const { job_id: id } = await server.submit({ video_path: 'face.mp4', audio_path: 'speech.wav' })
  await server.untilStatus(id, 'succeeded')
  // Those of the garbage collector count from the first scrape on.
  await fetch(`${server.url}/metrics`)
  const text = await (await fetch(`${server.url}/metrics`)).text()
  expect(parseMetrics(text).get('musetalk_jobs_ended_total{state="succeeded",error_code=""}')).toBe(1)
  expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, output: '' })
})
