import { createServer } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { readEvents } from '../../src/client/streams.ts'
import { createClient, type ClientOptions, type Job, ProblemError } from '../../src/client/index.ts'
import { MAX_RETRY_AFTER_MS } from '../../src/client/transport.ts'
import { noOutputs } from '../helpers/core.ts'
import { aBody, type startApp, type TestApp } from '../helpers/app.ts'
import { knownCallers } from '../helpers/callers.ts'
import { connected, rejection, running, startAppOfTest } from '../helpers/client.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { listen } from '../helpers/listen.ts'
import { FACE, folderUploads, SPEECH } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

afterEach(() => void vi.useRealTimers())

/** Goes to the app without a socket, which a clock of the test's own would hold up. */
const fetchOf = (app: TestApp) =>
  vi.fn<typeof fetch>(async (url, init = {}) => {
    const { pathname, search } = new URL(url)
    const { method, headers, body } = init as { method: 'GET'; headers: Record<string, string>; body?: string }
    const answer = await app.app.inject({ method, url: pathname + search, headers, ...(body && { payload: body }) })
    return new Response(answer.body, { status: answer.statusCode, headers: answer.headers as Record<string, string> })
  })

/** A client whose server is the app, and whose pauses are over when the test says so. */
async function clocked(options?: Parameters<typeof startApp>[0]) {
  const app = await startAppOfTest(options)
  const fetch = fetchOf(app)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
  return { app, fetch, client: createClient({ baseUrl: 'http://jobs.example', fetch }) }
}

/** Waits until the second request is refused, and its client pauses. */
async function untilRefused(fetch: ReturnType<typeof fetchOf>) {
  await until(() => fetch.mock.settledResults.length === 2, 'a refusal')
  await setImmediate()
}

const end = (app: TestApp, id: string) => app.backend.end(`fc-${id}-1`, aSuccess)

describe('a submit', () => {
  test('has its own key each time, also without randomUUID, as on pages over plain http', async () => {
    vi.stubGlobal('crypto', { getRandomValues: crypto.getRandomValues.bind(crypto) })
    onTestFinished(() => void vi.unstubAllGlobals())
    const fetch = vi.fn<typeof globalThis.fetch>(async () => new Response('{}'))
    const client = createClient({ baseUrl: 'http://jobs.example', fetch })
    await client.submit(aBody)
    await client.submit(aBody)
    const keys = fetch.mock.calls.map(([, init]) => new Headers(init?.headers).get('idempotency-key'))
    expect(keys).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), expect.stringMatching(/^[0-9a-f]{32}$/)])
    expect(keys[0]).not.toBe(keys[1])
  })

  test('makes one job, however often its answer is lost', async () => {
    const { app, relay, client } = await connected()
    relay.loseAnswers(2)
    const job = await client.submit({ ...aBody, metadata: { scene: '12' } })
    const { jobs } = await client.list()
    expect(jobs.map(({ job_id: id, metadata }) => [id, metadata])).toEqual([[job.job_id, { scene: '12' }]])
    expect(app.backend.requests).toHaveLength(1)
    const keys = new Set(relay.sent.match(/^idempotency-key: .*$/gim))
    expect(keys.size).toBe(1)
    expect(relay.sent.match(/POST \/jobs HTTP/g)).toHaveLength(3)
  })

  test('of the same content twice makes two jobs, unless the caller gives one key for both', async () => {
    const { client } = await connected()
    const ids = [await client.submit(aBody), await client.submit(aBody)].map((job) => job.job_id)
    expect(new Set(ids).size).toBe(2)
    const options = { idempotencyKey: 'scene-12' }
    const again = [await client.submit(aBody, options), await client.submit(aBody, options)].map((job) => job.job_id)
    expect(new Set(again).size).toBe(1)
  })

  test('can be checked, which makes no job', async () => {
    const { client } = await connected()
    expect(await client.check({ ...aBody, version: 'v1' })).toEqual({ version: 'v1', backend: 'modal', input: aBody })
    expect((await client.list()).jobs).toEqual([])
    const wrong = { video_path: '../face.mp4', audio_path: 'speech.wav' }
    expect(await rejection(client.check(wrong))).toMatchObject({ status: 400, code: 'invalid_request' })
  })

  test('accepts files beside other fields, and sends them again after a broken connection', async () => {
    const { uploads } = await folderUploads()
    const { app, relay, client } = await connected({ uploads })
    relay.loseAnswers(1)
    const job = await client.submit({
      ...{ video: new Blob([FACE]), audio: new Blob([SPEECH]) },
      ...{ metadata: { scene: '12' }, timeout_seconds: 90, version: 'v1' },
    })
    expect(job).toMatchObject({
      ...{ version: 'v1', metadata: { scene: '12' } },
      input: { video: { size: FACE.length, type: 'video/mp4' }, audio: { size: SPEECH.length, type: 'audio/wav' } },
    })
    expect(Date.parse(job.deadline_at) - Date.parse(job.created_at)).toBe(90_000)
    expect((await app.store.list({ limit: 5 })).map(({ id }) => id)).toEqual([job.job_id])
  })

  test('may have null for an optional field, as JSON and with files', async () => {
    const { uploads } = await folderUploads()
    const { client } = await connected({ uploads })
    const nothing = { image_url: null, version: null, metadata: null, timeout_seconds: null }
    expect(await client.submit({ ...aBody, ...nothing })).toMatchObject({ input: aBody, version: 'v15' })
    const { input } = await client.submit({ ...nothing, video: new Blob([FACE]), audio_path: 'speech.wav' })
    expect(Object.keys(input)).toEqual(['audio_path', 'video'])
  })

  test('that is invalid rejects at once with the problem and its fields', async () => {
    const { relay, client } = await connected()
    const error = await rejection(client.submit({ video_path: 'face.mp4', image_url: 'https://a.example/b.jpg' }))
    expect(error).toBeInstanceOf(ProblemError)
    expect(error).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(error?.errors.map(({ path }) => path)).toContain('/audio_url')
    expect(error?.message).toContain('audio_url')
    expect(relay.sent.match(/POST \/jobs HTTP/g)).toHaveLength(1)
  })
})

describe('a failed request', () => {
  test('is sent again after Retry-After, and not before', async () => {
    const { fetch, client } = await clocked({ http: { limits: { submit: 1, read: 0 } } })
    await client.submit(aBody)
    const second = client.submit(aBody)
    await untilRefused(fetch)
    await vi.advanceTimersByTimeAsync(59_000)
    expect(fetch).toHaveBeenCalledTimes(2)
    await vi.advanceTimersByTimeAsync(2_000)
    expect((await second).status).toBe('submitted')
    expect(fetch).toHaveBeenCalledTimes(3)
  })

  test('rejects after the last retry, with the server’s problem', async () => {
    const { fetch, client } = await clocked({ maxConcurrentJobs: 1, maxQueuedJobs: 1 })
    await client.submit(aBody)
    await client.submit(aBody)
    fetch.mockClear()
    const refused = rejection(client.submit(aBody))
    await until(async () => {
      await vi.advanceTimersByTimeAsync(31_000)
      return fetch.mock.calls.length === 6
    }, 'six tries')
    expect(await refused).toMatchObject({ status: 503, code: 'queue_full', retryAfterMs: 30_000 })
  })

  test('rejects at once when Retry-After is longer than the client waits', async () => {
    const seconds = String(MAX_RETRY_AFTER_MS / 1000 + 1)
    const fetch = vi.fn<typeof globalThis.fetch>(async () => {
      return new Response('busy', { status: 503, headers: { 'retry-after': seconds } })
    })
    const client = createClient({ baseUrl: 'http://jobs.example', fetch })
    const error = await rejection(client.get('x'))
    expect(error).toMatchObject({ status: 503, code: undefined, errors: [], retryAfterMs: MAX_RETRY_AFTER_MS + 1000 })
    expect(fetch).toHaveBeenCalledTimes(1)
  })

  test('is sent again after a Retry-After date, and after a proxy’s 502 without one', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_000_000 })
    const answers = [
      new Response('busy', { status: 429, headers: { 'retry-after': new Date(1_020_000).toUTCString() } }),
      new Response('<html>', { status: 502 }),
      new Response('{"status":"running"}'),
    ]
    const fetch = vi.fn<typeof globalThis.fetch>(async () => answers.shift()!)
    const job = createClient({ baseUrl: 'http://jobs.example', fetch }).get('x')
    await vi.advanceTimersByTimeAsync(19_999)
    expect(answers).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(2_000)
    expect((await job).status).toBe('running')
  })

  test('is not sent again if it could take effect twice', async () => {
    const { app, relay, client } = await connected()
    const id = await running({ app, client })
    await client.cancel(id)
    relay.loseAnswers(1)
    await expect(client.retry(id)).rejects.toThrow(TypeError)
    expect((await client.get(id)).attempts).toHaveLength(2)
    expect(relay.sent.match(/POST \S*\/retry HTTP/g)).toHaveLength(1)
  })

  test.each([
    { status: 503, code: 'store_unavailable', sent: 1 },
    { status: 503, code: undefined, sent: 1 },
    { status: 503, code: 'server_ending', sent: 2 },
    { status: 429, code: 'rate_limited', sent: 2 },
  ])('a retry is sent again only where the server has not begun it: $status $code', async ({ status, code, sent }) => {
    const type = code === undefined ? 'text/html' : 'application/problem+json'
    const refusal = JSON.stringify({ status, code, detail: 'no' })
    const answers = [new Response(refusal, { status, headers: { 'content-type': type, 'retry-after': '0' } })]
    const fetch = vi.fn<typeof globalThis.fetch>(async () => answers.shift() ?? new Response('{}'))
    await createClient({ baseUrl: 'http://jobs.example', fetch })
      .retry('x')
      .catch(() => undefined)
    expect(fetch).toHaveBeenCalledTimes(sent)
  })

  test('is a problem with its status when the document is cut off', async () => {
    const cutOff = () =>
      new Response('{"status":', { status: 404, headers: { 'content-type': 'application/problem+json' } })
    const client = createClient({ baseUrl: 'http://jobs.example', fetch: async () => cutOff() })
    expect(await rejection(client.get('x'))).toMatchObject({ name: 'ProblemError', status: 404, code: undefined })
  })

  test('rejects with the error of fetch when no server listens', async () => {
    const client = createClient({ baseUrl: 'http://127.0.0.1:1', retries: 1 })
    await expect(client.get('x')).rejects.toThrow('fetch failed')
  })

  test('is not sent again once its signal aborts, also during a pause', async () => {
    const { fetch, client } = await clocked({ http: { limits: { submit: 0, read: 1 } } })
    await client.list()
    const caller = new AbortController()
    const second = rejection(client.list({}, { signal: caller.signal }))
    await untilRefused(fetch)
    const timers = vi.getTimerCount()
    caller.abort(new Error('enough'))
    expect((await second)?.message).toBe('enough')
    expect(vi.getTimerCount()).toBe(timers - 1)
    expect(fetch).toHaveBeenCalledTimes(2)
  })

  test('includes a request without an answer', async () => {
    const answers = [() => new Promise<Response>(() => undefined), async () => new Response('{"jobs":[]}')]
    const fetch = vi.fn<typeof globalThis.fetch>(async (_url, init) => {
      const aborted = new Promise<never>((_resolve, reject) => {
        init?.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error))
      })
      return Promise.race([answers.shift()!(), aborted])
    })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const page = createClient({ baseUrl: 'http://jobs.example', fetch }).list()
    await vi.advanceTimersByTimeAsync(32_000)
    expect(await page).toEqual({ jobs: [] })
  })
})

describe('a wait', () => {
  test('resolves with the finished job, across broken connections', async () => {
    const { app, relay, client } = await connected()
    const id = await running({ app, client })
    const ended = client.wait(id)
    await until(() => relay.sent.includes(`GET /jobs/${id}?wait=`), 'a wait')
    relay.cut()
    await until(() => (relay.sent.match(/\?wait=/g) ?? []).length === 2, 'another')
    end(app, id)
    expect((await ended).status).toBe('succeeded')
  })

  test('resolves with a failed job as well', async () => {
    const { app, client } = await connected()
    const id = await running({ app, client })
    app.backend.end(`fc-${id}-1`, { kind: 'failed', code: 'inference_failed', error: 'no face' })
    expect(await client.wait(id)).toMatchObject({ status: 'failed', error: 'no face' })
    expect(await rejection(client.download(id))).toMatchObject({ status: 409, code: 'job_failed' })
  })

  test('polls with growing pauses while the server answers an unfinished job at once', async () => {
    const asked = vi.fn()
    const fetch: typeof globalThis.fetch = async () => {
      asked()
      // Without pauses it would never end.
      return asked.mock.calls.length > 100
        ? new Response('', { status: 404 })
        : new Response(JSON.stringify({ status }))
    }
    let status = 'running'
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
    const ended = createClient({ baseUrl: 'http://jobs.example', fetch }).wait('a')
    await vi.advanceTimersByTimeAsync(499)
    expect(asked).toHaveBeenCalledTimes(1)
    // Pauses of 0.5 to 1 s, 1 to 2 s, 2 to 4 s, then 4 to 8 s.
    await vi.advanceTimersByTimeAsync(60_000)
    expect(asked.mock.calls.length).toBeGreaterThanOrEqual(10)
    expect(asked.mock.calls.length).toBeLessThanOrEqual(19)
    status = 'succeeded'
    await vi.advanceTimersByTimeAsync(8_000)
    expect(await ended).toEqual({ status: 'succeeded' })
  })

  test('polls again at once after a long poll of full length', async () => {
    let polls = 0
    const fetch = async () => {
      await new Promise((resolve) => setTimeout(resolve, 30_000))
      return new Response(JSON.stringify({ status: ++polls < 3 ? 'running' : 'succeeded' }))
    }
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
    const ended = createClient({ baseUrl: 'http://jobs.example', fetch }).wait('a')
    await vi.advanceTimersByTimeAsync(90_000)
    expect(await ended).toEqual({ status: 'succeeded' })
  })

  test('rejects when its signal aborts, and does not cancel the job', async () => {
    const { app, client } = await connected()
    const id = await running({ app, client })
    await expect(client.wait(id, { signal: AbortSignal.timeout(50) })).rejects.toThrow(
      expect.objectContaining({ name: 'TimeoutError' }),
    )
    expect((await client.get(id)).status).toBe('running')
  })
})

describe('events', () => {
  const statuses = async (jobs: AsyncIterable<Job>, seen: string[] = []) => {
    for await (const job of jobs) seen.push(`${job.revision} ${job.status}`)
    return seen
  }

  test('arrive as the job changes, and end when it finishes', async () => {
    const { app, client } = await connected()
    const id = await running({ app, client })
    const seen: string[] = []
    const all = statuses(client.events(id), seen)
    await until(() => seen.length === 1, 'the present state')
    end(app, id)
    expect(await all).toEqual(['2 running', '3 succeeded'])
  })

  test('continue after a broken connection with later changes only', async () => {
    const { app, relay, client } = await connected()
    const id = await running({ app, client })
    const seen: string[] = []
    const all = statuses(client.events(id), seen)
    await until(() => seen.length === 1, 'the present state')
    relay.cut()
    await until(() => /^last-event-id: 2\r$/im.test(relay.sent), 'another connection')
    end(app, id)
    expect(await all).toEqual(['2 running', '3 succeeded'])
  })

  test('include the final state also when it was lost with the connection', async () => {
    const { app, client, relay } = await connected()
    const id = await running({ app, client })
    const events = client.events(id)
    await events.next()
    relay.loseAnswers(1)
    end(app, id)
    expect((await events.next()).value).toMatchObject({ status: 'succeeded' })
    expect(await events.next()).toEqual({ done: true, value: undefined })
  })

  test('leave the connection when their reader stops', async () => {
    const { app, client } = await connected()
    const id = await running({ app, client })
    for await (const { status } of client.events(id)) {
      expect(status).toBe('running')
      break
    }
    await until(
      () => app.requestLines.some(({ event }) => event === 'event_stream_closed_by_client'),
      'a stream that was left',
    )
  })

  test('reject when their signal aborts', async () => {
    const { app, client } = await connected()
    const id = await running({ app, client })
    const caller = new AbortController()
    const events = client.events(id, { signal: caller.signal })
    await events.next()
    const next = rejection(events.next())
    caller.abort(new Error('enough'))
    expect((await next)?.message).toBe('enough')
  })

  test('of an unknown job reject with the problem, and those of a server that keeps disconnecting with an error', async () => {
    const { client } = await connected()
    expect(await rejection(client.events(crypto.randomUUID()).next())).toMatchObject({ code: 'job_not_found' })
    const fetch = vi.fn<typeof globalThis.fetch>(async () => new Response(': heartbeat\n\n'))
    const broken = createClient({ baseUrl: 'http://jobs.example', fetch, retries: 2 })
    expect((await rejection(broken.events('x').next()))?.message).toContain('the stream of events ended')
    expect(fetch).toHaveBeenCalledTimes(3)
  })

  test('continue as long as the job takes: a connection that worked resets the count of failures', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
    let connections = 0
    const held = async () => {
      vi.setSystemTime(Date.now() + 3_600_000)
      connections++
      const status = connections === 6 ? 'succeeded' : 'running'
      return Buffer.from(`id: ${connections}\nevent: status\ndata: {"status":"${status}"}\n\n`)
    }
    const fetch = vi.fn<typeof globalThis.fetch>(
      async () =>
        new Response(
          new ReadableStream({
            // After the head has been seen.
            async pull(stream) {
              await setImmediate()
              stream.enqueue(await held())
              stream.close()
            },
          }),
        ),
    )
    const seen: string[] = []
    const follow = async () => {
      const client = createClient({ baseUrl: 'http://jobs.example', fetch, retries: 1 })
      for await (const { status } of client.events('x')) seen.push(status)
    }
    const followed = follow()
    for (let n = 0; n < 10; n++) await vi.advanceTimersByTimeAsync(1_000)
    await followed
    expect(seen).toEqual([...Array.from({ length: 5 }, () => 'running'), 'succeeded'])
  })

  test('report the stage and the progress of the job in between', async () => {
    const { app, client } = await connected()
    const id = await running({ app, client })
    app.backend.logsWith = async function* (_call, signal) {
      yield '{"musetalk": {"step": "lips", "done": 1, "total": 4}}\n'
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    }
    const [onStage, onProgress] = [vi.fn(), vi.fn()]
    const all = statuses(client.events(id, { onStage, onProgress }))
    await until(() => onProgress.mock.calls.length === 1, 'the progress')
    app.backend.changeStage(`fc-${id}-1`, 'running')
    await until(() => onStage.mock.calls.length === 1, 'the stage')
    end(app, id)
    expect(await all).toEqual(['2 running', '3 succeeded'])
    const progress = { step: 'lips', done: 1, total: 4, percent: 25, at: expect.any(String) as string }
    expect(onProgress).toHaveBeenCalledExactlyOnceWith(progress, id)
    expect(onStage).toHaveBeenCalledExactlyOnceWith('running', id)
  })

  test('end with what a subscriber throws, without another connection', async () => {
    const { app, relay, client } = await connected()
    const id = await running({ app, client })
    const onStage = () => {
      throw new Error('a defect')
    }
    app.backend.changeStage(`fc-${id}-1`, 'queued')
    expect((await rejection(statuses(client.events(id, { onStage }))))?.message).toBe('a defect')
    expect(relay.sent.match(/GET .*events/g)).toHaveLength(1)
  })

  test('reconnect when no heartbeat comes', async () => {
    const cancel = vi.fn()
    const silent = new ReadableStream<Uint8Array>({
      start: (stream) => stream.enqueue(Buffer.from('id: 1\nevent: status\r\ndata: {"status":"running"}\r\n\r')),
      cancel,
    })
    const events = readEvents(silent, {}, 20)
    expect((await rejection(events.next()))?.message).toContain('silent for 20 ms')
    expect(cancel).toHaveBeenCalledOnce()
  })

  test('are read from pieces of any size, and events of other names do not count', async () => {
    const job = { status: 'running', error: 'größer: 1' }
    const text = `: heartbeat\r\n\r\nid: 7\r\nevent: status\r\ndata: ${JSON.stringify(job)}\r\n\r\nevent: other\ndata: 1\n\n`
    const body = new ReadableStream<Uint8Array>({
      start(stream) {
        for (const byte of Buffer.from(text)) stream.enqueue(Uint8Array.of(byte))
        stream.close()
      },
    })
    const read = []
    for await (const event of readEvents(body)) read.push(event)
    expect(read).toEqual([{ id: '7', state: job }])
  })
})

describe('batches', () => {
  test('are submitted once, followed across broken connections, retried and deleted', async () => {
    const { app, relay, client } = await connected()
    relay.loseAnswers(1)
    const { batch_id: id, results } = await client.createBatch({
      defaults: { video_path: 'face.mp4', metadata: null },
      jobs: [{ audio_path: 'a.wav' }, { audio_path: 'b.wav' }, { audio_path: '../c' }],
    })
    expect(results[2]).toMatchObject({ problem: { code: 'invalid_request', status: 400 } })
    expect((await client.batches({ limit: 2 })).batches).toMatchObject([{ batch_id: id, total: 2, refused: 1 }])
    const [first, second] = results.map(({ job_id: job }) => job ?? '') as [string, string]
    for (const job of [first, second]) await app.untilStatus(job, 'running')
    const seen: object[] = []
    const follow = async () => {
      for await (const { counts } of client.batchEvents(id)) seen.push(counts)
    }
    const followed = follow()
    await until(() => seen.length === 1, 'the present state')
    relay.cut()
    await until(() => /^last-event-id: 0-2-0-0-0\r$/im.test(relay.sent), 'another connection')
    end(app, first)
    app.backend.end(`fc-${second}-1`, { kind: 'failed', code: 'inference_failed', error: 'no' })
    await followed
    expect(seen).toMatchObject([{ running: 2 }, { running: 0, succeeded: 1, failed: 1 }])
    expect(await client.retryBatch(id)).toMatchObject({ changed: 1, finished: false })
    expect(await rejection(client.deleteBatch(id))).toMatchObject({ status: 409, code: 'job_not_finished' })
    await app.untilStatus(second, 'running')
    expect(await client.cancelBatch(id)).toMatchObject({ changed: 1, counts: { succeeded: 1, canceled: 1 } })
    await app.untilJob(second, (job) => job.attempts.at(-1)?.stop === 'done', 'stopped')
    expect(await client.batch(id)).toMatchObject({ finished: true })
    await client.deleteBatch(id)
    await client.deleteBatch(id)
    expect(await rejection(client.batch(id))).toMatchObject({ status: 404, code: 'batch_not_found' })
    expect(await rejection(client.batchEvents(id).next())).toMatchObject({ code: 'batch_not_found' })
  })

  test('without a job that is right reject with the errors of each', async () => {
    const { client } = await connected()
    expect(await rejection(client.createBatch({ jobs: [{}] }))).toMatchObject({ status: 422, code: 'batch_rejected' })
  })
})

describe('the other calls', () => {
  test('cancel, retry, delete, and list with filters', async () => {
    const { app, client } = await connected()
    const id = await running({ app, client })
    expect((await client.cancel(id)).status).toBe('canceled')
    expect((await client.cancel(id)).status).toBe('canceled')
    expect((await client.retry(id)).status).toBe('submitted')
    await app.untilStatus(id, 'running')
    expect((await client.list({ status: 'running', limit: 1 })).jobs.map((job) => job.job_id)).toEqual([id])
    expect(await rejection(client.remove(id))).toMatchObject({ status: 409, code: 'job_not_finished' })
    app.backend.end(`fc-${id}-2`, aSuccess)
    await client.wait(id)
    await client.remove(id)
    await client.remove(id)
    expect(await rejection(client.get(id))).toMatchObject({ status: 404, code: 'job_not_found' })
  })

  test('send the credential, which a function can supply for each request', async () => {
    const app = await startAppOfTest({ authenticator: knownCallers })
    const { url } = await listen(app.app)
    const as = (options: Partial<ClientOptions>) => createClient({ baseUrl: `${url}/`, ...options })
    expect(await as({ apiKey: 'alice' }).list()).toEqual({ jobs: [] })
    const tokens = ['alice', 'nobody']
    const client = as({ token: async () => tokens.shift()! })
    expect(await client.list()).toEqual({ jobs: [] })
    expect(await rejection(client.list())).toMatchObject({ status: 401, code: 'unauthorized' })
    expect(await rejection(as({}).list())).toMatchObject({ status: 401 })
  })

  test('follow a redirect of a download without sending the credential there', async () => {
    const seen: object[] = []
    const bucket = createServer(({ headers }, response) => {
      seen.push(headers)
      response.end('the video')
    })
    onTestFinished(() => void bucket.close())
    const port = await new Promise<number>((resolve) => {
      bucket.listen(0, '127.0.0.1', () => resolve((bucket.address() as { port: number }).port))
    })
    const outputs = {
      ...noOutputs,
      open: async () => ({ kind: 'redirect' as const, url: `http://localhost:${port}/output.mp4` }),
    }
    const { app, client } = await connected({ outputs, authenticator: knownCallers }, { apiKey: 'alice' })
    const id = await running({ app, client })
    end(app, id)
    await client.wait(id)
    expect(await (await client.download(id)).text()).toBe('the video')
    expect(JSON.stringify(seen)).not.toContain('alice')
    expect(seen).toHaveLength(1)
  })

  test.each([
    'localhost',
    'localhost:9000',
    'ftp://jobs.example',
    'http://a:b@jobs.example',
    'http://jobs.example/?a=1',
    'http://jobs.example/#a',
  ])('need a base URL that is one, and not %s', (baseUrl) => {
    expect(() => createClient({ baseUrl })).toThrow(TypeError)
  })

  test('time out without an answer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
    const signals: (AbortSignal | null | undefined)[] = []
    const fetch: typeof globalThis.fetch = (_url, init) => {
      signals.push(init?.signal)
      return new Promise(() => undefined)
    }
    const client = createClient({ baseUrl: 'http://jobs.example', fetch })
    const calls = [
      () => client.submit(aBody),
      () => client.get('x'),
      () => client.list(),
      () => client.events('x').next(),
      () => client.download('x'),
      () => client.cancel('x'),
      () => client.retry('x'),
      () => client.remove('x'),
      () => client.pages().next(),
      () => client.events().next(),
      () => client.logs('x').next(),
      () => client.deliveries('x'),
      () => client.redeliver('x', 1),
    ]
    for (const call of calls) {
      signals.length = 0
      call().catch(() => undefined)
      await vi.advanceTimersByTimeAsync(29_999)
      expect(signals, String(call)).toMatchObject([{ aborted: false }])
      await vi.runOnlyPendingTimersAsync()
      expect(signals, String(call)).toMatchObject([{ aborted: true }])
    }
  })

  test('reject at once if they can never be sent', async () => {
    const fetch = vi.fn<typeof globalThis.fetch>()
    const client = createClient({ baseUrl: 'http://jobs.example', fetch })
    await expect(client.submit(aBody, { idempotencyKey: 'ключ' })).rejects.toThrow(TypeError)
    expect(fetch).not.toHaveBeenCalled()
  })
})
