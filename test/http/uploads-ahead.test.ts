import { utimes } from 'node:fs/promises'
import { request as nodeRequest } from 'node:http'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterEach, describe, expect, test } from 'vitest'
import { problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aheadUploads, FACE, filesIn, folderUploads, SPEECH } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'
import { createClient, type UploadProgress } from '../../src/client/index.ts'
import { refuseUploads } from '../../src/files/uploads.ts'
import type { LinkSigner } from '../../src/jobs/links.ts'
import { problem } from '../../src/problems.ts'
import { listen } from '../helpers/listen.ts'

let app: TestApp
let folder: string
afterEach(() => app.close())

type Options = Parameters<typeof startApp>[0] & { maxBytes?: number }

async function start({ maxBytes = 10_000_000, ...options }: Options = {}) {
  const made = await folderUploads({ maxBytes })
  folder = made.folder
  const { uploads } = made
  app = await startApp({
    ...options,
    uploads,
    ahead: (links) => aheadUploads({ folder: join(folder, 'ahead'), uploads, links, maxBytes }),
  })
}

type Headers = Record<string, string>
type Ticket = { upload_id: string; url: string; headers: Headers; expires_at: string }

const request = (kind: string, size: number, headers: Headers = {}) => app.post('/uploads', { kind, size }, headers)
const ticketOf = async (kind: string, size: number, headers: Headers = {}) =>
  (await request(kind, size, headers)).json<Ticket>()

const put = ({ url }: Pick<Ticket, 'url'>, payload: Buffer, headers: Headers = {}) => {
  const { pathname, search } = new URL(url)
  return app.app.inject({ method: 'PUT', url: pathname + search, payload, headers })
}

async function sent(kind: string, bytes: Buffer, headers: Headers = {}) {
  const ticket = await ticketOf(kind, bytes.length, headers)
  expect((await put(ticket, bytes)).statusCode).toBe(204)
  return ticket.upload_id
}

const submit = (fields: object, headers: Headers = {}) => app.post('/jobs', fields, headers)
const of = (upload_id: string) => ({ upload_id })
const left = () => filesIn(folder)

test('files of jobs of a batch that are not stored are removed', async () => {
  await start({ running: false, maxQueuedJobs: 2 })
  const body = { video: of(await sent('video', FACE)), audio: of(await sent('audio', SPEECH)) }
  const files = left().length
  const batch = (jobs: object[], more = {}, headers = {}) => app.post('/batches', { jobs, ...more }, headers)
  expect(problemOf(await batch([body, body, {}], { atomic: true })).code).toBe('batch_rejected')
  expect(problemOf(await batch([body, body, body], { atomic: true })).code).toBe('queue_full')
  expect(left()).toHaveLength(files)
  const { findBatch } = app.store
  const key = { 'idempotency-key': 'k' }
  expect((await batch([body, {}], {}, key)).statusCode).toBe(202)
  expect(left()).toHaveLength(files + 2)
  // As if both had looked for the key at the same time.
  app.store.findBatch = () => Promise.resolve(undefined)
  expect((await batch([body, {}], {}, key)).headers['idempotent-replayed']).toBe('true')
  expect(left()).toHaveLength(files + 2)
  app.store.findBatch = findBatch
  expect((await batch([body, body, body])).json()).toMatchObject({ total: 1, refused: 2 })
  expect(left()).toHaveLength(files + 4)
})

test('a job of a batch with files of its own does not get face and speech of the defaults', async () => {
  await start({ running: false })
  const body = { video: of(await sent('video', FACE)), audio: of(await sent('audio', SPEECH)) }
  const defaults = { image_url: 'https://a.example/x.png', audio_url: 'https://a.example/x.wav' }
  const batch = await app.post('/batches', { defaults, jobs: [body, {}] })
  expect(batch.json()).toMatchObject({ total: 2, refused: 0 })
})

test('a batch with an ambiguous write keeps the files for the jobs that may exist', async () => {
  await start({ running: false })
  const body = { video: of(await sent('video', FACE)), audio: of(await sent('audio', SPEECH)) }
  const files = left().length
  app.store.insertBatch = () => Promise.reject(problem('store_unavailable', { isAmbiguousWrite: true }))
  expect((await app.post('/batches', { jobs: [body] })).statusCode).toBe(503)
  expect(left()).toHaveLength(files + 2)
  app.store.insertBatch = () => Promise.reject(problem('store_unavailable'))
  expect((await app.post('/batches', { jobs: [body] })).statusCode).toBe(503)
  expect(left()).toHaveLength(files + 2)
})

test('a file is sent to a signed link and named by several jobs, and goes with the last of them', async () => {
  await start()
  const response = await request('video', FACE.length)
  expect(response.statusCode).toBe(201)
  const ticket = response.json<Ticket>()
  expect(ticket).toMatchObject({ method: 'PUT', headers: { 'Content-Length': String(FACE.length) } })
  expect(ticket.url).toMatch(/^https:\/\/video\.example\/uploads\//)
  expect((await put(ticket, FACE)).statusCode).toBe(204)
  const body = { video: of(ticket.upload_id), audio: of(await sent('audio', SPEECH)) }
  const ids: string[] = []
  for (let n = 0; n < 2; n++) {
    const job = (await submit(body)).json<{ job_id: string; input: object }>()
    expect(job.input).toEqual({
      video: { size: FACE.length, type: 'video/mp4', upload_id: ticket.upload_id },
      audio: { size: SPEECH.length, type: 'audio/wav', upload_id: body.audio.upload_id },
    })
    ids.push(job.job_id)
  }
  const { backend } = app
  await until(() => backend.requests.length === 2, 'both spawns')
  const [spawned] = backend.requests
  expect(Object.keys(spawned?.files ?? {})).toEqual(['video', 'audio'])
  expect((await app.get(`/jobs/${ids[0] ?? ''}/inputs/video`)).rawPayload.equals(FACE)).toBe(true)

  for (const id of ids) {
    await app.post(`/jobs/${id}/cancel`)
    await app.untilJob(id, ({ attempts }) => attempts.at(-1)?.stop !== 'pending', 'stopped')
  }
  await app.app.inject({ method: 'DELETE', url: `/jobs/${ids[0] ?? ''}` })
  expect(left()).toHaveLength(4)
  await app.app.inject({ method: 'DELETE', url: `/jobs/${ids[1] ?? ''}` })
  expect(left()).toEqual([])
  expect(problemOf(await submit(body))).toMatchObject({ status: 422, code: 'upload_rejected' })
})

test('an upload that cannot be used is refused by its field, and nothing is left behind', async () => {
  await start({ authenticator: knownCallers })
  const [alice, bob] = [as('alice'), as('bob')]
  const [video, audio] = [await sent('video', FACE, alice), await sent('audio', SPEECH, alice)]
  const unsent = (await ticketOf('audio', 10, alice)).upload_id
  const refused = async (fields: object, caller = alice) => {
    const { status, code, errors } = problemOf(await submit(fields, caller))
    return [status, code, ...(errors ?? []).map(({ path, message }) => `${path} ${message}`)]
  }
  const rejected = (...errors: string[]) => [422, 'upload_rejected', ...errors]
  expect(await refused({ video: of(video), audio: of(audio) }, bob)).toEqual(
    rejected('/video is not an upload of yours', '/audio is not an upload of yours'),
  )
  expect(await refused({ video: of(audio), audio: of(audio) })).toEqual(rejected('/video is an upload for audio'))
  expect(await refused({ video: of(video), audio: of(unsent) })).toEqual(rejected('/audio has not been uploaded'))
  const forged = `${video.slice(0, -1)}${video.endsWith('A') ? 'B' : 'A'}`
  for (const id of ['', 'x', forged, video.replace('video', 'image'), '../../etc/passwd']) {
    expect(await refused({ video: of(id), audio: of(audio) })).toEqual(rejected('/video is not an upload of yours'))
  }
  expect(await refused({ video: of(video), video_path: 'a.mp4', audio: of(audio) })).toEqual([
    ...[400, 'invalid_request'],
    expect.stringMatching(/^\/video_path exactly one of .* is required, got video_path and video$/),
  ])
  expect(left().filter((path) => !path.startsWith('ahead/'))).toEqual([])
})

test('a PUT is for one file of one size and type, once, until its link expires', async () => {
  await start()
  const ticket = await ticketOf('video', FACE.length)
  const codeOf = async (...args: Parameters<typeof put>) => problemOf(await put(...args)).code
  const url = new URL(ticket.url)
  url.searchParams.set('signature', 'x'.repeat(43))
  expect(await codeOf({ url: url.href }, FACE)).toBe('link_invalid')
  const other = await ticketOf('audio', FACE.length)
  expect(await codeOf({ url: ticket.url.replace(ticket.upload_id, other.upload_id) }, FACE)).toBe('link_invalid')
  expect(await codeOf(ticket, FACE.subarray(1))).toBe('upload_rejected')
  expect(await codeOf(ticket, Buffer.concat([FACE, FACE]))).toBe('upload_rejected')
  const text = await ticketOf('video', 5)
  expect(await codeOf(text, Buffer.from('hello'), { 'content-type': 'application/json' })).toBe('unsupported_media')
  expect(left()).toEqual([])
  expect((await put(ticket, FACE, { 'content-type': 'application/json' })).statusCode).toBe(204)
  expect(await codeOf(ticket, FACE)).toBe('precondition_failed')
  app.clock.now += 3_601_000
  expect(await codeOf(ticket, FACE)).toBe('link_invalid')
})

test('a caller has a number and a sum of unused uploads, which use and time give back', async () => {
  await start({ authenticator: knownCallers })
  const [alice, bob] = [as('alice'), as('bob')]
  const first = await sent('video', FACE, alice)
  for (let n = 0; n < 2; n++) expect((await request('audio', 1000, alice)).statusCode).toBe(201)
  expect(problemOf(await request('audio', 1000, alice))).toMatchObject({ status: 429, code: 'uploads_limit_reached' })
  expect((await request('audio', 9_000_000, bob)).statusCode).toBe(201)
  expect(problemOf(await request('audio', 2_000_000, bob)).code).toBe('uploads_limit_reached')
  expect((await submit({ video: of(first), audio_path: 'speech.wav' }, alice)).statusCode).toBe(202)
  expect((await request('audio', 1000, alice)).statusCode).toBe(201)
  app.clock.now += 24 * 3_600_000 + 1000
  expect((await request('audio', 9_000_000, bob)).statusCode).toBe(201)
})

test('an upload that no job has expires after a day and is swept; one that a job has goes on serving', async () => {
  await start()
  const [used, unused] = [await sent('video', FACE), await sent('audio', SPEECH)]
  expect((await submit({ video: of(used), audio_path: 'speech.wav' })).statusCode).toBe(202)
  app.clock.now += 24 * 3_600_000 + 1000
  expect(problemOf(await submit({ video: of(used), audio: of(unused) })).errors).toEqual([
    { path: '/audio', message: expect.stringMatching(/^was not used in time/) as string },
  ])
  expect((await submit({ video: of(used), audio_path: 'speech.wav' })).statusCode).toBe(202)
  app.clock.now += 2 * 3_600_000
  for (const path of new Set(left().map((file) => join(folder, file, '..')))) await utimes(path, 0, 0)
  await app.reconciler.sweepFiles()
  const ahead = left().filter((path) => path.startsWith('ahead/'))
  expect(ahead).toEqual([expect.stringMatching(/video\.[0-9a-f]{64}\.mp4$/)])
  expect(await app.metrics.render()).toContain('musetalk_uploads_swept_total 1')
})

test('POST /uploads refuses what could never be used', async () => {
  await start({ maxBytes: 1000 })
  expect(problemOf(await request('video', 1001)).code).toBe('body_too_large')
  const bodies = [{}, { kind: 'text', size: 1 }, { kind: 'video', size: 0 }, { kind: 'video', size: 1, type: 'a b' }]
  for (const body of bodies) expect(problemOf(await app.post('/uploads', body)).status).toBe(400)
})

test('the client sends large files ahead, again after a broken connection, and reports how far it is', async () => {
  await start({ maxBytes: 30_000_000, unusedUploads: { count: 3, bytes: 30_000_000 } })
  const { url } = await listen(app.app)
  const large = Buffer.concat([FACE, Buffer.alloc(9 * 1024 * 1024)])
  const asked: string[] = []
  const client = createClient({
    baseUrl: url,
    fetch: (target, init) => {
      asked.push(`${init?.method ?? 'GET'} ${new URL(new Request(target).url).pathname.split('/')[1] ?? ''}`)
      return asked.length === 2 ? Promise.reject(new TypeError('broken')) : fetch(target, init)
    },
  })
  const sent: number[] = []
  const onUpload = ({ sent: bytes, total }: UploadProgress) => sent.push(bytes / total)
  const job = await client.submit({ video: new Blob([large]), audio: new Blob([SPEECH]) }, { onUpload })
  expect(job.input).toMatchObject({ video: { size: large.length }, audio: { size: SPEECH.length } })
  expect(asked).toEqual(['POST uploads', 'PUT uploads', 'PUT uploads', 'POST uploads', 'PUT uploads', 'POST jobs'])
  // Five without any report between start and end.
  expect(sent.length).toBeGreaterThan(5)
  expect(sent.at(-1)).toBe(1)
  const again = await client.submit({ video: of(job.input.video?.upload_id ?? ''), audio: new Blob([SPEECH]) })
  expect(again.input.video).toEqual(job.input.video)
})

test('the client sends small files ahead to a server that takes no forms, and tries the form only once', async () => {
  const made = await folderUploads()
  const { uploads } = made
  const noForms = refuseUploads(uploads, () => problem('uploads_need_shared_storage'))
  const ahead = (links: LinkSigner) => aheadUploads({ folder: join(made.folder, 'ahead'), uploads, links })
  app = await startApp({ uploads: noForms, ahead, unusedUploads: { count: 10, bytes: 10_000_000 } })
  const { url } = await listen(app.app)
  const asked: string[] = []
  const client = createClient({
    baseUrl: url,
    fetch: (target, init) => {
      asked.push(`${init?.method ?? 'GET'} ${new URL(new Request(target).url).pathname.split('/')[1] ?? ''}`)
      return fetch(target, init)
    },
  })
  const request = { video: new Blob([FACE]), audio_path: 'speech.wav' }
  expect((await client.check(request)).input).toMatchObject({ video: { size: FACE.length } })
  expect(asked.splice(0)).toEqual(['POST jobs', 'POST uploads', 'PUT uploads', 'POST jobs'])
  expect((await client.submit(request)).input).toMatchObject({ video: { size: FACE.length } })
  expect(asked).toEqual(['POST uploads', 'PUT uploads', 'POST jobs'])
})

test('the client rejects with the reason if a server takes no files at all', async () => {
  const refused = () => problem('uploads_need_public_url')
  const { folder: path, uploads } = await folderUploads()
  app = await startApp({
    uploads: refuseUploads(uploads, refused),
    ahead: (links) => aheadUploads({ folder: join(path, 'ahead'), uploads, links, refusal: refused }),
  })
  const client = createClient({ baseUrl: (await listen(app.app)).url })
  const submitted = client.submit({ video: new Blob([FACE]), audio_path: 'speech.wav' })
  await expect(submitted).rejects.toMatchObject({ status: 400, code: 'uploads_need_public_url' })
})

test('the jobs of a batch share an upload', async () => {
  await start()
  const video = of(await sent('video', FACE))
  const jobs = [1, 2].map(() => ({ video, audio_path: 'speech.wav' }))
  const response = await app.post('/batches', { jobs: [...jobs, { video: of('x'), audio_path: 'speech.wav' }] })
  expect(response.statusCode).toBe(202)
  const { results } = response.json<{ results: { job_id?: string; problem?: { code: string } }[] }>()
  expect(results.map(({ problem }) => problem?.code)).toEqual([undefined, undefined, 'upload_rejected'])
  await until(() => app.backend.requests.length === 2, 'both spawns')
  expect(app.backend.requests.map(({ files }) => files?.video?.size)).toEqual([FACE.length, FACE.length])
  for (let n = 0; n < 3; n++) expect((await request('audio', 1000)).statusCode).toBe(201)
})

test('a repeated submit with uploads of the same bytes and the same key is the same job', async () => {
  await start()
  const key = { 'idempotency-key': 'scene-1' }
  const submitOnce = async () => submit({ video: of(await sent('video', FACE)), audio_path: 'speech.wav' }, key)
  const first = (await submitOnce()).json<{ job_id: string }>()
  const again = await submitOnce()
  expect([again.headers['idempotent-replayed'], again.json<{ job_id: string }>().job_id]).toEqual([
    'true',
    first.job_id,
  ])
})

describe('a PUT over a connection', () => {
  /** Sends a PUT of which the test writes the body; gives the status and the code of the problem, or the error. */
  async function open(ticket: Ticket, headers: Headers = {}) {
    const { url } = await listen(app.app)
    const { pathname, search } = new URL(ticket.url)
    const outgoing = nodeRequest(url + pathname + search, { method: 'PUT', headers })
    const answered = new Promise<string>((resolve) => {
      outgoing.once('error', ({ message }) => resolve(message))
      outgoing.once('response', (answer) => {
        void json(answer).then((body) => resolve(`${answer.statusCode ?? ''} ${(body as { code: string }).code}`))
      })
    })
    return { outgoing, answered }
  }

  test('ends as soon as it has more bytes than its upload, and leaves nothing', async () => {
    await start()
    const ticket = await ticketOf('video', FACE.length)
    const { outgoing, answered } = await open(ticket, { 'transfer-encoding': 'chunked' })
    outgoing.write(Buffer.concat([FACE, Buffer.alloc(100_000)]))
    // Without the end of the body.
    expect(await answered).toBe('422 upload_rejected')
    outgoing.destroy()
    expect(left()).toEqual([])
    expect((await put(ticket, FACE)).statusCode).toBe(204)
  })

  test('that stops in the middle leaves nothing, is no error of the server in the log, and can be repeated', async () => {
    await start()
    const ticket = await ticketOf('video', FACE.length)
    const { outgoing } = await open(ticket, { 'content-length': String(FACE.length) })
    outgoing.write(FACE.subarray(0, 50_000))
    await until(() => left().length > 0, 'half a file')
    outgoing.destroy()
    await until(() => left().length === 0, 'its end')
    expect((await put(ticket, FACE)).statusCode).toBe(204)
    expect(app.requestLines.filter(({ level }) => level === 'error')).toEqual([])
  })
})
