import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { parseTrustedProxies } from '../../src/config/formats.ts'
import { problem } from '../../src/problems.ts'
import { refuseUploads } from '../../src/files/uploads.ts'
import type { Uploads } from '../../src/jobs/ports/files.ts'
import { problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { as, knownCallers } from '../helpers/callers.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { listen } from '../helpers/listen.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import {
  FACE,
  face,
  field,
  filesIn,
  folderUploads,
  FORM_TYPE,
  formOf,
  type Part,
  PICTURE,
  SPEECH,
  speech,
} from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

let app: TestApp
let folder: string
afterEach(() => app.close())

type Options = Parameters<typeof startApp>[0] & { maxBytes?: number; wrap?: (uploads: Uploads) => Uploads }

async function start({ maxBytes = 10_000_000, wrap = (uploads) => uploads, ...options }: Options = {}) {
  const made = await folderUploads({ maxBytes })
  folder = made.folder
  app = await startApp({ ...options, uploads: wrap(made.uploads) })
}

const post = (parts: readonly Part[], headers: Record<string, string> = {}) =>
  app.app.inject({
    method: 'POST',
    url: '/jobs',
    payload: formOf(parts),
    headers: { 'content-type': FORM_TYPE, ...headers },
  })

const aSubmit = async (parts: readonly Part[] = [face(), speech()], headers = {}) =>
  (await post(parts, headers)).json<{ job_id: string; input: object }>()

/** What is left over, a job's or not. */
const left = () => filesIn(folder)

describe('a submit with files', () => {
  test('makes a job that shows their types', async () => {
    await start()
    const response = await post([face(), speech()])
    expect(response.statusCode).toBe(202)
    const job = response.json<{ job_id: string }>()
    expect(job).toMatchObject({
      status: 'submitted',
      input: {
        video: { size: FACE.length, type: 'video/mp4' },
        audio: { size: SPEECH.length, type: 'audio/wav' },
      },
    })
    expect(response.body).not.toMatch(/sha256|uploads/)
    expect(left()).toEqual([`${job.job_id}/audio.wav`, `${job.job_id}/video.mp4`])
    expect(response.headers.location).toBe(`/jobs/${job.job_id}`)
    expect(JSON.stringify(await app.store.get(job.job_id))).not.toContain(folder)
  })

  test('accepts fields before, between and after files, with their types in JSON', async () => {
    await start()
    const { input, ...job } = (
      await post([
        field('version', 'v1'),
        { name: 'image', value: PICTURE, filename: 'x' },
        field('metadata', '{"scene": "12"}'),
        field('audio_path', 'speech.wav'),
        field('timeout_seconds', '90'),
        field('run_timeout_seconds', '30'),
      ])
    ).json<{ input: object; created_at: string; deadline_at: string }>()
    expect(job).toMatchObject({ version: 'v1', metadata: { scene: '12' }, run_timeout_seconds: 30 })
    expect(Date.parse(job.deadline_at) - Date.parse(job.created_at)).toBe(90_000)
    expect(input).toEqual({ image: { size: PICTURE.length, type: 'image/jpeg' }, audio_path: 'speech.wav' })
  })

  test('needs no file: a form of fields is the same as JSON', async () => {
    await start()
    const response = await post([field('video_path', 'face.mp4'), field('audio_path', 'speech.wav')])
    expect(response.statusCode).toBe(202)
    expect(left()).toEqual([])
  })

  test('passes the files to the backend, by path and by a link', async () => {
    await start()
    const { job_id: id } = await aSubmit([face(), field('audio_url', 'https://a.example/speech.wav')])
    await app.untilStatus(id, 'running')
    const [request] = app.backend.requests
    expect(request).toMatchObject({ input: { audio_url: 'https://a.example/speech.wav' } })
    expect(request?.input).not.toHaveProperty('video')
    expect(request?.files).toEqual({
      video: {
        path: `${folder}/${id}/video.mp4`,
        size: FACE.length,
        url: expect.stringMatching(/^https:\/\/video\.example\/jobs\/.*\/inputs\/video\?/),
      },
    })
  })

  test('is refused by every other route', async () => {
    await start()
    const { job_id: id } = await aSubmit()
    const payload = formOf([face()])
    const headers = { 'content-type': FORM_TYPE }
    const response = await app.app.inject({ method: 'POST', url: `/jobs/${id}/cancel`, payload, headers })
    expect(problemOf(response)).toMatchObject({ status: 415, code: 'unsupported_media_type' })
  })
})

describe('a refused submit leaves no file', () => {
  const zip = Buffer.concat([Buffer.from('504b0304140000000800', 'hex'), Buffer.alloc(500)])
  const cases: [what: string, parts: Part[], status: number, code: string, path: string | undefined][] = [
    ['a zip called .mp4', [face(zip), speech()], 415, 'unsupported_media', '/video'],
    ['a text called .mp4', [face('hello '.repeat(500)), speech()], 415, 'unsupported_media', '/video'],
    ['speech as a face', [face(SPEECH), speech()], 415, 'unsupported_media', '/video'],
    ['a picture as a video', [face(PICTURE), speech()], 415, 'unsupported_media', '/video'],
    ['a picture as speech', [face(), speech(PICTURE)], 415, 'unsupported_media', '/audio'],
    ['a video as an image', [speech(), { ...face(), name: 'image' }], 415, 'unsupported_media', '/image'],
    ['an empty file', [speech(), face('')], 400, 'invalid_request', '/video'],
    [
      'two faces',
      [face(), { name: 'image', value: PICTURE, filename: 'x' }, speech()],
      400,
      'invalid_request',
      '/video',
    ],
    ['a face twice over', [face(), speech(), field('video_path', 'a')], 400, 'invalid_request', '/video_path'],
    ['two files of one name', [face(), face(), speech()], 400, 'invalid_request', '/video'],
    [
      'a field given twice',
      [face(), speech(), field('version', 'v1'), field('version', 'v1')],
      400,
      'invalid_request',
      '/version',
    ],
    ['no speech', [face()], 400, 'invalid_request', '/audio_url'],
    ['an unknown file', [face(), speech(), { ...face(), name: 'subtitles' }], 400, 'invalid_request', '/subtitles'],
    ['an unknown field', [face(), speech(), field('colour', 'red')], 400, 'invalid_request', '/colour'],
    ['a file field without a file', [speech(), field('video', 'face.mp4')], 400, 'invalid_request', '/video'],
    ['a file in a field of text', [face(), { ...speech(), name: 'audio_url' }], 400, 'invalid_request', '/audio_url'],
    [
      'a number in words',
      [face(), speech(), field('timeout_seconds', 'ten')],
      400,
      'invalid_request',
      '/timeout_seconds',
    ],
    [
      'a number with a sign',
      [face(), speech(), field('timeout_seconds', '1e3')],
      400,
      'invalid_request',
      '/timeout_seconds',
    ],
    [
      'a key that a JSON body may not have',
      [face(), speech(), field('metadata', String.raw`{"\u005f_proto__":"b"}`)],
      400,
      'invalid_request',
      '/metadata',
    ],
    ['labels that are no JSON', [face(), speech(), field('metadata', '{scene')], 400, 'invalid_request', '/metadata'],
    ['a long field', [face(), speech(), field('metadata', 'x'.repeat(70_000))], 400, 'invalid_request', '/metadata'],
    ['a prototype', [face(), speech(), field('__proto__', 'x')], 400, 'invalid_multipart', undefined],
  ]
  test.each(cases)('%s', async (_what, parts, status, code, path) => {
    await start()
    const problem = problemOf(await post(parts))
    expect(problem).toMatchObject({ status, code })
    if (path !== undefined) expect(problem.paths).toContain(path)
    expect(left()).toEqual([])
    expect(await app.store.list({ limit: 1 })).toEqual([])
  })

  test('a photo in an unsupported format, and the problem names it and the supported ones', async () => {
    await start()
    const heic = Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    const problem = problemOf(await post([speech(), { name: 'image', value: heic, filename: 'IMG_1.HEIC' }]))
    const message = 'is image/heic, which is not supported; send JPEG, PNG, WebP, BMP, TIFF or GIF'
    expect(problem).toMatchObject({ status: 415, code: 'unsupported_media', detail: `image: ${message}` })
    expect(problem.errors).toEqual([{ path: '/image', message }])
    expect(left()).toEqual([])
  })

  test('an HTML page in place of speech, and the problem says so', async () => {
    await start()
    const problem = problemOf(await post([face(), speech('<!doctype html><title>Sign in</title>')]))
    expect(problem).toMatchObject({ status: 415, code: 'unsupported_media' })
    expect(problem.detail).toMatch(/^audio: is an HTML page, not audio; send WAV, /)
  })

  test('an odd Idempotency-Key', async () => {
    await start()
    const problem = problemOf(await post([face(), speech()], { 'idempotency-key': 'a b' }))
    expect(problem.code).toBe('invalid_idempotency_key')
    expect(left()).toEqual([])
  })

  test.each([
    ['without an end', formOf([face(), speech()]).subarray(0, -30), FORM_TYPE],
    ['cut off in a file', formOf([face(), speech()]).subarray(0, 20_000), FORM_TYPE],
    ['of no parts', Buffer.from('hello'), FORM_TYPE],
  ])('a form %s', async (_what, payload, type) => {
    await start()
    const response = await app.app.inject({ method: 'POST', url: '/jobs', payload, headers: { 'content-type': type } })
    expect(problemOf(response)).toMatchObject({ status: 400, code: 'invalid_multipart' })
    expect(left()).toEqual([])
  })

  test('files that are too large together, though none is by itself', async () => {
    await start({ maxBytes: FACE.length + 1000 })
    expect(problemOf(await post([face(), speech()]))).toMatchObject({ status: 413, code: 'body_too_large' })
    expect(left()).toEqual([])
  })

  test('a disk that is full', async () => {
    await start({
      wrap: (uploads) => ({
        ...uploads,
        create: async (receiving) => {
          const upload = await uploads.create(receiving)
          return {
            ...upload,
            add: async (kind, bytes) => {
              await upload.add(kind, bytes)
              throw problem('storage_full')
            },
          }
        },
      }),
    })
    const response = await post([face(), speech()])
    expect(problemOf(response)).toMatchObject({ status: 507, code: 'storage_full' })
    expect(response.headers).toHaveProperty('retry-after')
    expect(left()).toEqual([])
  })

  test('a queue that is full, and a store that cannot write', async () => {
    await start({ maxQueuedJobs: 0, running: false })
    expect(problemOf(await post([face(), speech()])).code).toBe('queue_full')
    expect(left()).toEqual([])
    app.store.insert = () => Promise.reject(problem('store_unavailable'))
    expect(problemOf(await post([face(), speech()])).code).toBe('store_unavailable')
    expect(left()).toEqual([])
  })

  test.each([
    ['the backend could not fetch them', () => problem('uploads_need_public_url'), 'uploads_need_public_url'],
    [
      'another replica could not have them',
      () => problem('uploads_need_shared_storage'),
      'uploads_need_shared_storage',
    ],
  ] as const)('files where %s', async (_why, refusal, code) => {
    await start({ wrap: (uploads) => refuseUploads(uploads, refusal) })
    expect(problemOf(await post([face(), speech()]))).toMatchObject({ status: 400, code })
    expect(left()).toEqual([])
  })
})

test('the file names of clients have no effect', async () => {
  await start()
  const names = [
    '../../../etc/passwd',
    '..\\..\\x.mp4',
    '/etc/passwd',
    'a\u0001b',
    `${'x'.repeat(5000)}.mp4`,
    '%2e%2e%2fx',
  ]
  for (const name of names) {
    const { job_id: id } = await aSubmit([face(FACE, name), field('audio_path', 'speech.wav')])
    expect(filesIn(`${folder}/${id}`)).toEqual(['video.mp4'])
  }
  expect(left()).toHaveLength(names.length)
})

test('a submit with an ambiguous write keeps the files for the job that may exist, and the sweep removes the others', async () => {
  const store = createMemoryStore()
  const { insert } = store
  let arrives = true
  store.insert = async (job, limits) => {
    if (arrives) await insert(job, limits)
    throw problem('store_unavailable', { isAmbiguousWrite: true })
  }
  await start({ store })
  expect(problemOf(await post([face(), speech()]))).toMatchObject({ status: 503, code: 'store_unavailable' })
  const [{ id } = expect.unreachable()] = await store.list({ limit: 2 })
  expect(left()).toEqual([`${id}/audio.wav`, `${id}/video.mp4`])
  arrives = false
  expect((await post([face(), speech()])).statusCode).toBe(503)
  expect(left()).toHaveLength(4)
  await app.uploads.sweep({ before: Date.now() + 60_000, isKnown: async (job) => (await store.get(job)) !== undefined })
  expect(left()).toEqual([`${id}/audio.wav`, `${id}/video.mp4`])
})

describe('an idempotency key', () => {
  const headers = { 'idempotency-key': 'once' }
  test('with the same files means the same job, and the second upload is discarded', async () => {
    await start()
    const first = await post([face(), speech()], headers)
    const again = await post([speech(), face(FACE, 'other.mp4')], headers)
    expect(first.statusCode).toBe(202)
    expect(again.statusCode).toBe(202)
    expect(again.headers['idempotent-replayed']).toBe('true')
    const { job_id: id } = first.json<{ job_id: string }>()
    expect(again.json()).toMatchObject({ job_id: id })
    expect(left()).toEqual([`${id}/audio.wav`, `${id}/video.mp4`])
  })

  test('with other files is refused, and they are discarded', async () => {
    await start()
    const { job_id: id } = await aSubmit([face(), speech()], headers)
    const other = Buffer.concat([SPEECH, Buffer.from('x')])
    expect(problemOf(await post([face(), speech(other)], headers))).toMatchObject({
      status: 422,
      code: 'idempotency_key_reused',
    })
    const named = await post([field('video_path', 'face.mp4'), speech()], headers)
    expect(named.statusCode).toBe(422)
    expect(left()).toEqual([`${id}/audio.wav`, `${id}/video.mp4`])
  })
})

describe('the files of a job', () => {
  const inputOf = (id: string, kind: string, headers: Record<string, string> = {}) =>
    app.app.inject({ method: 'GET', url: `/jobs/${id}/inputs/${kind}`, headers })

  test('are read by its owner, whole or in part', async () => {
    await start()
    const { job_id: id } = await aSubmit()
    const whole = await inputOf(id, 'video')
    expect(whole.statusCode).toBe(200)
    expect(whole.rawPayload.equals(FACE)).toBe(true)
    expect(whole.headers).toMatchObject({
      'content-type': 'video/mp4',
      'x-content-type-options': 'nosniff',
      'accept-ranges': 'bytes',
    })
    const part = await inputOf(id, 'audio', { range: 'bytes=10-19' })
    expect(part.statusCode).toBe(206)
    expect(part.rawPayload.equals(SPEECH.subarray(10, 20))).toBe(true)
    const head = await app.app.inject({ method: 'HEAD', url: `/jobs/${id}/inputs/audio` })
    expect(head).toMatchObject({ statusCode: 200, headers: { 'content-length': String(SPEECH.length) }, body: '' })
    const known = await inputOf(id, 'audio', { 'if-none-match': String(head.headers.etag) })
    expect(known.statusCode).toBe(304)
  })

  test.each([
    'image',
    'face',
    'video.mp4',
    '..%2fvideo',

    '..%2f..%2f..%2fetc%2fpasswd',
    'video%00',
    '__proto__',
    'constructor',
  ])('have no %s', async (kind) => {
    await start()
    const { job_id: id } = await aSubmit()
    expect(problemOf(await inputOf(id, kind))).toMatchObject({ status: 404, code: 'input_not_found' })
    const { expires, signature } = app.links.sign('input:video', { id, attempt: 1 })
    expect(problemOf(await inputOf(id, `${kind}?expires=${expires}&signature=${signature}`)).code).toBe('link_invalid')
  })

  test('are not shown to other callers', async () => {
    await start({ authenticator: knownCallers })
    const { job_id: id } = await aSubmit([face(), speech()], as('alice'))
    expect((await inputOf(id, 'video', as('alice'))).statusCode).toBe(200)
    expect(problemOf(await inputOf(id, 'video', as('bob')))).toMatchObject({ status: 404, code: 'job_not_found' })
    expect(problemOf(await inputOf(id, 'video')).status).toBe(401)
    expect((await inputOf(id, 'video', as('root'))).statusCode).toBe(200)
  })

  test('are read by link until an hour after the deadline, and not by a link to something else', async () => {
    await start({ authenticator: knownCallers })
    const { job_id: id } = await aSubmit([face(), speech(), field('timeout_seconds', '100')], as('alice'))
    await app.untilStatus(id, 'running')
    const link = (app.backend.requests[0]?.files?.video?.url ?? '').replace('https://video.example', '')
    const read = (url: string) => app.app.inject({ method: 'GET', url })
    expect((await read(link)).rawPayload.equals(FACE)).toBe(true)
    expect(problemOf(await read(link.replace('/inputs/video', '/inputs/audio'))).code).toBe('link_invalid')
    expect(problemOf(await read(link.replace('/inputs/video', '/output'))).code).toBe('link_invalid')
    const other = await aSubmit([face(), speech()], as('alice'))
    expect(problemOf(await read(link.replace(id, other.job_id))).code).toBe('link_invalid')
    // The ordinary life of a link is over by then.
    app.clock.now += 100_000 + 3_599_000
    expect((await read(link)).statusCode).toBe(200)
    app.clock.now += 1_000
    expect(problemOf(await read(link))).toMatchObject({ status: 403, code: 'link_invalid' })
  })

  test('are kept after it finishes, serve a retry, and are deleted with it', async () => {
    await start()
    const { job_id: id } = await aSubmit()
    await app.untilStatus(id, 'running')
    app.backend.end(`fc-${id}-1`, { kind: 'failed', code: 'inference_failed', error: 'no face' })
    await app.untilStatus(id, 'failed')
    await app.post(`/jobs/${id}/retry`)
    await app.untilStatus(id, 'running')
    expect(app.backend.requests[1]?.files?.audio?.path).toBe(`${folder}/${id}/audio.wav`)
    app.backend.end(`fc-${id}-2`, aSuccess)
    await app.untilStatus(id, 'succeeded')
    expect(left()).toHaveLength(2)
    expect((await app.app.inject({ method: 'DELETE', url: `/jobs/${id}` })).statusCode).toBe(204)
    expect(left()).toEqual([])
  })

  test('are deleted with a job whose retention has ended', async () => {
    await start()
    const { job_id: id } = await aSubmit()
    await app.untilStatus(id, 'running')
    app.backend.end(`fc-${id}-1`, aSuccess)
    await app.untilStatus(id, 'succeeded')
    app.clock.now += 1_000_001
    await app.reconciler.removeOld()
    expect(left()).toEqual([])
  })

  test('fail it if they have disappeared', async () => {
    await start({ running: false })
    const { job_id: id } = await aSubmit()
    rmSync(`${folder}/${id}/video.mp4`)
    expect(problemOf(await inputOf(id, 'video')).code).toBe('input_not_found')
    await app.queue.start(app.run)
    expect(await app.untilStatus(id, 'failed')).toMatchObject({
      ...{ errorCode: 'input_unavailable', error: 'video: the file has been deleted' },
    })
    expect(app.backend.requests).toEqual([])
  })
})

/** A client on a bare socket, which can stop where it likes. */
async function dial(headers: Record<string, string | number>) {
  const address = app.app.server.address() as AddressInfo | null
  const { port } = address ?? (await listen(app.app))
  const socket = connect(port, '127.0.0.1')
  const client = { socket, answer: '', closed: false }
  socket.on('data', (piece: Buffer) => (client.answer += piece.toString()))
  socket.on('error', () => undefined)
  socket.on('close', () => (client.closed = true))
  await once(socket, 'connect')
  const lines = Object.entries({ host: 'a.example', 'content-type': FORM_TYPE, ...headers }).map((pair) =>
    pair.join(': '),
  )
  socket.write(`POST /jobs HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
  return client
}

const http = { requestTimeoutMs: 400, uploadCheckMs: 300, uploadMinBytes: 1000 }

describe('over a real connection', () => {
  test('a client that leaves midway leaves no file', async () => {
    await start()
    const form = formOf([speech(), face()])
    const client = await dial({ 'content-length': form.length })
    client.socket.write(form.subarray(0, SPEECH.length + 20_000))
    await until(() => left().some((name) => name.endsWith('/video.part')), 'the beginning of a file')
    expect(left()).toHaveLength(2)
    client.socket.destroy()
    await until(() => left().length === 0, 'the end of what had come')
  })

  test('a client that leaves after its last byte does not wait for the disk', async () => {
    const waiting = Promise.withResolvers<AbortSignal>()
    await start({
      wrap: (uploads) => ({
        ...uploads,
        create: async (receiving) => {
          const upload = await uploads.create(receiving)
          return {
            ...upload,
            async add(kind, bytes) {
              await upload.add(kind, bytes)
              waiting.resolve(receiving.signal)
              await once(receiving.signal, 'abort')
              throw receiving.signal.reason
            },
          }
        },
      }),
    })
    const form = formOf([speech()])
    const client = await dial({ 'content-length': form.length })
    client.socket.write(form)
    const signal = await waiting.promise
    expect(signal.aborted).toBe(false)
    client.socket.destroy()
    await until(() => signal.aborted && left().length === 0, 'the files to be removed')
  })

  test('an upload may take longer than any other request, and is cut off with 408 when it stops', async () => {
    await start({ http })
    const form = formOf([face(), speech()])
    const client = await dial({ 'content-length': form.length })
    const step = 2_500
    for (let at = 0; at < 30_000; at += step) {
      client.socket.write(form.subarray(at, at + step))
      await sleep(100)
    }
    expect(client).toMatchObject({ answer: '', closed: false })
    await until(() => client.closed, 'the end of the connection')
    expect(client.answer).toMatch(/^HTTP\/1\.1 408 /)
    await until(() => left().length === 0, 'the end of what had come')
  })

  test('a very slow upload is cut off as well', async () => {
    await start({ http })
    const form = formOf([face(), speech()])
    const client = await dial({ 'content-length': form.length })
    for (let at = 0; !client.closed && at < 200; at++) {
      client.socket.write(form.subarray(at, at + 1))
      await sleep(20)
    }
    expect(client.answer).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('an upload that is too large is refused before it has arrived, and its client can read why', async () => {
    await start({ maxBytes: 100_000, http: { lingerReadMs: 500 } })
    const client = await dial({ 'transfer-encoding': 'chunked' })
    const write = (data: Buffer) =>
      client.socket.write(`${data.length.toString(16)}\r\n${data.toString('latin1')}\r\n`, 'latin1')
    write(formOf([face(Buffer.alloc(200_000))]).subarray(0, 190_000))
    await until(() => client.answer.endsWith('}'), 'an answer')
    expect(client.answer).toMatch(/^HTTP\/1\.1 413 /)
    expect(left()).toEqual([])
    // What was on its way meanwhile does not reset the connection under the answer.
    for (let n = 0; n < 20; n++) write(Buffer.alloc(50_000))
    await sleep(100)
    expect(client.closed).toBe(false)
    await until(() => client.closed, 'the end of the connection', 3_000)
  })

  test('an upload whose Content-Length is too large is refused at once', async () => {
    await start({ http: { maxUploadBytes: 100_000 } })
    const client = await dial({ 'content-length': 2_000_000 })
    await until(() => client.answer.endsWith('}'), 'an answer')
    expect(client.answer).toMatch(/^HTTP\/1\.1 413 /)
    client.socket.destroy()
  })

  test('nothing is kept of the files of a client without a credential', async () => {
    await start({ authenticator: knownCallers })
    const form = formOf([face(), speech()])
    const client = await dial({ 'content-length': form.length })
    await until(() => client.answer.endsWith('}'), 'an answer')
    expect(client.answer).toMatch(/^HTTP\/1\.1 401 /)
    expect(left()).toEqual([])
    client.socket.destroy()
  })

  test('one caller gets no more than its share of the slots, and another gets one', async () => {
    await start({ http: { maxUploads: 4, trustedProxies: parseTrustedProxies('127.0.0.1') } })
    const form = formOf([face(), speech()])
    const clients: Awaited<ReturnType<typeof dial>>[] = []
    const from = (address: string) => ({ 'x-forwarded-for': address })
    for (const address of ['192.0.2.1', '192.0.2.1', '192.0.2.2']) {
      const before = left().length
      const client = await dial({ 'content-length': form.length, ...from(address) })
      clients.push(client)
      client.socket.write(form.subarray(0, 50_000))
      await until(() => left().length > before, 'the beginning of a file')
    }
    const statusOf = async (address: string) => (await post([face(), speech()], from(address))).statusCode
    expect([await statusOf('192.0.2.1'), await statusOf('192.0.2.2')]).toEqual([503, 503])
    expect(await statusOf('192.0.2.3')).toBe(202)
    for (const { socket } of clients) socket.destroy()
  })

  test('slow uploads are cut off only while others are refused because all slots are taken', async () => {
    const settings = { maxUploads: 1, uploadCheckMs: 200, uploadMinBytes: 100, lingerMs: 200 }
    await start({ http: settings })
    const form = formOf([face(), speech()])
    const client = await dial({ 'content-length': form.length })
    let sent = 0
    const drip = setInterval(() => client.socket.write(form.subarray(sent, (sent += 150))), 100)
    onTestFinished(() => clearInterval(drip))
    await until(() => left().length > 0, 'the beginning of a file')
    await sleep(1_000)
    expect(client.answer).toBe('')
    expect((await post([face(), speech()])).statusCode).toBe(503)
    await until(() => client.answer.includes(' 408 '), 'the end of the slow one')
    await until(async () => (await post([face(), speech()])).statusCode === 202, 'a place')
  })

  test('no more uploads are received at a time than allowed', async () => {
    await start({ http: { maxUploads: 1 } })
    const form = formOf([face(), speech()])
    const client = await dial({ 'content-length': form.length })
    client.socket.write(form.subarray(0, 50_000))
    await until(() => left().length > 0, 'the beginning of a file')
    expect(problemOf(await post([face(), speech()]))).toMatchObject({ status: 503, code: 'overloaded' })
    client.socket.write(form.subarray(50_000))
    await until(() => client.answer.includes(' 202 '), 'an answer')
    expect((await post([face(), speech()])).statusCode).toBe(202)
    client.socket.destroy()
  })
})
