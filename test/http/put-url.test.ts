import { afterEach, describe, expect, test } from 'vitest'
import { createOutputSender } from '../../src/files/output-sender.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { createPutter } from '../../src/net/put.ts'
import type { UrlRule } from '../../src/net/url-rule.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { openChanges } from '../helpers/event-client.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { listenOnOneSocket } from '../helpers/listen.ts'
import { modalOutputs, VIDEO } from '../helpers/outputs.ts'
import { startPutStore } from '../helpers/put-store.ts'
import { field, FORM_TYPE, formOf } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
afterEach(() => app.close())

/** The app with the sender that ships. */
async function start({
  rule = { allowPrivate: true },
  ...options
}: Parameters<typeof startApp>[0] & { rule?: UrlRule } = {}) {
  const { outputs, runs } = await modalOutputs()
  const outputSender = createOutputSender({ outputs, urlRule: rule, put: createPutter({ rule }) })
  app = await startApp({ outputs, outputSender, ...options })
  return { runs }
}

type Listed = {
  number: number
  kind: string
  state: string
  next_try_at?: string
  webhook_id?: string
  tries: { status?: number; error?: string }[]
}
const ledgerOf = async (id: string) =>
  (await app.get(`/jobs/${id}/deliveries`)).json<{ deliveries: Listed[] }>().deliveries
const untilTried = (id: string, count = 1) =>
  until(async () => {
    const [delivery] = await ledgerOf(id)
    return delivery?.tries.length === count && delivery.tries.every((one) => one.status ?? one.error) && delivery
  }, `${count} tries`)

async function succeed(id: string) {
  await app.untilStatus(id, 'running')
  app.backend.end(`fc-${id}-1`, aSuccess)
  await app.untilStatus(id, 'succeeded')
}

const submit = async (putUrl: string, more: object = {}, headers = {}) =>
  (await app.post('/jobs', { ...aBody, output: { put_url: putUrl }, ...more }, headers)).json<JobView>()

describe('POST /jobs with output.put_url', () => {
  test('sends the video there, straight from its source, and shows that without the query of the URL', async () => {
    const { runs } = await start()
    const store = await startPutStore()
    const { job_id: id, output, links } = await submit(store.url)
    const shown = store.url.replace(/\?.*/, '')
    expect(output).toEqual({ put_url: shown })
    expect(links.deliveries).toBe(`/jobs/${id}/deliveries`)
    await succeed(id)
    const delivery = await untilTried(id)
    expect(store.stored).toHaveLength(1)
    expect(store.stored[0]?.body.equals(VIDEO)).toBe(true)
    expect(store.stored[0]?.headers).toMatchObject({ 'content-type': 'video/mp4', 'content-length': '1000' })
    expect(delivery).toMatchObject({ number: 2_000_001, kind: 'output', state: 'delivered', tries: [{ status: 200 }] })
    expect(delivery).not.toHaveProperty('webhook_id')
    // No file was made for it.
    expect(runs).toEqual(['run/v15 read'])
    const job = (await app.get(`/jobs/${id}`)).json<JobView>()
    expect(job.output).toEqual({ put_url: shown, state: 'delivered', delivered_at: expect.any(String) })
    expect(JSON.stringify([job, app.requestLines, app.lines])).not.toContain('X-Amz-Signature')
  })

  test('sends the file that the server has already', async () => {
    const { runs } = await start()
    const store = await startPutStore()
    store.answerWith = (_request, response) => response.writeHead(503).end()
    const { job_id: id } = await submit(store.url)
    await succeed(id)
    await untilTried(id)
    await app.get(`/jobs/${id}/output`)
    store.answerWith = (_request, response) => response.end()
    await app.post(`/jobs/${id}/deliveries/2000001/redeliver`)
    await untilTried(id, 2)
    expect(store.stored[1]?.body.equals(VIDEO)).toBe(true)
    expect(runs).toEqual(['run/v15 read', 'run/v15'])
  })

  test('is absent if a form has it as an empty text', async () => {
    await start()
    const output = field('output', JSON.stringify({ put_url: '' }))
    const payload = formOf([field('video_path', 'face.mp4'), field('audio_path', 'speech.wav'), output])
    const form = await app.app.inject({ method: 'POST', url: '/jobs', payload, headers: { 'content-type': FORM_TYPE } })
    expect(form.statusCode).toBe(202)
    expect(form.json()).not.toHaveProperty('output')
  })

  test('works in a form and in each job of a batch', async () => {
    await start()
    const store = await startPutStore()
    const parts = [field('video_path', 'face.mp4'), field('audio_path', 'speech.wav')]
    const payload = formOf([...parts, field('output', JSON.stringify({ put_url: store.url }))])
    const form = await app.app.inject({ method: 'POST', url: '/jobs', payload, headers: { 'content-type': FORM_TYPE } })
    const jobs = ['a', 'b'].map((name) => ({ ...aBody, output: { put_url: store.url.replace('video', name) } }))
    const batch = (await app.post('/batches', { jobs })).json<{ results: { job_id: string }[] }>()
    for (const { job_id: id } of [form.json<JobView>(), ...batch.results]) {
      await succeed(id)
      await untilTried(id)
    }
    const paths = store.stored.map(({ path }) => path.replace(/\?.*/, ''))
    expect(paths).toEqual(['/bucket/video.mp4', '/bucket/a.mp4', '/bucket/b.mp4'])
  })

  test('keeps the stream of its events open until it is delivered', async () => {
    await start()
    const store = await startPutStore()
    const answer = Promise.withResolvers<undefined>()
    store.answerWith = (_request, response) => void answer.promise.then(() => response.end())
    const { job_id: id } = await submit(store.url)
    const { port } = await listenOnOneSocket(app.app)
    const client = await openChanges(`http://127.0.0.1:${port}/jobs/${id}/events`)
    await succeed(id)
    const states = () => client.events.map(({ job }) => job.output?.state)
    await until(() => states().includes('pending'), 'the success')
    answer.resolve(undefined)
    await until(() => client.closed, 'the end of the stream')
    expect(states().at(-1)).toBe('delivered')
    expect(client.events.at(-1)?.job.status).toBe('succeeded')
  })

  test('repeated with its key may have signed the URL again, but not name another object', async () => {
    await start()
    const key = { 'idempotency-key': 'a' }
    const { job_id: id } = await submit('https://store.example/a?signature=1', {}, key)
    expect((await submit('https://store.example/a?signature=2', {}, key)).job_id).toBe(id)
    const other = await app.post('/jobs', { ...aBody, output: { put_url: 'https://store.example/b' } }, key)
    expect(problemOf(other).code).toBe('idempotency_key_reused')
  })

  test.each([
    ['http://127.0.0.1/a', 'url_not_allowed'],
    ['http://localhost/a', 'url_not_allowed'],
    ['http://169.254.169.254/latest', 'url_not_allowed'],
    ['ftp://store.example/a', 'invalid_request'],
    ['https://user:password@store.example/a', 'invalid_request'],
    ['store.example/a', 'invalid_request'],
  ])('refuses %s', async (url, code) => {
    await start({ rule: { allowPrivate: false } })
    const response = await app.post('/jobs', { ...aBody, output: { put_url: url } })
    expect(problemOf(response)).toMatchObject({ status: 400, code, paths: ['/output/put_url'] })
  })

  test('refuses http where only https is allowed, and fields that it does not know', async () => {
    await start({ rule: { allowPrivate: false, httpsOnly: true } })
    const plain = await app.post('/jobs', { ...aBody, output: { put_url: 'http://store.example/a' } })
    expect(problemOf(plain)).toMatchObject({ code: 'url_not_allowed', paths: ['/output/put_url'] })
    for (const output of [{}, { put_url: 7 }, { put_url: 'https://a.example', method: 'POST' }, 'https://a.example']) {
      const response = await app.post('/jobs', { ...aBody, output })
      expect(problemOf(response)).toMatchObject({ status: 400, code: 'invalid_request' })
    }
    const none = await app.post('/jobs', { ...aBody, output: null })
    expect(none.json()).not.toHaveProperty('output')
  })
})

describe('a store that', () => {
  test.each([
    ['redirects', 307, {}, 'the receiver answered 307; redirects are not followed'],
    ['says that the link has expired', 403, {}, 'the receiver answered 403'],
    [
      'answers with a page',
      200,
      { 'content-type': 'text/html; charset=utf-8', 'content-length': '13' },
      'the receiver answered 200 with a page, as no store does',
    ],
  ])('%s is tried again, and the ledger says why', async (_what, status, headers, error) => {
    await start()
    const store = await startPutStore()
    store.answerWith = (_request, response) => response.writeHead(status, headers).end('<html></html>')
    const { job_id: id } = await submit(store.url)
    await succeed(id)
    const delivery = await untilTried(id)
    expect(delivery).toMatchObject({ state: 'pending', next_try_at: expect.any(String), tries: [{ status, error }] })
    const job = (await app.get(`/jobs/${id}`)).json<JobView>()
    expect(job).toMatchObject({ status: 'succeeded', output: { state: 'pending' } })
  })

  test('accepts it with a media type and no body, as Swift does, has it', async () => {
    await start()
    const store = await startPutStore()
    const headers = { 'content-type': 'text/html; charset=UTF-8', 'content-length': '0' }
    store.answerWith = (_request, response) => response.writeHead(200, headers).end()
    const { job_id: id } = await submit(store.url)
    await succeed(id)
    expect(await untilTried(id)).toMatchObject({ state: 'delivered', tries: [{ status: 200 }] })
  })

  test('cannot be given the output, because that is gone, has a line with the reason', async () => {
    await start()
    const store = await startPutStore()
    const { job_id: id } = await submit(store.url)
    await app.untilStatus(id, 'running')
    app.backend.end(`fc-${id}-1`, { kind: 'succeeded', outputPath: '/shared/results/run/v15/output.mp4' })
    const { tries } = await untilTried(id)
    expect(tries[0]?.error).toMatch(/^the output is unavailable: /)
    expect(store.stored).toEqual([])
  })
})

test('the delivery of an output is its caller’s: others find neither it nor its job', async () => {
  await start({ authenticator: knownCallers })
  const store = await startPutStore()
  const { job_id: id } = await submit(store.url, {}, as('alice'))
  await succeed(id)
  await until(() => store.stored.length === 1)
  for (const [method, url] of [
    ['GET', `/jobs/${id}/deliveries`],
    ['POST', `/jobs/${id}/deliveries/2000001/redeliver`],
  ] as const) {
    const response = await app.app.inject({ method, url, headers: as('bob') })
    expect(problemOf(response).code).toBe('job_not_found')
  }
})
