import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { LOOK_MS, MAX_FOLLOWED, PUBLISH_MS } from '../../src/jobs/progress-follower.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { aBody, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { openChanges } from '../helpers/event-client.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { aJob, after, spawned } from '../helpers/jobs.ts'
import { listenOnOneSocket } from '../helpers/listen.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
let logs: ReturnType<typeof holdLogs>
beforeEach(async () => {
  await start()
})
afterEach(async () => {
  vi.useRealTimers()
  await app.close()
})

async function start(options?: Parameters<typeof startApp>[0]) {
  app = await startApp(options)
  logs = holdLogs()
}
const restart = async (options: Parameters<typeof startApp>[0]) => {
  await app.close()
  await start(options)
}

/** Logs in the test's hand: `opened` has the call of each reader so far, `open` the readers that are not closed. */
function holdLogs() {
  type Reader = { readonly callId: string; next: PromiseWithResolvers<string> }
  const [opened, open] = [[] as string[], new Set<Reader>()]
  app.backend.logsWith = async function* ({ callId }, signal) {
    opened.push(callId)
    const reader: Reader = { callId, next: Promise.withResolvers() }
    open.add(reader)
    signal.addEventListener('abort', () => reader.next.reject(signal.reason as Error))
    try {
      for (;;) {
        const text = await reader.next.promise
        reader.next = Promise.withResolvers()
        yield text
      }
    } finally {
      open.delete(reader)
    }
  }
  const settle = (settleNext: (reader: Reader) => void) => async (callId: string) => {
    await until(() => [...open].some((reader) => reader.callId === callId), `a reader of ${callId}`)
    for (const reader of open) if (reader.callId === callId) settleNext(reader)
    // The text arrives.
    for (let turns = 0; turns < 5; turns++) await new Promise(setImmediate)
  }
  return {
    opened,
    open,
    print: (callId: string, text: string) => settle(({ next }) => next.resolve(text))(callId),
    fail: settle(({ next }) => next.reject(new Error('the stream broke'))),
  }
}

const aBar = (done: number) => `\rlips: ${done}%|##   | ${done}/100 [00:10<00:10,  1.00it/s]`
const aReport = (done: number) => ({ step: 'lips', done, total: 100, percent: done })
const callOf = (id: string) => `fc-${id}-1`

async function submit(headers: Record<string, string> = {}): Promise<string> {
  const { job_id: id } = (await app.post('/jobs', aBody, headers)).json<JobView>()
  await app.untilStatus(id, 'running')
  return id
}

/** Takes the place of the clock by which progress is published, looked at and read again. */
const holdClock = () => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)
const read = async (id: string) => (await app.get(`/jobs/${id}`)).json<JobView>()
const untilNoReader = () => until(() => logs.open.size === 0, 'the end of the readers')
const open = async (path: string, headers?: Record<string, string>) =>
  openChanges(`http://127.0.0.1:${(await listenOnOneSocket(app.app)).port}${path}`, headers)

/** A job that a client looks at and whose call has printed a bar. */
async function looked(done = 42) {
  const id = await submit()
  holdClock()
  await read(id)
  await logs.print(callOf(id), aBar(done))
  await pass(PUBLISH_MS)
  return id
}

describe('the progress of a running job', () => {
  test('is on the job from the second look on, with the time at which it was read, and in lists', async () => {
    const id = await submit()
    holdClock()
    expect(await read(id)).not.toHaveProperty('progress')
    app.clock.now = Date.parse('2026-01-31T12:00:00Z')
    await logs.print(callOf(id), aBar(42))
    expect(await read(id)).not.toHaveProperty('progress')
    await pass(PUBLISH_MS)
    const progress = { ...aReport(42), at: '2026-01-31T12:00:00.000Z' }
    expect(await read(id)).toMatchObject({ status: 'running', revision: 2, progress })
    expect((await app.get('/jobs')).json()).toMatchObject({ jobs: [{ job_id: id, progress }] })
  })

  test('is published at most once a second, the newest', async () => {
    const id = await looked(1)
    for (const done of [2, 3, 4]) await logs.print(callOf(id), aBar(done))
    expect(await read(id)).toMatchObject({ progress: aReport(1) })
    await pass(PUBLISH_MS)
    expect(await read(id)).toMatchObject({ progress: aReport(4) })
  })

  test('has another entity tag than the progress before, and the same while nothing is new', async () => {
    const id = await looked()
    const { etag } = (await app.get(`/jobs/${id}`)).headers
    const again = async () =>
      (await app.app.inject({ method: 'GET', url: `/jobs/${id}`, headers: { 'if-none-match': String(etag) } }))
        .statusCode
    app.clock.now += 5_000
    await logs.print(callOf(id), aBar(42))
    await pass(PUBLISH_MS)
    expect(await again()).toBe(304)
    await logs.print(callOf(id), aBar(43))
    await pass(PUBLISH_MS)
    expect(await again()).toBe(200)
  })

  test('is gone when the job has finished, and its reader is closed', async () => {
    const id = await looked()
    app.backend.end(callOf(id), aSuccess)
    await app.untilStatus(id, 'succeeded')
    await untilNoReader()
    expect(await read(id)).not.toHaveProperty('progress')
    expect(logs.opened).toHaveLength(1)
  })

  test('starts over with the next attempt', async () => {
    const id = await looked()
    app.backend.end(callOf(id), { kind: 'interrupted', error: 'preempted' })
    await until(() => app.backend.waiting.has(`fc-${id}-2`))
    expect(await read(id)).not.toHaveProperty('progress')
    await logs.print(`fc-${id}-2`, aBar(7))
    await pass(PUBLISH_MS)
    expect(await read(id)).toMatchObject({ progress: aReport(7) })
    expect([...logs.open].map(({ callId }) => callId)).toEqual([`fc-${id}-2`])
  })

  test('is not read before the run has started, nor from another backend', async () => {
    const id = await submit()
    for (const stage of ['queued', 'starting'] as const) {
      app.backend.changeStage(callOf(id), stage)
      await read(id)
    }
    const foreign = { ...after(aJob({ caller: 'anonymous' }), spawned()), backend: 'local' as const }
    await app.store.insert(foreign, {})
    await read(foreign.id)
    expect(logs.opened).toEqual([])
    app.backend.changeStage(callOf(id), 'running')
    await read(id)
    expect(logs.opened).toEqual([callOf(id)])
  })
})

describe('a job is followed', () => {
  test('for 30 s after each look at it', async () => {
    const id = await looked()
    await pass(LOOK_MS - PUBLISH_MS - 1)
    await read(id)
    await pass(LOOK_MS - 1)
    expect(logs.open.size).toBe(1)
    await pass(1)
    await untilNoReader()
    expect(await read(id)).not.toHaveProperty('progress')
    expect(logs.opened).toHaveLength(2)
  })

  test('by one reader for all who look', async () => {
    const id = await submit()
    holdClock()
    const clients = [await open(`/jobs/${id}/events`)]
    for (let n = 0; n < 19; n++) clients.push(await open(`/jobs/${id}/events`))
    const polls = Array.from({ length: 20 }, () => app.get(`/jobs/${id}?wait=60`))
    await read(id)
    await logs.print(callOf(id), aBar(42))
    await pass(PUBLISH_MS + 1)
    await until(() => clients.every(({ progresses }) => progresses.length === 1), 'the progress')
    expect(logs.opened).toEqual([callOf(id)])
    app.backend.end(callOf(id), aSuccess)
    await Promise.all(polls)
    await untilNoReader()
  })

  test('while a long poll waits, and 30 s longer', async () => {
    const id = await submit()
    holdClock()
    const poll = app.get(`/jobs/${id}?wait=60`)
    await logs.print(callOf(id), aBar(42))
    await pass(59_999)
    expect(logs.open.size).toBe(1)
    await pass(1)
    expect((await poll).json()).toMatchObject({ status: 'running', progress: aReport(42) })
    await pass(LOOK_MS - 1)
    expect(logs.open.size).toBe(1)
    await pass(1)
    await untilNoReader()
  })

  test('from the start of its run, by a client that has waited for it', async () => {
    await restart({ maxConcurrentJobs: 1 })
    const before = await submit()
    const { job_id: id } = (await app.post('/jobs', aBody)).json<JobView>()
    const client = await open(`/jobs/${id}/events`)
    await until(() => client.events.length === 1)
    expect(logs.opened).toEqual([])
    holdClock()
    app.backend.end(callOf(before), aSuccess)
    await logs.print(callOf(id), aBar(5))
    await pass(PUBLISH_MS + 1)
    await until(() => client.progresses.length === 1, 'the progress')
    expect(client.progresses).toMatchObject([{ job_id: id, progress: aReport(5) }])
  })

  test('not by lists, by the stream of all jobs, or by nobody: 2,000 jobs have no reader', async () => {
    const stream = await open('/events')
    for (let n = 0; n < 2_000; n++) await app.submit()
    await until(() => app.backend.waiting.size === 2_000 && stream.events.length >= 2_000, 'all runs')
    for (const callId of app.backend.waiting) app.backend.changeStage(callId, 'running')
    await app.get('/jobs?limit=200')
    await until(() => stream.stages.length > 0, 'a stage')
    expect(logs.opened).toEqual([])
  })
})

describe('beyond the number of readers', () => {
  test('a job has no progress, and its answers are as ever; a client that waits gets it later', async () => {
    holdClock()
    await restart({ authenticator: knownCallers })
    const followed = await Promise.all([...Array(MAX_FOLLOWED / 2 + 5)].map(() => submit(as('alice'))))
    const get = (id: string, who: string) => app.app.inject({ url: `/jobs/${id}`, headers: as(who) })
    for (const id of followed) expect((await get(id, 'alice')).statusCode).toBe(200)
    // One caller has half of them, and the others are free for another.
    expect(logs.opened).toHaveLength(MAX_FOLLOWED / 2)
    const others = await submit(as('bob'))
    await get(others, 'bob')
    expect(logs.opened).toContain(callOf(others))

    const last = followed.at(-1)!
    const client = await open(`/jobs/${last}/events`, as('alice'))
    await until(() => client.events.length === 1)
    expect(client.events[0]?.job).not.toHaveProperty('progress')
    expect(logs.opened).not.toContain(callOf(last))
    for (const id of followed.slice(0, 5)) app.backend.end(callOf(id), aSuccess)
    await app.untilStatus(followed[4]!, 'succeeded')
    // When jobs that are watched are tried again.
    await pass(10_000)
    await until(() => logs.opened.includes(callOf(last)), 'a reader')
  })
})

describe('a log that fails', () => {
  test('is read again with back-off while the job is looked at, and its progress stays', async () => {
    const id = await looked()
    const client = await open(`/jobs/${id}/events`)
    app.backend.logsWith = async function* ({ callId }) {
      logs.opened.push(callId)
      yield await Promise.reject(new Error('the log cannot be read'))
    }
    await logs.fail(callOf(id))
    await pass(60_000)
    expect(logs.opened.length).toBeGreaterThanOrEqual(5)
    expect(logs.opened.length).toBeLessThanOrEqual(9)
    expect(await read(id)).toMatchObject({ progress: aReport(42) })
    expect(client.closed).toBe(false)
  })

  test('is read from its beginning, and what it said before is passed over', async () => {
    const id = await looked(42)
    const client = await open(`/jobs/${id}/events`)
    await logs.fail(callOf(id))
    await pass(1_000)
    for (const done of [1, 20, 43]) await logs.print(callOf(id), aBar(done))
    await pass(PUBLISH_MS)
    await pass(1)
    await until(() => client.progresses.length === 2, 'the progress')
    expect(client.progresses).toMatchObject([{ progress: aReport(42) }, { progress: aReport(43) }])
  })
})

test('of 100,000 pieces of a log the last progress is known', async () => {
  const print = (n: number) => (n < 50_000 ? '# ' : n % 2 === 0 ? aBar(n % 100) : `\nframe [${n}] ${n}/${n + 3}\n`)
  app.backend.logsWith = async function* (_call, signal) {
    for (let n = 0; n < 100_000; n++) yield await Promise.resolve(print(n))
    yield aBar(77)
    await once(signal, 'abort')
  }
  const id = await submit()
  await read(id)
  await until(async () => (await read(id)).progress !== undefined, 'the progress')
  expect(await read(id)).toMatchObject({ progress: aReport(77) })
})

describe('the event `progress`', () => {
  test('has no id, and comes at most once a second, the newest', async () => {
    const id = await submit()
    holdClock()
    const client = await open(`/jobs/${id}/events`)
    for (const done of [1, 2, 3]) {
      await logs.print(callOf(id), aBar(10 * done))
      await logs.print(callOf(id), aBar(10 * done + 1))
      await pass(PUBLISH_MS)
      await pass(1)
      await until(() => client.progresses.length === done, 'a progress')
    }
    expect(client.progresses).toEqual(
      [11, 21, 31].map((done) => ({ job_id: id, progress: { ...aReport(done), at: expect.any(String) as string } })),
    )
    expect(client.events.map((event) => event.id)).toEqual(['2'])
  })

  test.each([
    ['', {}, 1],
    [', also after Last-Event-ID', { 'last-event-id': '2' }, 0],
  ])('is sent first to a client that comes later%s, like the stage', async (_how, headers, states) => {
    const id = await looked()
    app.backend.changeStage(callOf(id), 'running')
    const client = await open(`/jobs/${id}/events`, headers)
    await pass(0)
    await until(() => client.progresses.length === 1 && client.stages.length === 1, 'the hints')
    expect(client.progresses).toMatchObject([{ job_id: id, progress: aReport(42) }])
    expect(client.stages).toEqual([{ job_id: id, stage: 'running' }])
    expect(client.events).toHaveLength(states)
  })

  test('of a stage comes at most once a second, the newest', async () => {
    const id = await submit()
    holdClock()
    const client = await open(`/jobs/${id}/events`)
    const change = (...stages: ('queued' | 'starting' | 'running')[]) => {
      for (const stage of stages) app.backend.changeStage(callOf(id), stage)
    }
    change('queued')
    await pass(0)
    await until(() => client.stages.length === 1)
    change('starting', 'queued', 'running')
    await pass(999)
    expect(client.stages).toHaveLength(1)
    await pass(1)
    await until(() => client.stages.length === 2)
    expect(client.stages).toEqual([
      { job_id: id, stage: 'queued' },
      { job_id: id, stage: 'running' },
    ])
  })
})

test('a shutdown closes all readers', async () => {
  const ids = [await submit(), await submit()]
  for (const id of ids) await read(id)
  const client = await open(`/jobs/${ids[0]}/events`)
  expect(logs.open.size).toBe(2)
  await app.app.close()
  await app.progress.close()
  expect(logs.open.size).toBe(0)
  await until(() => client.closed, 'the end of the stream')
  app.progress.look(after(aJob(), spawned()))
  expect(logs.opened).toHaveLength(2)
})

test('an error of a subscriber is logged, and the others are notified', async () => {
  const job = (await app.store.get(await submit()))!
  holdClock()
  const received = vi.fn()
  const stops = [
    app.progress.watch(job, () => {
      throw new Error('a defect')
    }),
    app.progress.watch(job, received),
  ]
  await logs.print(callOf(job.id), aBar(42))
  await pass(PUBLISH_MS)
  expect(received).toHaveBeenCalledExactlyOnceWith({ ...aReport(42), at: app.clock.now })
  expect(app.lines.filter(({ event }) => event === 'subscriber_failed')).toMatchObject([{ job_id: job.id }])
  for (const stop of stops) stop()
})
