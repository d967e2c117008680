import { expect, onTestFinished, test, describe } from 'vitest'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { problem } from '../../src/problems.ts'
import { aBody, problemOf, startApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { openChanges } from '../helpers/event-client.ts'
import { createFakeSender } from '../helpers/fake-sender.ts'
import { listenOnOneSocket } from '../helpers/listen.ts'
import { until } from '../helpers/until.ts'

type BatchView = {
  batch_id: string
  finished: boolean
  total: number
  refused: number
  changed: number
  unchanged: number
  counts: Record<string, number>
  results: { job_id?: string; problem?: { code: string; status: number; detail: string; errors: { path: string }[] } }[]
}

const STORES = {
  memory: () => createMemoryStore(),
  sqlite: () => createSqliteStore({ path: ':memory:' }),
}

const start = async (options: Parameters<typeof startApp>[0] = {}) => {
  const app = await startApp(options)
  onTestFinished(() => app.close())
  const submit = async (body: object, headers: Record<string, string> = {}) => app.post('/batches', body, headers)
  const get = async (id: string, query = '') => (await app.get(`/batches/${id}${query}`)).json<BatchView>()
  const jobsOf = async (id: string) => (await app.get(`/jobs?batch=${id}`)).json<{ jobs: JobView[] }>().jobs
  return { ...app, submit, get: app.get, batch: get, jobsOf }
}

const zero = { submitted: 0, running: 0, succeeded: 0, failed: 0, canceled: 0 }
const aFailure = { kind: 'failed', code: 'face_not_found', error: 'no face' } as const

describe.each(Object.entries(STORES))('batches on %s', (_name, openStore) => {
  test('POST /batches creates the jobs that are right, and names the problem of each other', async () => {
    const app = await start({ store: await openStore(), running: false })
    const response = await app.submit({
      defaults: { video_path: 'face.mp4', metadata: { episode: '7' } },
      jobs: [
        { audio_path: 'a.wav' },
        { audio_path: '../b.wav' },
        { image_url: 'https://a.example/x.png', audio_path: 'c.wav', metadata: { own: '1' } },
        { audio_path: 'd.wav', speed: 2 },
        {},
      ],
      metadata: { show: 'x' },
    })
    expect(response.statusCode).toBe(202)
    const batch = response.json<BatchView>()
    expect(response.headers.location).toBe(`/batches/${batch.batch_id}`)
    expect(batch).toMatchObject({ finished: false, total: 2, refused: 3, counts: { ...zero, submitted: 2 } })
    expect(batch.results.map(({ problem }) => problem?.errors.map(({ path }) => path))).toEqual([
      ...[undefined, ['/audio_path'], undefined, ['/speed'], ['/audio_url']],
    ])
    const jobs = await app.jobsOf(batch.batch_id)
    expect(jobs.map((job) => job.job_id).toSorted()).toEqual(
      batch.results.flatMap(({ job_id: id }) => id ?? []).toSorted(),
    )
    const byId = new Map(jobs.map((job) => [job.job_id, job]))
    expect(byId.get(batch.results[0]?.job_id ?? '')).toMatchObject({
      batch_id: batch.batch_id,
      input: { video_path: 'face.mp4', audio_path: 'a.wav' },
      metadata: { episode: '7' },
    })
    expect(byId.get(batch.results[2]?.job_id ?? '')).toMatchObject({
      input: { image_url: 'https://a.example/x.png', audio_path: 'c.wav' },
      metadata: { own: '1' },
    })
    expect(await app.batch(batch.batch_id)).toMatchObject({ metadata: { show: 'x' }, total: 2 })
  })

  test('an atomic batch with one error creates nothing, and the problem has the place of the job', async () => {
    const app = await start({ store: await openStore(), running: false })
    const refused = await app.submit({ atomic: true, jobs: [aBody, { ...aBody, video_path: '/etc/passwd' }] })
    expect(problemOf(refused)).toMatchObject({ status: 422, code: 'batch_rejected', paths: ['/jobs/1/video_path'] })
    expect((await app.get('/jobs')).json()).toEqual({ jobs: [] })
    expect((await app.get('/batches')).json()).toEqual({ batches: [] })
    expect(problemOf(await app.submit({ jobs: [{}] }))).toMatchObject({ status: 422, code: 'batch_rejected' })
  })

  test('the same batch with the same key is created once; another is refused', async () => {
    const app = await start({ store: await openStore(), running: false })
    const key = { 'idempotency-key': 'episode-7' }
    const body = { jobs: [aBody, { ...aBody, audio_path: '../x' }] }
    const answers = await Promise.all(Array.from({ length: 5 }, () => app.submit(body, key)))
    const [first] = answers.map((answer) => answer.json<BatchView>())
    for (const answer of answers) expect(answer.json()).toEqual(first)
    expect(answers.filter(({ headers }) => headers['idempotent-replayed'] === 'true')).toHaveLength(4)
    expect(await app.jobsOf(first?.batch_id ?? '')).toHaveLength(1)
    const reordered = Object.fromEntries(Object.entries(aBody).toReversed())
    const again = await app.submit({ jobs: [reordered, { ...reordered, audio_path: '../x' }] }, key)
    expect(again.json()).toEqual(first)
    const other = await app.submit({ jobs: [aBody] }, key)
    expect(problemOf(other)).toMatchObject({ status: 422, code: 'idempotency_key_reused' })
  })

  test('the limits on numbers of jobs refuse the last jobs of a batch, and all of an atomic one', async () => {
    const app = await start({ store: await openStore(), running: false, maxQueuedJobs: 3 })
    const atomic = await app.submit({ atomic: true, jobs: [aBody, aBody, aBody, aBody] })
    expect(problemOf(atomic)).toMatchObject({ status: 503, code: 'queue_full' })
    const key = { 'idempotency-key': 'k' }
    for (let n = 0; n < 2; n++) {
      const batch = (await app.submit({ jobs: [{}, aBody, aBody, aBody, aBody] }, key)).json<BatchView>()
      expect(batch).toMatchObject({ total: 3, refused: 2 })
      expect(batch.results.map(({ problem }) => problem?.code)).toEqual([
        ...['invalid_request', undefined, undefined, undefined, 'queue_full'],
      ])
    }
    expect(problemOf(await app.submit({ jobs: [aBody] }))).toMatchObject({ code: 'queue_full' })
  })

  test('a batch is followed, its failed jobs are retried, its end is reported each time, and it is deleted', async () => {
    const sender = createFakeSender()
    const app = await start({ store: await openStore(), sender })
    const submitted = await app.submit({ jobs: [aBody, aBody, aBody], webhook_url: 'https://hooks.example/batch' })
    const { batch_id: id, results } = submitted.json<BatchView>()
    const [first = '', second = '', third = ''] = results.map(({ job_id: job }) => job ?? '')
    for (const job of [first, second, third]) await app.untilStatus(job, 'running')
    const waiting = app.batch(id, '?wait=20')
    app.backend.end(`fc-${first}-1`, aSuccess)
    app.backend.end(`fc-${second}-1`, aFailure)
    await app.untilStatus(second, 'failed')
    expect(problemOf(await app.app.inject({ method: 'DELETE', url: `/batches/${id}` }))).toMatchObject({
      ...{ status: 409, code: 'job_not_finished' },
    })
    const canceled = (await app.post(`/batches/${id}/cancel`)).json<BatchView>()
    expect(canceled).toMatchObject({ changed: 1, unchanged: 0, counts: { canceled: 1 } })
    expect(await waiting).toMatchObject({
      finished: true,
      counts: { ...zero, succeeded: 1, failed: 1, canceled: 1 },
    })
    const ends = () => sender.sent.map(({ body }) => JSON.parse(body) as object)
    await until(() => ends().length === 1)
    expect(ends()[0]).toMatchObject({
      type: 'batch.finished',
      data: { batch_id: id, counts: { succeeded: 1, failed: 1 } },
    })

    expect((await app.post(`/batches/${id}/retry`)).json<BatchView>()).toMatchObject({ changed: 1, finished: false })
    await app.untilStatus(second, 'running')
    app.backend.end(`fc-${second}-2`, aSuccess)
    await app.untilStatus(second, 'succeeded')
    await until(() => ends().length === 2)
    expect(ends()[1]).toMatchObject({ data: { counts: { ...zero, succeeded: 2, canceled: 1 } } })
    await app.untilJob(third, (job) => job.attempts[0]?.stop === 'done', 'stopped')
    expect((await app.app.inject({ method: 'DELETE', url: `/batches/${id}` })).statusCode).toBe(204)
    expect(problemOf(await app.get(`/batches/${id}`))).toMatchObject({ status: 404, code: 'batch_not_found' })
    expect(problemOf(await app.get(`/jobs/${first}`))).toMatchObject({ status: 404 })
  })
})

test('the end of a batch is reported again also if the same job finishes last each time', async () => {
  const sender = createFakeSender()
  const app = await start({ sender })
  const submitted = await app.submit({ jobs: [aBody], webhook_url: 'https://hooks.example/batch' })
  const { batch_id: id, results } = submitted.json<BatchView>()
  const job = results[0]?.job_id ?? ''
  for (const attempt of [1, 2, 3]) {
    await until(() => app.backend.waiting.has(`fc-${job}-${attempt}`), 'its call')
    app.backend.end(`fc-${job}-${attempt}`, aFailure)
    await app.untilStatus(job, 'failed')
    await until(() => sender.sent.length === attempt, 'the report')
    if (attempt < 3) await app.post(`/batches/${id}/retry`)
  }
  const numbers = (await app.store.deliveriesOf(job)).map(({ number }) => number)
  expect(numbers).toEqual([1_000_001, 1_000_002, 1_000_003])
})

test('no job of a batch is deleted while its oldest runs', async () => {
  const app = await start()
  const { batch_id: id, results } = (await app.submit({ jobs: [aBody, aBody, aBody] })).json<BatchView>()
  const [oldest = '', ...others] = results.map(({ job_id: job }) => job ?? '')
  for (const job of others) {
    await until(() => app.backend.waiting.has(`fc-${job}-1`), 'its call')
    app.backend.end(`fc-${job}-1`, aSuccess)
    await app.untilStatus(job, 'succeeded')
  }
  const remove = () => app.app.inject({ method: 'DELETE', url: `/batches/${id}` })
  expect(problemOf(await remove())).toMatchObject({ status: 409, code: 'job_not_finished' })
  expect(await app.jobsOf(id)).toHaveLength(3)
  await until(() => app.backend.waiting.has(`fc-${oldest}-1`), 'its call')
  app.backend.end(`fc-${oldest}-1`, aSuccess)
  await app.untilStatus(oldest, 'succeeded')
  expect((await remove()).statusCode).toBe(204)
})

test('batches of one caller are checked one after the other, beside those of another', async () => {
  const reading = { alice: 0, bob: 0 }
  const [most, wasBoth] = [{ alice: 0, bob: 0 }, { seen: false }]
  const media = {
    async read(_input: unknown, _upload: unknown, caller: string) {
      const name = caller.replace('key:', '') as 'alice' | 'bob'
      most[name] = Math.max(most[name], ++reading[name])
      wasBoth.seen ||= reading.alice > 0 && reading.bob > 0
      await new Promise(setImmediate)
      reading[name]--
      return {}
    },
    close: () => Promise.resolve(),
  }
  const app = await start({ authenticator: knownCallers, running: false, media })
  const body = { jobs: Array.from({ length: 20 }, () => aBody) }
  const callers = ['alice', 'alice', 'alice', 'bob']
  const answers = await Promise.all(callers.map((caller) => app.submit(body, as(caller))))
  expect(answers.map(({ statusCode }) => statusCode)).toEqual([202, 202, 202, 202])
  expect([most.alice, most.bob, wasBoth.seen]).toEqual([8, 8, true])
})

test('POST /batches takes a job a line', async () => {
  const app = await start({ running: false })
  const headers = { 'content-type': 'application/x-ndjson' }
  const lines = [aBody, { audio_path: 'x' }, aBody].map((job) => JSON.stringify(job)).join('\r\n\n')
  const batch = (await app.post('/batches', lines, headers)).json<BatchView>()
  expect(batch).toMatchObject({ total: 2, refused: 1 })
  const broken = await app.post('/batches', `${JSON.stringify(aBody)}\n{`, headers)
  expect(problemOf(broken)).toMatchObject({ status: 400, code: 'invalid_json' })
  for (const key of ['"__proto__":{"a":1}', '"\\u005f_proto__":1', '"constructor":{"prototype":{}}']) {
    const line = `${JSON.stringify(aBody).slice(0, -1)},"metadata":{${key}}}`
    const refused = await app.post('/batches', `${JSON.stringify(aBody)}\n${line}`, headers)
    expect(problemOf(refused)).toMatchObject({
      status: 400,
      code: 'invalid_json',
      detail: expect.stringMatching(/^Line 2/) as string,
    })
  }
})

test('what is kept of the errors of jobs is bounded, for each and for all', async () => {
  const app = await start({ running: false })
  const wrong = Object.fromEntries(Array.from({ length: 4 }, (_, n) => [`${'x'.repeat(210)}${n}`, 1]))
  const jobs = [aBody, ...Array.from({ length: 100 }, () => wrong)]
  const { results } = (await app.submit({ jobs })).json<BatchView>()
  expect(results[0]).toHaveProperty('job_id')
  const { code, errors = [], detail = '' } = results[1]?.problem ?? {}
  expect([code, errors.length]).toEqual(['invalid_request', 3])
  for (const text of [detail, ...errors.map(({ path }) => path)]) expect(text).toMatch(/^.{199}…$/)
  const many = (await app.submit({ jobs: [aBody, ...Array.from({ length: 600 }, () => wrong)] })).json<BatchView>()
  const last = many.results.at(-1)?.problem
  expect([last?.code, last?.errors]).toEqual(['invalid_request', []])
  expect(JSON.stringify(many.results).length).toBeLessThan(450_000)
})

test('a job of a batch beyond BODY_LIMIT_BYTES is refused as one alone, and defaults beyond it with the batch', async () => {
  const app = await start({ running: false, http: { bodyLimitBytes: 500 } })
  const large = { ...aBody, metadata: { a: 'x'.repeat(500) } }
  const { results } = (await app.submit({ jobs: [large, aBody] })).json<BatchView>()
  expect(results.map(({ problem }) => problem?.code)).toEqual(['body_too_large', undefined])
  const refused = await app.submit({ defaults: large, jobs: [aBody] })
  expect(problemOf(refused)).toMatchObject({ status: 400, paths: ['/defaults'] })
})

test('what is nested too deeply is refused', async () => {
  const app = await start({ running: false })
  const deep = `{"jobs":[{"x":${'['.repeat(200_000)}${']'.repeat(200_000)}}]}`
  expect(problemOf(await app.post('/batches', deep))).toMatchObject({ status: 400, code: 'invalid_json' })
})

test.each([
  ['no jobs', { jobs: [] }, '/jobs'],
  ['too many jobs', { jobs: Array.from({ length: 1_001 }, () => ({})) }, '/jobs'],
  ['a job that is no object', { jobs: [aBody, 'x'] }, '/jobs/1'],
  ['an unknown field', { jobs: [aBody], name: 'x' }, '/name'],
  ['an unknown field in the defaults', { jobs: [aBody], defaults: { speed: 2 } }, '/defaults/speed'],
  ['a wrong default', { jobs: [{ ...aBody, version: 'v1' }], defaults: { version: 'v9' } }, '/defaults/version'],
  ['a webhook that is no URL', { jobs: [aBody], webhook_url: 'nowhere' }, '/webhook_url'],
])('a batch with %s is refused', async (_what, body, path) => {
  const app = await start({ running: false })
  expect(problemOf(await app.submit(body))).toMatchObject({ status: 400, code: 'invalid_request', paths: [path] })
})

test('a batch is its caller’s: others find nothing of it, and an administrator everything', async () => {
  const app = await start({ authenticator: knownCallers, running: false })
  const { batch_id: id } = (await app.submit({ jobs: [aBody] }, as('alice'))).json<BatchView>()
  for (const [method, url] of [
    ['GET', `/batches/${id}`],
    ['POST', `/batches/${id}/cancel`],
    ['POST', `/batches/${id}/retry`],
    ['DELETE', `/batches/${id}`],
  ] as const) {
    const answer = await app.app.inject({ method, url, headers: as('bob') })
    expect(problemOf(answer)).toMatchObject({ status: 404, code: 'batch_not_found' })
  }
  const read = async (url: string, caller: string) =>
    (await app.app.inject({ method: 'GET', url, headers: as(caller) })).json<{ batches?: object[]; jobs?: object[] }>()
  expect(await read('/batches', 'bob')).toEqual({ batches: [] })
  expect(await read(`/jobs?batch=${id}`, 'bob')).toEqual({ jobs: [] })
  expect((await read('/batches', 'alice')).batches).toMatchObject([{ batch_id: id }])
  expect((await read('/batches?caller=key:alice', 'root')).batches).toHaveLength(1)
  expect(await read(`/batches/${id}`, 'root')).toMatchObject({ batch_id: id })
})

test('a body beyond 5 MiB is refused, a smaller one beyond BODY_LIMIT_BYTES is not', async () => {
  const app = await start({ running: false, http: { bodyLimitBytes: 1_000 } })
  const padded = (bytes: number) => `${' '.repeat(bytes)}${JSON.stringify({ jobs: [aBody] })}`
  expect((await app.post('/batches', padded(100_000))).statusCode).toBe(202)
  const refused = await app.post('/batches', padded(5 * 1024 * 1024))
  expect(problemOf(refused)).toMatchObject({ status: 413 })
})

describe('the events of a batch', () => {
  const open = async ({ app }: { app: Parameters<typeof listenOnOneSocket>[0] }, path: string, headers = {}) =>
    openChanges(`http://127.0.0.1:${(await listenOnOneSocket(app)).port}${path}`, headers)
  /** A batch of jobs that run, and the job of another. */
  const following = async () => {
    const app = await start()
    const submitted = (await app.submit({ jobs: [aBody, aBody, aBody] })).json<BatchView>()
    const jobs = submitted.results.map(({ job_id: job }) => job ?? '')
    for (const job of jobs) await app.untilStatus(job, 'running')
    const path = `/batches/${submitted.batch_id}/events`
    const client = await open(app, path)
    const ends = (ended: string[]) => ended.forEach((job) => app.backend.end(`fc-${job}-1`, aSuccess))
    const seen = () => client.events.map(({ event, id, job }) => [event, id, (job as unknown as BatchView).finished])
    return { app, jobs, path, client, seen, ends }
  }

  test('have its counts as they change, of quick changes the last, and end when it is finished', async () => {
    const { app, jobs, path, client, seen, ends } = await following()
    await until(() => client.events.length === 1, 'the first event')
    const at = performance.now()
    const other = (await app.post('/jobs', aBody)).json<JobView>()
    ends([...jobs, other.job_id])
    await until(() => client.closed, 'the end of the stream')
    expect(performance.now() - at).toBeGreaterThan(900)
    expect(client.complete).toBe(true)
    expect(seen()).toEqual([
      ['batch', '0-3-0-0-0', false],
      ['batch', '0-0-3-0-0', true],
    ])
    expect(client.events[1]?.job).toEqual((await app.get(path.replace('/events', ''))).json())
    const again = async (id: string) => {
      const answer = await app.app.inject({ method: 'GET', url: path, headers: { 'last-event-id': id } })
      return [answer.statusCode, answer.body.includes('event: batch')]
    }
    expect(await again('0-0-3-0-0')).toEqual([204, false])
    expect(await again('0-3-0-0-0')).toEqual([200, true])
  })

  test('leave out the counts that a client has, and end with the server', async () => {
    const { app, path, client } = await following()
    const known = await open(app, path, { 'last-event-id': '0-3-0-0-0' })
    await until(() => client.events.length === 1, 'the first event')
    const closing = app.app.close()
    await until(() => client.closed && known.closed, 'the end of the streams')
    expect([client.complete, known.complete, known.events]).toEqual([true, true, []])
    await closing
  })

  test('end when the batch cannot be read, and a new request has the reason', async () => {
    const { app, client, path } = await following()
    await until(() => client.events.length === 1, 'the first event')
    const getBatch = app.store.getBatch
    app.store.getBatch = () => Promise.reject(problem('store_unavailable'))
    app.announceGap()
    await until(() => client.closed, 'the end of the stream')
    expect(client.complete).toBe(true)
    expect(problemOf(await app.get(path))).toMatchObject({ status: 503, code: 'store_unavailable' })
    app.store.getBatch = getBatch
  })

  test('are those of its caller, and need an Accept header that allows them', async () => {
    const app = await start({ authenticator: knownCallers, running: false })
    const { batch_id: id } = (await app.submit({ jobs: [aBody] }, as('alice'))).json<BatchView>()
    const read = async (headers: Record<string, string>) =>
      problemOf(await app.app.inject({ method: 'GET', url: `/batches/${id}/events`, headers }))
    expect(await read(as('bob'))).toMatchObject({ status: 404, code: 'batch_not_found' })
    expect(await read({ ...as('alice'), accept: 'application/json' })).toMatchObject({ code: 'not_acceptable' })
  })
})

test('each job of a batch counts as a submit, and batches are listed page by page', async () => {
  const app = await start({ running: false, http: { limits: { submit: 10, read: 0 } } })
  for (let n = 0; n < 3; n++) {
    app.clock.now += 1
    expect((await app.submit({ jobs: [aBody, aBody, aBody] })).statusCode).toBe(202)
  }
  expect((await app.submit({ jobs: [aBody] })).statusCode).toBe(202)
  expect(problemOf(await app.submit({ jobs: [aBody] }))).toMatchObject({ status: 429 })
  const page = await app.get('/batches?limit=3')
  const first = page.json<{ batches: BatchView[]; next_cursor: string }>()
  expect(page.headers.link).toBe(`<?limit=3&cursor=${first.next_cursor}>; rel="next"`)
  const second = (await app.get(`/batches?limit=3&cursor=${first.next_cursor}`)).json<{ batches: BatchView[] }>()
  expect([...first.batches, ...second.batches].map(({ total }) => total)).toHaveLength(4)
  expect(second).not.toHaveProperty('next_cursor')
  expect(problemOf(await app.get('/batches?cursor=x'))).toMatchObject({ status: 400, paths: ['/cursor'] })
})
