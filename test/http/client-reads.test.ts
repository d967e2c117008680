import { createHash, randomBytes } from 'node:crypto'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Outputs } from '../../src/jobs/ports/files.ts'
import { createClient, type Download, type Job } from '../../src/client/index.ts'
import { noOutputs } from '../helpers/core.ts'
import { aBody, type TestApp } from '../helpers/app.ts'
import { connected, rejection, running } from '../helpers/client.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { temporaryFolder } from '../helpers/media.ts'
import { until } from '../helpers/until.ts'

const end = (app: TestApp, id: string) => app.backend.end(`fc-${id}-1`, aSuccess)

describe('the events of all jobs', () => {
  /** Follows in the background until the test is over. */
  async function following(options: Parameters<typeof connected>[0] = {}) {
    const all = await connected(options)
    const seen: string[] = []
    const gaps = vi.fn()
    const begun = vi.spyOn(all.app.subscriptions, 'subscribeAll')
    const controller = new AbortController()
    const follow = async () => {
      for await (const { job_id: id, status } of all.client.events({ onGap: gaps, signal: controller.signal })) {
        seen.push(`${id} ${status}`)
      }
    }
    const followed = rejection(follow())
    onTestFinished(() => controller.abort())
    await until(() => begun.mock.calls.length === 1, 'a stream')
    const streams = () => all.relay.sent.match(/GET \/events HTTP/g)?.length
    return { ...all, seen, gaps, controller, followed, streams }
  }

  test('report each change of each job, and continue after a job has finished', async () => {
    const { app, client, seen } = await following()
    const ids = [await running({ app, client }), await running({ app, client })]
    for (const id of ids) end(app, id)
    await until(() => seen.filter((text) => text.endsWith('succeeded')).length === 2, 'both ends')
    expect(new Set(seen.map((text) => text.split(' ')[0]))).toEqual(new Set(ids))
  })

  test('continue after a broken connection, and announce a possible gap', async () => {
    const { app, client, relay, seen, gaps, streams } = await following()
    const id = await running({ app, client })
    await until(() => seen.includes(`${id} running`), 'the first change')
    expect(gaps).not.toHaveBeenCalled()
    relay.cut()
    await until(() => streams() === 2 && gaps.mock.calls.length === 1, 'another stream')
    expect(relay.sent).not.toMatch(/last-event-id/i)
    // What is asked for from then on is complete: what the list does not have, the stream reports.
    end(app, id)
    await until(() => seen.includes(`${id} succeeded`), 'the end')
  })

  test('continue when the server closes them, as it does after a gap of its own', async () => {
    const { app, client, seen, gaps } = await following()
    app.announceGap()
    await until(() => gaps.mock.calls.length === 1, 'another stream')
    const id = await running({ app, client })
    await until(() => seen.includes(`${id} running`), 'a change')
  })

  test('stop when their signal aborts, and leave the connection', async () => {
    const { app, controller, followed } = await following()
    await until(() => app.app.server.listening)
    controller.abort(new Error('enough'))
    expect((await followed)?.message).toBe('enough')
    await until(
      () => app.requestLines.some(({ event }) => event === 'event_stream_closed_by_client'),
      'a closed stream',
    )
  })

  test('reject after too many broken connections in a row', async () => {
    const fetch = vi.fn<typeof globalThis.fetch>(async () => new Response(': heartbeat\n\n'))
    const client = createClient({ baseUrl: 'http://jobs.example', fetch, retries: 2 })
    expect((await rejection(client.events().next()))?.message).toContain('the stream of events ended')
    expect(fetch).toHaveBeenCalledTimes(3)
  })
})

describe('a log', () => {
  const read = async (pieces: AsyncIterable<string>) => {
    let text = ''
    for await (const piece of pieces) text += piece
    return text
  }

  test('is streamed as it is printed, in any language, to its end', async () => {
    const { app, client } = await connected()
    const more = Promise.withResolvers<undefined>()
    app.backend.logsWith = async function* () {
      yield 'lädt das Modell\n'
      await more.promise
      yield 'frame 1 of 250\n'
    }
    const id = await running({ app, client })
    const pieces = client.logs(id)
    expect((await pieces.next()).value).toBe('lädt das Modell\n')
    more.resolve(undefined)
    expect(await read(pieces)).toBe('frame 1 of 250\n')
  })

  test('is that of the requested attempt; an unknown attempt is a problem', async () => {
    const { app, client } = await connected()
    app.backend.logsWith = async function* ({ callId }) {
      yield callId
    }
    const id = await running({ app, client })
    expect(await read(client.logs(id, { attempt: 1 }))).toBe(`fc-${id}-1`)
    expect(await rejection(client.logs(id, { attempt: 2 }).next())).toMatchObject({ code: 'attempt_not_found' })
  })

  test('that is cut off rejects, and the request is aborted when its reader stops', async () => {
    const { app, client, relay } = await connected()
    const left = vi.fn()
    app.backend.logsWith = async function* (_call, signal) {
      yield 'a line\n'
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      left()
    }
    const id = await running({ app, client })
    const cut = client.logs(id)
    await cut.next()
    relay.cut()
    await expect(cut.next()).rejects.toThrow()
    for await (const text of client.logs(id)) {
      expect(text).toBe('a line\n')
      break
    }
    await until(() => left.mock.calls.length === 2, 'both left')
  })
})

describe('the webhooks of a job', () => {
  const webhook = { webhook_url: 'https://hooks.example/a' }

  test('are listed with their POSTs, and sent again', async () => {
    const { app, client } = await connected()
    const { job_id: id } = await client.submit({ ...aBody, ...webhook })
    expect(await client.deliveries(id)).toMatchObject({ ...webhook, deliveries: [] })
    await app.untilStatus(id, 'running')
    end(app, id)
    const delivered = async (tries: number) => {
      const { deliveries } = await client.deliveries(id)
      return deliveries[0]?.state === 'delivered' && deliveries[0].tries.length === tries && deliveries[0]
    }
    const { number } = await until(() => delivered(1), 'the delivery')
    expect(await client.redeliver(id, number)).toMatchObject({ number, event: 'job.succeeded' })
    await until(() => delivered(2), 'another try')
    expect(await rejection(client.redeliver(id, 2))).toMatchObject({ status: 404, code: 'delivery_not_found' })
  })

  test('have a receiver that can be tested', async () => {
    const { client } = await connected()
    expect(await client.testWebhook('https://hooks.example/a')).toMatchObject({ state: 'delivered', status: 200 })
    expect(await rejection(client.testWebhook('x'))).toMatchObject({ status: 400, code: 'invalid_request' })
  })

  test('are not sent twice when an answer is lost', async () => {
    const { client, relay } = await connected()
    const { job_id: id } = await client.submit({ ...aBody, ...webhook })
    relay.loseAnswers(1)
    await expect(client.redeliver(id, 1)).rejects.toThrow(TypeError)
    expect(relay.sent.match(/redeliver HTTP/g)).toHaveLength(1)
  })
})

describe('pages', () => {
  test('are read one after the other to the last, with the same filters', async () => {
    const { app, client } = await connected({ maxConcurrentJobs: 4 })
    const ids: string[] = []
    for (let n = 0; n < 5; n++) {
      app.clock.now += 1_000
      ids.unshift(await client.submit(aBody).then((job) => job.job_id))
    }
    await until(async () => (await app.store.list({ limit: 9, statuses: ['running'] })).length === 4, 'four running')
    const pages: string[][] = []
    for await (const { jobs } of client.pages({ limit: 2, status: 'running' }))
      pages.push(jobs.map((job) => job.job_id))
    expect(pages).toEqual([ids.slice(1, 3), ids.slice(3)])
    const all: Job[] = []
    for await (const { jobs } of client.pages()) all.push(...jobs)
    expect(all.map((job) => job.job_id)).toEqual(ids)
  })

  test('are requested one by one: a reader that stops requests no more, and an empty list is one page', async () => {
    const { client, relay } = await connected()
    expect((await client.pages().next()).value).toEqual({ jobs: [] })
    for (let n = 0; n < 3; n++) await client.submit(aBody)
    for await (const { jobs } of client.pages({ limit: 1 })) {
      expect(jobs).toHaveLength(1)
      break
    }
    expect(relay.sent.match(/GET \/jobs\?\S* HTTP/g)).toHaveLength(2)
  })
})

describe('a download', () => {
  /** More than the buffers on the way hold. */
  const VIDEO = randomBytes(30_000_000)
  const digestOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

  /** A client of a job that succeeded, whose video is a file. */
  async function succeeded(content = VIDEO) {
    const path = join(await temporaryFolder(), 'video.mp4')
    await writeFile(path, content)
    const release = vi.fn()
    const outputs: Outputs = {
      ...noOutputs,
      open: () => Promise.resolve({ kind: 'file', path, release }),
    }
    const all = await connected({ outputs })
    const id = await running(all)
    end(all.app, id)
    await all.client.wait(id)
    const asked = () => all.relay.sent.match(/GET \S*\/output HTTP[^]*?\r\n\r\n/g) ?? []
    return { ...all, id, path, asked, release }
  }

  /** Reads a video and does something each time so many bytes have come. */
  async function readSteps({ body }: Download, step: number, act: () => unknown): Promise<Buffer> {
    const pieces: Uint8Array[] = []
    let [received, next] = [0, step]
    for await (const piece of body) {
      pieces.push(piece)
      received += piece.length
      if (received >= next) {
        next += step
        await act()
      }
    }
    return Buffer.concat(pieces)
  }

  test('continues an earlier one of the same video, also after a broken connection', async () => {
    const { client, relay, id, asked } = await succeeded()
    const etag = (await client.download(id)).headers.get('etag') ?? ''
    const video = await client.download(id, { from: { offset: 10_000_000, etag } })
    expect(video.status).toBe(206)
    const rest = await readSteps(video, 8_000_000, () => relay.cut())
    expect(digestOf(rest)).toBe(digestOf(VIDEO.subarray(10_000_000)))
    expect(asked().length).toBeGreaterThan(2)
  })

  test.each(['"another"', 'W/"weak"'])('does not continue an earlier one of the video %s', async (etag) => {
    const { client, id } = await succeeded(Buffer.from('the video'))
    const video = await client.download(id, { from: { offset: 4, etag } })
    expect([video.status, await video.text()]).toEqual([200, 'the video'])
  })

  test('resumes after each of several broken connections, and is complete', async () => {
    const { client, relay, id, asked } = await succeeded()
    const video = await client.download(id)
    expect(video.status).toBe(200)
    expect(video.headers.get('content-length')).toEqual(String(VIDEO.length))
    const bytes = await readSteps(video, 8_000_000, () => relay.cut())
    expect(digestOf(bytes)).toBe(digestOf(VIDEO))
    expect(asked().length).toBeGreaterThan(2)
    for (const [n, request] of asked().entries()) {
      expect(/^range: bytes=\d+-\r$/im.test(request)).toBe(n > 0)
      expect(/^if-range: ".+"\r$/im.test(request)).toBe(n > 0)
    }
  })

  test('can be read as text or into a file, and starts when the caller reads its body', async () => {
    const { client, id } = await succeeded(Buffer.from('the video'))
    expect(await (await client.download(id)).text()).toBe('the video')
    const path = join(await temporaryFolder(), 'saved.mp4')
    await writeFile(path, (await client.download(id)).body)
    const unread = await client.download(id)
    expect(unread.bodyUsed).toBe(false)
    await unread.body.cancel()
  })

  test('stops when its reader stops', async () => {
    const { client, id, release } = await succeeded()
    const video = await client.download(id)
    for await (const piece of video.body) {
      expect(piece.length > 0).toBe(true)
      expect(release.mock.calls).toHaveLength(0)
      break
    }
    await until(() => release.mock.calls.length === 1, 'the file released')
  })

  test('of a video that has been replaced is an error, not a mixture of both', async () => {
    const { client, relay, id, path } = await succeeded()
    const video = await client.download(id)
    const replaced = async () => {
      await writeFile(`${path}.new`, randomBytes(VIDEO.length + 1))
      await rename(`${path}.new`, path)
      relay.cut()
    }
    expect(await rejection(readSteps(video, 8_000_000, replaced))).toBeInstanceOf(Error)
  })

  test('of a job that has been deleted meanwhile is job_not_found', async () => {
    const { app, client, relay, id } = await succeeded()
    const video = await client.download(id)
    const removed = async () => {
      await app.service.remove(id, { id: 'anonymous', seesAll: true })
      relay.cut()
    }
    expect(await rejection(readSteps(video, 8_000_000, removed))).toMatchObject({ code: 'job_not_found' })
  })

  test('stops when its signal aborts', async () => {
    const { client, id } = await succeeded()
    const controller = new AbortController()
    const video = await client.download(id, { signal: controller.signal })
    const stopped = rejection(readSteps(video, 1_000_000, () => controller.abort(new Error('enough'))))
    expect((await stopped)?.message).toBe('enough')
  })

  const cutOff = (head: ResponseInit, text = 'abc') =>
    new Response(
      new ReadableStream({
        start(stream) {
          if (text !== '') stream.enqueue(Buffer.from(text))
        },
        pull: (stream) => stream.error(new Error('cut off')),
      }),
      head,
    )
  const rest = (from: number, text: string) =>
    new Response(text, { status: 206, headers: { 'content-range': `bytes ${from}-5/6` } })
  const readAll = async (answers: Response[]) => {
    const fetch = vi.fn<typeof globalThis.fetch>(async () => answers.shift() ?? cutOff({ status: 206 }, ''))
    const client = createClient({ baseUrl: 'http://jobs.example', fetch, retries: 2 })
    const read = (await client.download('x')).text()
    return { text: await read.catch((error: unknown) => String(error)), asked: fetch.mock.calls.length }
  }
  const six = { headers: { 'content-length': '6' } }

  test.each<[string, Response[], string, number]>([
    [
      'is whole where the server said how long it is, and the connection just ended',
      [new Response('abc', six), rest(3, 'def')],
      'abcdef',
      2,
    ],
    ['is whole where only the end of the connection broke', [cutOff(six, 'abcdef')], 'abcdef', 1],
    ['is an error where the server gives no ranges', [cutOff(six), new Response('abcdef')], 'Error: cut off', 2],
    ['is an error where the server gives another range', [cutOff(six), rest(0, 'abcdef')], 'Error: cut off', 2],
    [
      'is an error where a proxy has compressed it',
      [cutOff({ headers: { 'content-encoding': 'gzip' } })],
      'Error: cut off',
      1,
    ],
  ])('%s', async (_what, answers, text, asked) => {
    expect(await readAll(answers)).toEqual({ text, asked })
  })

  test('rejects after too many connections in a row without a byte', async () => {
    const nothingMore = () => cutOff({ status: 206, headers: { 'content-range': 'bytes 3-5/6' } }, '')
    const { text, asked } = await readAll([cutOff(six), nothingMore(), nothingMore(), nothingMore()])
    expect(text).toBe('Error: cut off')
    expect(asked).toBe(3)
  })

  test('can be iterated over where streams of the browser cannot', async () => {
    const native = Object.getOwnPropertyDescriptor(ReadableStream.prototype, Symbol.asyncIterator)!
    onTestFinished(() => void Object.defineProperty(ReadableStream.prototype, Symbol.asyncIterator, native))
    Reflect.deleteProperty(ReadableStream.prototype, Symbol.asyncIterator)
    const fetch = async () => new Response('the video')
    const video = await createClient({ baseUrl: 'http://jobs.example', fetch }).download('x')
    const pieces: Uint8Array[] = []
    for await (const piece of video.body) pieces.push(piece)
    expect(Buffer.concat(pieces).toString()).toBe('the video')
  })
})

describe('a job that is read again', () => {
  const tagsSent = (sent: string) => sent.match(/^if-none-match: .*/gim)?.length ?? 0

  /** Reads on their way to the app, and the statuses of their answers. */
  async function counted() {
    const all = await connected()
    const statuses: number[] = []
    const counting: typeof fetch = async (...request) => {
      const answer = await fetch(...request)
      statuses.push(answer.status)
      return answer
    }
    return { ...all, statuses, client: createClient({ baseUrl: all.relay.url, fetch: counting }) }
  }

  test('is sent again only after it has changed', async () => {
    const { app, client, relay, statuses } = await counted()
    const id = await running({ app, client })
    statuses.length = 0
    const [first, second] = [await client.get(id), await client.get(id)]
    expect(second).toEqual(first)
    expect(second).not.toBe(first)
    expect(statuses).toEqual([200, 304])
    expect(tagsSent(relay.sent)).toBe(1)
    end(app, id)
    await app.untilStatus(id, 'succeeded')
    expect(await client.get(id)).toMatchObject({ status: 'succeeded' })
    expect(await client.wait(id)).toMatchObject({ status: 'succeeded' })
    expect(statuses).toEqual([200, 304, 200, 304])
  })

  test('is not affected by what the caller does with its copy', async () => {
    const { app, client } = await counted()
    const id = await running({ app, client })
    const copy = await client.get(id)
    copy.status = 'failed'
    expect(await client.get(id)).toMatchObject({ status: 'running' })
  })

  test('is not kept once it is removed, and no more than a hundred jobs are', async () => {
    const { app, client, statuses } = await counted()
    const id = await running({ app, client })
    await client.get(id)
    await client.cancel(id)
    await app.untilJob(id, (job) => job.attempts.every(({ stop }) => stop !== 'pending'), 'stopped')
    await client.remove(id)
    expect(await rejection(client.get(id))).toMatchObject({ code: 'job_not_found' })
    const ids = await Promise.all(Array.from({ length: 101 }, async () => (await client.submit(aBody)).job_id))
    await Promise.all(ids.map((one) => app.untilStatus(one, 'running')))
    for (const one of ids) await client.get(one)
    statuses.length = 0
    for (const one of [ids[0]!, ids[100]!]) await client.get(one)
    expect(statuses).toEqual([200, 304])
  })

  test('works without a tag from the server, and rejects an unsolicited 304', async () => {
    const answers = [Response.json({ job_id: 'x' }), new Response(null, { status: 304 })]
    const client = createClient({ baseUrl: 'http://jobs.example', retries: 0, fetch: async () => answers.shift()! })
    expect(await client.get('x')).toEqual({ job_id: 'x' })
    expect(await rejection(client.get('x'))).toMatchObject({ status: 304 })
  })
})
