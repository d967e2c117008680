import { mkdtempSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { HTTPMethods } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { injectHead } from '../helpers/inject.ts'
import { listen } from '../helpers/listen.ts'
import { modalOutputs } from '../helpers/outputs.ts'
import { createUploads } from '../../src/files/uploads.ts'
import { silentLog } from '../helpers/log.ts'
import { aheadUploads, face, field, FORM_TYPE, formOf, speech } from '../helpers/uploads.ts'
import { routesOf } from '../helpers/routes.ts'
import { until } from '../helpers/until.ts'

type Route = {
  /** Undefined: public. `authenticated`: any valid credential will do. */
  readonly scope?: 'jobs:read' | 'jobs:write' | 'metrics:read' | 'admin' | 'authenticated'
  /** The status that the job must have. */
  readonly job?: 'running' | 'succeeded' | 'canceled'
  readonly answer: number
  /** Whether the route is not about a job, so that the owner of a job makes no difference. */
  readonly hasNoOwner?: true
}

/** All routes. A route that is missing here fails the tests. */
const ROUTES: Readonly<Record<string, Route>> = {
  'GET /': { answer: 200, hasNoOwner: true },
  'GET /console/:folder/:file': { answer: 200, hasNoOwner: true },
  'POST /batches': { scope: 'jobs:write', answer: 202, hasNoOwner: true },
  'GET /batches': { scope: 'jobs:read', answer: 200, hasNoOwner: true },
  'GET /batches/:id': { scope: 'jobs:read', answer: 200 },
  'GET /batches/:id/events': { scope: 'jobs:read', answer: 200 },
  'POST /batches/:id/cancel': { scope: 'jobs:write', answer: 200 },
  'POST /batches/:id/retry': { scope: 'jobs:write', answer: 200 },
  'DELETE /batches/:id': { scope: 'jobs:write', answer: 204 },
  'GET /healthz': { answer: 200, hasNoOwner: true },
  'GET /readyz': { answer: 200, hasNoOwner: true },
  'GET /metrics': { scope: 'metrics:read', answer: 200, hasNoOwner: true },
  'GET /openapi.json': { scope: 'authenticated', answer: 200, hasNoOwner: true },
  'GET /docs': { scope: 'authenticated', answer: 200, hasNoOwner: true },
  'GET /docs/problems': { answer: 200, hasNoOwner: true },
  'GET /docs/scalar.js': { scope: 'authenticated', answer: 200, hasNoOwner: true },
  'GET /docs/start.js': { scope: 'authenticated', answer: 200, hasNoOwner: true },
  'POST /jobs': { scope: 'jobs:write', answer: 202, hasNoOwner: true },
  'GET /jobs': { scope: 'jobs:read', answer: 200, hasNoOwner: true },
  'GET /jobs/:id': { scope: 'jobs:read', job: 'running', answer: 200 },
  'GET /jobs/:id/result': { scope: 'jobs:read', job: 'succeeded', answer: 200 },
  'GET /jobs/:id/output': { scope: 'jobs:read', job: 'succeeded', answer: 200 },
  'GET /jobs/:id/inputs/:kind': { scope: 'jobs:read', job: 'running', answer: 200 },
  'GET /jobs/:id/events': { scope: 'jobs:read', job: 'running', answer: 200 },
  'GET /events': { scope: 'jobs:read', answer: 200, hasNoOwner: true },
  'GET /jobs/:id/logs': { scope: 'jobs:read', job: 'succeeded', answer: 200 },
  'GET /jobs/:id/deliveries': { scope: 'jobs:read', job: 'succeeded', answer: 200 },
  'POST /jobs/:id/deliveries/:n/redeliver': { scope: 'jobs:write', job: 'succeeded', answer: 202 },
  'GET /usage': { scope: 'jobs:read', answer: 200, hasNoOwner: true },
  'POST /uploads': { scope: 'jobs:write', answer: 201, hasNoOwner: true },
  // Its link is all that it needs, and here it has none.
  'PUT /uploads/:id': { answer: 400, hasNoOwner: true },
  'POST /webhooks/test': { scope: 'jobs:write', answer: 200, hasNoOwner: true },
  'GET /webhooks/secret': { scope: 'jobs:write', answer: 200, hasNoOwner: true },
  'DELETE /jobs/:id': { scope: 'jobs:write', job: 'succeeded', answer: 204 },
  'POST /jobs/:id/cancel': { scope: 'jobs:write', job: 'running', answer: 200 },
  'POST /jobs/:id/retry': { scope: 'jobs:write', job: 'canceled', answer: 202 },
  'POST /admin/pause': { scope: 'admin', answer: 200, hasNoOwner: true },
  'POST /admin/resume': { scope: 'admin', answer: 200, hasNoOwner: true },
}

let app: TestApp
beforeAll(async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'outputs-'))
  const { outputs } = await modalOutputs({ dataDir })
  const uploads = createUploads({ folder: join(dataDir, 'uploads'), maxBytes: 10_000_000, log: silentLog() })
  app = await startApp({
    outputs,
    uploads,
    // Apart from the files of forms, which are those of jobs.
    ahead: (links) => aheadUploads({ folder: join(dataDir, 'ahead'), uploads, links }),
    authenticator: knownCallers,
    http: { limits: { read: 0, submit: 0 } },
  })
})
afterAll(() => app.close())

const split = (route: string) => route.split(' ') as [HTTPMethods, string]

async function aJobOfAlice(state: Route['job'] = 'running'): Promise<string> {
  const headers = { ...as('alice'), 'content-type': FORM_TYPE }
  const payload = formOf([face(), speech(), field('webhook_url', 'https://hooks.example/alice')])
  const submitted = await app.app.inject({ method: 'POST', url: '/jobs', payload, headers })
  const { job_id: id } = submitted.json<{ job_id: string }>()
  const { attempts } = await app.untilStatus(id, 'running')
  if (state === 'succeeded') app.backend.end(attempts[0]?.callId ?? '', aSuccess)
  if (state === 'canceled') await app.post(`/jobs/${id}/cancel`, undefined, as('alice'))
  await app.untilJob(id, (job) => job.status === state && !job.attempts.some(({ stop }) => stop === 'pending'), state)
  await until(async () => (await app.store.deliveriesOf(id)).every(({ dueAt }) => dueAt === undefined), 'delivered')
  return id
}

/** A batch whose only job is canceled. */
async function aBatchOfAlice(): Promise<string> {
  const submitted = await app.post('/batches', { jobs: [aBody] }, as('alice'))
  const { batch_id: id, results } = submitted.json<{ batch_id: string; results: { job_id: string }[] }>()
  const job = results[0]?.job_id ?? ''
  await app.untilStatus(job, 'running')
  await app.post(`/batches/${id}/cancel`, undefined, as('alice'))
  await app.untilJob(job, ({ attempts }) => attempts[0]?.stop === 'done', 'stopped')
  return id
}

const BODIES: Readonly<Record<string, object>> = {
  'POST /jobs': aBody,
  'POST /batches': { jobs: [aBody] },
  'POST /uploads': { kind: 'audio', size: 10 },
  'POST /webhooks/test': { url: 'https://hooks.example/alice' },
}

let asked = 0

async function ask(name: string, caller: string | undefined, id: string) {
  const [method, path] = split(name)
  const payload = BODIES[name]
  const url = path
    .replace(':id', id)
    .replace(':kind', 'video')
    .replace(':n', '1')
    .replace(':folder/:file', 'page/app.ts')
  // Each from another address: one that fails too often is refused.
  const remoteAddress = `192.0.2.${(asked++ % 250) + 1}`
  return injectHead(app.app, { method, url, headers: as(caller), remoteAddress, ...(payload && { payload }) })
}

test('every route is in the table, and the table has no other', async () => {
  expect(await routesOf(app.app, as('root'))).toEqual(Object.keys(ROUTES).sort())
})

describe.each(Object.entries(ROUTES))('%s', (name, { scope, job, answer, hasNoOwner }) => {
  const needs = scope ?? 'nothing'
  const mayUse = (wanted: boolean) => (scope === undefined || scope === 'authenticated' || wanted ? answer : 403)
  const isOperators = needs === 'metrics:read' || needs === 'admin'
  const foreign = hasNoOwner ? answer : 404

  test.each([
    ['nobody', undefined, scope === undefined ? answer : 401],
    ['a wrong key', 'mallory', scope === undefined ? answer : 401],
    ['a key without a scope', 'nothing', mayUse(false)],
    ['a key for metrics', 'metrics', mayUse(needs === 'metrics:read')],
    ['its owner, to read', 'alice-reads', mayUse(needs === 'jobs:read')],
    ['its owner, to write', 'alice-writes', mayUse(needs === 'jobs:write')],
    ['its owner', 'alice', mayUse(!isOperators)],
    ['another caller', 'bob', isOperators ? 403 : foreign],
    ['a token of that name', 'alice-of-the-issuer', isOperators ? 403 : foreign],
    ['an administrator', 'root', answer],
  ])(`for %s`, async (_who, caller, expected) => {
    const isOfBatch = name.includes('/batches')
    let id = ''
    if (isOfBatch) id = await aBatchOfAlice()
    else if (name.includes(':id')) id = await aJobOfAlice(job)
    const response = await ask(name, caller, id)
    // The other tests need jobs that start.
    await app.queue.setPaused(false)
    expect(response.statusCode).toBe(expected)
    if (expected === 404) expect(problemOf(response).code).toBe(isOfBatch ? 'batch_not_found' : 'job_not_found')
    const challenge = response.headers['www-authenticate']
    if (expected === 401) {
      expect(problemOf(response).code).toBe('unauthorized')
      expect(challenge).toMatch(/^Bearer realm="[^"]+"/)
    } else if (expected === 403) {
      expect(problemOf(response).code).toBe('insufficient_scope')
      expect(challenge).toContain(`error="insufficient_scope", scope="${needs}"`)
    } else expect(challenge).toBeUndefined()
  })
})

test('a request with two hosts is refused before authentication', async () => {
  const { port } = await listen(app.app)
  const socket = connect(port, '127.0.0.1')
  socket.end('GET /jobs HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n')
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 .*"code":"malformed_request"/s)
})

test('a wrong key and an unknown key get the same answer, which reveals no job', async () => {
  const id = await aJobOfAlice()
  const answers = await Promise.all([
    ask('GET /jobs/:id', 'alice-', id),
    ask('GET /jobs/:id', 'zzz', id),
    ask('GET /jobs/:id', 'zzz', crypto.randomUUID()),
  ])
  const [first, ...others] = answers.map((answer) => {
    const { instance: _ofRequest, ...problem } = problemOf(answer)
    return [answer.statusCode, problem, answer.headers['www-authenticate']]
  })
  for (const other of others) expect(other).toEqual(first)
})

test('a key may be sent as X-API-Key; two different credentials at once are refused', async () => {
  const get = (headers: Record<string, string>) => app.app.inject({ method: 'GET', url: '/jobs', headers })
  expect((await get({ 'x-api-key': 'alice' })).statusCode).toBe(200)
  expect((await get({ authorization: 'bearer alice' })).statusCode).toBe(200)
  expect((await get({ authorization: 'Basic alice' })).statusCode).toBe(401)
  expect((await get({ authorization: 'alice' })).statusCode).toBe(401)
  expect((await get({ 'x-api-key': 'alice', ...as('alice') })).statusCode).toBe(200)
  const both = await get({ 'x-api-key': 'bob', ...as('alice') })
  expect(problemOf(both)).toMatchObject({ status: 400, code: 'invalid_request' })
})

test('a list has the caller’s own jobs; an administrator sees all with their callers, and can filter by caller', async () => {
  app.clock.now += 1_000
  const [ofAlice, ofBob] = await Promise.all(
    ['alice', 'bob'].map(async (caller) => (await app.post('/jobs', aBody, as(caller))).json<{ job_id: string }>()),
  )
  const list = async (caller: string, query = '') =>
    (await app.app.inject({ method: 'GET', url: `/jobs?limit=200${query}`, headers: as(caller) })).json<{
      jobs: { job_id: string; caller?: string }[]
    }>().jobs
  const bobs = await list('bob')
  expect(bobs.map((job) => job.job_id)).toContain(ofBob?.job_id)
  expect(bobs.map((job) => job.job_id)).not.toContain(ofAlice?.job_id)
  expect(bobs.every((job) => job.caller === undefined)).toBe(true)
  const all = await list('root')
  expect(all.find((job) => job.job_id === ofAlice?.job_id)).toMatchObject({ caller: 'key:alice' })
  expect(all.find((job) => job.job_id === ofBob?.job_id)).toMatchObject({ caller: 'key:bob' })
  const chosen = await list('root', '&caller=key:bob')
  expect(new Set(chosen.map((job) => job.caller))).toEqual(new Set(['key:bob']))
  const refused = await app.app.inject({ method: 'GET', url: '/jobs?caller=key:bob', headers: as('bob') })
  expect(problemOf(refused)).toMatchObject({ status: 403, code: 'insufficient_scope' })
})

test('an idempotency key is the caller’s own', async () => {
  const headers = { 'idempotency-key': 'once' }
  const [first, again, others] = [
    await app.post('/jobs', aBody, { ...headers, ...as('alice') }),
    await app.post('/jobs', aBody, { ...headers, ...as('alice') }),
    await app.post('/jobs', aBody, { ...headers, ...as('bob') }),
  ].map((answer) => answer.json<{ job_id: string }>().job_id)
  expect(again).toBe(first)
  expect(others).not.toBe(first)
})

test('an unauthenticated request is refused before its body is read, and counts for no caller', async () => {
  const response = await app.post('/jobs', '{"video_path": ', { 'content-type': 'application/json' })
  expect(problemOf(response)).toMatchObject({ status: 401 })
})

test('more than sixty wrong credentials a minute from one address are 429, and a valid one still passes', async () => {
  const limited = await startApp({ authenticator: knownCallers })
  const get = (caller?: string) =>
    limited.app.inject({ method: 'GET', url: '/jobs', headers: as(caller), remoteAddress: '192.0.2.7' })
  const statuses: number[] = []
  for (let n = 0; n < 62; n++) statuses.push((await get('mallory')).statusCode)
  expect(statuses.slice(0, 60)).toEqual(Array.from({ length: 60 }, () => 401))
  expect(statuses.slice(60)).toEqual([429, 429])
  const refused = await get('mallory')
  expect(problemOf(refused)).toMatchObject({ status: 429, code: 'rate_limited' })
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  expect((await get('alice')).statusCode).toBe(200)
  await limited.close()
})

test('jobs of a public server belong to administrators only, once authentication is on', async () => {
  const { id } = await app.submit()
  expect((await ask('GET /jobs/:id', 'alice', id)).statusCode).toBe(404)
  expect((await ask('GET /jobs/:id', 'root', id)).json()).toMatchObject({ job_id: id, caller: 'anonymous' })
})

test('a caller cannot exceed its number of unfinished jobs, which does not affect other callers', async () => {
  const few = await startApp({ authenticator: knownCallers, maxActiveOfCaller: 2 })
  const submit = (caller: string, headers = {}) => few.post('/jobs', aBody, { ...as(caller), ...headers })
  const { job_id: id } = (await submit('alice', { 'idempotency-key': 'first' })).json<{ job_id: string }>()
  await submit('alice')
  const refused = await submit('alice')
  expect(problemOf(refused)).toMatchObject({ status: 429, code: 'concurrency_limit_reached' })
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  expect((await submit('alice', { 'idempotency-key': 'first' })).statusCode).toBe(202)
  expect((await submit('bob')).statusCode).toBe(202)
  await few.post(`/jobs/${id}/cancel`, undefined, as('alice'))
  expect((await submit('alice')).statusCode).toBe(202)
  const retried = await few.post(`/jobs/${id}/retry`, undefined, as('alice'))
  expect(problemOf(retried)).toMatchObject({ status: 429, code: 'concurrency_limit_reached' })
  await few.close()
})

test('a public server needs no credential and ignores any', async () => {
  const open = await startApp()
  const response = await open.post('/jobs', aBody, as('mallory'))
  expect(response.statusCode).toBe(202)
  expect(response.json()).not.toHaveProperty('caller')
  await open.close()
})
