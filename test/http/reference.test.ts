import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { WEBHOOK_EVENTS } from '../../src/jobs/job.ts'
import { PROBLEM_CODES, problem } from '../../src/problems.ts'
import { describeServer, type OpenApi } from '../../src/http/docs/document.ts'
import { aBody, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { createFakeSender, type FakeSender } from '../helpers/fake-sender.ts'
import { refereeOf, referenceOf } from '../helpers/reference.ts'
import { injectHead } from '../helpers/inject.ts'
import { routesOf } from '../helpers/routes.ts'
import { aheadUploads, FACE, face, field, folderUploads, FORM_TYPE, formOf, speech } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'
import { modalOutputs } from '../helpers/outputs.ts'

let open: TestApp
let guarded: TestApp
let sender: FakeSender
let reference: OpenApi
let openReference: OpenApi
beforeAll(async () => {
  open = await startApp()
  const dataDir = mkdtempSync(join(tmpdir(), 'outputs-'))
  const { outputs } = await modalOutputs({ dataDir })
  const { uploads } = await folderUploads({ folder: join(dataDir, 'uploads') })
  sender = createFakeSender()
  guarded = await startApp({
    outputs,
    uploads,
    sender,
    ahead: (links) => aheadUploads({ folder: join(dataDir, 'uploads', 'ahead'), uploads, links }),
    authenticator: knownCallers,
  })
  reference = await referenceOf(guarded, as('nothing'))
  openReference = await referenceOf(open)
})
afterAll(async () => {
  await open.close()
  await guarded.close()
})

/** Every object of the document, with where it is. */
function* objectsOf(value: unknown, path: string[] = []): Generator<[path: string[], object: Record<string, unknown>]> {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) yield [path, value as Record<string, unknown>]
  for (const [key, member] of Object.entries(value)) yield* objectsOf(member, [...path, key])
}

const operations = () =>
  Object.entries(reference.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`,
      operation,
    })),
  )

const FORWARDED = { host: 'replica-1:9000', 'x-forwarded-host': 'jobs.example', 'x-forwarded-proto': 'https' }

describe('the document', () => {
  test('is OpenAPI 3.1 of this release', () => {
    expect(reference).toMatchObject({
      openapi: '3.1.1',
      info: { version: packageJson.version, license: { name: 'MIT' } },
    })
  })

  test.each([
    ['as its reader has reached it', undefined, { host: 'jobs.internal:9000' }, 'http://jobs.internal:9000'],
    ['as a trusted proxy was asked for it', undefined, FORWARDED, 'https://jobs.example'],
    ['as the operator says', 'https://example.org/lip-sync', { host: 'jobs.internal' }, 'https://example.org/lip-sync'],
    ['relative to itself where the host is none', undefined, { host: 'a b' }, '/'],
  ])('names this server, and no other: %s', async (_what, publicUrl, headers, url) => {
    const app = await startApp({ http: { publicUrl, trustedProxies: ['127.0.0.1'] } })
    const document = await referenceOf(app, headers)
    expect(document.servers).toMatchObject([{ url }])
    expect(document.info.description).toContain(`curl -s ${url === '/' ? '' : url}/jobs `)
    // Made once, it is addressed to each of its readers.
    expect((await referenceOf(app, { host: 'other' })).servers[0]?.url).toBe(publicUrl ?? 'http://other')
    await app.close()
  })

  test('begins with the submit of a job, in the order in which jobs live, and ends with the codes of problems', () => {
    expect(
      operations()
        .slice(0, 3)
        .map(({ name }) => name),
    ).toEqual(['POST /jobs', 'GET /jobs', 'GET /jobs/:id'])
    const { tags, info } = reference as unknown as { tags: { name: string }[]; info: { description: string } }
    expect(tags.at(-1)).toMatchObject({ name: 'problems' })
    expect(info.description).not.toContain('`internal_error`')
  })

  test('has no example on optional parameters: its page would fill it in and send it', () => {
    let parameters = 0
    for (const [path, object] of objectsOf(reference.paths)) {
      if (path.at(-2) !== 'parameters' || object.required === true) continue
      parameters++
      const { schema, ...parameter } = object as { schema: object; description: string }
      for (const part of [schema, parameter]) {
        for (const keyword of ['example', 'examples', 'default'])
          expect(part, path.join('/')).not.toHaveProperty(keyword)
      }
      expect(parameter.description, path.join('/')).toMatch(/ For example `\S+`\.$/)
    }
    expect(parameters).toBeGreaterThan(15)
  })

  test.each(['application/json', 'multipart/form-data'])(
    'has bodies of %s that the server takes as they are',
    async (type) => {
      const { requestBody } = reference.paths['/jobs']!.post!
      const examples = Object.values(requestBody?.content[type]?.examples ?? {})
      expect(examples.length).toBeGreaterThan(0)
      for (const { value } of examples) {
        const form = Object.entries(value as object).map(([name]) => (name === 'audio' ? speech() : face()))
        const isForm = type === 'multipart/form-data'
        const payload = isForm ? formOf(form) : (value as object)
        const headers = { ...as('alice'), 'content-type': isForm ? FORM_TYPE : type }
        const answer = await guarded.app.inject({ method: 'POST', url: '/jobs', payload, headers })
        expect(answer.statusCode, answer.body).toBe(202)
      }
    },
  )

  test('has every route but the parts of pages, and no other', async () => {
    const parts = ['GET /docs/scalar.js', 'GET /docs/start.js', 'GET /console/:folder/:file']
    const routes = (await routesOf(guarded.app, as('root'))).filter((route) => !parts.includes(route))
    expect(operations().map(({ name }) => name)).toEqual(expect.arrayContaining(routes))
    expect(operations()).toHaveLength(routes.length)
  })

  test('has a unique id, a group, a summary, a description and every answer for each operation', () => {
    const tags = (reference as unknown as { tags: { name: string }[] }).tags.map(({ name }) => name)
    for (const { name, operation } of operations()) {
      expect(operation, name).toMatchObject({ summary: expect.stringMatching(/^\S.{5,60}$/) })
      expect(operation.description, name).toMatch(/^\S.{20,}/)
      expect(tags, name).toEqual(expect.arrayContaining(operation.tags))
      for (const [status, answer] of Object.entries(operation.responses)) {
        expect(answer.description, `${name} ${status}`).toMatch(/\S{2,}/)
      }
    }
    const ids = operations().map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('has a description and an example for every field', () => {
    let fields = 0
    for (const [path, object] of objectsOf(reference)) {
      if (path.includes('examples') || path.includes('example')) continue
      // A list in OpenAPI; a submit has a field of that name.
      const isOfParameters = path.at(-2) === 'parameters' && /^\d+$/.test(path.at(-1) ?? '')
      const isField = isOfParameters || ['properties', 'headers', 'schemas'].includes(path.at(-2) ?? '')
      if (!isField || typeof object.$ref === 'string') continue
      fields++
      expect(object.description, path.join('/')).toMatch(/\S{2,}/)
      const { properties, items } = object as { properties?: object; items?: { $ref?: string } }
      if (properties ?? items?.$ref) continue
      // These have theirs in the description.
      if (isOfParameters && object.required !== true) continue
      expect(object.examples ?? object.example, path.join('/')).toBeDefined()
    }
    expect(fields).toBeGreaterThan(60)
  })

  test('has examples that follow their own schemas', () => {
    const { errorsBy } = refereeOf(reference)
    let examples = 0
    for (const [path, media] of objectsOf(reference.paths)) {
      if (path.at(-2) !== 'content') continue
      for (const [name, { value }] of Object.entries((media.examples ?? {}) as Record<string, { value: unknown }>)) {
        examples++
        expect(errorsBy(value, 'paths', ...path, 'schema'), `${path.join('/')} ${name}`).toEqual([])
      }
    }
    expect(examples).toBeGreaterThan(100)
  })

  test('requires exactly one face and one speech', () => {
    const { errorsBy } = refereeOf(reference)
    const errors = (body: object) => errorsBy(body, 'components', 'schemas', 'NewJob')
    expect(errors(aBody)).toEqual([])
    expect(errors({ ...aBody, image_url: 'https://a.example/x.png' })).not.toEqual([])
    expect(errors({ video_path: 'face.mp4' })).not.toEqual([])
  })

  test('permits null for a field of a submit, but not as a face or a speech, like the server', async () => {
    const { errorsBy } = refereeOf(reference)
    const isFine = (body: object) => errorsBy(body, 'components', 'schemas', 'NewJob').length === 0
    const optional = ['video_url', 'image_url', 'audio_url', 'version', 'metadata', 'timeout_seconds', 'webhook_url']
    const bodies = [
      ...[...optional, 'webhook_events', 'colour'].map((name) => ({ ...aBody, [name]: null })),
      ...[
        { ...aBody, metadata: { scene: null } },
        { ...aBody, video_path: null },
        { ...aBody, audio_path: null },
      ],
      { ...aBody, webhook_events: [null], webhook_url: 'https://hooks.example/a' },
    ]
    for (const body of bodies) {
      const { statusCode } = await open.post('/jobs', body)
      expect(isFine(body), JSON.stringify(body)).toBe(statusCode === 202)
    }
    expect(JSON.stringify(reference.components.schemas.Job)).not.toContain('"null"')
    expect(JSON.stringify(reference.components.schemas.NewJobForm)).not.toContain('"null"')
  })

  test('lists every problem code', () => {
    const { tags } = reference as unknown as { tags: { name: string; description: string }[] }
    const description = tags.find(({ name }) => name === 'problems')?.description
    const shown = new Set<string>()
    for (const [path, object] of objectsOf(reference.paths)) {
      if (path.at(-1) === 'examples') for (const code of Object.keys(object)) shown.add(code)
    }
    // No operation is reached.
    const ofNoOperation = ['method_not_allowed', 'route_not_found']
    for (const code of PROBLEM_CODES) {
      expect(description).toContain(`\`${code}\``)
      if (!ofNoOperation.includes(code)) expect([...shown]).toContain(code)
    }
  })

  test('has the webhooks, and bodies that are sent match it', async () => {
    const { errorsBy } = refereeOf(reference)
    expect(Object.keys(reference.webhooks ?? {})).toEqual([...WEBHOOK_EVENTS, 'batch.finished', 'webhook.test'])
    const errorsIn = (event: { type: string }) => {
      const name = event.type.replaceAll(/(?:^|\.)(\w)/g, (_match, letter: string) => letter.toUpperCase())
      return errorsBy(event, 'components', 'schemas', `${name}Event`)
    }
    for (const [path, { value }] of objectsOf(reference.webhooks))
      if (path.at(-1) === 'event') expect(errorsIn(value as { type: string })).toEqual([])
    const { sent } = sender
    const before = sent.length
    const payload = {
      ...aBody,
      metadata: { a: 'x' },
      webhook_url: 'https://hooks.example/a',
      webhook_events: WEBHOOK_EVENTS,
    }
    const { job_id: id } = (await guarded.post('/jobs', payload, as('alice'))).json<{ job_id: string }>()
    await guarded.untilStatus(id, 'running')
    await guarded.post(`/jobs/${id}/cancel`, undefined, as('alice'))
    await guarded.post('/webhooks/test', { url: 'https://hooks.example/a' }, as('alice'))
    const bodies = await until(() => sent.length >= before + 3 && sent.slice(before), 'three webhooks')
    const types = bodies.map(({ body }) => {
      const event = JSON.parse(body) as { type: string }
      expect(errorsIn(event)).toEqual([])
      return event.type
    })
    expect(types.toSorted()).toEqual(['job.canceled', 'job.running', 'webhook.test'])
  })

  test('has what the default rules of Spectral ask for beyond those of Redocly', () => {
    for (const document of [reference, openReference]) {
      expect(document.info).toMatchObject({ contact: { name: expect.stringMatching(/\S/) } })
      for (const [path, { security = [] }] of objectsOf(document.paths))
        for (const scopes of (security as object[]).flatMap((one) => Object.values(one) as unknown[]))
          expect(scopes, path.join('/')).toEqual([])
    }
  })

  test('names the scope of each operation, and both ways to send a credential', () => {
    expect(reference.paths['/jobs']?.post).toMatchObject({
      security: [{ bearer: [] }, { apiKey: [] }],
      description: expect.stringContaining('`jobs:write`'),
    })
    expect(reference.paths['/healthz']?.get).toMatchObject({ security: [] })
    expect(reference.components).toMatchObject({
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' }, apiKey: { name: 'X-API-Key', in: 'header' } },
    })
  })

  test('of a public server requires no credential', () => {
    expect(openReference).toMatchObject({ security: [] })
    expect(JSON.stringify(openReference)).not.toMatch(/securitySchemes|"401"|insufficient_scope":/)
  })

  test('cannot be made while a route has no docs', async () => {
    const route = { method: 'GET', url: '/new', handler: () => undefined } as const
    await expect(describeServer({ routes: [route], authenticated: false })).rejects.toThrow('GET /new is not described')
  })
})

describe('real answers match the reference', () => {
  const json = { 'content-type': 'application/json' }
  type Answer = Awaited<ReturnType<TestApp['get']>>

  /** A job of Alice's. */
  async function aJob(end?: 'succeeded' | 'failed' | 'canceled'): Promise<string> {
    const { job_id: id } = (await guarded.post('/jobs', aBody, as('alice'))).json<{ job_id: string }>()
    const { attempts } = await guarded.untilStatus(id, 'running')
    const callId = attempts[0]?.callId ?? ''
    if (end === 'succeeded') guarded.backend.end(callId, aSuccess)
    if (end === 'failed') guarded.backend.end(callId, { kind: 'failed', code: 'inference_failed', error: 'no face' })
    if (end === 'canceled') await ask('POST /jobs/:id/cancel', id)
    if (end) await guarded.untilJob(id, (job) => job.attempts.every(({ stop }) => stop !== 'pending'), 'stopped')
    if (end) await guarded.untilStatus(id, end)
    return id
  }

  async function ask(route: string, id = '', caller: string | undefined = 'alice', more: object = {}): Promise<Answer> {
    const [method, path] = route.split(' ') as ['GET', string]
    return guarded.app.inject({ method, url: path.replace(':id', id), headers: as(caller), ...more })
  }
  const submit = (payload: unknown, headers: Record<string, string> = {}) =>
    ask('POST /jobs', '', 'alice', { payload, headers: { ...as('alice'), ...json, ...headers } })
  const form = (parts: Parameters<typeof formOf>[0]) => submit(formOf(parts), { 'content-type': FORM_TYPE })
  const input = async (kind: string, headers: Record<string, string> = {}) => {
    const { job_id: id } = (await form([face(), speech()])).json<{ job_id: string }>()
    const url = `/jobs/${id}/inputs/${kind}`
    return guarded.app.inject({ method: 'GET', url, headers: { ...as('alice'), ...headers } })
  }
  const get = (url: string, caller = 'alice') => guarded.app.inject({ method: 'GET', url, headers: as(caller) })
  const again = async (url: string) => {
    const headers = { ...as('alice'), 'if-none-match': String((await get(url)).headers.etag) }
    return guarded.app.inject({ method: 'GET', url, headers })
  }
  const upload = (payload: object) =>
    ask('POST /uploads', '', 'alice', { payload, headers: { ...as('alice'), ...json } })
  const send = async (payload: Buffer) => {
    const { url } = (await upload({ kind: 'video', size: FACE.length })).json<{ url: string }>()
    const { pathname, search } = new URL(url)
    return guarded.app.inject({ method: 'PUT', url: pathname + search, payload })
  }
  const unknown = crypto.randomUUID()
  const ranged = (range: string) => ({ headers: { ...as('alice'), range } })

  const lastSeen = (id: string) => ({ headers: { ...as('alice'), 'last-event-id': id } })
  const asJson = { headers: { ...as('alice'), accept: 'application/json' } }

  /** A job of Alice's whose webhook has been notified of its final state. */
  async function aToldJob(): Promise<string> {
    const { job_id: id } = (await submit({ ...aBody, webhook_url: 'https://hooks.example/a' })).json<{
      job_id: string
    }>()
    await guarded.untilStatus(id, 'running')
    await ask('POST /jobs/:id/cancel', id)
    await until(async () => (await guarded.store.deliveriesOf(id)).some(({ state }) => state === 'delivered'))
    return id
  }
  const testWebhook = (url: string) => guarded.post('/webhooks/test', { url }, as('alice'))
  const redeliver = (id: string, n: number) =>
    guarded.app.inject({ method: 'POST', url: `/jobs/${id}/deliveries/${n}/redeliver`, headers: as('alice') })

  /** The answer to a submit that waits until the job is canceled. */
  async function waitedFor(): Promise<Answer> {
    const metadata = { waited: 'for' }
    const answer = submit({ ...aBody, metadata }, { prefer: 'wait=60' })
    const running = () => guarded.store.list({ limit: 200, statuses: ['running'] })
    const job = await until(async () => (await running()).find((one) => one.metadata?.waited === 'for'))
    // One that is refused would let the answer be held for a minute.
    expect((await ask('POST /jobs/:id/cancel', job.id)).statusCode).toBe(200)
    return answer
  }

  /** What fails while the store cannot write. */
  async function withoutStore(ask: () => Promise<Answer>): Promise<Answer> {
    const { insert, update, remove } = guarded.store
    const fail = () => Promise.reject(problem('store_unavailable'))
    Object.assign(guarded.store, { insert: fail, update: fail, remove: fail })
    const answer = await ask()
    Object.assign(guarded.store, { insert, update, remove })
    return answer
  }

  const submitBatch = (payload: object, caller = 'alice') =>
    guarded.app.inject({ method: 'POST', url: '/batches', headers: as(caller), payload })
  /** A batch of Alice's with one job. */
  async function aBatch(state: 'running' | 'canceled' = 'running'): Promise<string> {
    const metadata = { show: 'x' }
    const submitted = await submitBatch({ jobs: [aBody, {}], metadata, webhook_url: 'https://hooks.example/a' })
    const { batch_id: id, results } = submitted.json<{ batch_id: string; results: { job_id: string }[] }>()
    const job = results[0]?.job_id ?? ''
    await guarded.untilStatus(job, 'running')
    if (state === 'running') return id
    await ask('POST /batches/:id/cancel', id)
    await guarded.untilJob(job, ({ attempts }) => attempts[0]?.stop === 'done', 'stopped')
    return id
  }

  const cases: [route: string, status: number, what: string, ask: () => Promise<Answer>][] = [
    ['POST /jobs', 202, 'accepted', () => submit({ ...aBody, metadata: { a: 'b' } }, { 'idempotency-key': 'one' })],
    ['POST /jobs', 202, 'replayed', () => submit({ ...aBody, metadata: { a: 'b' } }, { 'idempotency-key': 'one' })],
    ['POST /jobs', 422, 'the key of another request', () => submit(aBody, { 'idempotency-key': 'one' })],
    ['POST /jobs', 400, 'an odd key', () => submit(aBody, { 'idempotency-key': 'ä' })],
    ['POST /jobs', 400, 'invalid fields', () => submit({ version: 'v2' })],
    ['POST /jobs', 400, 'no JSON', () => submit('{')],
    ['POST /jobs', 413, 'a large body', () => submit('x'.repeat(70_000))],
    ['POST /jobs', 415, 'a text', () => submit('x', { 'content-type': 'text/plain' })],
    ['POST /jobs', 401, 'nobody', () => ask('POST /jobs', '', 'mallory', { payload: aBody })],
    ['POST /jobs', 403, 'who may only read', () => ask('POST /jobs', '', 'alice-reads', { payload: aBody })],
    ['POST /jobs', 403, 'a page of another site', () => submit(aBody, { 'sec-fetch-site': 'cross-site' })],
    ['POST /jobs', 503, 'no store', () => withoutStore(() => submit(aBody))],
    ['POST /jobs', 202, 'a form', () => form([face(), speech()])],
    ['POST /jobs', 400, 'a form with a stranger', () => form([field('colour', 'red')])],
    ['POST /jobs', 400, 'half a form', () => submit('x', { 'content-type': FORM_TYPE })],
    ['POST /jobs', 415, 'a form with a text for a face', () => form([face('hello'), speech()])],
    ['POST /jobs', 202, 'waited for, and not finished in time', () => submit(aBody, { prefer: 'wait=0' })],
    ['POST /jobs', 200, 'waited for', waitedFor],
    ['POST /uploads', 201, 'a video', () => upload({ kind: 'video', size: 1 })],
    ['POST /uploads', 400, 'nothing', () => upload({ kind: 'video', size: 0 })],
    ['PUT /uploads/:id', 204, 'the file', () => send(FACE)],
    ['PUT /uploads/:id', 422, 'a part of it', () => send(FACE.subarray(1))],
    ['GET /jobs', 200, 'a page', () => get('/jobs?limit=1', 'root')],
    ['GET /jobs', 304, 'a page that the caller has', () => again('/jobs?limit=1')],
    ['GET /jobs/:id', 304, 'that the caller has', async () => again(`/jobs/${await aJob('failed')}`)],
    ['GET /jobs/:id/result', 304, 'that the caller has', async () => again(`/jobs/${await aJob('succeeded')}/result`)],
    ['GET /jobs', 400, 'no limit', () => get('/jobs?limit=0')],
    ['GET /jobs', 403, 'the jobs of another', () => get('/jobs?caller=key:bob')],
    ['GET /jobs/:id', 200, 'running', async () => ask('GET /jobs/:id', await aJob())],
    ['GET /jobs/:id', 200, 'failed', async () => ask('GET /jobs/:id', await aJob('failed'), 'root')],
    ['GET /jobs/:id', 200, 'at its end', async () => get(`/jobs/${await aJob('succeeded')}?wait=60`)],
    ['GET /jobs/:id', 400, 'a long wait', () => get(`/jobs/${unknown}?wait=61`)],
    ['GET /jobs/:id', 404, 'unknown', () => ask('GET /jobs/:id', unknown)],
    ['GET /jobs/:id', 400, 'a malformed URL', () => get('/jobs/%ff')],
    ['GET /jobs/:id/result', 200, 'succeeded', async () => ask('GET /jobs/:id/result', await aJob('succeeded'))],
    ['GET /jobs/:id/result', 409, 'running', async () => ask('GET /jobs/:id/result', await aJob())],
    ['GET /jobs/:id/result', 409, 'failed', async () => ask('GET /jobs/:id/result', await aJob('failed'))],
    ['GET /jobs/:id/result', 409, 'canceled', async () => ask('GET /jobs/:id/result', await aJob('canceled'))],
    ['GET /jobs/:id/result', 404, 'unknown', () => ask('GET /jobs/:id/result', unknown)],
    ['GET /jobs/:id/output', 200, 'the video', async () => ask('GET /jobs/:id/output', await aJob('succeeded'))],
    [
      ...(['GET /jobs/:id/output', 206, 'a range'] as const),
      async () => ask('GET /jobs/:id/output', await aJob('succeeded'), 'alice', ranged('bytes=0-9')),
    ],
    [
      ...(['GET /jobs/:id/output', 416, 'no such range'] as const),
      async () => ask('GET /jobs/:id/output', await aJob('succeeded'), 'alice', ranged('bytes=5000-')),
    ],
    ['GET /jobs/:id/output', 403, 'a made-up link', () => get(`/jobs/${unknown}/output?expires=1&signature=x`)],
    ['GET /jobs/:id/output', 409, 'running', async () => ask('GET /jobs/:id/output', await aJob())],
    ['GET /jobs/:id/inputs/:kind', 200, 'a video', () => input('video')],
    ['GET /jobs/:id/inputs/:kind', 206, 'a range', () => input('audio', { range: 'bytes=0-9' })],
    ['GET /jobs/:id/inputs/:kind', 404, 'no such file', () => input('image')],
    ['GET /jobs/:id/inputs/:kind', 416, 'no such range', () => input('audio', { range: 'bytes=999999999-' })],
    [
      'GET /jobs/:id/inputs/:kind',
      403,
      'a made-up link',
      () => get(`/jobs/${unknown}/inputs/video?expires=1&signature=x`),
    ],
    ['GET /jobs/:id/events', 200, 'ended', async () => ask('GET /jobs/:id/events', await aJob('succeeded'))],
    [
      ...(['GET /jobs/:id/events', 204, 'known to have ended'] as const),
      async () => ask('GET /jobs/:id/events', await aJob('succeeded'), 'alice', lastSeen('3')),
    ],
    ['GET /jobs/:id/events', 404, 'unknown', () => ask('GET /jobs/:id/events', unknown)],
    ['GET /jobs/:id/events', 406, 'as JSON', async () => ask('GET /jobs/:id/events', await aJob(), 'alice', asJson)],
    ['GET /events', 200, 'as it begins', () => injectHead(guarded.app, { url: '/events', headers: as('alice') })],
    ['GET /events', 406, 'as JSON', () => ask('GET /events', '', 'alice', asJson)],
    ['GET /events', 400, 'a parameter', () => get('/events?a=1')],
    ['GET /jobs/:id/logs', 200, 'succeeded', async () => ask('GET /jobs/:id/logs', await aJob('succeeded'))],
    ['GET /jobs/:id/logs', 404, 'no such attempt', async () => get(`/jobs/${await aJob()}/logs?attempt=2`)],
    ['GET /jobs/:id/logs', 404, 'unknown', () => ask('GET /jobs/:id/logs', unknown)],
    ['POST /jobs/:id/cancel', 200, 'running', async () => ask('POST /jobs/:id/cancel', await aJob())],
    ['POST /jobs/:id/cancel', 409, 'ended', async () => ask('POST /jobs/:id/cancel', await aJob('succeeded'))],
    ['POST /jobs/:id/cancel', 404, 'unknown', () => ask('POST /jobs/:id/cancel', unknown)],
    ['POST /jobs/:id/retry', 202, 'failed', async () => ask('POST /jobs/:id/retry', await aJob('failed'))],
    ['POST /jobs/:id/retry', 409, 'running', async () => ask('POST /jobs/:id/retry', await aJob())],
    ['POST /jobs/:id/retry', 409, 'succeeded', async () => ask('POST /jobs/:id/retry', await aJob('succeeded'))],
    ['POST /jobs/:id/retry', 404, 'unknown', () => ask('POST /jobs/:id/retry', unknown)],
    ['GET /jobs/:id/deliveries', 200, 'some', async () => ask('GET /jobs/:id/deliveries', await aToldJob())],
    ['GET /jobs/:id/deliveries', 200, 'none', async () => ask('GET /jobs/:id/deliveries', await aJob())],
    ['GET /jobs/:id/deliveries', 404, 'unknown', () => ask('GET /jobs/:id/deliveries', unknown)],
    ['POST /jobs/:id/deliveries/:n/redeliver', 202, 'delivered', async () => redeliver(await aToldJob(), 1)],
    ['POST /jobs/:id/deliveries/:n/redeliver', 404, 'no such delivery', async () => redeliver(await aJob(), 1)],
    ['POST /jobs/:id/deliveries/:n/redeliver', 404, 'unknown', () => redeliver(unknown, 1)],
    ['POST /admin/pause', 200, 'paused', () => ask('POST /admin/pause', '', 'root')],
    ['POST /admin/pause', 403, 'no administrator', () => ask('POST /admin/pause', '')],
    ['POST /admin/resume', 200, 'resumed', () => ask('POST /admin/resume', '', 'root')],
    ['POST /admin/resume', 403, 'no administrator', () => ask('POST /admin/resume', '')],
    ['POST /batches', 202, 'one job of two', () => submitBatch({ jobs: [aBody, {}], metadata: { show: 'x' } })],
    ['POST /batches', 422, 'no job that is right', () => submitBatch({ jobs: [{}] })],
    ['POST /batches', 400, 'no jobs', () => submitBatch({})],
    ['GET /batches', 200, 'a page', async () => (await aBatch(), get('/batches?limit=1'))],
    ['GET /batches', 403, 'the batches of another', () => get('/batches?caller=key:bob')],
    ['GET /batches/:id', 200, 'running', async () => ask('GET /batches/:id', await aBatch())],
    ['GET /batches/:id', 404, 'unknown', () => ask('GET /batches/:id', unknown)],
    [
      ...(['GET /batches/:id/events', 200, 'ended'] as const),
      async () => ask('GET /batches/:id/events', await aBatch('canceled')),
    ],
    [
      ...(['GET /batches/:id/events', 204, 'known to have ended'] as const),
      async () => ask('GET /batches/:id/events', await aBatch('canceled'), 'alice', lastSeen('0-0-0-0-1')),
    ],
    ['GET /batches/:id/events', 404, 'unknown', () => ask('GET /batches/:id/events', unknown)],
    ['POST /batches/:id/cancel', 200, 'running', async () => ask('POST /batches/:id/cancel', await aBatch())],
    ['POST /batches/:id/cancel', 404, 'unknown', () => ask('POST /batches/:id/cancel', unknown)],
    ['POST /batches/:id/retry', 200, 'canceled', async () => ask('POST /batches/:id/retry', await aBatch('canceled'))],
    ['POST /batches/:id/retry', 404, 'unknown', () => ask('POST /batches/:id/retry', unknown)],
    ['DELETE /batches/:id', 204, 'ended', async () => ask('DELETE /batches/:id', await aBatch('canceled'))],
    ['DELETE /batches/:id', 409, 'running', async () => ask('DELETE /batches/:id', await aBatch())],
    ['GET /usage', 200, 'their own', async () => (await aJob('succeeded'), get('/usage', 'root'))],
    ['GET /usage', 200, 'by label', async () => (await aJob('failed'), get('/usage?group_by=metadata.scene'))],
    ['GET /usage', 304, 'a report that the caller has', () => again('/usage')],
    ['GET /usage', 400, 'no day', () => get('/usage?from=today')],
    ['GET /usage', 403, 'the usage of another', () => get('/usage?caller=key:bob')],
    ['POST /webhooks/test', 200, 'taken', () => testWebhook('https://hooks.example/lip-sync')],
    ['POST /webhooks/test', 400, 'no URL', () => testWebhook('hooks.example')],
    ['GET /webhooks/secret', 200, 'their own', () => get('/webhooks/secret')],
    ['GET /webhooks/secret', 403, 'who may only read', () => get('/webhooks/secret', 'alice-reads')],
    ['DELETE /jobs/:id', 204, 'ended', async () => ask('DELETE /jobs/:id', await aJob('succeeded'))],
    ['DELETE /jobs/:id', 409, 'running', async () => ask('DELETE /jobs/:id', await aJob())],
    ['DELETE /jobs/:id', 404, 'unknown', () => ask('DELETE /jobs/:id', unknown)],
    ['GET /healthz', 200, 'alive', () => get('/healthz')],
    ['GET /healthz', 400, 'a parameter', () => get('/healthz?a=1')],
    ['GET /readyz', 200, 'ready', () => get('/readyz')],
    ['GET /metrics', 200, 'for who may read them', () => get('/metrics', 'metrics')],
    ['GET /metrics', 401, 'nobody', () => get('/metrics', 'mallory')],
    ['GET /metrics', 403, 'who may only read jobs', () => get('/metrics', 'alice-reads')],
    ['GET /openapi.json', 200, 'this document', () => get('/openapi.json')],
    ['GET /openapi.json', 401, 'nobody', () => get('/openapi.json', 'mallory')],
    ['GET /docs', 200, 'the page', () => get('/docs')],
    ['GET /docs', 401, 'nobody', () => get('/docs', 'mallory')],
    ['GET /', 200, 'the server', () => get('/')],
    ['GET /', 400, 'an unknown parameter', () => get('/?format=xml')],
    ['GET /docs/problems', 200, 'the page', () => get('/docs/problems', 'mallory')],
    ['GET /docs/problems', 400, 'an unknown parameter', () => get('/docs/problems?code=x')],
  ]

  test.each(cases)('%s %i: %s', async (route, status, _what, send) => {
    const answer = await send()
    expect(answer.statusCode).toBe(status)
    expect(refereeOf(reference).mismatchesOf(route, answer)).toEqual([])
  })

  test('an unsupported media type has the problem of the reference, which names the supported ones', async () => {
    for (const [path, url] of [
      ['/jobs', '/jobs'],
      ['/jobs/{id}/cancel', `/jobs/${unknown}/cancel`],
    ] as const) {
      const headers = { ...as('alice'), 'content-type': 'text/plain' }
      const answer = await guarded.app.inject({ method: 'POST', url, payload: 'x', headers })
      const { content } = reference.paths[path]!.post!.responses['415']!
      const examples = content?.['application/problem+json']?.examples as Record<string, { value: unknown }>
      expect(answer.json()).toMatchObject(examples.unsupported_media_type?.value as object)
    }
  })

  test('an unsupported media type is a problem of the operations alone that may have a body', () => {
    expect(reference.paths['/jobs']!.post!.responses).toHaveProperty('415')
    for (const [path, { get }] of Object.entries(reference.paths)) {
      if (get) expect(get.responses, path).not.toHaveProperty('415')
    }
  })

  test('every operation has a case that succeeds and one that fails', () => {
    const withErrors = operations().filter(({ name }) => name !== 'GET /readyz')
    for (const { name } of operations())
      expect(
        cases.some(([route, status]) => route === name && status < 300),
        name,
      ).toBe(true)
    for (const { name } of withErrors) {
      expect(
        cases.some(([route, status]) => route === name && status >= 400),
        name,
      ).toBe(true)
    }
  })

  test('limits', async () => {
    const few = await startApp({ http: { limits: { submit: 1, read: 1 } }, maxQueuedJobs: 0, running: false })
    const { mismatchesOf } = refereeOf(openReference)
    const answers = [await few.post('/jobs', aBody), await few.post('/jobs', aBody)]
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([503, 429])
    for (const answer of answers) expect(mismatchesOf('POST /jobs', answer)).toEqual([])
    few.readiness.startShutdown()
    const ready = await few.get('/readyz')
    expect(ready.statusCode).toBe(503)
    expect(mismatchesOf('GET /readyz', ready)).toEqual([])
    await few.close()
  })

  test('a defect of the server', async () => {
    const { get: original } = guarded.service
    guarded.service.get = () => Promise.reject(new Error('a defect'))
    const answer = await ask('GET /jobs/:id', unknown)
    guarded.service.get = original
    expect(answer.statusCode).toBe(500)
    expect(refereeOf(reference).mismatchesOf('GET /jobs/:id', answer)).toEqual([])
  })
})
