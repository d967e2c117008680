import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createMediaReader } from '../../src/files/media.ts'
import type { MediaReader } from '../../src/jobs/ports/files.ts'
import type { MediaLimits } from '../../src/jobs/submit.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { createGuard } from '../../src/net/guard.ts'
import { problemOf, startApp, type TestApp } from '../helpers/app.ts'
import { makeMedia, SAMPLES, temporaryFolder } from '../helpers/media.ts'
import {
  FACE,
  face,
  filesIn,
  folderUploads,
  FORM_TYPE,
  formOf,
  type Part,
  PICTURE,
  speech,
} from '../helpers/uploads.ts'

const FACE_FACTS = { container: 'MP4', codec: 'h264', has_picture: true }
const SPEECH_FACTS = {
  container: 'WAV',
  codec: 'pcm_s16le',
  has_sound: true,
  has_picture: false,
  duration_seconds: 3.894,
}

let app: TestApp
let folder: string
let media: MediaReader

beforeAll(() => {
  // A busy machine must not make a fact unknown.
  media = createMediaReader({
    locate: (_field, path) => Promise.resolve(join(SAMPLES, path)),
    guard: createGuard({ allowPrivate: true }),
    fileLimitMs: 20_000,
    urlLimitMs: 20_000,
  })
})
afterAll(() => media.close())
afterEach(() => app.close())

async function start(mediaLimits: MediaLimits = {}, reader = media) {
  const made = await folderUploads()
  folder = made.folder
  app = await startApp({ mediaLimits, media: reader, uploads: made.uploads })
}

const postForm = (parts: readonly Part[], url = '/jobs') =>
  app.app.inject({ method: 'POST', url, payload: formOf(parts), headers: { 'content-type': FORM_TYPE } })

const makeFile = async (name: string, ...args: string[]) => {
  const path = join(await temporaryFolder(), name)
  makeMedia(...args, path)
  return readFileSync(path)
}

/** Serves a file with ranges, or as `answer` does; counts the requests. */
async function serve(answer: RequestListener = serveRanges(FACE)) {
  const requests: string[] = []
  const server = createServer((request, response) => {
    requests.push(request.headers.range ?? '')
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
}

const serveRanges =
  (file: Buffer): RequestListener =>
  (request, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const [first, last] = [Number(from), Math.min(Number(to), file.length - 1)]
    response.writeHead(206, { 'content-range': `bytes ${first}-${last}/${file.length}` })
    response.end(file.subarray(first, last + 1))
  }

describe('the facts of media are on the job', () => {
  test('of files', async () => {
    await start()
    const response = await postForm([face(), speech()])
    expect(response.statusCode).toBe(202)
    const job = response.json<JobView>()
    expect(job.media).toMatchObject({ face: FACE_FACTS, audio: SPEECH_FACTS })
    expect((await app.get(`/jobs/${job.job_id}`)).json()).toMatchObject({ media: job.media })
  })

  test('of a picture, which has no duration', async () => {
    await start()
    const job = (await postForm([{ name: 'image', value: PICTURE, filename: 'face.jpg' }, speech()])).json<JobView>()
    expect(job.media?.face).toMatchObject({ container: 'JPEG', rotation: 0, has_picture: true, has_sound: false })
    expect(job.media?.face).not.toHaveProperty('duration_seconds')
  })

  test('of paths, and a path that leads nowhere is not refused', async () => {
    await start()
    const known = await app.post('/jobs', { video_path: 'face.mp4', audio_path: 'speech.wav' })
    expect(known.json()).toMatchObject({ media: { face: FACE_FACTS, audio: SPEECH_FACTS } })
    const partly = await app.post('/jobs', { video_path: 'nothing.mp4', audio_path: 'speech.wav' })
    expect(partly.json<JobView>().media).toEqual({ audio: expect.objectContaining(SPEECH_FACTS) as object })
    const unknown = await app.post('/jobs', { video_path: 'nothing.mp4', audio_path: 'nothing.wav' })
    expect(unknown.statusCode).toBe(202)
    expect(unknown.json()).not.toHaveProperty('media')
  })

  test('of URLs, by a few ranges', async () => {
    await start()
    const { url, requests } = await serve()
    const job = (await app.post('/jobs', { video_url: `${url}/a`, audio_path: 'speech.wav' })).json<JobView>()
    expect(job.media).toMatchObject({ face: FACE_FACTS, audio: SPEECH_FACTS })
    expect(requests.length).toBeLessThan(4)
  })

  test.each<[string, RequestListener]>([
    ['is not there', (_request, response) => response.writeHead(404).end('no')],
    ['is a page', (_request, response) => response.end('<!doctype html><title>Sign in</title>')],
    ['is longer than it says', (_request, response) => response.writeHead(200, { 'content-length': '5' }).end('12345')],
    ['says nothing about its length', (_request, response) => void response.write(FACE)],
    ['is compressed', (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('x')],
  ])('a file that %s is unknown and not refused', async (_name, answer) => {
    await start()
    const { url } = await serve(answer)
    const response = await app.post('/jobs', { video_url: url, audio_url: url })
    expect(response.statusCode).toBe(202)
    expect(response.json()).not.toHaveProperty('media')
  })

  test('a URL that answers too slowly holds a submit up for so long, and the other input is known', async () => {
    const reader = createMediaReader({
      locate: (_field, path) => Promise.resolve(join(SAMPLES, path)),
      guard: createGuard({ allowPrivate: true }),
      fileLimitMs: 20_000,
      urlLimitMs: 50,
    })
    onTestFinished(() => reader.close())
    await start({}, reader)
    const { url, requests } = await serve(() => undefined)
    const job = (await app.post('/jobs', { video_url: url, audio_path: 'speech.wav' })).json<JobView>()
    expect(job.media).toEqual({ audio: expect.objectContaining(SPEECH_FACTS) as object })
    expect(requests).toEqual(['bytes=0-262143'])
  })

  describe('and what their content is', () => {
    const contentsOf = async (input: Parameters<MediaReader['read']>[0]) =>
      (await media.read(input, undefined, 'key:a'))?.contents

    test('of paths by a digest', async () => {
      await start()
      const digest = createHash('sha256').update(FACE).digest('hex')
      expect(await contentsOf({ video_path: 'face.mp4', audio_path: 'nothing.wav' })).toEqual({ face: digest })
    })

    test.each([
      ['a strong tag', () => '"a"', true],
      ['a weak tag', () => 'W/"a"', false],
      ['no tag', () => undefined, false],
      ['a tag that is none', () => 'a', false],
      ['another tag each time', (n: number) => `"${n}"`, false],
    ])('of URLs by their strong tag: %s', async (_what, tagOf, isKnown) => {
      await start()
      // Its tracks are listed at its end, so that it takes several ranges.
      const file = await makeFile(
        'late.mp4',
        '-f',
        'lavfi',
        '-i',
        'testsrc2=size=1280x720:duration=4',
        '-c:v',
        'mjpeg',
        '-q:v',
        '1',
      )
      let answers = 0
      const { url, requests } = await serve((request, response) => {
        const tag = tagOf(answers++)
        if (tag !== undefined) response.setHeader('etag', tag)
        serveRanges(file)(request, response)
      })
      const contents = await contentsOf({ video_url: url, audio_path: 'nothing.wav' })
      expect(requests.length).toBeGreaterThan(1)
      expect(contents).toEqual(isKnown ? { face: `${url} "a"` } : {})
    })
  })

  test('of URLs nothing is read unless the server may', async () => {
    const reader = createMediaReader({})
    onTestFinished(() => reader.close())
    await start({}, reader)
    const { url, requests } = await serve()
    const response = await app.post('/jobs', { video_url: url, audio_path: 'speech.wav' })
    expect(response.json()).not.toHaveProperty('media')
    expect(requests).toEqual([])
  })
})

describe('media that will not do are refused with 422 media_rejected', () => {
  const rejected = async (send: () => ReturnType<typeof postForm>) => {
    const response = await send()
    expect(problemOf(response)).toMatchObject({ status: 422, code: 'media_rejected' })
    expect(filesIn(folder)).toEqual([])
    expect((await app.get('/jobs')).json()).toEqual({ jobs: [] })
    return problemOf(response).errors
  }

  test('a face without a picture', async () => {
    await start()
    const sound = await makeFile('a.mp4', '-f', 'lavfi', '-i', 'sine=d=1', '-c:a', 'aac')
    expect(await rejected(() => postForm([face(sound), speech()]))).toEqual([
      { path: '/video', message: 'is MP4 and has no picture' },
    ])
  })

  test('a speech without sound', async () => {
    await start()
    const silent = await makeFile('a.mp4', '-f', 'lavfi', '-i', 'testsrc2=s=64x64:d=1', '-c:v', 'libx264')
    expect(await rejected(() => postForm([face(), speech(silent)]))).toEqual([
      { path: '/audio', message: 'is MP4 and has no sound' },
    ])
  })

  test('a face video without sound is fine', async () => {
    await start()
    const silent = await makeFile('a.mp4', '-f', 'lavfi', '-i', 'testsrc2=s=64x64:d=1', '-c:v', 'libx264')
    expect((await postForm([face(silent), speech()])).statusCode).toBe(202)
  })

  test('a sound of no length', async () => {
    await start()
    const nothing = await makeFile('a.wav', '-f', 'lavfi', '-i', 'sine', '-t', '0')
    expect(await rejected(() => postForm([face(), speech(nothing)]))).toEqual([
      { path: '/audio', message: 'has a sound that lasts 0 s: there is nothing to speak' },
    ])
  })

  test('a face and a speech that are swapped', async () => {
    await start()
    const message = (format: string, what: string) =>
      `is ${format} and has no ${what}; face and speech seem to be swapped`
    expect(await rejected(() => app.post('/jobs', { video_path: 'speech.wav', audio_path: 'face.jpg' }))).toEqual([
      { path: '/video_path', message: message('WAV', 'picture') },
      { path: '/audio_path', message: message('JPEG', 'sound') },
    ])
  })

  test('a speech that is longer than the limit, from whichever place, and the longest that is not', async () => {
    await start({ maxSpeechSeconds: 3 })
    const message = 'lasts 3.894 s, more than the limit of 3 s'
    expect(await rejected(() => postForm([face(), speech()]))).toEqual([{ path: '/audio', message }])
    const byPath = () => app.post('/jobs', { video_path: 'face.mp4', audio_path: 'speech.wav' })
    expect(await rejected(byPath)).toEqual([{ path: '/audio_path', message }])
    const { url } = await serve(serveRanges(readFileSync(join(SAMPLES, 'speech.wav'))))
    const byUrl = () => app.post('/jobs', { video_path: 'face.mp4', audio_url: url })
    expect(await rejected(byUrl)).toEqual([{ path: '/audio_url', message }])
    await app.close()
    await start({ maxSpeechSeconds: 4 })
    expect((await byPath()).statusCode).toBe(202)
  })

  test('each of many jobs of a batch, as a submit alone', async () => {
    await start({ maxSpeechSeconds: 1 })
    const { url: videoUrl } = await serve()
    const { url: audioUrl } = await serve(serveRanges(readFileSync(join(SAMPLES, 'speech.wav'))))
    const jobs = Array.from({ length: 60 }, (_, n) => ({ video_url: videoUrl, audio_url: `${audioUrl}/${n}` }))
    const rejectedAll = await app.post('/batches', { jobs })
    expect(problemOf(rejectedAll)).toMatchObject({ status: 422, code: 'batch_rejected' })
    const [known, unknown] = [jobs.slice(0, 50), { video_path: 'face.mp4', audio_path: 'nothing.wav' }]
    const batch = await app.post('/batches', { jobs: [...known, unknown] })
    expect(batch.json()).toMatchObject({ total: 1, refused: 50 })
  })

  test('a face that is larger than the limit', async () => {
    const picture = await makeFile('a.png', '-f', 'lavfi', '-i', 'color=s=102x100', '-frames:v', '1')
    const image = { name: 'image', value: picture, filename: 'a.png' }
    await start({ maxFacePixels: 10_000 })
    expect(await rejected(() => postForm([image, speech()]))).toEqual([
      { path: '/image', message: 'has 102x100 pixels (10200), more than the limit of 10000' },
    ])
    await app.close()
    await start({ maxFacePixels: 10_200 })
    expect((await postForm([image, speech()])).statusCode).toBe(202)
  })
})

describe('POST /jobs?dry_run=true', () => {
  const nothingIsLeft = async () => {
    expect(filesIn(folder)).toEqual([])
    expect((await app.get('/jobs')).json()).toEqual({ jobs: [] })
    expect(app.backend.requests).toEqual([])
  }

  test('answers what a submit would make, and makes nothing', async () => {
    await start()
    const body = { video_path: 'face.mp4', audio_path: 'speech.wav', metadata: { scene: '12' }, run_timeout_seconds: 9 }
    const response = await app.post('/jobs?dry_run=true', body)
    expect(response.statusCode).toBe(200)
    expect(response.headers).not.toHaveProperty('location')
    const { metadata, run_timeout_seconds, ...input } = body
    const facts = { face: FACE_FACTS, audio: SPEECH_FACTS }
    expect(response.json()).toMatchObject({
      version: 'v15',
      backend: 'modal',
      input,
      metadata,
      run_timeout_seconds,
      media: facts,
    })
    expect(response.json()).not.toHaveProperty('job_id')
    await nothingIsLeft()
  })

  test('takes files, and keeps none', async () => {
    await start()
    const response = await postForm([face(), speech()], '/jobs?dry_run=true')
    expect(response.statusCode).toBe(200)
    expect(response.json()).toMatchObject({
      input: { video: { size: FACE.length, type: 'video/mp4' } },
      media: { face: FACE_FACTS, audio: SPEECH_FACTS },
    })
    await nothingIsLeft()
  })

  test('refuses what a submit refuses, and keeps no file', async () => {
    await start({ maxSpeechSeconds: 1 })
    const bad = await app.post('/jobs?dry_run=true', { video_path: '../face.mp4', audio_path: 'speech.wav', colour: 1 })
    expect(problemOf(bad)).toMatchObject({ status: 400, paths: ['/colour', '/video_path'] })
    expect(problemOf(await postForm([face(), speech()], '/jobs?dry_run=true'))).toMatchObject({
      ...{ status: 422, code: 'media_rejected', paths: ['/audio'] },
    })
    expect(problemOf(await postForm([face()], '/jobs?dry_run=true'))).toMatchObject({
      status: 400,
      code: 'invalid_request',
    })
    await nothingIsLeft()
  })

  test('uses up neither its idempotency key nor the limits on numbers of jobs', async () => {
    const made = await folderUploads()
    folder = made.folder
    app = await startApp({ media, uploads: made.uploads, maxQueuedJobs: 1, maxActiveOfCaller: 1, running: false })
    const body = { video_path: 'face.mp4', audio_path: 'speech.wav' }
    const key = { 'idempotency-key': 'take-3' }
    for (let n = 0; n < 3; n++) expect((await app.post('/jobs?dry_run=true', body, key)).statusCode).toBe(200)
    const accepted = await app.post('/jobs', { ...body, version: 'v1' }, key)
    expect(accepted.statusCode).toBe(202)
    expect(accepted.headers).not.toHaveProperty('idempotent-replayed')
    expect((await app.post('/jobs?dry_run=true', body, key)).statusCode).toBe(200)
    expect(problemOf(await app.post('/jobs', body)).status).toBeGreaterThan(400)
  })

  test('dry_run=false is a submit, and anything else is refused', async () => {
    await start()
    const body = { video_path: 'face.mp4', audio_path: 'speech.wav' }
    expect((await app.post('/jobs?dry_run=false', body)).statusCode).toBe(202)
    expect(problemOf(await app.post('/jobs?dry_run=maybe', body))).toMatchObject({ status: 400, paths: ['/dry_run'] })
    expect(problemOf(await app.post('/jobs?dryrun=true', body))).toMatchObject({ status: 400, paths: ['/dryrun'] })
  })
})
