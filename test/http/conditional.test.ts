import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { isNotModified } from '../../src/http/jobs/view.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'

describe('If-None-Match (RFC 9110 13.1.2)', () => {
  test.each([
    ['"a"', true],
    ['W/"a"', true],
    [' "a" ', true],
    ['*', true],
    [' * ', true],
    ['"b", "a"', true],
    ['"b",W/"a","c"', true],
    ['"x,y", "a"', true],
    ['"b"', false],
    ['"A"', false],
    ['a', false],
    ['"a', false],
    ['', false],
    ['"*"', false],
    ['"b", "c"', false],
    ['"aa"', false],
    [undefined, false],
  ])('%s names the tag "a": %s', (header, expected) => {
    expect(isNotModified(header, '"a"')).toBe(expected)
  })

  test('of 256 KiB is read in linear time: in quadratic time, the test would run into its timeout', () => {
    for (const filler of ['"', '"a,', 'W/', ' ', '*'])
      expect(isNotModified(filler.repeat(262_144 / filler.length), '"b"'), filler).toBe(false)
  })
})

let app: TestApp
beforeAll(async () => {
  app = await startApp({ authenticator: knownCallers })
})
afterAll(() => app.close())

const submit = async (of = app) => (await of.post('/jobs', aBody, as('alice'))).json<JobView>().job_id

async function submitAndSucceed(): Promise<string> {
  const id = await submit()
  await app.untilStatus(id, 'running')
  app.backend.end(`fc-${id}-1`, aSuccess)
  await app.untilStatus(id, 'succeeded')
  return id
}

type Asked = { method?: 'GET' | 'HEAD'; who?: string; etag?: string | undefined; of?: TestApp }
const ask = (url: string, { method = 'GET', who = 'alice', etag, of = app }: Asked = {}) =>
  of.app.inject({
    method,
    url,
    headers: { ...as(who), ...(etag !== undefined && { 'if-none-match': etag }) },
  })
const tagOf = async (url: string, asked: Asked = {}) => String((await ask(url, asked)).headers.etag)

describe.each(['', '/result', 'list'])('GET /jobs/:id%s', (part) => {
  const urlOf = (id: string) => (part === 'list' ? '/jobs?limit=1' : `/jobs/${id}${part}`)

  test('has a strong tag, may be kept by its client, and is 304 without a body if the client has it', async () => {
    const url = urlOf(await submitAndSucceed())
    const answer = await ask(url)
    expect(answer).toMatchObject({
      statusCode: 200,
      headers: {
        etag: expect.stringMatching(/^"[\w-]+"$/) as string,
        'cache-control': 'private, no-cache',
        'content-type': 'application/json; charset=utf-8',
      },
    })
    const etag = String(answer.headers.etag)
    for (const given of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const again = await ask(url, { etag: given })
      expect(again).toMatchObject({ statusCode: 304, body: '' })
      expect(again.headers).toMatchObject({ etag, 'cache-control': 'private, no-cache' })
      expect(again.headers).not.toHaveProperty('content-type')
      expect(again.headers).not.toHaveProperty('content-length')
      expect(again.headers).toHaveProperty('ratelimit-remaining')
    }
    expect((await ask(url, { etag: '"other"' })).body).toBe(answer.body)
  })

  test('has the same tag and length for HEAD, which is 304 too', async () => {
    const url = urlOf(await submitAndSucceed())
    const { headers, rawPayload } = await ask(url)
    const head = await ask(url, { method: 'HEAD' })
    expect(head).toMatchObject({ statusCode: 200, body: '', headers: { etag: headers.etag } })
    expect(head.headers['content-length']).toBe(String(rawPayload.length))
    const known = await ask(url, { method: 'HEAD', etag: String(headers.etag) })
    expect(known).toMatchObject({ statusCode: 304, body: '', headers: { etag: headers.etag } })
    // RFC 9110 8.6: the length of the 200, or none.
    expect(known.headers['content-length']).toBe(String(rawPayload.length))
  })

  test('has another tag once its links last longer', async () => {
    const url = urlOf(await submitAndSucceed())
    const etag = await tagOf(url)
    app.clock.now += 900_000
    const answer = await ask(url, { etag })
    expect(answer.statusCode).toBe(200)
    expect(answer.headers.etag).not.toBe(etag)
    expect((await ask(url, { etag: String(answer.headers.etag) })).statusCode).toBe(304)
  })
})

describe('the tag of a job', () => {
  test('changes with its revision; a deleted job is 404', async () => {
    const id = await submit()
    await app.untilStatus(id, 'running')
    const etag = await tagOf(`/jobs/${id}`)
    expect((await ask(`/jobs/${id}`, { etag })).statusCode).toBe(304)
    await app.app.inject({ method: 'POST', url: `/jobs/${id}/cancel`, headers: as('alice') })
    await app.untilJob(id, (job) => job.attempts.every(({ stop }) => stop !== 'pending'), 'stopped')
    const canceled = await ask(`/jobs/${id}`, { etag })
    expect(canceled).toMatchObject({ statusCode: 200 })
    expect(canceled.json()).toMatchObject({ status: 'canceled' })
    expect((await app.app.inject({ method: 'DELETE', url: `/jobs/${id}`, headers: as('alice') })).statusCode).toBe(204)
    const gone = await ask(`/jobs/${id}`, { etag: '*' })
    expect(problemOf(gone).code).toBe('job_not_found')
    expect(gone.headers).toMatchObject({ 'cache-control': 'no-store' })
    expect(gone.headers).not.toHaveProperty('etag')
  })

  test('changes with its queue position', async () => {
    const queued = await startApp({ authenticator: knownCallers, maxConcurrentJobs: 1 })
    onTestFinished(() => queued.close())
    const [running, , last] = [await submit(queued), await submit(queued), await submit(queued)]
    await queued.untilStatus(running, 'running')
    const etag = await tagOf(`/jobs/${last}`, { of: queued })
    expect((await ask(`/jobs/${last}`, { of: queued, etag })).statusCode).toBe(304)
    queued.backend.end(`fc-${running}-1`, aSuccess)
    await queued.untilStatus(running, 'succeeded')
    const moved = await ask(`/jobs/${last}`, { of: queued, etag })
    expect(moved.statusCode).toBe(200)
    expect(moved.json()).toMatchObject({ revision: 1, queue_position: 1 })
  })

  test('differs for administrators, who see its owner, and opens nothing to other callers', async () => {
    const id = await submitAndSucceed()
    const etag = await tagOf(`/jobs/${id}`)
    const shown = await ask(`/jobs/${id}`, { who: 'root', etag })
    expect(shown.statusCode).toBe(200)
    expect(shown.json()).toMatchObject({ caller: 'key:alice' })
    expect((await ask(`/jobs/${id}`)).json()).not.toHaveProperty('caller')
    for (const given of [etag, '*']) {
      expect(problemOf(await ask(`/jobs/${id}`, { who: 'bob', etag: given })).code).toBe('job_not_found')
      expect(problemOf(await ask(`/jobs/${id}/result`, { who: 'bob', etag: given })).code).toBe('job_not_found')
      expect((await ask(`/jobs/${id}`, { who: 'mallory', etag: given })).statusCode).toBe(401)
    }
  })
})

describe('a long poll with If-None-Match', () => {
  test('is 304 if the job has not changed', async () => {
    const id = await submit()
    await app.untilStatus(id, 'running')
    const etag = await tagOf(`/jobs/${id}`)
    const began = performance.now()
    expect(await ask(`/jobs/${id}?wait=1`, { etag })).toMatchObject({ statusCode: 304, body: '', headers: { etag } })
    expect(performance.now() - began).toBeGreaterThan(900)
  })

  test('waits until the job finishes, and then answers with the job', async () => {
    const id = await submit()
    await app.untilStatus(id, 'running')
    const answer = ask(`/jobs/${id}?wait=30`, { etag: await tagOf(`/jobs/${id}`) })
    app.backend.end(`fc-${id}-1`, aSuccess)
    expect((await answer).json()).toMatchObject({ status: 'succeeded' })
  })

  test('of a finished job that the client has is 304 at once', async () => {
    const id = await submitAndSucceed()
    const etag = await tagOf(`/jobs/${id}`)
    expect((await ask(`/jobs/${id}?wait=60`, { etag })).statusCode).toBe(304)
  })
})

test('a list has another tag with each job, and the same for the same jobs', async () => {
  await submit()
  const etag = await tagOf('/jobs?limit=5')
  const running = await ask('/jobs?limit=5', { etag })
  // Among jobs of the same millisecond the order is by id, and the new one might not be on the page.
  app.clock.now++
  await submit()
  expect((await ask('/jobs?limit=5', { etag })).statusCode).toBe(200)
  expect([200, 304]).toContain(running.statusCode)
  expect((await ask('/jobs?limit=5', { who: 'root', etag })).statusCode).toBe(200)
})
