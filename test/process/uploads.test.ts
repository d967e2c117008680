import { execFile } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { probe, SAMPLES, SPEECH_SECONDS } from '../helpers/media.ts'
import type { ServerProcess } from '../helpers/server.ts'
import { FACE, face, field, filesIn, FORM_TYPE, formOf, type Part, SPEECH, speech } from '../helpers/uploads.ts'
import { contractArguments } from '../helpers/control-plane/control-plane.ts'
import { folderOfTest, planeOfTest, serverOfTest } from '../helpers/of-test.ts'
import { until } from '../helpers/until.ts'

const TIMEOUT = { timeout: 60_000 }

const post = (server: ServerProcess, parts: readonly Part[], headers: Record<string, string> = {}) => {
  const body = new Uint8Array(formOf(parts))
  return fetch(`${server.url}/jobs`, { method: 'POST', headers: { 'content-type': FORM_TYPE, ...headers }, body })
}

const submit = async (server: ServerProcess, parts: readonly Part[]) =>
  (await (await post(server, parts)).json()) as JobView

test(
  'the curl line of docs/api.md makes a video that plays, and deleting the job leaves nothing',
  TIMEOUT,
  async () => {
    const folder = folderOfTest()
    const server = await serverOfTest({ BACKEND: 'local', DATA_DIR: folder })
    const form = ['video=@samples/face.mp4', 'audio=@samples/speech.wav'].flatMap((part) => ['-F', part])
    const { stdout } = await promisify(execFile)('curl', ['-s', ...form, `${server.url}/jobs`], {
      cwd: join(SAMPLES, '..'),
    })
    const { job_id: id, input } = JSON.parse(stdout) as JobView
    expect(input).toMatchObject({ video: { type: 'video/mp4' }, audio: { type: 'audio/wav' } })
    await server.untilStatus(id, 'succeeded')
    const path = join(folder, 'fetched.mp4')
    writeFileSync(path, Buffer.from(await (await fetch(`${server.url}/jobs/${id}/output`)).arrayBuffer()))
    const made = await probe(path)
    expect(made).toMatchObject({ video: 'h264 yuv420p', audio: 'aac' })
    expect(Math.abs(made.seconds - SPEECH_SECONDS)).toBeLessThan(0.1)
    const log = await (await fetch(`${server.url}/jobs/${id}/logs`)).text()
    expect(log + server.output()).not.toContain(join(folder, 'uploads'))
    expect((await fetch(`${server.url}/jobs/${id}`, { method: 'DELETE' })).status).toBe(204)
    expect(filesIn(join(folder, 'uploads'))).toEqual([])
  },
)

test('Modal gets links under PUBLIC_URL to the exact bytes, also after a restart and a retry', TIMEOUT, async () => {
  const [plane, folder] = [await planeOfTest(), folderOfTest()]
  const env = {
    ...{ ...plane.env, BACKEND: 'modal', DATA_DIR: folder, JOB_STORE: `sqlite:${join(folder, 'jobs.db')}` },
    ...{ PUBLIC_URL: 'https://jobs.example/api/', API_KEYS: '', AUTH: 'none' },
  }
  const first = await serverOfTest(env)
  const kept = await submit(first, [face(), field('audio_url', 'https://media.example/behave/end=failed.wav')])
  await first.untilStatus(kept.job_id, 'failed')
  const both = await submit(first, [face(), speech()])
  await first.untilStatus(both.job_id, 'succeeded')
  const linksOf = async (n: number) => (await plane.calls())[n]?.kwargs as Record<string, string>
  const read = async (server: ServerProcess, link = '') => {
    expect(link).toMatch(/^https:\/\/jobs\.example\/api\/jobs\//)
    return Buffer.from(await (await fetch(link.replace('https://jobs.example/api', server.url))).arrayBuffer())
  }
  const spawned = await linksOf(1)
  expect(Object.keys(spawned).sort()).toEqual(['audio_url', 'version', 'video_url'])
  expect((await read(first, spawned.video_url)).equals(FACE)).toBe(true)
  expect((await read(first, spawned.audio_url)).equals(SPEECH)).toBe(true)
  expect(await first.end('SIGKILL')).toBe('SIGKILL')

  const second = await serverOfTest(env)
  expect((await read(second, spawned.video_url)).equals(FACE)).toBe(true)
  expect((await fetch(`${second.url}/jobs/${kept.job_id}/retry`, { method: 'POST' })).status).toBe(202)
  await until(async () => (await plane.calls()).length === 3, 'a second call')
  const again = await linksOf(2)
  expect((await read(second, again.video_url)).equals(FACE)).toBe(true)
  // The link of the attempt before is of no more use.
  const old = (await linksOf(0)).video_url ?? ''
  expect((await fetch(old.replace('https://jobs.example/api', second.url))).status).toBe(403)
})

/** The digest of bytes, also of those that came as JSON from another process; anything else stays as it is. */
const digestOf = (value: unknown): unknown => {
  const bytes = Buffer.isBuffer(value) ? value : (value as { data?: number[] }).data
  return bytes === undefined ? value : hash('sha256', Buffer.from(bytes))
}

const sizeOf = (...files: Buffer[]) => String(files.reduce((total, { length }) => total + length, 0))

test.each([
  ['0', /set PUBLIC_URL, .* or MODAL_INLINE_BYTES/],
  [sizeOf(FACE), /larger than MODAL_INLINE_BYTES \(\d+ bytes together\); set PUBLIC_URL/],
])(
  'Modal without PUBLIC_URL refuses files beyond MODAL_INLINE_BYTES=%s and accepts paths',
  TIMEOUT,
  async (limit, detail) => {
    const [plane, folder] = [await planeOfTest(), folderOfTest()]
    const server = await serverOfTest({ ...plane.env, BACKEND: 'modal', DATA_DIR: folder, MODAL_INLINE_BYTES: limit })
    const refused = await post(server, [face(), speech()])
    expect({ status: refused.status, body: await refused.json() }).toEqual({
      status: 400,
      body: expect.objectContaining({
        code: 'uploads_need_public_url',
        detail: expect.stringMatching(detail) as string,
      }) as object,
    })
    expect((await server.submit({ video_path: 'a.mp4', audio_path: 'b.wav' })).status).toBe('submitted')
    expect(filesIn(folder)).toEqual([])
  },
)

test('files go with the call of a function of contract 1, also after a restart and a retry', TIMEOUT, async () => {
  const [plane, folder] = [await planeOfTest({ schemas: { run_inference: contractArguments(1) } }), folderOfTest()]
  const env = {
    ...{ ...plane.env, BACKEND: 'modal', DATA_DIR: folder, JOB_STORE: `sqlite:${join(folder, 'jobs.db')}` },
    ...{ MODAL_INLINE_BYTES: sizeOf(FACE, SPEECH), API_KEYS: '', AUTH: 'none' },
  }
  const first = await serverOfTest(env)
  const bytesOf = async (n: number) => {
    const { version, ...kwargs } = (await plane.calls())[n]?.kwargs ?? {}
    return Object.entries(kwargs).map(([name, value]) => [name, digestOf(value)])
  }
  const whole = await submit(first, [face(), speech()])
  await first.untilStatus(whole.job_id, 'succeeded')
  expect(await bytesOf(0)).toEqual([
    ['video_bytes', digestOf(FACE)],
    ['audio_bytes', digestOf(SPEECH)],
  ])
  const kept = await submit(first, [face(), field('audio_url', 'https://media.example/behave/end=failed.wav')])
  await first.untilStatus(kept.job_id, 'failed')
  expect(await first.end('SIGKILL')).toBe('SIGKILL')
  const second = await serverOfTest(env)
  expect((await fetch(`${second.url}/jobs/${kept.job_id}/retry`, { method: 'POST' })).status).toBe(202)
  await until(async () => (await plane.calls()).length === 3, 'another call')
  expect(await bytesOf(2)).toContainEqual(['video_bytes', digestOf(FACE)])
})

test(
  'MAX_UPLOAD_BYTES bounds an upload, and finished jobs beyond MAX_FINISHED_JOBS are removed with their files',
  TIMEOUT,
  async () => {
    const folder = folderOfTest()
    const uploads = () => filesIn(join(folder, 'uploads'))
    const limits = { MAX_UPLOAD_BYTES: String(FACE.length + SPEECH.length), MAX_FINISHED_JOBS: '1' }
    const server = await serverOfTest({ BACKEND: 'local', DATA_DIR: folder, ...limits })
    const larger = await post(server, [face(Buffer.concat([FACE, Buffer.alloc(1)])), speech()])
    expect({ status: larger.status, uploads: uploads() }).toEqual({ status: 413, uploads: [] })
    const first = await submit(server, [face(), speech()])
    await server.untilStatus(first.job_id, 'succeeded')
    const second = await submit(server, [face(), speech()])
    await server.untilStatus(second.job_id, 'succeeded')
    await until(() => uploads().length === 2, 'the end of the files of the first')
    expect(uploads().every((name) => name.startsWith(second.job_id))).toBe(true)
  },
)

test('files left by a kill -9 during an upload are removed by the next start', TIMEOUT, async () => {
  const folder = folderOfTest()
  const uploads = () => filesIn(join(folder, 'uploads'))
  const env = { BACKEND: 'local', DATA_DIR: folder, JOB_STORE: `sqlite:${join(folder, 'jobs.db')}` }
  const first = await serverOfTest(env)
  const kept = await submit(first, [face(), speech()])
  const form = formOf([speech(), face()])
  const socket = connect(Number(new URL(first.url).port), '127.0.0.1').on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(`POST /jobs HTTP/1.1\r\nhost: a\r\ncontent-type: ${FORM_TYPE}\r\ncontent-length: ${form.length}\r\n\r\n`)
  socket.write(form.subarray(0, SPEECH.length + 30_000))
  await until(() => uploads().some((name) => name.endsWith('video.part')), 'half an upload')
  await first.end('SIGKILL')
  expect(uploads()).toHaveLength(4)
  const second = await serverOfTest(env)
  await until(() => uploads().length === 2, 'the end of what was half received')
  expect(uploads().every((name) => name.startsWith(kept.job_id))).toBe(true)
  expect((await second.untilStatus(kept.job_id, 'succeeded')).input).toEqual(kept.input)
})

test('SIGTERM during an upload ends it in time and leaves nothing', TIMEOUT, async () => {
  const folder = folderOfTest()
  const uploads = () => filesIn(join(folder, 'uploads'))
  const server = await serverOfTest({ BACKEND: 'local', DATA_DIR: folder, SHUTDOWN_GRACE_SECONDS: '2' })
  const form = formOf([face(), speech()])
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1').on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(`POST /jobs HTTP/1.1\r\nhost: a\r\ncontent-type: ${FORM_TYPE}\r\ncontent-length: ${form.length}\r\n\r\n`)
  socket.write(form.subarray(0, 50_000))
  await until(() => uploads().length > 0, 'half an upload')
  expect(await server.end()).toBe(0)
  expect(uploads()).toEqual([])
})
