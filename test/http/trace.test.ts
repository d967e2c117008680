import { afterEach, describe, expect, test } from 'vitest'
import { type Span, spanIdOf, traceIdOf } from '../../src/jobs/trace.ts'
import { aBody, startApp, type TestApp } from '../helpers/app.ts'
import { createFakeSender } from '../helpers/fake-sender.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { until } from '../helpers/until.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const HEADER = `00-${TRACE}-${PARENT}-01`
const MALFORMED = `00-${TRACE.toUpperCase()}-${PARENT}-01`

const sender = createFakeSender()
let app: TestApp
afterEach(async () => {
  await app.close()
  sender.sent.length = 0
})

const withHook = { ...aBody, webhook_url: 'https://hooks.example/a' }
const submit = async (headers: Record<string, string>, body: object = withHook) => {
  const answer = await app.post('/jobs', body, headers)
  return { answer, id: answer.json<{ job_id: string }>().job_id }
}

/** Runs a job of a submit with these headers to its end, until its webhook is delivered. */
async function aLife(headers: Record<string, string>) {
  const { answer, id } = await submit(headers)
  await app.untilStatus(id, 'running')
  app.backend.end(`fc-${id}-1`, aSuccess)
  await until(() => app.lines.some(({ event, job_id: of }) => event === 'webhook_delivered' && of === id))
  const [message] = sender.sent
  return { answer, id, message, lines: app.lines.filter((line) => line.job_id === id) }
}

test('the trace of a submit is on the log lines of its request and its job, and continues with its webhook', async () => {
  app = await startApp({ sender })
  const { id, message, lines } = await aLife({ traceparent: HEADER })
  expect(lines.map(({ event }) => event)).toEqual(['submitted', 'spawned', 'succeeded', 'webhook_delivered'])
  expect(lines.map(({ trace_id: trace }) => trace)).toEqual([TRACE, TRACE, TRACE, TRACE])
  const ofRequest = app.requestLines.filter(({ job_id: of }) => of === id)
  expect(ofRequest).toMatchObject([{ event: 'request', status: 202, trace_id: TRACE }])
  const [version, trace, parent, flags] = message!.traceparent!.split('-')
  expect(version).toBe('00')
  expect(trace).toEqual(TRACE)
  expect(flags).toBe('01')
  expect(parent).not.toBe(PARENT)
})

test('each POST of a webhook is its own span of the trace', async () => {
  app = await startApp({ sender })
  const { id } = await aLife({ traceparent: HEADER })
  await app.post(`/jobs/${id}/deliveries/1/redeliver`)
  await until(() => sender.sent.length === 2)
  const [first, second] = sender.sent.map(({ traceparent }) => traceparent)
  expect(second).toContain(TRACE)
  expect(second).not.toBe(first)
})

test('a job does not show its trace, and the backend does not get it: its calls have no headers', async () => {
  app = await startApp({ sender })
  const { answer, message } = await aLife({ traceparent: HEADER })
  expect(answer.body).not.toContain(TRACE)
  expect(message!.body).not.toContain(TRACE)
  expect(JSON.stringify(app.backend.requests)).not.toContain(TRACE)
})

test.each([
  ['a malformed one', { traceparent: MALFORMED }],
  ['none', {}],
])('%s changes nothing', async (_what, headers) => {
  app = await startApp({ sender })
  const { answer, id, message, lines } = await aLife(headers)
  expect(answer.statusCode).toBe(202)
  expect(message).not.toHaveProperty('traceparent')
  expect(await app.store.get(id)).not.toHaveProperty('traceparent')
  for (const line of [...lines, ...app.requestLines]) expect(line).not.toHaveProperty('trace_id')
  expect(app.requestLog()).not.toContain(MALFORMED)
})

test('the trace is not part of the request: the same key in another trace means the same job', async () => {
  app = await startApp({ sender })
  const key = { 'idempotency-key': 'one' }
  const first = await submit({ ...key, traceparent: HEADER }, aBody)
  const again = await submit({ ...key, traceparent: HEADER.replace(TRACE, TRACE.replace('4', '5')) }, aBody)
  const without = await submit(key, aBody)
  expect(again.id).toEqual(first.id)
  expect(without.id).toEqual(first.id)
  expect(without.answer.headers['idempotent-replayed']).toBe('true')
  expect((await app.store.get(first.id))?.traceparent).toBe(HEADER)
})

test('every request is traced, refused ones too; other requests do not change the trace of a job', async () => {
  app = await startApp({ sender, http: { limits: { read: 0, submit: 1 } } })
  const { id } = await submit({ traceparent: HEADER })
  const other = HEADER.replace(TRACE, 'a'.repeat(32))
  const headers = { traceparent: other }
  await app.app.inject({ url: `/jobs/${id}`, headers })
  await app.app.inject({ url: '/nothing', headers })
  await app.post('/jobs', aBody, headers)
  await app.post(`/jobs/${id}/cancel`, undefined, headers)
  const traced = app.requestLines.filter(
    ({ event, trace_id: trace }) => event === 'request' && trace === 'a'.repeat(32),
  )
  expect(traced.map(({ status }) => status)).toEqual([200, 404, 429, 200])
  expect(app.lines.at(-1)).toMatchObject({ job_id: id, trace_id: TRACE })
})

describe('with a receiver of spans', () => {
  const spans: Span[] = []
  const start = async (isSampled = true) => {
    spans.length = 0
    return startApp({ sender, tracer: { isSampled: () => isSampled, record: (span) => spans.push(span) } })
  }
  const untilSpan = (name: string) => until(() => spans.find((span) => span.name === name))

  test('a request without a trace starts one, which its job and webhook continue', async () => {
    app = await start()
    const { id, message, lines } = await aLife({ tracestate: 'congo=t61rcWkgMzE' })
    const submitted = await untilSpan('POST /jobs')
    const { traceparent } = submitted
    expect(submitted.parentId).toBeUndefined()
    expect(traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-03$/)
    expect((await app.store.get(id))?.traceparent).toBe(traceparent)
    const ofRequest = app.requestLines.filter(({ job_id: of }) => of === id)
    expect(ofRequest).toMatchObject([{ trace_id: traceIdOf(traceparent), span_id: spanIdOf(traceparent) }])
    expect(new Set(lines.map(({ trace_id: trace }) => trace))).toEqual(new Set([traceIdOf(traceparent)]))
    const sent = await untilSpan('POST webhook')
    expect(message?.traceparent).toBe(sent.traceparent)
    // A tracestate without a traceparent is ignored.
    expect(message).not.toHaveProperty('tracestate')
  })

  test('a trace that is not recorded is passed on as such', async () => {
    app = await start(false)
    await aLife({})
    await aLife({ traceparent: HEADER.replace(/01$/, '00'), tracestate: 'a=b' })
    expect(sender.sent[0]?.traceparent).toMatch(/-02$/)
    expect(sender.sent[1]?.traceparent).toMatch(new RegExp(`^00-${TRACE}-.*-00$`))
    expect(sender.sent[1]).toMatchObject({ tracestate: 'a=b' })
  })

  test('a refused request has a span, and a probe has none', async () => {
    app = await start()
    await app.get('/healthz')
    await app.get('/metrics')
    await app.get('/nothing?secret=1')
    const { attributes } = await untilSpan('GET')
    expect(attributes).toMatchObject({ 'url.path': '/nothing', 'http.response.status_code': 404 })
    expect(spans).toHaveLength(1)
    expect(JSON.stringify(spans)).not.toContain('secret')
  })
})
