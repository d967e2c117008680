import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { createHttpSender, type HttpSenderOptions } from '../../src/webhooks/sender.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { createFakeSender } from '../helpers/fake-sender.ts'
import { startReceiver } from '../helpers/receiver.ts'
import { until } from '../helpers/until.ts'
import { Webhook } from 'standardwebhooks'

let app: TestApp
afterEach(() => app.close())

const SECRET = `whsec_${randomBytes(32).toString('base64')}`
const unlimited = { http: { limits: { read: 0, submit: 0 } } }

/** The app with the sender that ships. */
async function start(options: Partial<HttpSenderOptions> & Parameters<typeof startApp>[0] = {}) {
  const { secrets = [SECRET], urlRule = { allowPrivate: true }, timeoutMs = 2_000, ...others } = options
  const sender = createHttpSender({ secrets, urlRule, timeoutMs })
  onTestFinished(() => sender.close())
  app = await startApp({ sender, ...unlimited, ...others })
  return app
}

type Delivery = {
  number: number
  state: string
  event: string
  next_try_at?: string
  webhook_id: string
  tries: { at: string; status?: number; duration_ms?: number; error?: string }[]
}
const ledgerOf = async (id: string) =>
  (await app.get(`/jobs/${id}/deliveries`)).json<{ deliveries: Delivery[]; webhook_url?: string }>()

async function succeed(webhook: object, caller?: string) {
  const { job_id: id } = (await app.post('/jobs', { ...aBody, ...webhook }, as(caller))).json<{ job_id: string }>()
  await app.untilStatus(id, 'running')
  app.backend.end(`fc-${id}-1`, aSuccess)
  await app.untilStatus(id, 'succeeded')
  return id
}

/** The first delivery, once no try runs and there have been so many. */
const untilTried = (id: string, count = 1) =>
  until(async () => {
    const { deliveries } = await ledgerOf(id)
    return deliveries.find(({ tries }) => tries.length === count && tries.every((one) => one.status ?? one.error))
  }, `${count} tries`)

describe('from the submit to the receiver', () => {
  test('a job’s end arrives, verified, and stands in the ledger', async () => {
    await start()
    // The library takes no message that is older than five minutes.
    app.clock.now = Date.now()
    const receiver = await startReceiver()
    const id = await succeed({ webhook_url: receiver.url })
    const delivery = await untilTried(id)
    const { headers, body } = receiver.received[0]!
    new Webhook(SECRET).verify(body, headers)
    expect(delivery).toMatchObject({ number: 1, event: 'job.succeeded', attempt: 1, state: 'delivered' })
    expect(delivery.tries).toEqual([{ at: expect.any(String), status: 204, duration_ms: expect.any(Number) }])
    expect(delivery.webhook_id).toBe(headers['webhook-id'])
    const job = (await app.get(`/jobs/${id}`)).json<{ links: object }>()
    expect(JSON.parse(body)).toEqual({ type: 'job.succeeded', timestamp: expect.any(String), data: job })
    expect(job.links).toMatchObject({ deliveries: `/jobs/${id}/deliveries` })
    expect((await ledgerOf(id)).webhook_url).toBe(receiver.url)
  })

  test('a job without a webhook has an empty ledger, and no link to it', async () => {
    await start()
    const id = await succeed({})
    expect(await ledgerOf(id)).toEqual({ deliveries: [] })
    expect((await app.get(`/jobs/${id}`)).json()).not.toHaveProperty('links.deliveries')
  })

  test('the chosen events, and only these', async () => {
    await start()
    const receiver = await startReceiver()
    await succeed({ webhook_url: receiver.url, webhook_events: ['job.running', 'job.failed'] })
    const { body } = (await receiver.untilReceived(1))[0]!
    expect(JSON.parse(body)).toMatchObject({ type: 'job.running', data: { status: 'running' } })
    expect(receiver.received).toHaveLength(1)
  })

  test('with a key a repeated submit is the same job, and another webhook is another request', async () => {
    await start()
    const submit = (webhook: object) => app.post('/jobs', { ...aBody, ...webhook }, { 'idempotency-key': 'k' })
    const url = { webhook_url: 'https://hooks.example/a' }
    const first = await submit(url)
    const ends = ['job.canceled', 'job.failed', 'job.succeeded']
    expect((await submit({ ...url, webhook_events: ends })).json()).toMatchObject({
      job_id: first.json<{ job_id: string }>().job_id,
    })
    for (const other of [{}, { webhook_url: 'https://hooks.example/b' }, { ...url, webhook_events: ['job.failed'] }]) {
      expect(problemOf(await submit(other)).code).toBe('idempotency_key_reused')
    }
  })
})

describe('a receiver that', () => {
  test.each([
    ['redirects', 302, { location: 'https://elsewhere.example/' }, /answered 302; redirects are not followed/],
    ['fails', 500, {}, /answered 500/],
  ])('%s is tried again', async (_what, status, headers, words) => {
    await start()
    const receiver = await startReceiver()
    receiver.answerWith = (response) => response.writeHead(status, headers).end()
    const delivery = await untilTried(await succeed({ webhook_url: receiver.url }))
    expect(delivery).toMatchObject({ state: 'pending', tries: [{ status, error: expect.stringMatching(words) }] })
    expect(Date.parse(delivery.next_try_at!)).toBe(app.clock.now + 5_000)
  })

  test('hangs is tried again', async () => {
    await start({ timeoutMs: 200 })
    const receiver = await startReceiver()
    receiver.answerWith = () => undefined
    const id = await succeed({ webhook_url: receiver.url })
    await receiver.untilReceived(1)
    const [running] = (await ledgerOf(id)).deliveries
    expect(running).toMatchObject({ state: 'pending', tries: [{ at: expect.any(String) }] })
    expect(running).not.toHaveProperty('next_try_at')
    const { tries } = await untilTried(id)
    expect(tries).toEqual([
      { at: expect.any(String), duration_ms: expect.any(Number), error: 'there was no answer within 0.2 s' },
    ])
  })

  test('resets the connection is tried again', async () => {
    await start()
    const server = createServer((socket) => socket.on('data', () => socket.resetAndDestroy()))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const { port } = server.address() as { port: number }
    const { tries } = await untilTried(await succeed({ webhook_url: `http://127.0.0.1:${port}/` }))
    expect(tries).toMatchObject([{ error: 'the connection was lost' }])
  })

  test('answers 410 is left alone', async () => {
    await start()
    const receiver = await startReceiver()
    receiver.answerWith = (response) => response.writeHead(410).end()
    const delivery = await untilTried(await succeed({ webhook_url: receiver.url }))
    expect(delivery).toMatchObject({ state: 'failed', tries: [{ status: 410 }] })
    expect(delivery).not.toHaveProperty('next_try_at')
  })

  test('answers 429 with Retry-After is left alone for so long', async () => {
    await start()
    const receiver = await startReceiver()
    receiver.answerWith = (response) => response.writeHead(429, { 'retry-after': '90' }).end()
    const delivery = await untilTried(await succeed({ webhook_url: receiver.url }))
    expect(Date.parse(delivery.next_try_at!)).toBe(app.clock.now + 90_000)
  })

  test('never stops answering has its status taken', async () => {
    await start()
    const receiver = await startReceiver()
    receiver.answerWith = (response) => {
      const chunk = Buffer.alloc(64 * 1024)
      const more = () => {
        if (!response.destroyed) response.write(chunk, more)
      }
      more()
    }
    expect(await untilTried(await succeed({ webhook_url: receiver.url }))).toMatchObject({ state: 'delivered' })
  })

  test('is dead does not hold up another, and has no more than sixteen requests at a time', async () => {
    await start({ timeoutMs: 10_000 })
    const [dead, alive] = [await startReceiver(), await startReceiver()]
    dead.answerWith = () => undefined
    for (let n = 0; n < 24; n++) await succeed({ webhook_url: dead.url })
    await dead.untilReceived(16)
    await succeed({ webhook_url: alive.url })
    await alive.untilReceived(1)
    expect(dead.received).toHaveLength(16)
    expect(dead.most()).toBe(16)
  })
})

describe('a submit', () => {
  test('that wants a webhook is refused where no secret is set, and names the field', async () => {
    await start({ secrets: [] })
    const refused = await app.post('/jobs', { ...aBody, webhook_url: 'https://hooks.example/a' })
    expect(problemOf(refused)).toMatchObject({ status: 400, code: 'webhooks_not_configured', paths: ['/webhook_url'] })
    expect((await app.post('/jobs', aBody)).statusCode).toBe(202)
  })

  const PRIVATE = [
    ...['http://127.0.0.1/', 'http://localhost:8080/', 'http://LOCALHOST./', 'http://a.localhost/'],
    ...['http://10.0.0.1/', 'http://192.168.1.1/', 'http://172.16.0.1/', 'http://169.254.169.254/latest/meta-data'],
    ...['http://2130706433/', 'http://0x7f000001/', 'http://0177.0.0.1/', 'http://127.1/', 'http://0/'],
    ...['http://[::1]/', 'http://[::ffff:10.0.0.1]/', 'http://[fd00::1]/', 'http://[64:ff9b::a00:1]/'],
    ...['http://100.64.0.1/', 'http://0.0.0.0/', 'http://[::7f00:1]/', 'http://[2002:7f00:1::]/'],
  ]

  test.each(PRIVATE)('for %s is refused, unless private addresses are allowed', async (url) => {
    await start({ urlRule: { allowPrivate: false } })
    const refused = problemOf(await app.post('/jobs', { ...aBody, webhook_url: url }))
    expect(refused).toMatchObject({ status: 400, code: 'url_not_allowed', paths: ['/webhook_url'] })
    await app.close()
    await start()
    expect((await app.post('/jobs', { ...aBody, webhook_url: url })).statusCode).toBe(202)
  })

  test.each([
    ['https://8.8.8.8/hook', 202],
    ['https://hooks.example/a?b=c', 202],
    ['ftp://hooks.example/', 400],
    ['hooks.example', 400],
    ['https://user:pass@hooks.example/', 400],
    ['https://hooks.example/a b', 400],
    [`https://hooks.example/${'a'.repeat(2048)}`, 400],
  ])('for %s is answered %i', async (url, status) => {
    await start({ urlRule: { allowPrivate: false } })
    const answer = await app.post('/jobs', { ...aBody, webhook_url: url })
    expect(answer.statusCode).toBe(status)
    if (status === 400) expect(problemOf(answer)).toMatchObject({ code: 'invalid_request', paths: ['/webhook_url'] })
  })

  test.each([
    [{ webhook_events: ['job.failed'] }, '/webhook_events'],
    [{ webhook_url: 'https://a.example', webhook_events: [] }, '/webhook_events'],
    [{ webhook_url: 'https://a.example', webhook_events: ['job.done'] }, '/webhook_events/0'],
    [{ webhook_url: 'https://a.example', webhook_events: ['job.failed', 'job.failed'] }, '/webhook_events'],
    [{ webhook_url: 'https://a.example', webhook_events: 'job.failed' }, '/webhook_events'],
    [{ webhook_url: 7 }, '/webhook_url'],
  ])('of %j names %s', async (fields, path) => {
    await start()
    const refused = problemOf(await app.post('/jobs', { ...aBody, ...fields }))
    expect(refused).toMatchObject({ status: 400, code: 'invalid_request', paths: [path] })
  })
})

describe('a redelivery', () => {
  test('is one try more of the same message', async () => {
    await start()
    const receiver = await startReceiver()
    const id = await succeed({ webhook_url: receiver.url })
    await untilTried(id)
    const answer = await app.post(`/jobs/${id}/deliveries/1/redeliver`)
    expect(answer.statusCode).toBe(202)
    expect(answer.json()).toMatchObject({ number: 1, state: 'pending', next_try_at: expect.any(String) })
    const delivery = await untilTried(id, 2)
    expect(delivery.state).toBe('delivered')
    expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1)
  })

  test('is refused while a try runs', async () => {
    await start()
    const receiver = await startReceiver()
    receiver.answerWith = () => undefined
    const id = await succeed({ webhook_url: receiver.url })
    await receiver.untilReceived(1)
    const refused = await app.post(`/jobs/${id}/deliveries/1/redeliver`)
    expect(problemOf(refused)).toMatchObject({ status: 409, code: 'delivery_in_progress' })
  })

  test('that is asked for twice at once is made once', async () => {
    await start()
    const receiver = await startReceiver()
    const id = await succeed({ webhook_url: receiver.url })
    await untilTried(id)
    receiver.answerWith = () => undefined
    const answers = await Promise.all([1, 2].map(() => app.post(`/jobs/${id}/deliveries/1/redeliver`)))
    expect(answers.map(({ statusCode }) => statusCode).toSorted()).toEqual([202, 409])
    await receiver.untilReceived(2)
  })

  test.each(['2', '0', '-1', '1.0', 'x', '01', '99999999999'])('of delivery %s is 404', async (number) => {
    await start()
    const receiver = await startReceiver()
    const id = await succeed({ webhook_url: receiver.url })
    await untilTried(id)
    const refused = await app.post(`/jobs/${id}/deliveries/${number}/redeliver`)
    expect(problemOf(refused)).toMatchObject({ status: 404, code: 'delivery_not_found' })
  })

  test('of a job that is not there is 404', async () => {
    await start()
    for (const answer of [
      await app.post(`/jobs/${crypto.randomUUID()}/deliveries/1/redeliver`),
      await app.get('/jobs/x/deliveries'),
    ]) {
      expect(problemOf(answer).code).toBe('job_not_found')
    }
  })
})

describe('the secret', () => {
  const secretOf = (caller?: string) => app.app.inject({ method: 'GET', url: '/webhooks/secret', headers: as(caller) })

  test('is a caller’s own, and verifies its webhooks only', async () => {
    const older = `whsec_${randomBytes(24).toString('base64')}`
    await start({ secrets: [SECRET, older], authenticator: knownCallers })
    const [ofAlice, ofBob] = [await secretOf('alice'), await secretOf('bob')]
    expect(ofAlice.headers['cache-control']).toBe('no-store')
    const { secret, secrets } = ofAlice.json<{ secret: string; secrets: string[] }>()
    expect(secrets).toHaveLength(2)
    expect(secrets[0]).toBe(secret)
    expect(new Set([SECRET, older, ...secrets, ...ofBob.json<{ secrets: string[] }>().secrets]).size).toBe(6)

    app.clock.now = Date.now()
    const receiver = await startReceiver()
    await succeed({ webhook_url: receiver.url }, 'alice')
    const { headers, body } = (await receiver.untilReceived(1))[0]!
    const verify = (key: string) => new Webhook(key).verify(body, headers)
    for (const one of secrets) expect(verify(one)).toMatchObject({ type: 'job.succeeded' })
    for (const other of [SECRET, ofBob.json<{ secret: string }>().secret]) expect(() => verify(other)).toThrow()
  })

  test('of the operator is not shown to callers', async () => {
    await start()
    const refused = await secretOf()
    expect(problemOf(refused)).toMatchObject({ status: 403, code: 'webhook_secret_not_shown' })
    expect(refused.body).not.toContain(SECRET)
  })

  test('is 404 where there is none', async () => {
    await start({ secrets: [], authenticator: knownCallers })
    expect(problemOf(await secretOf('alice'))).toMatchObject({ status: 404, code: 'webhooks_not_configured' })
  })

  test('never reaches a log', async () => {
    await start()
    const receiver = await startReceiver()
    receiver.answerWith = (response) => response.writeHead(500).end()
    await untilTried(await succeed({ webhook_url: `${receiver.url}?token=hush` }))
    const text = app.requestLog() + JSON.stringify(app.lines)
    expect(text).not.toContain('hush')
    expect(text).not.toContain(SECRET.slice(6, 20))
  })
})

test('a delete drops the ledger', async () => {
  const sender = createFakeSender()
  sender.answerWith = async () => ({ status: 500 })
  app = await startApp({ sender, ...unlimited })
  const id = await succeed({ webhook_url: 'https://hooks.example/a' })
  await untilTried(id)
  expect((await app.app.inject({ method: 'DELETE', url: `/jobs/${id}` })).statusCode).toBe(204)
  expect(problemOf(await app.get(`/jobs/${id}/deliveries`)).code).toBe('job_not_found')
  app.clock.now += 1e6
  await app.webhooks.sendDue()
  expect(sender.sent).toHaveLength(1)
})

test('the deliveries of a job that was retried often cost the rate limit more than one request', async () => {
  app = await startApp()
  const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`key-${n}`, 'm'.repeat(512)]))
  const hook = { webhook_url: 'https://hooks.example/a', webhook_events: ['job.canceled'] }
  const { job_id: id } = (await app.post('/jobs', { ...aBody, ...hook, metadata })).json<{ job_id: string }>()
  for (let n = 0; n < 20; n++) {
    await app.post(`/jobs/${id}/cancel`)
    await app.post(`/jobs/${id}/retry`)
  }
  const { deliveries } = await ledgerOf(id)
  expect(deliveries).toHaveLength(20)
  const costOf = async (act: () => ReturnType<typeof app.get>) => {
    const remaining = async () => Number((await app.get('/jobs?limit=1')).headers['ratelimit-remaining'])
    const before = await remaining()
    expect((await act()).statusCode).toBeLessThan(300)
    return before - (await remaining()) - 1
  }
  // Each has a body of more than 8 KiB.
  expect(await costOf(() => app.get(`/jobs/${id}/deliveries`))).toBeGreaterThanOrEqual(3)
  await untilTried(id)
  expect(await costOf(() => app.post(`/jobs/${id}/deliveries/1/redeliver`))).toBeGreaterThanOrEqual(3)
})

describe('POST /webhooks/test', () => {
  const testOf = (url: unknown) => app.post('/webhooks/test', { url })

  test('sends one signed event, which is stored nowhere, and answers with what the receiver said', async () => {
    await start()
    app.clock.now = Date.now()
    const receiver = await startReceiver()
    const answer = await testOf(receiver.url)
    expect(answer.statusCode, answer.body).toBe(200)
    const { headers, body } = receiver.received[0]!
    const id = headers['webhook-id']!
    expect(id).toMatch(/^msg_test_/)
    expect(answer.json()).toEqual({ webhook_id: id, state: 'delivered', status: 204, duration_ms: 0 })
    expect(new Webhook(SECRET).verify(body, headers)).toEqual({
      type: 'webhook.test',
      timestamp: new Date(app.clock.now).toISOString(),
      data: {},
    })
    receiver.answerWith = (response) => response.writeHead(401).end('secret of the network')
    const refused = await testOf(receiver.url)
    expect(refused.json()).toMatchObject({ state: 'failed', status: 401, error: 'the receiver answered 401' })
    expect(refused.body).not.toContain('secret of the network')
    receiver.answerWith = (response) => response.writeHead(307, { location: receiver.url }).end()
    expect((await testOf(receiver.url)).json()).toMatchObject({ state: 'failed', status: 307 })
    expect(receiver.received).toHaveLength(3)
  })

  test('answers with the reason where there is no answer', async () => {
    await start({ timeoutMs: 20 })
    const receiver = await startReceiver()
    receiver.answerWith = () => undefined
    const late = (await testOf(receiver.url)).json<Record<string, unknown>>()
    expect(late).toMatchObject({ state: 'failed', error: 'there was no answer within 0.02 s' })
    expect(late).not.toHaveProperty('status')
  })

  test.each([
    ['no text', 7, 'invalid_request', 400],
    ['no URL', 'hooks.example', 'invalid_request', 400],
    ['longer than a URL may be', `https://a.example/${'x'.repeat(2048)}`, 'invalid_request', 400],
    ['of a private address', 'https://10.0.0.1/hook', 'url_not_allowed', 400],
    ['without TLS', 'http://a.example/hook', 'url_not_allowed', 400],
  ])('refuses a URL that is %s, and sends nothing', async (_what, url, code, status) => {
    await start({ urlRule: { allowPrivate: false, httpsOnly: true } })
    expect(problemOf(await testOf(url))).toMatchObject({ code, status, paths: ['/url'] })
  })

  test('is 404 on a server without a secret', async () => {
    await start({ secrets: [] })
    expect(problemOf(await testOf('https://a.example'))).toMatchObject({ code: 'webhooks_not_configured', status: 404 })
  })

  test('ends with the shutdown of the server, however slow the receiver is', async () => {
    await start({ timeoutMs: 60_000 })
    const receiver = await startReceiver()
    receiver.answerWith = () => undefined
    const answer = testOf(receiver.url)
    await receiver.untilReceived(1)
    await app.app.close()
    expect(problemOf(await answer)).toMatchObject({ code: 'server_ending', status: 503 })
  })
})

test('with WEBHOOK_HTTPS_ONLY a submit with another webhook URL is refused', async () => {
  await start({ urlRule: { allowPrivate: true, httpsOnly: true } })
  const refused = problemOf(await app.post('/jobs', { ...aBody, webhook_url: 'http://a.example/hook' }))
  expect(refused).toMatchObject({ code: 'url_not_allowed', detail: 'webhook_url: must be an https URL' })
  expect((await app.post('/jobs', { ...aBody, webhook_url: 'HTTPS://a.example/hook' })).statusCode).toBe(202)
})
