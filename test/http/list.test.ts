import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { createSqliteStore, createStoreOn } from '../../src/store/sqlite/store.ts'
import { openSqliteFile } from '../../src/store/sqlite/file.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { aSuccess } from '../helpers/fake-backend.ts'

const STORES = {
  memory: () => createMemoryStore(),
  sqlite: () => createSqliteStore({ path: ':memory:' }),
}

describe.each(Object.entries(STORES))('on %s', (_name, openStore) => {
  let app: TestApp
  beforeAll(async () => {
    app = await startApp({ store: await openStore() })
  })
  afterAll(() => app.close())

  type Page = { jobs: JobView[]; next_cursor?: string }
  const list = async (query = '') => (await app.get(`/jobs${query}`)).json<Page>()
  const submit = async (headers: Record<string, string> = {}, body: object = aBody) => app.post('/jobs', body, headers)

  describe('GET /jobs', () => {
    const made: string[] = []
    beforeAll(async () => {
      for (let n = 0; n < 7; n++) {
        app.clock.now += 1_000
        made.unshift((await submit()).json<JobView>().job_id)
      }
      await app.post(`/jobs/${made[2]}/cancel`)
    })

    test('lists jobs newest first, page by page, while new ones come in', async () => {
      const seen: string[] = []
      let query = '?limit=3'
      for (;;) {
        const page = await list(query)
        expect(page.jobs.length).toBeLessThanOrEqual(3)
        seen.push(...page.jobs.map((job) => job.job_id))
        if (page.next_cursor === undefined) break
        app.clock.now += 1
        await submit()
        query = `?limit=3&cursor=${page.next_cursor}`
      }
      expect(seen).toEqual(made)
    })

    test.each(['', '/v1'])(
      'links to the next page with the same filters, relative to the request, below "%s"',
      async (root) => {
        const seen: string[] = []
        const before = encodeURIComponent(new Date(app.clock.now + 1_000).toISOString())
        let url: string | undefined = `${root}/jobs?limit=2&status=canceled,running,submitted&created_before=${before}`
        while (url !== undefined) {
          const answer = await app.get(url)
          const { jobs, next_cursor: cursor } = answer.json<Page>()
          seen.push(...jobs.map((job) => job.job_id))
          const link = /^<(.+)>; rel="next"$/.exec(String(answer.headers.link))?.[1]
          expect(link === undefined).toBe(cursor === undefined)
          const next: URL | undefined = link === undefined ? undefined : new URL(link, `http://localhost${url}`)
          expect(next?.searchParams.get('cursor') ?? undefined).toBe(cursor)
          url = next && next.pathname + next.search
        }
        expect(seen).toEqual((await list('?limit=200')).jobs.map((job) => job.job_id))
      },
    )

    test('an entry is the job as GET /jobs/:id shows it', async () => {
      const { jobs } = await list('?limit=200')
      const job = jobs.find(({ job_id: id }) => id === made[2])
      expect(job).toEqual((await app.get(`/jobs/${made[2]}`)).json())
    })

    test('filters by state and by time of acceptance', async () => {
      expect((await list('?status=canceled')).jobs.map((job) => job.job_id)).toEqual([made[2]])
      expect((await list('?status=succeeded,failed')).jobs).toEqual([])
      const [newer, older] = await Promise.all(
        [made[1], made[5]].map(async (id) => (await app.get(`/jobs/${id}`)).json<JobView>()),
      )
      const { jobs } = await list(`?created_before=${newer!.created_at}&created_after=${older!.created_at}`)
      expect(jobs.map((job) => job.job_id)).toEqual(made.slice(2, 5))
    })

    test('filters by metadata, model and error code, page by page', async () => {
      const ids: string[] = []
      for (let n = 0; n < 6; n++) {
        const metadata = { 'a b[c]': 'é&=', scene: String(n % 2), take: String(n) }
        ids.push((await submit({}, { ...aBody, metadata, version: n < 3 ? 'v1' : 'v15' })).json<JobView>().job_id)
        app.clock.now += 1
      }
      const [id = ''] = ids
      await app.untilStatus(id, 'running')
      app.backend.end(`fc-${id}-1`, { kind: 'failed', code: 'face_not_found', error: 'no face' })
      await app.untilStatus(id, 'failed')
      const found = async (query: string) => (await list(query)).jobs.map((job) => ids.indexOf(job.job_id))
      const odd = `metadata${encodeURIComponent('[a b[c]]')}=${encodeURIComponent('é&=')}`
      expect(await found(`?${odd}`)).toEqual([5, 4, 3, 2, 1, 0])
      expect(await found(`?${odd}&metadata[scene]=0&version=v1`)).toEqual([2, 0])
      expect(await found(`?metadata[scene]=1&metadata[take]=3&${odd}`)).toEqual([3])
      expect(await found('?metadata[scene]=')).toEqual([])
      expect(await found(`?error_code=face_not_found&${odd}`)).toEqual([0])
      expect(await found(`?error_code=lost&${odd}`)).toEqual([])
      expect(await found(`?metadata[scene]=0&status=failed`)).toEqual([0])
      const first = await list('?metadata[scene]=1&limit=2')
      const second = await list(`?metadata[scene]=1&limit=2&cursor=${first.next_cursor}`)
      expect([...first.jobs, ...second.jobs].map((job) => ids.indexOf(job.job_id))).toEqual([5, 3, 1])
      expect(second.next_cursor).toBeUndefined()
    })

    test.each([
      ['?metadata=a', '/metadata'],
      ['?metadata[]=a', '/metadata/'],
      ['?metadata[a]=1&metadata[a]=2', '/metadata/a'],
      ['?metadata=x&metadata[a]=2', '/metadata'],
      ['?metadata[a]=2&metadata=x', '/metadata'],
      ['?metadata[a]=1&metadata[b]=1&metadata[c]=1&metadata[d]=1', '/metadata'],
      [`?metadata[${'k'.repeat(65)}]=1`, `/metadata/${'k'.repeat(65)}`],
      [`?metadata[a]=${'v'.repeat(513)}`, '/metadata/a'],
      ['?metadata[a=1', '/metadata[a'],
      ['?error_code=unlucky', '/error_code'],
      ['?version=v2', '/version'],
      ['?limit=0', '/limit'],
      ['?limit=201', '/limit'],
      ['?limit=ten', '/limit'],
      ['?limit=1.5', '/limit'],
      ['?status=done', '/status'],
      ['?status=', '/status'],
      ['?status=running,', '/status'],
      ['?created_after=yesterday', '/created_after'],
      ['?created_after=2026-13-01T00:00:00Z', '/created_after'],
      ['?created_before=2026-01-01', '/created_before'],
      ['?cursor=abc', '/cursor'],
      ['?cursor=', '/cursor'],
      ['?page=2', '/page'],
      ['?status=running&status=failed', '/status'],
    ])('%s is refused, not clamped', async (query, path) => {
      expect(problemOf(await app.get(`/jobs${query}`))).toMatchObject({
        status: 400,
        code: 'invalid_request',
        paths: [path],
      })
    })
  })

  describe('DELETE /jobs/:id', () => {
    test('deletes a finished job', async () => {
      const { job_id: id } = (await submit()).json<JobView>()
      await app.untilStatus(id, 'running')
      app.backend.end(`fc-${id}-1`, aSuccess)
      await app.untilStatus(id, 'succeeded')
      const response = await app.app.inject({ method: 'DELETE', url: `/jobs/${id}` })
      expect(response).toMatchObject({ statusCode: 204, body: '' })
      expect(problemOf(await app.get(`/jobs/${id}`))).toMatchObject({ status: 404 })
      expect(problemOf(await app.app.inject({ method: 'DELETE', url: `/jobs/${id}` }))).toMatchObject({ status: 404 })
    })

    test('is a conflict while a job runs, and while its call is still being stopped', async () => {
      const { job_id: id } = (await submit()).json<JobView>()
      await app.untilStatus(id, 'running')
      const remove = () => app.app.inject({ method: 'DELETE', url: `/jobs/${id}` })
      expect(problemOf(await remove())).toMatchObject({ status: 409, code: 'job_not_finished' })
      const stopping = Promise.withResolvers<undefined>()
      app.backend.stopWith = () => stopping.promise
      await app.post(`/jobs/${id}/cancel`)
      expect(problemOf(await remove())).toMatchObject({ status: 409, code: 'job_not_finished' })
      stopping.resolve(undefined)
      await app.untilJob(id, (job) => job.attempts[0]?.stop === 'done', 'stopped')
      expect((await remove()).statusCode).toBe(204)
    })
  })

  describe('Idempotency-Key', () => {
    test('the same request again answers with the current job', async () => {
      const first = await submit({ 'idempotency-key': 'take-1' })
      const { job_id: id } = first.json<JobView>()
      expect(first.headers['idempotent-replayed']).toBeUndefined()
      await app.untilStatus(id, 'running')
      for (const key of ['take-1', '"take-1"']) {
        const again = await submit(
          { 'idempotency-key': key },
          { audio_path: 'speech.wav', version: 'v15', video_path: 'face.mp4' },
        )
        expect(again.statusCode).toBe(202)
        expect(again.headers['idempotent-replayed']).toBe('true')
        expect(again.json()).toMatchObject({ job_id: id, status: 'running' })
      }
    })

    test('of identical requests at once one creates, the others replay', async () => {
      const answers = await Promise.all(Array.from({ length: 10 }, () => submit({ 'idempotency-key': 'race' })))
      expect(new Set(answers.map((answer) => answer.json<JobView>().job_id)).size).toBe(1)
      expect(answers.filter((answer) => answer.headers['idempotent-replayed'] === undefined)).toHaveLength(1)
    })

    test.each([
      ['another face', { ...aBody, video_path: 'other.mp4' }],
      ['another version', { ...aBody, version: 'v1' }],
      ['other metadata', { ...aBody, metadata: { a: '1' } }],
      ['another time limit', { ...aBody, timeout_seconds: 9 }],
      ['a time limit of the run', { ...aBody, run_timeout_seconds: 9 }],
    ])('the same key with %s is 422', async (_what, body) => {
      await submit({ 'idempotency-key': 'mine' })
      expect(problemOf(await submit({ 'idempotency-key': 'mine' }, body))).toMatchObject({
        ...{ status: 422, code: 'idempotency_key_reused' },
      })
    })

    test('metadata in another order is the same request', async () => {
      const [a, b] = [
        { x: '1', y: '2' },
        { y: '2', x: '1' },
      ]
      const first = await submit({ 'idempotency-key': 'order' }, { ...aBody, metadata: a })
      const again = await submit({ 'idempotency-key': 'order' }, { ...aBody, metadata: b })
      expect(again.json<JobView>().job_id).toBe(first.json<JobView>().job_id)
    })

    test('a refused body does not use the key, a retry keeps it, deleting the job frees it', async () => {
      await submit({ 'idempotency-key': 'k' }, { ...aBody, version: 'v9' })
      const { job_id: id } = (await submit({ 'idempotency-key': 'k' })).json<JobView>()
      await app.post(`/jobs/${id}/cancel`)
      await app.post(`/jobs/${id}/retry`)
      expect((await submit({ 'idempotency-key': 'k' })).json<JobView>().job_id).toBe(id)
      await app.post(`/jobs/${id}/cancel`)
      await app.untilJob(id, (job) => job.attempts.every(({ stop }) => stop !== 'pending'), 'stopped')
      await app.app.inject({ method: 'DELETE', url: `/jobs/${id}` })
      expect((await submit({ 'idempotency-key': 'k' })).json<JobView>().job_id).not.toBe(id)
    })

    test.each(['', ' ', 'a b', '"', '""', '"a', 'a"b', 'ä', 'x'.repeat(256), `"${'x'.repeat(256)}"`, '"a\\b"', 'a, b'])(
      'the key %j is refused',
      async (key) => {
        expect(problemOf(await submit({ 'idempotency-key': key }))).toMatchObject({
          ...{ status: 400, code: 'invalid_idempotency_key', paths: ['/Idempotency-Key'] },
        })
      },
    )

    test('the longest key passes, quoted ones with their escapes', async () => {
      expect((await submit({ 'idempotency-key': 'x'.repeat(255) })).statusCode).toBe(202)
      const { job_id: id } = (await submit({ 'idempotency-key': String.raw`"a\"b\\c"` })).json<JobView>()
      expect((await submit({ 'idempotency-key': String.raw`"a\"b\\c"` })).json<JobView>().job_id).toBe(id)
    })
  })

  test('a full disk refuses a submit with 503, keeps nothing of it, and answers everything else', async () => {
    const db = await openSqliteFile(':memory:')
    const full = await startApp({ store: createStoreOn(db), running: false })
    const { job_id: id } = (await full.post('/jobs', aBody)).json<JobView>()
    const { page_count: pages } = db.prepare('PRAGMA page_count').get() as { page_count: number }
    db.exec(`PRAGMA max_page_count = ${pages}`)
    const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`key-${n}`, 'x'.repeat(512)]))
    const refused = await full.post('/jobs', { ...aBody, metadata })
    expect(problemOf(refused)).toMatchObject({ status: 503, code: 'store_unavailable' })
    expect(full.requestLines.find(({ event }) => event === 'store_unavailable')).toMatchObject({
      level: 'warn',
      code: 'store_unavailable',
    })
    expect(refused.headers['retry-after']).toBe('10')
    expect((await full.get(`/jobs/${id}`)).statusCode).toBe(200)
    expect((await full.get('/jobs')).json<Page>().jobs).toHaveLength(1)
    expect((await full.post(`/jobs/${id}/cancel`)).statusCode).toBe(200)
    db.exec('PRAGMA max_page_count = 100000')
    expect((await full.post('/jobs', { ...aBody, metadata })).statusCode).toBe(202)
    await full.close()
  })

  describe('GET /readyz', () => {
    test('is 200 while the store answers, whatever the backend does', async () => {
      app.backend.health = () => ({ degraded: 'spend_limit' })
      await app.readiness.check()
      const response = await app.get('/readyz')
      expect([response.statusCode, response.json()]).toEqual([
        200,
        { status: 'ready', store: 'ok', backend: 'degraded', reason: 'spend_limit' },
      ])
    })

    test.each(['ok', 'missing', 'incompatible'] as const)(
      'is 200 while the function is %s, and says so',
      async (state) => {
        app.backend.health = () => ({ function: state })
        await app.readiness.check()
        const response = await app.get('/readyz')
        const body = { status: 'ready', store: 'ok', backend: 'ok', function: state }
        expect([response.statusCode, response.json()]).toEqual([200, body])
      },
    )

    test('is 503 while the store does not answer, or not in time, and 200 again after', async () => {
      const { countSubmitted } = app.store
      app.store.countSubmitted = () => Promise.reject(new Error('the disk is gone'))
      await app.readiness.check()
      expect((await app.get('/readyz')).json()).toMatchObject({ status: 'unavailable', store: 'unavailable' })
      expect((await app.get('/readyz')).statusCode).toBe(503)
      app.store.countSubmitted = countSubmitted
      await app.readiness.check()
      app.store.countSubmitted = () => new Promise(() => undefined)
      await app.readiness.check()
      expect((await app.get('/readyz')).statusCode).toBe(503)
      app.store.countSubmitted = countSubmitted
      await app.readiness.check()
      expect((await app.get('/readyz')).statusCode).toBe(200)
    })

    test('is 503 once the server shuts down', async () => {
      app.readiness.startShutdown()
      expect((await app.get('/readyz')).json()).toMatchObject({ status: 'ending' })
    })
  })
})
