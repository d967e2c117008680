import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createSecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, test as sequentialTest, type TestContext, vi } from 'vitest'
import { type Certificate, makeCertificate } from '../helpers/control-plane/certificate.ts'
import { forkControlPlane, type RemoteControlPlane } from '../helpers/control-plane/remote.ts'
import { makeKey } from '../helpers/keys.ts'
import { startReceiver } from '../helpers/receiver.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'
import { asking } from '../helpers/jobs.ts'

/** Waits most of its time, so others run meanwhile. Tests of what takes how long are sequential. */
const test = sequentialTest.concurrent

type Tls = { readonly cert: Buffer; readonly key: Buffer }

const SECRET = `whsec_${randomBytes(32).toString('base64')}`
const TIMEOUT_SECONDS = 1
/** A claim of the server lasts so long, in ms: the time of a try, and a margin. */
const CLAIM_MS = TIMEOUT_SECONDS * 1000 + 5_000

let plane: RemoteControlPlane
// Servers that start at the same time start slowly.
vi.setConfig({ testTimeout: 60_000 })

beforeAll(async () => {
  plane = await forkControlPlane()
})
afterAll(() => plane.close())

/** Servers that are started one after the other on one store, and what receives their webhooks. */
function scene({ onTestFinished }: TestContext, env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'webhooks-'))
  const servers: ServerProcess[] = []
  onTestFinished(async () => {
    await Promise.all(servers.map((server) => server.end('SIGKILL')))
    rmSync(folder, { recursive: true, force: true })
  })
  const all = {
    ...plane.env,
    ...{ BACKEND: 'modal', JOB_STORE: `sqlite:${join(folder, 'jobs.db')}`, WEBHOOK_SECRET: SECRET },
    ...{ WEBHOOK_ALLOW_PRIVATE: 'true', WEBHOOK_TIMEOUT_SECONDS: String(TIMEOUT_SECONDS), ...env },
  }
  const start = async () => {
    const server = await startServer({ env: all })
    servers.push(server)
    return server
  }
  return { start, receive: () => startReceiver(0, onTestFinished) }
}

const body = (webhookUrl: string, behaviour = 'after=1') => ({
  ...asking(behaviour),
  webhook_url: webhookUrl,
})

type Ledger = { deliveries: { state: string; next_try_at?: string; tries: { status?: number; error?: string }[] }[] }
const ledgerOf = async ({ url }: ServerProcess, id: string) =>
  ((await (await fetch(`${url}/jobs/${id}/deliveries`)).json()) as Ledger).deliveries

test('a webhook that was pending when the server was killed is delivered after the restart', async (context) => {
  const { start, receive } = scene(context)
  const receiver = await receive()
  receiver.answerWith = (response) => response.writeHead(500).end()
  const first = await start()
  const { job_id: id } = await first.submit(body(receiver.url))
  await first.untilStatus(id, 'succeeded')
  await receiver.untilReceived(1)
  await until(async () => (await ledgerOf(first, id))[0]?.next_try_at, 'the end of the first try')
  expect(await first.end('SIGKILL')).toBe('SIGKILL')

  receiver.answerWith = (response) => response.writeHead(204).end()
  const second = await start()
  await receiver.untilReceived(2)
  await until(async () => (await ledgerOf(second, id))[0]?.state === 'delivered', 'delivered')
  const [before, after] = receiver.received
  expect(after?.body).toBe(before?.body)
  expect(after?.headers['webhook-id']).toBe(before?.headers['webhook-id'])
  expect(new Webhook(SECRET).verify(after!.body, after!.headers)).toMatchObject({
    type: 'job.succeeded',
    data: { job_id: id },
  })
})

test('a receiver that follows docs/webhooks.md believes what is sent to a caller with a key, and nothing else', async (context) => {
  const [alice, bob] = ['alice', 'bob'].map((name) => makeKey(name))
  const { start, receive } = scene(context, { API_KEYS: `${alice!.entry},${bob!.entry}` })
  const receiver = await receive()
  const server = await start()
  const ask = async <T>(path: string, key: string, init: RequestInit = {}) => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    return (await (await fetch(server.url + path, { headers, ...init })).json()) as T
  }
  const { job_id: id } = await ask<{ job_id: string }>('/jobs', alice!.key, {
    method: 'POST',
    body: JSON.stringify(body(receiver.url)),
  })
  const [received] = await receiver.untilReceived(1)
  const [, example = ''] = /```js\n(.*?)```/s.exec(readFileSync('docs/webhooks.md', 'utf8')) ?? []
  const verify = (secret: string) => {
    const given = { secret, rawBody: received!.body, request: { headers: received!.headers } }
    const program = `const { secret, rawBody, request } = ${JSON.stringify(given)}\n${example}\nconsole.log(event.data.job_id)`
    return spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
  }
  const secretOf = async (key: string) => (await ask<{ secret: string }>('/webhooks/secret', key)).secret
  expect(verify(await secretOf(alice!.key)).stdout.trim()).toBe(id)
  for (const other of [await secretOf(bob!.key), SECRET]) {
    expect(verify(other)).toMatchObject({ stdout: '', stderr: expect.stringContaining('No matching signature') })
  }
})

test('the trace of a submit outlives the server that took it, on the way to the webhook and in the log', async (context) => {
  const { start, receive } = scene(context)
  const receiver = await receive()
  receiver.answerWith = (response) => response.writeHead(500).end()
  const [trace, parent] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7']
  const first = await start()
  const submitted = await fetch(`${first.url}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent: `00-${trace}-${parent}-01` },
    body: JSON.stringify(body(receiver.url)),
  })
  const { job_id: id } = (await submitted.json()) as { job_id: string }
  await receiver.untilReceived(1)
  await until(async () => (await ledgerOf(first, id))[0]?.next_try_at, 'the end of the first try')
  expect(await first.end('SIGKILL')).toBe('SIGKILL')

  receiver.answerWith = (response) => response.writeHead(204).end()
  const second = await start()
  const [before, after] = (await receiver.untilReceived(2)).map(({ headers }) => headers.traceparent!.split('-'))
  expect([before, after].map((parts) => [parts?.[1], parts?.[3]])).toEqual([
    [trace, '01'],
    [trace, '01'],
  ])
  expect(new Set([parent, before?.[2], after?.[2]]).size).toBe(3)
  const line = await until(() => second.lines.find(({ event }) => event === 'webhook_delivered'))
  expect(line).toMatchObject({ job_id: id, trace_id: trace })
})

sequentialTest(
  'a delivery attempt that a kill cut off is made again: at least once, under the same id',
  async (context) => {
    const { start, receive } = scene(context)
    const receiver = await receive()
    receiver.answerWith = () => undefined
    const first = await start()
    const { job_id: id } = await first.submit(body(receiver.url))
    await receiver.untilReceived(1)
    expect(await first.end('SIGKILL')).toBe('SIGKILL')

    receiver.answerWith = (response) => response.writeHead(204).end()
    const second = await start()
    expect(await second.untilStatus(id, 'succeeded')).toMatchObject({ revision: 3 })
    await until(async () => (await ledgerOf(second, id))[0]?.state === 'delivered', 'delivered', CLAIM_MS + 10_000)
    const [before, after] = receiver.received
    // Not while another process might still be at it.
    expect(after!.at - before!.at).toBeGreaterThan(CLAIM_MS / 2)
    const ids = receiver.received.map(({ headers }) => headers['webhook-id'])
    expect(ids).toEqual([`msg_${id}_1`, `msg_${id}_1`])
    expect((await ledgerOf(second, id))[0]?.tries).toMatchObject([
      { error: 'the server stopped during the attempt' },
      { status: 204 },
    ])
  },
)

test('no webhook is lost by a kill at any instant after the job finished', async (context) => {
  const { start, receive } = scene(context)
  const receiver = await receive()
  const first = await start()
  const jobs = await Promise.all(Array.from({ length: 60 }, () => first.submit(body(receiver.url, 'after=100'))))
  // Some have finished with a webhook delivered, some without, some run.
  await receiver.untilReceived(5)
  expect(await first.end('SIGKILL')).toBe('SIGKILL')
  await start()
  const wanted = new Set(jobs.map(({ job_id: id }) => `msg_${id}_1`))
  const missing = () => {
    for (const { headers } of receiver.received) wanted.delete(headers['webhook-id'] ?? '')
    return wanted.size
  }
  await until(() => missing() === 0, 'every webhook', CLAIM_MS + 15_000)
})

/** A receiver over TLS, which notes by which version of HTTP it was asked. */
async function startTlsReceiver(
  { onTestFinished }: TestContext,
  createTlsServer: (tls: Tls) => Server,
  { caFile, keyFile }: Certificate,
) {
  const versions: string[] = []
  const receiver = createTlsServer({ cert: readFileSync(caFile), key: readFileSync(keyFile) })
  receiver.on('request', (request: IncomingMessage, response: ServerResponse) => {
    versions.push(request.httpVersion)
    response.writeHead(204).end()
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void receiver.close())
  return { versions, url: `https://localhost:${(receiver.address() as AddressInfo).port}/hook` }
}

test('a receiver over TLS gets the webhook, by HTTP/2 where it supports that, and none where its certificate is not trusted', async (context) => {
  const [trusted, stranger] = [makeCertificate(), makeCertificate()]
  context.onTestFinished(() => [trusted, stranger].forEach((certificate) => certificate.remove()))
  const { start } = scene(context, { NODE_EXTRA_CA_CERTS: trusted.caFile })
  const server = await start()
  const old = await startTlsReceiver(context, (tls) => createHttpsServer(tls), trusted)
  const modern = await startTlsReceiver(context, (tls) => createSecureServer(tls), trusted)
  const unknown = await startTlsReceiver(context, (tls) => createHttpsServer(tls), stranger)
  const receivers = [old, modern, unknown]
  const jobs = await Promise.all(receivers.map(({ url }) => server.submit(body(url))))
  const firstTries = async () => {
    const ledgers = await Promise.all(jobs.map(({ job_id: id }) => ledgerOf(server, id)))
    const tries = ledgers.map(([delivery]) => delivery?.tries[0])
    return tries.every((first) => first?.status ?? first?.error) && tries
  }
  expect(await until(firstTries, 'the end of the first tries')).toMatchObject([
    { status: 204 },
    { status: 204 },
    { error: 'its certificate is not valid (DEPTH_ZERO_SELF_SIGNED_CERT)' },
  ])
  expect(receivers.map(({ versions }) => versions)).toEqual([['1.1'], ['2.0'], []])
})

sequentialTest('SIGTERM does not wait for a receiver that hangs; the next server delivers', async (context) => {
  const { start, receive } = scene(context, { WEBHOOK_TIMEOUT_SECONDS: '60' })
  const receiver = await receive()
  receiver.answerWith = () => undefined
  const first = await start()
  await first.submit(body(receiver.url))
  await receiver.untilReceived(1)
  const startedAt = performance.now()
  expect(await first.end()).toBe(0)
  expect(performance.now() - startedAt).toBeLessThan(3_000)
  await start()
  await receiver.untilReceived(2)
})

test('in memory mode an undelivered webhook is logged at the shutdown', async (context) => {
  const { start, receive } = scene(context, { JOB_STORE: 'memory' })
  const receiver = await receive()
  receiver.answerWith = (response) => response.writeHead(500).end()
  const server = await start()
  const { job_id: id } = await server.submit(body(receiver.url))
  await receiver.untilReceived(1)
  await until(async () => (await ledgerOf(server, id))[0]?.next_try_at)
  expect(await server.end()).toBe(0)
  expect(server.lines.find(({ event }) => event === 'webhook_forgotten')).toMatchObject({
    job_id: id,
    delivery: 1,
  })
  expect(server.output()).not.toContain(SECRET)
})

test('a delivery attempt takes no longer than WEBHOOK_TIMEOUT_SECONDS', async (context) => {
  const { start, receive } = scene(context)
  const receiver = await receive()
  receiver.answerWith = () => undefined
  const server = await start()
  const { job_id: id } = await server.submit(body(receiver.url))
  const [delivery] = await until(async () => {
    const ledger = await ledgerOf(server, id)
    return ledger[0]?.tries[0]?.error !== undefined && ledger
  })
  expect(delivery?.tries[0]).toMatchObject({ error: `there was no answer within ${TIMEOUT_SECONDS} s` })
})

sequentialTest('a second delivery attempt follows after five seconds, by the server’s own clock', async (context) => {
  const { start, receive } = scene(context)
  const receiver = await receive()
  receiver.answerWith = (response) => response.writeHead(500).end()
  const server = await start()
  await server.submit(body(receiver.url))
  const [first, second] = await receiver.untilReceived(2)
  const waitedMs = second!.at - first!.at
  expect(waitedMs).toBeGreaterThan(4_400)
  expect(waitedMs).toBeLessThan(6_500)
})
