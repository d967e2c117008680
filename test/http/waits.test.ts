import { once } from 'node:events'
import { type ClientRequest, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { preferredWait } from '../../src/http/jobs/view.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { aBody, problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { listenOnOneSocket } from '../helpers/listen.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
beforeEach(async () => {
  app = await startApp()
})
afterEach(() => app.close())

const restart = async (options: Parameters<typeof startApp>[0]) => {
  await app.close()
  app = await startApp(options)
}

async function submit(headers: Record<string, string> = {}): Promise<string> {
  const { job_id: id } = (await app.post('/jobs', aBody, headers)).json<JobView>()
  await app.untilStatus(id, 'running')
  return id
}

const end = (id: string) => app.backend.end(`fc-${id}-1`, aSuccess)
const isHeld = async (answer: Promise<unknown>) =>
  (await Promise.race([answer.then(() => 'answered'), sleep(50, 'held')])) === 'held'

/** Sends a request over a socket, to be left before its answer. */
async function send(method: string, path: string, headers: Record<string, string> = {}): Promise<ClientRequest> {
  const { port } = await listenOnOneSocket(app.app)
  const sent = request({
    port,
    method,
    path,
    agent: false,
    headers: { 'content-type': 'application/json', ...headers },
  })
  sent.on('error', () => undefined)
  onTestFinished(() => void sent.destroy())
  sent.end(method === 'POST' ? JSON.stringify(aBody) : undefined)
  return sent
}

/** How many waits have begun, and how many are over. */
function countWaits() {
  const { subscribe } = app.subscriptions
  const watched = vi.spyOn(app.subscriptions, 'subscribe')
  const stopped = { count: 0 }
  watched.mockImplementation((...args) => {
    const stop = subscribe(...args)
    return () => {
      stopped.count++
      stop()
    }
  })
  return { begun: () => watched.mock.calls.length, stopped: () => stopped.count }
}

describe('Prefer: wait=N', () => {
  test.each([
    ['wait=10', 10],
    ['wait=0', 0],
    ['wait=61', 60],
    ['wait=99999999999999999999', 60],
    ['Wait = 5', 5],
    ['wait="7"', 7],
    ['respond-async, wait=10', 10],
    ['return=minimal; a="b, c", wait=3; x=y', 3],
    ['a="\\", wait=9", wait=4', 4],
    ['wait=1, wait=2', 1],
    [['respond-async', 'wait=6'], 6],
    ['wait', undefined],
    ['wait=', undefined],
    ['wait=-1', undefined],
    ['wait=1.5', undefined],
    ['wait=ten', undefined],
    ['wait="5', undefined],
    ['wait=abc, wait=2', undefined],
    ['waiting=5', undefined],
    ['a="wait=5"', undefined],
    ['a="x, wait=5', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%j is %s', (header, seconds) => expect(preferredWait(header)).toBe(seconds))

  test.each([
    '"\\'.repeat(8_000),
    '",'.repeat(8_000),
    `${'\\"'.repeat(8_000)}\\`,
    ' '.repeat(16_000),
    'wait'.repeat(4_000),
  ])('is read quickly, whatever it is: %.8s', (header) => {
    const from = performance.now()
    preferredWait(header)
    expect(performance.now() - from).toBeLessThan(50)
  })

  test('holds the answer until the job has finished: 200 with the final state', async () => {
    const answer = app.post('/jobs', aBody, { prefer: 'wait=30' })
    const { callId } = (await until(() => app.backend.requests[0] && app.store.get(app.backend.requests[0].jobId)))
      .attempts[0]!
    expect(await isHeld(answer)).toBe(true)
    app.backend.end(callId!, aSuccess)
    const { statusCode, headers, ...response } = await answer
    const job = response.json<JobView>()
    expect(statusCode).toBe(200)
    expect(job.status).toBe('succeeded')
    expect(headers).toMatchObject({ 'preference-applied': 'wait=30', location: `/jobs/${job.job_id}` })
  })

  test('answers 202 with the job as it is when the time has passed', async () => {
    const from = performance.now()
    const response = await app.post('/jobs', aBody, { prefer: 'wait=1' })
    expect(performance.now() - from).toBeGreaterThan(990)
    expect(response.statusCode).toBe(202)
    expect(response.json<JobView>().status).toBe('running')
    expect(response.headers['preference-applied']).toBe('wait=1')
  })

  test('above 60 is 60, and so it says', async () => {
    const answer = app.post('/jobs', aBody, { prefer: 'wait=3600' })
    const { jobId } = await until(() => app.backend.requests[0])
    await app.post(`/jobs/${jobId}/cancel`)
    expect((await answer).headers['preference-applied']).toBe('wait=60')
  })

  test.each(['wait=ten', 'respond-async'])('that is none, %s, changes nothing', async (prefer) => {
    const response = await app.post('/jobs', aBody, { prefer })
    expect(response.statusCode).toBe(202)
    expect(response.headers['preference-applied']).toBeUndefined()
  })

  test('holds for a replay too: 200 once the job has finished, 202 before', async () => {
    const key = { 'idempotency-key': 'once' }
    const id = await submit(key)
    const early = await app.post('/jobs', aBody, { ...key, prefer: 'wait=0' })
    expect(early).toMatchObject({ statusCode: 202, headers: { 'preference-applied': 'wait=0' } })
    const answer = app.post('/jobs', aBody, { ...key, prefer: 'wait=30' })
    expect(await isHeld(answer)).toBe(true)
    end(id)
    const late = await app.post('/jobs', aBody, { ...key, prefer: 'wait=30' })
    for (const { statusCode, headers, ...response } of [await answer, late]) {
      expect(statusCode).toBe(200)
      expect(headers['idempotent-replayed']).toBe('true')
      expect(response.json()).toMatchObject({ job_id: id, status: 'succeeded' })
    }
    expect((await app.post('/jobs', aBody, key)).statusCode).toBe(202)
  })
})

describe('GET /jobs/:id?wait=N', () => {
  test('holds the answer until the job has finished', async () => {
    const id = await submit()
    const answer = app.get(`/jobs/${id}?wait=30`)
    expect(await isHeld(answer)).toBe(true)
    end(id)
    expect((await answer).json()).toMatchObject({ job_id: id, status: 'succeeded', revision: 3 })
  })

  test('answers with the job as it is when the time has passed, and at once with one that has finished', async () => {
    const id = await submit()
    const from = performance.now()
    expect((await app.get(`/jobs/${id}?wait=1`)).json()).toMatchObject({ status: 'running' })
    expect(performance.now() - from).toBeGreaterThan(990)
    end(id)
    await app.untilStatus(id, 'succeeded')
    expect((await app.get(`/jobs/${id}?wait=60`)).json()).toMatchObject({ status: 'succeeded' })
    expect((await app.get(`/jobs/${id}?wait=0`)).json()).toMatchObject({ status: 'succeeded' })
  })

  test.each(['61', '-1', '1.5', 'ten', ''])('refuses wait=%s', async (wait) => {
    const problem = problemOf(await app.get(`/jobs/${await submit()}?wait=${wait}`))
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request', paths: ['/wait'] })
  })

  test('misses no final state that comes while the job is being read', async () => {
    const store = createMemoryStore()
    const asked = { count: 0 }
    const slow = Promise.withResolvers<undefined>()
    const get = async (id: string) => {
      const job = await store.get(id)
      // What the request reads first, it gets when the job has long ended.
      if (asked.count++ === 0) await slow.promise
      return job
    }
    await restart({ store: { ...store, get: (id) => read(id) } })
    let read = store.get
    const id = await submit()
    read = get
    const answer = app.get(`/jobs/${id}?wait=30`)
    await until(() => asked.count > 0)
    end(id)
    await until(async () => (await store.get(id))?.status === 'succeeded')
    slow.resolve(undefined)
    expect((await answer).json()).toMatchObject({ status: 'succeeded' })
  })

  test('is for the job’s owner, before anything is waited for', async () => {
    await restart({ authenticator: knownCallers })
    const id = await submit(as('alice'))
    const response = await app.app.inject({ method: 'GET', url: `/jobs/${id}?wait=60`, headers: as('bob') })
    expect(problemOf(response)).toMatchObject({ status: 404, code: 'job_not_found' })
  })

  test('counts as one request', async () => {
    await restart({ http: { limits: { read: 2, submit: 0 } } })
    const id = await submit()
    const answers = [app.get(`/jobs/${id}?wait=30`), app.get(`/jobs/${id}?wait=30`)]
    expect(await isHeld(Promise.race(answers))).toBe(true)
    expect(problemOf(await app.get(`/jobs/${id}`))).toMatchObject({ status: 429, code: 'rate_limited' })
    end(id)
    for (const answer of answers) expect((await answer).statusCode).toBe(200)
  })

  test('is answered to a thousand clients soon after the job has finished', async () => {
    await restart({ http: { limits: { read: 0, submit: 0 } } })
    const id = await submit()
    const waits = countWaits()
    const answers = Array.from({ length: 1_000 }, () => app.get(`/jobs/${id}?wait=60`))
    await until(() => waits.begun() === 1_000)
    const from = performance.now()
    end(id)
    const statuses = new Set((await Promise.all(answers)).map((answer) => answer.json<JobView>().status))
    expect(performance.now() - from).toBeLessThan(3_000)
    expect(statuses).toEqual(new Set(['succeeded']))
  })

  test('may last longer than a request may take to arrive', async () => {
    await restart({ http: { headersTimeoutMs: 150, requestTimeoutMs: 300 } })
    const id = await submit()
    const sent = await send('GET', `/jobs/${id}?wait=2`)
    const [response] = (await once(sent, 'response')) as [{ statusCode: number }]
    expect(response.statusCode).toBe(200)
  })
})

describe('a client that leaves', () => {
  test.each([
    ['GET', ''],
    ['POST', 'wait=60'],
  ])('%s: its wait is over, and the job goes on', async (method, prefer) => {
    const waits = countWaits()
    const id = method === 'GET' ? await submit() : undefined
    const sent = await send(method, id ? `/jobs/${id}?wait=60` : '/jobs', { prefer })
    await until(() => waits.begun() === 1)
    // A wait that ended by itself would have by the time that the server answers another request.
    expect((await app.get('/healthz')).statusCode).toBe(200)
    expect(waits.stopped()).toBe(0)
    sent.destroy()
    await until(() => waits.stopped() === 1, 'the end of the wait', 2_000)
    const { jobId } = app.backend.requests[0]!
    expect((await app.store.get(jobId))?.status).toBe('running')
    end(jobId)
    await app.untilStatus(jobId, 'succeeded')
    expect(app.requestLines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
  })
})

/** Holds up the next reading of a job. */
function slowRead() {
  const { get } = app.service
  const slow = Promise.withResolvers<undefined>()
  const asked = vi.spyOn(app.service, 'get').mockImplementationOnce(async (...args) => {
    await slow.promise
    return get(...args)
  })
  return { begun: () => until(() => asked.mock.calls.length === 1), goOn: () => slow.resolve(undefined) }
}

test('a client that leaves before its wait starts is not waited for', async () => {
  const id = await submit()
  const waits = countWaits()
  const reading = slowRead()
  const sent = await send('GET', `/jobs/${id}?wait=60`)
  await reading.begun()
  sent.destroy()
  await until(() => connectionsOf().then((count) => count === 0))
  reading.goOn()
  await app.app.close()
  expect(waits.begun()).toBe(0)
})

const connectionsOf = () =>
  new Promise<number>((resolve) => app.app.server.getConnections((_error, count) => resolve(count)))

describe('a shutdown', () => {
  test('answers also a client that is just about to wait', async () => {
    const id = await submit()
    await listenOnOneSocket(app.app)
    const reading = slowRead()
    const answer = app.get(`/jobs/${id}?wait=60`)
    await reading.begun()
    const closing = app.app.close()
    await until(() => !app.app.server.listening)
    reading.goOn()
    expect((await answer).json()).toMatchObject({ status: 'running' })
    await closing
  })

  test('has nothing to do with waits that have finished', async () => {
    const id = await submit()
    const answer = app.get(`/jobs/${id}?wait=60`)
    expect(await isHeld(answer)).toBe(true)
    end(id)
    await answer
    const aborted = vi.spyOn(AbortController.prototype, 'abort')
    onTestFinished(() => aborted.mockRestore())
    await app.app.close()
    // Others end for a reason, which they name.
    expect(aborted.mock.calls.filter(([reason]) => reason === undefined)).toEqual([])
  })

  test('answers all waiting clients at once, with the job as it is', async () => {
    const id = await submit()
    const answers = [app.get(`/jobs/${id}?wait=60`), app.post('/jobs', aBody, { prefer: 'wait=60' })]
    expect(await isHeld(Promise.race(answers))).toBe(true)
    const from = performance.now()
    await app.app.close()
    const [read, posted] = await Promise.all(answers)
    expect(performance.now() - from).toBeLessThan(500)
    expect(read?.statusCode).toBe(200)
    expect(read?.json<JobView>().status).toBe('running')
    expect(posted?.statusCode).toBe(202)
    expect(posted?.headers.connection).toBe('close')
  })

  test('is not held up by connections whose clients would keep them', async () => {
    const id = await submit()
    const { port } = await listenOnOneSocket(app.app)
    const waits = countWaits()
    const answer = fetch(`http://127.0.0.1:${port}/jobs/${id}?wait=60`)
    await until(() => waits.begun() === 1)
    const from = performance.now()
    await app.app.close()
    expect(performance.now() - from).toBeLessThan(500)
    expect(await (await answer).json()).toMatchObject({ status: 'running' })
  })
})
