import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { get, type IncomingMessage } from 'node:http'
import { expect, onTestFinished, test, vi } from 'vitest'
import { joinAuthenticators, createKeyring } from '../../src/auth/keys.ts'
import type { Authenticator, Scope } from '../../src/jobs/ports/access.ts'
import { MAX_POLLS, MAX_POLLS_PER_CALLER } from '../../src/http/plugins/open-answers.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as } from '../helpers/callers.ts'
import { openChanges } from '../helpers/event-client.ts'
import { makeKey } from '../helpers/keys.ts'
import { listen } from '../helpers/listen.ts'
import { silentLog } from '../helpers/log.ts'
import { temporaryFolder } from '../helpers/media.ts'
import { until } from '../helpers/until.ts'

async function start(options: Parameters<typeof startApp>[0]) {
  const app = await startApp(options)
  onTestFinished(() => app.close())
  return { ...app, port: (await listen(app.app)).port }
}
const urlOf = ({ app }: TestApp) => `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`

/** An app whose keys are in a file of the test's. */
async function startWithKeys(...entries: string[]) {
  const file = join(await temporaryFolder(), 'keys')
  const write = (lines: string[]) => writeFile(file, `${lines.join('\n')}\n`)
  await write(entries)
  const keys = await createKeyring({ file, log: silentLog() })
  const app = await start({ authenticator: joinAuthenticators({ keys }) })
  const change = async (...lines: string[]) => {
    await write(lines)
    await keys.reload()
  }
  return { app, change }
}

async function aRunningJob(app: TestApp, key: string): Promise<string> {
  const { job_id: id } = (await app.post('/jobs', aBody, as(key))).json<JobView>()
  await app.untilStatus(id, 'running')
  return id
}

/** Follows the log of a job that goes on. */
async function openLog(app: TestApp, id: string, key: string): Promise<IncomingMessage> {
  const request = get(`${urlOf(app)}/jobs/${id}/logs`, { headers: as(key) })
  onTestFinished(() => void request.destroy())
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.on('error', () => undefined).resume()
  return response
}

test('streams, followed logs and long polls of a key end when the key file is reloaded without it', async () => {
  const [alice, bob] = [makeKey('alice'), makeKey('bob')]
  const { app, change } = await startWithKeys(alice.entry, bob.entry)
  app.backend.logsWith = async function* (_call, signal) {
    yield 'frame 1\n'
    await once(signal, 'abort')
    signal.throwIfAborted()
  }
  const [hers, his] = [await aRunningJob(app, alice.key), await aRunningJob(app, bob.key)]
  /** Resolves once the poll waits. */
  const pollBatch = async (key: string) => {
    const submitted = (await app.post('/batches', { jobs: [aBody] }, as(key))).json<{ batch_id: string }>()
    const { getBatch } = app.store
    const reads = vi.fn(getBatch)
    app.store.getBatch = reads
    const answer = fetch(`${urlOf(app)}/batches/${submitted.batch_id}?wait=60`, { headers: as(key) })
    await until(() => reads.mock.calls.length > 1, 'the poll')
    app.store.getBatch = getBatch
    return { id: submitted.batch_id, answer }
  }
  const openAll = async (id: string, key: string) => ({
    streams: [
      await openChanges(`${urlOf(app)}/events`, as(key)),
      await openChanges(`${urlOf(app)}/jobs/${id}/events`, as(key)),
    ],
    log: await openLog(app, id, key),
    poll: fetch(`${urlOf(app)}/jobs/${id}?wait=60`, { headers: as(key) }),
    batch: await pollBatch(key),
  })
  const revoked = await openAll(hers, alice.key)
  const kept = await openAll(his, bob.key)

  await change(bob.entry)
  await until(() => revoked.streams.every(({ closed }) => closed) && revoked.log.closed, 'the end of all of hers')
  expect(revoked.streams.map(({ complete }) => complete)).toEqual([true, true])
  expect(revoked.log.complete).toBe(false)
  for (const answer of [await revoked.poll, await revoked.batch.answer]) {
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([401, 'unauthorized'])
  }

  expect([kept.streams.some(({ closed }) => closed), kept.log.closed]).toEqual([false, false])
  await app.post(`/jobs/${his}/cancel`, undefined, as(bob.key))
  await app.post(`/batches/${kept.batch.id}/cancel`, undefined, as(bob.key))
  expect([(await kept.poll).status, (await kept.batch.answer).status]).toEqual([200, 200])
  await until(() => kept.streams.every(({ events }) => events.at(-1)?.job.status === 'canceled'))
})

test('a stream ends when its key loses its scope, or `admin`', async () => {
  const [alice, root] = [makeKey('alice', 'jobs:read'), makeKey('root', 'admin')]
  const { app, change } = await startWithKeys(alice.entry, root.entry)
  const streams = [
    await openChanges(`${urlOf(app)}/events`, as(alice.key)),
    await openChanges(`${urlOf(app)}/events`, as(root.key)),
  ]
  await change(alice.entry.replace('jobs:read', 'jobs:write'), root.entry.replace('admin', 'jobs:read'))
  await until(() => streams.every(({ closed }) => closed))
})

test('a stream that is being opened while its key is revoked ends too', async () => {
  const [alice, bob] = [makeKey('alice'), makeKey('bob')]
  const { app, change } = await startWithKeys(alice.entry, bob.entry)
  const id = await aRunningJob(app, alice.key)
  const { get: read } = app.service
  const [asked, go] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()]
  vi.spyOn(app.service, 'get').mockImplementationOnce(async (...args) => {
    asked.resolve(undefined)
    await go.promise
    return read(...args)
  })
  const opening = openChanges(`${urlOf(app)}/jobs/${id}/events`, as(alice.key))
  await asked.promise
  await change(bob.entry)
  go.resolve(undefined)
  const stream = await opening
  await until(() => stream.closed)
})

test('a stream and a long poll end when their token expires', async () => {
  let expiresAt = Infinity
  const scopes = new Set<Scope>(['jobs:read', 'jobs:write'])
  const tokens: Authenticator = {
    authenticate: () => Promise.resolve({ id: 'oidc:https://issuer.test|alice', scopes, expiresAt }),
    onReload: () => undefined,
    close: () => Promise.resolve(),
  }
  const app = await start({ authenticator: tokens })
  const id = await aRunningJob(app, 'token')
  const lasting = await openChanges(`${urlOf(app)}/events`, as('token'))
  expiresAt = Date.now() + 700
  const stream = await openChanges(`${urlOf(app)}/events`, as('token'))
  const answer = await fetch(`${urlOf(app)}/jobs/${id}?wait=60`, { headers: as('token') })
  expect(answer.status).toBe(401)
  expect(Date.now()).toBeGreaterThanOrEqual(expiresAt)
  await until(() => stream.closed)
  expect(lasting.closed).toBe(false)
})

test('long polls of one caller beyond 1,000 are answered at once', async () => {
  const app = await startApp()
  onTestFinished(() => app.close())
  const id = (await app.submit()).id
  await app.untilStatus(id, 'running')
  const watch = vi.spyOn(app.subscriptions, 'subscribe')
  const polls = Array.from({ length: MAX_POLLS_PER_CALLER }, () => app.get(`/jobs/${id}?wait=60`))
  await until(() => watch.mock.calls.length === MAX_POLLS_PER_CALLER, 'all of them to wait')
  expect((await app.get(`/jobs/${id}?wait=60`)).json()).toMatchObject({ status: 'running' })
  await app.post(`/jobs/${id}/cancel`)
  const answers = await Promise.all(polls)
  expect(answers.every((answer) => answer.json<JobView>().status === 'canceled')).toBe(true)
})

test(
  'long polls are shared fairly by callers, and beyond 10,000 of all are answered at once',
  { timeout: 60_000 },
  async () => {
    const app = await startApp({ http: { trustedProxies: 1 } })
    onTestFinished(() => app.close())
    const id = (await app.submit()).id
    await app.untilStatus(id, 'running')
    const watch = vi.spyOn(app.subscriptions, 'subscribe')
    const poll = (address: string) =>
      app.app.inject({ url: `/jobs/${id}?wait=60`, headers: { 'x-forwarded-for': address } })
    const untilOpen = (count: number) =>
      until(() => watch.mock.calls.length === count, `${count} of them to wait`, 30_000)
    const polls = Array.from({ length: MAX_POLLS }, (_, n) => poll(`10.0.0.${Math.floor(n / MAX_POLLS_PER_CALLER)}`))
    // The tenth gets as many as are left free, so that there are some for those who come later.
    const shared = MAX_POLLS - MAX_POLLS_PER_CALLER / 2
    await untilOpen(shared)
    for (let n = 0; n < MAX_POLLS - shared; n++) polls.push(poll(`10.1.${n >> 8}.${n & 255}`))
    await untilOpen(MAX_POLLS)
    expect((await poll('10.0.1.1')).json()).toMatchObject({ status: 'running' })
    await app.post(`/jobs/${id}/cancel`)
    await Promise.all(polls)
  },
)

test('logs count as streams of their caller', async () => {
  const app = await start({ http: { maxStreamsPerCaller: 1 } })
  const id = (await app.submit()).id
  await app.untilStatus(id, 'running')
  const stream = await openChanges(`${urlOf(app)}/events`)
  expect(problemOf(await app.get(`/jobs/${id}/logs`))).toMatchObject({ status: 429, code: 'stream_limit_reached' })
  stream.response.destroy()
  await until(async () => (await app.get(`/jobs/${id}/logs`)).statusCode !== 429, 'room for the log')
})

test('pipelined streams behind another one are released when the connection closes', async () => {
  const app = await start({ http: { maxStreamsPerCaller: 3 } })
  const socket = connect(app.port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write('GET /events HTTP/1.1\r\nHost: a.example\r\n\r\n'.repeat(3))
  const isFull = async () => {
    const response = await fetch(`${urlOf(app)}/events`, { method: 'HEAD' })
    return response.status === 429
  }
  await until(isFull, 'all three')
  socket.destroy()
  await until(async () => !(await isFull()), 'their end')
})
