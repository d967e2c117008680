import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { EventSource } from 'eventsource'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { HEARTBEAT_MS, MAX_WAITING } from '../../src/http/events/stream.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { aBody, problemOf, shippedHttp, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { type EventClient, openChanges } from '../helpers/event-client.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { aJob, after, spawned, succeeded } from '../helpers/jobs.ts'
import { listenOnOneSocket } from '../helpers/listen.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
beforeEach(async () => {
  app = await startApp()
})
afterEach(async () => {
  vi.useRealTimers()
  await app.close()
})

const restart = async (options: Parameters<typeof startApp>[0]) => {
  await app.close()
  app = await startApp(options)
}

async function portOf(): Promise<number> {
  return (await listenOnOneSocket(app.app)).port
}

const open = async (path: string, headers?: Record<string, string>) =>
  openChanges(`http://127.0.0.1:${await portOf()}${path}`, headers)

async function submit(headers: Record<string, string> = {}, body: object = aBody): Promise<string> {
  const { job_id: id } = (await app.post('/jobs', body, headers)).json<JobView>()
  await app.untilStatus(id, 'running')
  return id
}

const end = (id: string) => app.backend.end(`fc-${id}-1`, aSuccess)
const shown = ({ events }: EventClient) => events.map(({ id, job }) => [id, job.status])
const untilShown = (client: EventClient, count: number) => until(() => client.events.length >= count, `${count} events`)

async function finished(): Promise<string> {
  const id = await submit()
  end(id)
  await app.untilStatus(id, 'succeeded')
  return id
}

/** Fakes the intervals of streams and subscriptions. */
const holdIntervals = () => vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })

/** A client that asks for a stream and reads nothing of it. */
async function dialAndNotRead(path: string) {
  const socket = connect(await portOf(), '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  socket.pause().write(`GET ${path} HTTP/1.1\r\nHost: a.example\r\n\r\n`)
  return socket
}

const LEFT = 'event_stream_closed_by_client'
const ofEvent = (name: string) => app.requestLines.filter(({ event }) => event === name)
const isOfEvents = (req: unknown) => (req as { url: string }).url.endsWith('/events')
const logged = (event: string) => app.requestLines.filter((line) => line.event === event)

describe('the stage of a running job', () => {
  test('is on the job in every answer while it is known, and gone when the job has finished', async () => {
    const id = await submit()
    const read = async () => (await app.get(`/jobs/${id}`)).json<JobView>()
    expect(await read()).not.toHaveProperty('stage')
    for (const stage of ['queued', 'starting', 'running'] as const) {
      app.backend.changeStage(`fc-${id}-1`, stage)
      expect(await read()).toMatchObject({ status: 'running', revision: 2, stage })
      expect((await app.get('/jobs')).json()).toMatchObject({ jobs: [{ job_id: id, stage }] })
    }
    app.backend.changeStage(`fc-${id}-1`, undefined)
    expect(await read()).not.toHaveProperty('stage')
    app.backend.changeStage(`fc-${id}-1`, 'running')
    end(id)
    await app.untilStatus(id, 'succeeded')
    expect(await read()).not.toHaveProperty('stage')
  })

  test('has another entity tag than the stage before', async () => {
    const id = await submit()
    const { etag } = (await app.get(`/jobs/${id}`)).headers
    const again = () =>
      app.app.inject({ method: 'GET', url: `/jobs/${id}`, headers: { 'if-none-match': String(etag) } })
    expect((await again()).statusCode).toBe(304)
    app.backend.changeStage(`fc-${id}-1`, 'queued')
    expect((await again()).statusCode).toBe(200)
  })

  test('is an event of its own, without an id, on the stream of the job and on that of all jobs', async () => {
    const [id, other] = [await submit(), await submit()]
    const [ofJob, ofAll] = [await open(`/jobs/${id}/events`), await open('/events')]
    await untilShown(ofJob, 1)
    for (const stage of ['queued', 'running', 'running'] as const) app.backend.changeStage(`fc-${id}-1`, stage)
    await until(() => ofJob.stages.length > 0 && ofAll.stages.length > 0, 'a stage')
    app.backend.changeStage(`fc-${other}-1`, 'starting')
    await until(() => ofAll.stages.length > 1, 'the stage of another job')
    end(id)
    await until(() => ofJob.closed, 'the end of the stream')
    // The first of two in quick succession is merged into the second.
    expect(ofJob.stages).toEqual([{ job_id: id, stage: 'running' }])
    expect(ofAll.stages).toEqual([
      { job_id: id, stage: 'running' },
      { job_id: other, stage: 'starting' },
    ])
    expect(shown(ofJob)).toEqual([
      ['2', 'running'],
      ['3', 'succeeded'],
    ])
  })

  test('is left out for some when it changes for very many at once, and the stream of all jobs continues', async () => {
    const id = await submit()
    const client = await open('/events')
    const some = aJob({ caller: 'anonymous' })
    for (let n = 0; n < 2 * MAX_WAITING; n++) app.stages.set({ ...some, id: `job-${n}` }, 'queued')
    end(id)
    await untilShown(client, 1)
    expect(shown(client)).toEqual([[`${id}:3`, 'succeeded']])
    expect(client.stages.length).toBeLessThanOrEqual(1_001)
    expect(client.closed).toBe(false)
  })

  test('is not sent to callers who may not see the job', async () => {
    await restart({ authenticator: knownCallers })
    const id = await submit(as('alice'))
    const [alice, bob] = [await open('/events', as('alice')), await open('/events', as('bob'))]
    app.backend.changeStage(`fc-${id}-1`, 'running')
    await until(() => alice.stages.length > 0, 'a stage')
    end(id)
    await until(() => alice.events.length > 0, 'the end')
    expect(bob.stages).toEqual([])
  })
})

describe('GET /jobs/:id/events', () => {
  test('sends the current state, each change and the final state, and closes', async () => {
    await restart({ maxConcurrentJobs: 1 })
    const before = await submit()
    const { job_id: id, links } = (await app.post('/jobs', aBody)).json<JobView>()
    const client = await open(links.events)
    await untilShown(client, 1)
    expect(client.events[0]).toEqual({ id: '1', event: 'status', job: (await app.get(`/jobs/${id}`)).json() })
    expect(client.events[0]?.job.queue_position).toBe(1)
    end(before)
    await untilShown(client, 2)
    expect(client.events[1]).toEqual({ id: '2', event: 'status', job: (await app.get(`/jobs/${id}`)).json() })
    end(id)
    await until(() => client.closed)
    expect(client.events[2]).toEqual({ id: '3', event: 'status', job: (await app.get(`/jobs/${id}`)).json() })
    expect(client.events).toHaveLength(3)
    expect(client.complete).toBe(true)
  })

  test('sends its head at once, which keeps proxies from buffering and storing it', async () => {
    const id = await submit()
    const client = await open(`/jobs/${id}/events`, { 'last-event-id': '2' })
    expect(client.response.statusCode).toBe(200)
    expect(client.response.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
      'ratelimit-limit': '6000',
      'transfer-encoding': 'chunked',
    })
    expect(client.response.headers).not.toHaveProperty('content-encoding')
    expect(client.events).toEqual([])
  })

  test('has the headers of CORS for an allowed origin', async () => {
    await restart({ http: { corsOrigins: ['https://app.example.com'] } })
    const id = await finished()
    const client = await open(`/jobs/${id}/events`, { origin: 'https://app.example.com' })
    expect(client.response.headers['access-control-allow-origin']).toBe('https://app.example.com')
  })

  test.each([
    ['none', undefined, ['2', '3']],
    ['an older one', '1', ['2', '3']],
    ['the present one', '2', ['3']],
    ['one that is still to come', '99', ['3']],
    ['one that is not of this server', 'abc:7', ['2', '3']],
  ])('begins after the state that the client has: %s', async (_which, seen, expected) => {
    const id = await submit()
    const client = await open(`/jobs/${id}/events`, seen === undefined ? {} : { 'last-event-id': seen })
    await untilShown(client, expected.length - 1)
    end(id)
    await until(() => client.closed)
    expect(client.events.map((event) => event.id)).toEqual(expected)
  })

  test('sends the state of a finished job once: with its revision the answer is 204', async () => {
    const id = await finished()
    const client = await open(`/jobs/${id}/events`)
    await until(() => client.closed)
    expect(shown(client)).toEqual([['3', 'succeeded']])
    const get = (seen: string) =>
      app.app.inject({ method: 'GET', url: `/jobs/${id}/events`, headers: { 'last-event-id': seen } })
    const again = await get('3')
    expect(again).toMatchObject({ statusCode: 204, body: '', headers: { 'cache-control': 'no-store' } })
    expect((await get('2')).body).toContain('event: status')
  })

  test('misses no final state that comes while the job is being read', async () => {
    const id = await submit()
    const slow = Promise.withResolvers<undefined>()
    const { get } = app.service
    let asked = false
    vi.spyOn(app.service, 'get').mockImplementationOnce(async (...args) => {
      const job = await get(...args)
      asked = true
      await slow.promise
      return job
    })
    const opening = open(`/jobs/${id}/events`)
    await until(() => asked)
    end(id)
    await app.untilStatus(id, 'succeeded')
    slow.resolve(undefined)
    const client = await opening
    await until(() => client.closed)
    expect(shown(client).at(-1)).toEqual(['3', 'succeeded'])
  })

  test('closes after the final state, though a retry follows at once', async () => {
    const id = await submit()
    const client = await open(`/jobs/${id}/events`)
    await untilShown(client, 1)
    app.backend.end(`fc-${id}-1`, { kind: 'failed', code: 'inference_failed', error: 'no face' })
    await app.untilStatus(id, 'failed')
    await app.post(`/jobs/${id}/retry`)
    await until(() => client.closed)
    expect(client.events.map(({ job }) => job.status)).toEqual(['running', 'failed'])
  })

  test('closes when the job is deleted', async () => {
    const id = await submit()
    holdIntervals()
    const client = await open(`/jobs/${id}/events`)
    await untilShown(client, 1)
    const job = (await app.store.get(id))!
    await app.store.update(after(job, succeeded()), job.revision)
    await app.store.remove(id, job.revision + 1)
    await vi.advanceTimersByTimeAsync(HEARTBEAT_MS)
    await until(() => client.closed)
    expect(client.complete).toBe(true)
    expect(client.events).toHaveLength(1)
  })

  test('sends a heartbeat every fifteen seconds, and rereads the job: a final state without a notification comes then', async () => {
    const id = await submit()
    holdIntervals()
    const client = await open(`/jobs/${id}/events`)
    await untilShown(client, 1)
    await vi.advanceTimersByTimeAsync(14_999)
    const job = (await app.store.get(id))!
    await app.store.update(after(job, succeeded()), job.revision)
    // Whatever was sent to the first client has come when the next one has its answer.
    await open('/events')
    expect(client).toMatchObject({ comments: [], closed: false })
    await vi.advanceTimersByTimeAsync(1)
    await until(() => client.closed)
    expect(shown(client).at(-1)).toEqual(['3', 'succeeded'])
  })

  test('continues its heartbeat', async () => {
    const id = await submit()
    holdIntervals()
    const client = await open(`/jobs/${id}/events`)
    for (const count of [1, 2, 3]) {
      await vi.advanceTimersByTimeAsync(HEARTBEAT_MS)
      await until(() => client.comments.length === count)
    }
    expect(client).toMatchObject({ comments: [': heartbeat', ': heartbeat', ': heartbeat'], closed: false })
  })

  test('lasts longer than the body timeout', async () => {
    await restart({ http: { headersTimeoutMs: 150, requestTimeoutMs: 300 } })
    const id = await submit()
    const client = await open(`/jobs/${id}/events`)
    const unfinished = connect(await portOf(), '127.0.0.1')
    unfinished.write('GET / HTTP/1.1\r\n')
    await once(unfinished.resume(), 'end')
    expect(client.closed).toBe(false)
    end(id)
    await until(() => client.closed)
    expect(client.complete).toBe(true)
    expect(ofEvent(LEFT)).toEqual([])
  })

  test('is released when the client leaves, and the job continues', async () => {
    const id = await submit()
    const { subscribe } = app.subscriptions
    const left = vi.fn()
    vi.spyOn(app.subscriptions, 'subscribe').mockImplementation((...args) => {
      const stop = subscribe(...args)
      return () => {
        left()
        stop()
      }
    })
    const client = await open(`/jobs/${id}/events`)
    await untilShown(client, 1)
    expect(left).not.toHaveBeenCalled()
    client.response.destroy()
    await until(() => left.mock.calls.length === 1)
    await until(() => ofEvent(LEFT).length === 1)
    end(id)
    await app.untilStatus(id, 'succeeded')
    expect(app.requestLines.filter(({ level }) => level !== 'info')).toEqual([])
  })

  test.each([
    ['its client leaves', (client: EventClient) => void client.response.destroy()],
    ['the job ends', (_client: EventClient, id: string) => end(id)],
  ])('leaves no timer behind when %s', async (_what, part) => {
    const id = await submit()
    holdIntervals()
    const client = await open(`/jobs/${id}/events`)
    await untilShown(client, 1)
    expect(vi.getTimerCount()).toBe(2)
    part(client, id)
    await until(() => vi.getTimerCount() === 0, 'the end of the heartbeat and of the looks')
  })

  test('is released when the client leaves before it starts', async () => {
    const id = await submit()
    const slow = Promise.withResolvers<undefined>()
    const { get } = app.service
    const opened = vi.spyOn(app.service, 'get').mockImplementationOnce(async (...args) => {
      await slow.promise
      return get(...args)
    })
    const socket = await dialAndNotRead(`/jobs/${id}/events`)
    await until(() => opened.mock.calls.length === 1)
    socket.destroy()
    await until(async () => (await connections()) === 0)
    slow.resolve(undefined)
    await until(() => ofEvent(LEFT).length === 1)
    expect(app.requestLines.filter(({ level }) => level !== 'info')).toEqual([])
  })

  test.each([
    ['text/html', 406],
    ['application/json, text/event-stream;q=0', 406],
    ['*/*', 200],
    ['text/html, text/*;q=0.1', 200],
  ])('for a client that accepts %s it is %i', async (accept, status) => {
    const id = await finished()
    const response = await app.app.inject({ method: 'GET', url: `/jobs/${id}/events`, headers: { accept } })
    expect(response.statusCode).toBe(status)
    if (status === 406) expect(problemOf(response)).toMatchObject({ code: 'not_acceptable' })
  })

  test('is a problem for an unknown job and for a query', async () => {
    expect(problemOf(await app.get('/jobs/x/events'))).toMatchObject({ status: 404, code: 'job_not_found' })
    expect(problemOf(await app.get(`/jobs/${await submit()}/events?wait=5`))).toMatchObject({ paths: ['/wait'] })
    expect(problemOf(await app.get('/events?status=failed'))).toMatchObject({ status: 400, paths: ['/status'] })
  })

  test.each(['/jobs/:id/events', '/events'])('HEAD %s answers with the head of GET, and closes', async (path) => {
    const url = path.replace(':id', await submit())
    const { headers, statusCode, body } = await app.app.inject({ method: 'HEAD', url })
    expect(statusCode).toBe(200)
    expect(body).toBe('')
    expect(headers['content-type']).toBe('text/event-stream')
  })
})

const connections = () =>
  new Promise<number>((resolve) => app.app.server.getConnections((_error, count) => resolve(count)))

test('an EventSource sees every state once, also across a lost connection, and stops after the final state', async () => {
  const id = await submit()
  const port = await portOf()
  const asked: (string | undefined)[] = []
  app.app.server.on('request', ({ headers }) => asked.push(headers['last-event-id'] as string | undefined))
  const source = new EventSource(`http://127.0.0.1:${port}/jobs/${id}/events`)
  onTestFinished(() => source.close())
  const seen: string[] = []
  source.addEventListener('status', ({ lastEventId, data }) => {
    seen.push(`${lastEventId} ${(JSON.parse(data as string) as JobView).status}`)
  })
  await until(() => seen.length === 1)
  // The pauses between its connections.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const pass = () => void vi.advanceTimersByTime(1_000)
  app.app.server.closeAllConnections()
  await until(() => (pass(), asked.length === 2))
  end(id)
  await until(() => (pass(), source.readyState === EventSource.CLOSED))
  expect(seen).toEqual(['2 running', '3 succeeded'])
  expect(asked).toEqual([undefined, '2', '3'])
})

describe('GET /events', () => {
  test('sends the changes of all jobs from now on', async () => {
    await submit()
    const client = await open('/events', { 'last-event-id': 'x:1' })
    const id = await submit({}, { ...aBody, metadata: { text: 'a\nb: ü' } })
    end(id)
    await untilShown(client, 3)
    expect(shown(client)).toEqual([
      [`${id}:1`, 'submitted'],
      [`${id}:2`, 'running'],
      [`${id}:3`, 'succeeded'],
    ])
    expect(client.events[2]?.job).toEqual((await app.get(`/jobs/${id}`)).json())
    expect(client.closed).toBe(false)
  })

  test('shows callers their own jobs, and an administrator all with their callers', async () => {
    await restart({ authenticator: knownCallers })
    const [alice, bob, root] = [
      await open('/events', as('alice')),
      await open('/events', as('bob')),
      await open('/events', as('root')),
    ]
    const [hers, his] = [await submit(as('alice')), await submit(as('bob'))]
    await untilShown(root, 4)
    await Promise.all([untilShown(alice, 2), untilShown(bob, 2)])
    expect(new Set(alice.events.map(({ job }) => job.job_id))).toEqual(new Set([hers]))
    expect(new Set(bob.events.map(({ job }) => job.job_id))).toEqual(new Set([his]))
    expect(new Set(root.events.map(({ job }) => job.caller))).toEqual(new Set(['key:alice', 'key:bob']))
    expect(alice.events[0]?.job).not.toHaveProperty('caller')
  })

  test('closes when changes may have been missed, so that its client lists the jobs again', async () => {
    const { subscribeAll } = app.subscriptions
    const missed: (() => void)[] = []
    vi.spyOn(app.subscriptions, 'subscribeAll').mockImplementation((caller, observer) => {
      missed.push(observer.onGap)
      return subscribeAll(caller, observer)
    })
    const client = await open('/events')
    const id = await submit()
    await untilShown(client, 2)
    expect(client.closed).toBe(false)
    missed[0]?.()
    await until(() => client.closed)
    expect(client.complete).toBe(true)
    expect(shown(client).at(-1)).toEqual([`${id}:2`, 'running'])
  })
})

test('a state of a job is rendered once for all streams that see the same of it', async () => {
  await restart({ authenticator: knownCallers })
  const id = await submit(as('alice'))
  await portOf()
  const clients = await Promise.all(
    ['alice', 'root'].flatMap((who) => Array.from({ length: 10 }, () => open('/events', as(who)))),
  )
  const rendered = vi.spyOn(app.links, 'outputUrl')
  end(id)
  await Promise.all(clients.map((client) => untilShown(client, 1)))
  expect(shown(clients[0]!)).toEqual([[`${id}:3`, 'succeeded']])
  // What administrators see differs.
  expect(rendered).toHaveBeenCalledTimes(2)
})

describe('a client that reads nothing', () => {
  const large = { metadata: Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`key-${n}`, 'x'.repeat(512)])) }
  const publish = async (count: number) => {
    for (let n = 0; n < count; n++) {
      app.changes.publish(aJob(large))
      if (n % 100 === 0) await sleep(0)
    }
  }

  test('is dropped once too much waits for it, and another continues', async () => {
    const { subscribeAll } = app.subscriptions
    const begun = vi.spyOn(app.subscriptions, 'subscribeAll').mockImplementation(subscribeAll)
    const deaf = await dialAndNotRead('/events')
    await until(() => begun.mock.calls.length === 1)
    const closed = new Promise((resolve) => deaf.on('error', () => undefined).on('close', resolve))
    const good = await open('/events')
    let published = 0
    while (ofEvent('event_stream_dropped').length === 0 && published < 10 * MAX_WAITING) {
      await publish(1_000)
      published += 1_000
      await untilShown(good, published)
    }
    expect(ofEvent('event_stream_dropped')).toHaveLength(1)
    deaf.resume()
    await closed
    expect(ofEvent(LEFT)).toEqual([])
    await publish(1)
    await untilShown(good, published + 1)
    expect(good.closed).toBe(false)
  })

  test('is dropped when it has read nothing between two heartbeats, however little waits', async () => {
    holdIntervals()
    const { subscribeAll } = app.subscriptions
    const begun = vi.spyOn(app.subscriptions, 'subscribeAll').mockImplementation(subscribeAll)
    await dialAndNotRead('/events')
    await until(() => begun.mock.calls.length === 1)
    const good = await open('/events')
    await publish(1_000)
    await untilShown(good, 1_000)
    await vi.advanceTimersByTimeAsync(HEARTBEAT_MS)
    expect(ofEvent('event_stream_dropped')).toEqual([])
    await vi.advanceTimersByTimeAsync(HEARTBEAT_MS)
    expect(ofEvent('event_stream_dropped')).toMatchObject([{ level: 'info', waiting: expect.any(Number) }])
    await until(() => good.comments.length === 2)
    expect(good.closed).toBe(false)
  })

  test('gets only the latest state of a job', async () => {
    const { subscribeAll } = app.subscriptions
    const begun = vi.spyOn(app.subscriptions, 'subscribeAll').mockImplementation(subscribeAll)
    const client = await open('/events')
    await until(() => begun.mock.calls.length === 1)
    client.response.pause()
    await publish(2_000)
    const job = aJob()
    const [running, ended] = [after(job, spawned()), after(job, spawned(), succeeded())]
    for (const state of [job, running, ended]) app.changes.publish(state)
    client.response.resume()
    await until(() => client.events.some((event) => event.id === `${job.id}:3`))
    expect(client.events.filter((event) => event.job.job_id === job.id)).toHaveLength(1)
  })
})

describe('the number of streams', () => {
  test('of one caller is limited by the setting; a stream that closes makes room', async () => {
    await restart({ authenticator: knownCallers, http: { maxStreamsPerCaller: 2 } })
    const id = await submit(as('alice'))
    const first = await open(`/jobs/${id}/events`, as('alice'))
    await open('/events', as('alice'))
    const ask = () => app.app.inject({ method: 'GET', url: `/jobs/${id}/events`, headers: as('alice') })
    const refused = await ask()
    expect(problemOf(refused)).toMatchObject({ status: 429, code: 'stream_limit_reached' })
    expect(refused.headers['retry-after']).toBe('10')
    expect((await open('/events', as('bob'))).response.statusCode).toBe(200)
    first.response.destroy()
    await until(() => ofEvent(LEFT).length === 1)
    expect(ofEvent(LEFT)).toMatchObject([{ caller: 'key:alice', req: { url: `/jobs/${id}/events` }, job_id: id }])
    expect((await open('/events', as('alice'))).response.statusCode).toBe(200)
    expect((await open('/events', as('alice'))).response.statusCode).toBe(429)
  })

  test('of one caller is 200 by default', () => expect(shippedHttp.maxStreamsPerCaller).toBe(200))

  test('is limited by the rate limit as well: each counts as a request', async () => {
    await restart({ http: { limits: { read: 20, submit: 0 } } })
    await portOf()
    const answers = await Promise.all(Array.from({ length: 21 }, () => open('/events')))
    expect(answers.filter(({ response }) => response.statusCode === 200)).toHaveLength(20)
    expect(answers.filter(({ response }) => response.statusCode === 429)).toHaveLength(1)
  })
})

test('an event that cannot be rendered closes its stream, and is logged', async () => {
  const client = await open('/events')
  vi.spyOn(app.service, 'queuePosition').mockRejectedValueOnce(new Error('the queue is unavailable'))
  app.changes.publish(aJob())
  await until(() => client.closed)
  expect(client.complete).toBe(false)
  expect(logged('event_stream_failed')).toMatchObject([{ level: 'warn' }])
  expect(ofEvent(LEFT)).toEqual([])
})

describe('a shutdown', () => {
  test('closes all streams completely, and is not delayed by them or by a client that reads nothing', async () => {
    // No heartbeat drops the client that reads nothing: only the shutdown can end it before the test's timeout.
    holdIntervals()
    const id = await submit()
    const clients = [await open(`/jobs/${id}/events`), await open('/events')]
    const { subscribeAll } = app.subscriptions
    const begun = vi.spyOn(app.subscriptions, 'subscribeAll').mockImplementation(subscribeAll)
    await dialAndNotRead('/events')
    await until(() => begun.mock.calls.length === 1)
    for (let n = 0; n < 2_000; n++) {
      app.changes.publish(aJob({ metadata: { text: 'x'.repeat(8_000) } }))
      if (n % 100 === 0) await sleep(0)
    }
    await untilShown(clients[1]!, 2_000)
    await app.app.close()
    for (const client of clients) {
      await until(() => client.closed)
      expect(client.complete).toBe(true)
    }
    expect(ofEvent(LEFT)).toEqual([])
    expect(app.requestLines.filter(({ event, req }) => event === 'request' && isOfEvents(req))).toHaveLength(2)
  })

  test('also closes a stream that is about to start', async () => {
    const id = await submit()
    const slow = Promise.withResolvers<undefined>()
    const { get } = app.service
    const asked = vi.spyOn(app.service, 'get').mockImplementationOnce(async (...args) => {
      await slow.promise
      return get(...args)
    })
    const opening = open(`/jobs/${id}/events`)
    await until(() => asked.mock.calls.length === 1)
    const closing = app.app.close()
    await until(() => !app.app.server.listening)
    slow.resolve(undefined)
    await closing
    const client = await opening
    await until(() => client.closed)
    expect(client.complete).toBe(true)
  })
})
