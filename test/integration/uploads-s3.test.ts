import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished, expect, test } from 'vitest'
import { createS3Bucket } from '../../src/files/s3.ts'
import { createS3Uploads } from '../../src/files/uploads-s3.ts'
import type { AheadUploads } from '../../src/jobs/ports/files.ts'
import { problem } from '../../src/problems.ts'
import { problemOf, startApp } from '../helpers/app.ts'
import { bucketOfTest } from '../helpers/s3.ts'
import { FACE, SPEECH } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

type Ticket = { upload_id: string; url: string; headers: Record<string, string> }

/** `change`: to what is between the server and the bucket. `skewMs`: how far the server's clock is ahead of the bucket's. */
async function start({ change = (ahead: AheadUploads) => ahead, skewMs = 0, timeoutMs = 10_000 } = {}) {
  const store = await bucketOfTest({ strict: true })
  const bucket = createS3Bucket({ ...store.options, now: () => Date.now() + skewMs })
  const limits = { maxBytes: 10_000_000, tooLarge: () => problem('body_too_large'), timeoutMs }
  const options = { bucket, prefix: 'a b/uploads/', ...limits }
  const app = await startApp({ ahead: () => change(createS3Uploads(options)) })
  // The bucket dates its objects.
  app.clock.now = Date.now()
  onTestFinished(() => app.close())
  const remove = async (id: string) => {
    await app.post(`/jobs/${id}/cancel`)
    await app.untilJob(id, ({ attempts }) => attempts.at(-1)?.stop !== 'pending', 'stopped')
    expect((await app.app.inject({ method: 'DELETE', url: `/jobs/${id}` })).statusCode).toBe(204)
  }
  const ticketOf = async (kind: string, size: number, more: object = {}) =>
    (await app.post('/uploads', { kind, size, ...more })).json<Ticket>()
  const send = ({ url, headers }: Ticket, body: Buffer, more: Record<string, string> = {}) =>
    fetch(url, { method: 'PUT', body: new Uint8Array(body), headers: { ...headers, ...more } })
  const signal = AbortSignal.timeout(30_000)
  return {
    ...{ store, app, ticketOf, send, remove },
    async sent(kind: string, bytes: Buffer) {
      const ticket = await ticketOf(kind, bytes.length)
      expect((await send(ticket, bytes)).status).toBe(200)
      return { upload_id: ticket.upload_id }
    },
    /** What another program does to an object, with the keys of the bucket. */
    overwrite: async (url: string, body: string) => {
      const key = decodeURIComponent(new URL(url).pathname.replace('/outputs/', ''))
      const answer = await fetch(await bucket.presign({ method: 'PUT', key }, 60), { method: 'PUT', body, signal })
      expect(answer.status).toBe(200)
    },
    async keys() {
      const list = await bucket.send({ method: 'GET', key: '', query: { 'list-type': '2' }, signal })
      return [...(await list.text()).matchAll(/<Key>([^<]+)</g)].map(([, key]) => key)
    },
  }
}

const TIMEOUT = { timeout: 60_000 }

test('a file goes to the bucket by a signed PUT, and the function gets a link to just that', TIMEOUT, async () => {
  const { app, sent, ticketOf, send } = await start()
  const ticket = await ticketOf('video', FACE.length, { type: 'video/mp4' })
  expect(ticket.headers).toEqual({
    ...{ 'Content-Length': String(FACE.length), 'If-None-Match': '*', 'Content-Type': 'video/mp4' },
  })
  const statusOf = async (...args: Parameters<typeof send>) => (await send(...args)).status
  expect(await statusOf(ticket, FACE, { 'Content-Type': 'text/html' })).toBe(403)
  expect(await statusOf(ticket, FACE.subarray(1), { 'Content-Length': String(FACE.length - 1) })).toBe(403)
  expect(await statusOf({ ...ticket, url: ticket.url.replace('uploads/', 'uploads/x') }, FACE)).toBe(403)
  expect(await statusOf(ticket, FACE)).toBe(200)
  // Written once: the job's check of it stays true.
  expect(await statusOf(ticket, FACE)).toBe(412)
  const body = { video: { upload_id: ticket.upload_id }, audio: await sent('audio', SPEECH) }
  const response = await app.post('/jobs', body)
  expect(response.statusCode).toBe(202)
  const job = response.json<{ job_id: string; input: object }>()
  expect(job.input).toMatchObject({
    video: { size: FACE.length, type: 'video/mp4' },
    audio: { size: SPEECH.length, type: 'audio/wav' },
  })
  const spawned = await until(() => app.backend.requests[0], 'the spawn')
  expect(spawned.files).toBeUndefined()
  const fetched = await fetch(spawned.input.video_url ?? '')
  expect(Buffer.from(await fetched.arrayBuffer()).equals(FACE)).toBe(true)
  expect((await fetch(spawned.input.video_url ?? '', { method: 'DELETE' })).status).toBe(403)
  const shown = await app.get(`/jobs/${job.job_id}/inputs/audio`)
  expect(shown.statusCode).toBe(302)
  const speech = await fetch(String(shown.headers.location))
  expect(Buffer.from(await speech.arrayBuffer()).equals(SPEECH)).toBe(true)
})

test(
  'a file in the bucket is shown with its own type, not with that of its sender, also for HEAD',
  TIMEOUT,
  async () => {
    const { app, sent, ticketOf, send } = await start()
    const ticket = await ticketOf('video', FACE.length, { type: 'text/html' })
    expect((await send(ticket, FACE)).status).toBe(200)
    const body = { video: { upload_id: ticket.upload_id }, audio: await sent('audio', SPEECH) }
    const { job_id: id } = (await app.post('/jobs', body)).json<{ job_id: string }>()
    for (const method of ['GET', 'HEAD'] as const) {
      const shown = await app.app.inject({ method, url: `/jobs/${id}/inputs/video` })
      const file = await fetch(String(shown.headers.location), { method })
      expect([file.status, file.headers.get('content-type')], method).toEqual([200, 'video/mp4'])
      await file.body?.cancel()
    }
    const spawned = await until(() => app.backend.requests[0], 'the spawn')
    const fetched = await fetch(spawned.input.video_url ?? '')
    expect(fetched.headers.get('content-type')).toBe('video/mp4')
    await fetched.body?.cancel()
  },
)

test('the object of a removed job serves others until it expires, and then goes with the last', TIMEOUT, async () => {
  const { app, sent, keys, remove } = await start()
  const body = { video: await sent('video', FACE), audio: await sent('audio', SPEECH) }
  const submit = async () => (await app.post('/jobs', body)).json<{ job_id: string }>().job_id
  await remove(await submit())
  expect(await keys()).toHaveLength(2)
  const [first, second, third] = [await submit(), await submit(), await submit()]
  app.clock.now += 26 * 3_600_000
  for (const id of [first, second]) await remove(id)
  expect(await keys()).toHaveLength(2)
  await remove(third)
  expect(await keys()).toEqual([])
})

test('the object of a job that is removed before it expires is swept afterwards', TIMEOUT, async () => {
  const { app, sent, keys, remove } = await start()
  const body = { video: await sent('video', FACE), audio_path: 'speech.wav' }
  await remove((await app.post('/jobs', body)).json<{ job_id: string }>().job_id)
  await app.reconciler.sweepFiles()
  expect(await keys()).toHaveLength(1)
  app.clock.now += 26 * 3_600_000
  await app.reconciler.sweepFiles()
  expect(await keys()).toEqual([])
})

test('a submit keeps its object while the last job that has it is removed', TIMEOUT, async () => {
  const [checked, removed] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()]
  let opened = 0
  const { app, sent, remove } = await start({
    change: (ahead) => ({
      ...ahead,
      async open(...args) {
        const upload = await ahead.open(...args)
        if (++opened < 2) return upload
        checked.resolve(undefined)
        await removed.promise
        return upload
      },
    }),
  })
  const body = { video: await sent('video', FACE), audio_path: 'speech.wav' }
  const first = (await app.post('/jobs', body)).json<{ job_id: string }>()
  const submitting = app.post('/jobs', body)
  await checked.promise
  await remove(first.job_id)
  removed.resolve(undefined)
  const second = (await submitting).json<{ job_id: string }>()
  const ofSecond = await until(() => app.backend.requests.find(({ jobId }) => jobId === second.job_id), 'its spawn')
  const fetched = await fetch(ofSecond.input.video_url ?? '')
  expect(Buffer.from(await fetched.arrayBuffer()).equals(FACE)).toBe(true)
})

test('an object that is not what its upload says is 422, and a dry run says so too', TIMEOUT, async () => {
  const { app, sent, ticketOf, overwrite } = await start()
  const audio = await sent('audio', SPEECH)
  const errorOf = async (video: Ticket, url = '/jobs') => {
    const refused = problemOf(await app.post(url, { video: { upload_id: video.upload_id }, audio }))
    return [refused.status, refused.code, ...(refused.errors ?? []).map(({ message }) => message)]
  }
  const ticket = await ticketOf('video', FACE.length)
  expect(await errorOf(ticket)).toEqual([422, 'upload_rejected', 'has not been uploaded'])
  await overwrite(ticket.url, 'short')
  const wrong = [422, 'upload_rejected', `has 5 bytes, not the ${FACE.length} of its upload`]
  expect(await errorOf(ticket)).toEqual(wrong)
  expect(await errorOf(ticket, '/jobs?dry_run=true')).toEqual(wrong)
  const text = await ticketOf('video', 5)
  await overwrite(text.url, 'hello')
  expect(await errorOf(text)).toEqual([
    422,
    'upload_rejected',
    expect.stringMatching(/^is text, not a video; send MP4/),
  ])
})

test('a job whose object has changed since its check fails, and says which', TIMEOUT, async () => {
  const { app, sent, ticketOf, send, overwrite } = await start()
  const ticket = await ticketOf('video', FACE.length)
  await send(ticket, FACE)
  const { spawnWith } = app.backend
  app.backend.spawnWith = () => Promise.resolve({ kind: 'rejected', code: 'backend_rejected', error: 'not now' })
  const body = { video: { upload_id: ticket.upload_id }, audio: await sent('audio', SPEECH) }
  const { job_id: id } = (await app.post('/jobs', body)).json<{ job_id: string }>()
  await app.untilStatus(id, 'failed')
  app.backend.spawnWith = spawnWith
  await overwrite(ticket.url, FACE.toString('latin1'))
  await app.post(`/jobs/${id}/retry`)
  const failed = await app.untilJob(
    id,
    ({ attempts, status }) => attempts.length === 2 && status === 'failed',
    'failed',
  )
  expect([failed.errorCode, failed.error]).toEqual([
    'input_unavailable',
    'video: the upload was changed or deleted after the job was accepted',
  ])
})

test(
  'a bucket that is unavailable, refuses the server, or answers HTML is 503, and the next submit succeeds',
  TIMEOUT,
  async () => {
    const { app, store, sent } = await start()
    const body = { video: await sent('video', FACE), audio: await sent('audio', SPEECH) }
    for (const answer of [
      { status: 500, body: 'oops' },
      { status: 403, body: '<Error><Code>RequestTimeTooSkewed</Code></Error>' },
      { status: 200, body: '<!doctype html><title>Captive portal</title>' },
      { status: 302, body: '' },
    ]) {
      await store.disrupt(answer)
      expect(problemOf(await app.post('/jobs', body))).toMatchObject({ status: 503, code: 'upload_store_unavailable' })
    }
    await store.disrupt(null)
    const response = await app.post('/jobs', body)
    expect(response.statusCode).toBe(202)
  },
)

test('a bucket that does not answer is 503 after the time limit, and the next submit succeeds', TIMEOUT, async () => {
  const { app, store, sent } = await start({ timeoutMs: 2_000 })
  const body = { video: await sent('video', FACE), audio: await sent('audio', SPEECH) }
  await store.disrupt({ status: 0, body: '' })
  expect(problemOf(await app.post('/jobs', body))).toMatchObject({ status: 503, code: 'upload_store_unavailable' })
  await store.disrupt(null)
  expect((await app.post('/jobs', body)).statusCode).toBe(202)
})

test.each([
  ['ahead', 3_600_000],
  ['behind', -7_200_000],
])(
  'a clock that is %s is refused by the bucket at once: 403 for clients, 503 for submits',
  TIMEOUT,
  async (_, skewMs) => {
    const { app, ticketOf, send } = await start({ skewMs })
    const ticket = await ticketOf('video', FACE.length)
    expect((await send(ticket, FACE)).status).toBe(403)
    const refused = await app.post('/jobs', { video: { upload_id: ticket.upload_id }, audio_path: 'speech.wav' })
    expect(problemOf(refused)).toMatchObject({ status: 503, code: 'upload_store_unavailable' })
  },
)

test('a job waits for a bucket that is unavailable, and is spawned once it is available', TIMEOUT, async () => {
  const { app, store, sent } = await start()
  const body = { video: await sent('video', FACE), audio: await sent('audio', SPEECH) }
  app.backend.spawnWith = () => Promise.resolve({ kind: 'rejected', code: 'backend_rejected', error: 'not now' })
  const { job_id: id } = (await app.post('/jobs', body)).json<{ job_id: string }>()
  await app.untilStatus(id, 'failed')
  app.backend.spawnWith = (request) => Promise.resolve({ kind: 'spawned', callId: `fc-${request.jobId}` })
  await store.disrupt({ status: 503, body: 'slow down' })
  await app.post(`/jobs/${id}/retry`)
  await until(() => app.lines.some(({ event }) => event === 'upload_unreadable'), 'a warning')
  expect((await app.store.get(id))?.status).toBe('submitted')
  await store.disrupt(null)
  await app.untilStatus(id, 'running')
})

/** A bucket of many uploads, of which the seventh of each page of 1,000 is old. `deny`: what it does not let go. */
async function crowdedBucket(names: readonly string[], deny: (name: string) => boolean = () => false) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://localhost')
    const name = url.pathname.slice(-22)
    if (request.method === 'DELETE') {
      asked.push(`DELETE ${name}`)
      response.writeHead(deny(name) ? 403 : 204).end()
      return
    }
    const from = Number(url.searchParams.get('continuation-token') ?? 0)
    asked.push(`LIST ${from}`)
    const objects = names.slice(from, from + 1000).map((one, n) => {
      const at = n === 7 ? '2026-01-01T00:00:00.000Z' : '2026-01-03T00:00:00.000Z'
      return `<Contents><Key>uploads/${one}</Key><LastModified>${at}</LastModified></Contents>`
    })
    const more = from + 1000 < names.length ? `<NextContinuationToken>${from + 1000}</NextContinuationToken>` : ''
    response.end(
      `<ListBucketResult><Contents><Key>uploads/readme.txt</Key></Contents>${objects.join('')}${more}</ListBucketResult>`,
    )
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void server.close())
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const bucket = createS3Bucket({ endpoint, bucket: 'b', region: 'auto', accessKeyId: 'a', secretAccessKey: 's' })
  const tooLarge = () => problem('body_too_large')
  const uploads = createS3Uploads({ bucket, prefix: 'uploads/', maxBytes: 1, tooLarge })
  let removed = 0
  const sweep = (isKnown: (name: string) => boolean = () => false) =>
    uploads.sweep({
      before: Date.parse('2026-01-02T00:00:00Z'),
      isKnown: (name) => Promise.resolve(isKnown(name)),
      onRemoved: () => removed++,
    })
  return { asked, sweep, removed: () => removed }
}

const namesOf = (count: number) => Array.from({ length: count }, (_, n) => String(n).padStart(22, 'a'))

test('the sweep of a hundred thousand uploads holds one page of the list, and removes what is old and in no job', async () => {
  const names = namesOf(100_000)
  const { asked, sweep, removed } = await crowdedBucket(names)
  await sweep((name) => name.endsWith('a1007'))
  const pages = Array.from({ length: 100 }, (_, n) => n * 1000)
  // What is removed of a page is removed before the next is read.
  expect(asked).toEqual(
    pages.flatMap((at) => [`LIST ${at}`, ...(at === 1000 ? [] : [`DELETE ${names[at + 7] ?? ''}`])]),
  )
  expect(removed()).toBe(99)
})

test('the sweep goes on after an object that cannot be removed, and gives up after ten', async () => {
  const names = namesOf(20_000)
  const some = await crowdedBucket(names, (name) => name.endsWith('a1007'))
  await expect(some.sweep()).rejects.toMatchObject({ code: 'upload_store_unavailable' })
  expect(some.removed()).toBe(19)
  const all = await crowdedBucket(names, () => true)
  await expect(all.sweep()).rejects.toMatchObject({ code: 'upload_store_unavailable' })
  expect(all.asked.filter((one) => one.startsWith('DELETE'))).toHaveLength(10)
})
