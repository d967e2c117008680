import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { folderOfTest, serverOfTest } from '../helpers/of-test.ts'
import { startOtlpReceiver } from '../helpers/otlp.ts'
import { until } from '../helpers/until.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const STATE = 'congo=t61rcWkgMzE'

test('a job is one trace, from its submit to its webhook, at a receiver of OpenTelemetry', async () => {
  const receiver = await startOtlpReceiver(503)
  const hooks: IncomingHttpHeaders[] = []
  const hook = createServer(({ headers }, response) => (hooks.push(headers), response.end())).listen(0, '127.0.0.1')
  onTestFinished(() => void hook.close())
  await until(() => hook.listening)
  const server = await serverOfTest({
    BACKEND: 'local',
    JOB_STORE: `sqlite:${join(folderOfTest(), 'jobs.db')}`,
    OTEL_EXPORTER_OTLP_ENDPOINT: `${receiver.endpoint}/`,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%20b',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=test',
    WEBHOOK_ALLOW_PRIVATE: 'true',
    WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 1).toString('base64')}`,
  })
  const answer = await fetch(`${server.url}/jobs`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      traceparent: `00-${TRACE}-${PARENT}-01`,
      tracestate: STATE,
    },
    body: JSON.stringify({
      video_path: 'face.mp4',
      audio_path: 'speech.wav',
      webhook_url: `http://127.0.0.1:${(hook.address() as AddressInfo).port}/secret-path`,
    }),
  })
  const { job_id: id } = (await answer.json()) as { job_id: string }
  await server.untilStatus(id, 'succeeded')
  await fetch(`${server.url}/healthz`)
  await until(() => receiver.named('POST webhook').length === 1, 'the last span')

  const [submit] = receiver.named('POST /jobs')
  const [job] = receiver.named('job')
  const [attempt] = receiver.named('attempt')
  const [sent] = receiver.named('POST webhook')
  for (const span of [submit, job, attempt, sent]) expect(span).toMatchObject({ traceId: TRACE, traceState: STATE })
  // Each below the one that caused it.
  expect([submit, job, attempt, sent].map((span) => span?.parentSpanId)).toEqual([
    ...[PARENT, submit?.spanId, job?.spanId, job?.spanId],
  ])
  expect(submit).toMatchObject({ kind: 2, attributes: { 'http.route': '/jobs', 'http.response.status_code': 202 } })
  expect(job).toMatchObject({ kind: 1, status: {}, attributes: { 'musetalk.job.id': id } })
  expect(attempt?.events.map(({ name }) => name)).toEqual(['queued', 'starting', 'running'])
  const times = [attempt?.startTimeUnixNano, ...(attempt?.events.map((event) => event.timeUnixNano) ?? [])]
  expect([...times, attempt?.endTimeUnixNano]).toEqual([...times, attempt?.endTimeUnixNano].toSorted())
  expect(sent).toMatchObject({ kind: 3, attributes: { 'http.response.status_code': 200, 'musetalk.job.id': id } })

  // The receiver of the webhook gets its span.
  expect(hooks).toMatchObject([{ traceparent: `00-${TRACE}-${sent?.spanId}-01`, tracestate: STATE }])
  expect(receiver.requests[0]).toMatchObject({
    path: '/v1/traces',
    headers: { 'x-key': 'a b', 'content-type': 'application/json' },
    resource: { 'service.name': 'musetalk-orchestrator', 'deployment.environment': 'test' },
  })
  expect(JSON.stringify(receiver.spans)).not.toContain('secret-path')
  // Long polls of this test are traces of their own; probes are none.
  const others = receiver.spans.filter(({ traceId }) => traceId !== TRACE)
  expect(new Set(others.map(({ name }) => name))).toEqual(new Set(['GET /jobs/:id']))

  const lineOf = (event: string) => server.lines.find((line) => line.event === event)
  expect(lineOf('request')).toMatchObject({ trace_id: TRACE, span_id: submit?.spanId })
  for (const event of ['submitted', 'succeeded', 'webhook_delivered']) {
    expect(lineOf(event)).toMatchObject({ trace_id: TRACE, span_id: job?.spanId })
  }

  // What is left is sent when the server stops, and a receiver that is gone does not delay it.
  await fetch(`${server.url}/jobs/none`)
  expect(await server.end()).toBe(0)
  expect(receiver.spans.at(-1)?.attributes).toMatchObject({ 'http.response.status_code': 404 })
}, 30_000)

test('a receiver that is unavailable loses spans and nothing else', async () => {
  const server = await serverOfTest({ BACKEND: 'local', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' })
  const { job_id: id } = await server.submit({ video_path: 'face.mp4', audio_path: 'speech.wav' })
  await server.untilStatus(id, 'succeeded')
  expect(await server.end()).toBe(0)
  expect(server.lines.find(({ event }) => event === 'spans_dropped')).toMatchObject({ level: 'warn' })
})
