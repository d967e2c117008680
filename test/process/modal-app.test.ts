import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { type ControlPlane, type Kwargs, startControlPlane } from '../helpers/control-plane/control-plane.ts'
import type { Argument } from '../helpers/control-plane/functions.ts'
import { SAMPLES, SPEECH_SECONDS } from '../helpers/media.ts'
import { folderOfTest, serverOfTest } from '../helpers/of-test.ts'
import { freePort } from '../helpers/ports.ts'
import { noPython } from '../helpers/python.ts'
import { FACE, PICTURE, SPEECH } from '../helpers/uploads.ts'

const DOCS = resolve(import.meta.dirname, '../../docs')
const HELPERS = resolve(import.meta.dirname, '../helpers')
const CALL = join(HELPERS, 'modal-stub', 'call.py')
const TIMEOUT = { timeout: 300_000 }

test.skipIf(noPython !== undefined)('the tests of modal_app/ in Python pass', TIMEOUT, async () => {
  const child = spawn('python3', ['-m', 'unittest', 'modal_app/test_run.py'], { stdio: ['ignore', 'inherit', 'pipe'] })
  let report = ''
  child.stderr.on('data', (piece: Buffer) => (report += piece.toString()))
  const [code] = (await once(child, 'close')) as [number]
  process.stdout.write(`modal_app: ${report.slice(report.lastIndexOf('Ran '))}`)
  if (code !== 0) throw new Error(report)
})

/** Deploys modal_app/ to a control plane, with the schemas of its functions, and runs every call them, each in a new process, as in a new container. */
async function modalAppOfTest() {
  const folder = folderOfTest()
  const [checkout, volume] = [join(folder, 'MuseTalk'), join(folder, 'volume')]
  cpSync(join(HELPERS, 'musetalk'), checkout, { recursive: true })
  const returned: unknown[] = []
  const declared = await promisify(execFile)('python3', [CALL])
  const schemas = JSON.parse(declared.stdout) as Record<string, Argument[]>
  const plane: ControlPlane = await startControlPlane({
    functions: { 'musetalk-poc': Object.keys(schemas) },
    schemas,
    behave(kwargs, { callId, functionName }) {
      // The call is known once this has returned.
      setImmediate(() => void run(callId, functionName, kwargs))
      return { end: { kind: 'never' } }
    },
  })
  onTestFinished(() => plane.close())

  async function run(callId: string, functionName: string, kwargs: Kwargs) {
    const result = join(folder, callId)
    const env = { PATH: process.env.PATH, MODAL_STUB_VOLUME: volume }
    const child = spawn('python3', [CALL, functionName, result, checkout], { env, stdio: 'pipe' })
    const print = (piece: Buffer) => plane.log(callId, piece.toString())
    child.stdout.on('data', print)
    child.stderr.on('data', print)
    child.stdin.end(
      JSON.stringify(Object.fromEntries(Object.entries(kwargs).map(([key, value]) => [key, asBase64(value)]))),
    )
    await once(child, 'close')
    const outcome = JSON.parse(readFileSync(result, 'utf8')) as { value?: unknown; type?: string; message?: string }
    const value = bytesOrSame(outcome.value)
    returned.push(value)
    const { type = 'Exception', message = '' } = outcome
    plane.end(callId, 'value' in outcome ? { kind: 'return', value } : { kind: 'raise', type, message })
  }
  return {
    plane,
    checkout,
    returned,
    /** What reached MuseTalk's script. */
    runs: () =>
      readFileSync(join(checkout, 'runs.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { args: Record<string, unknown>; config: object }),
  }
}

const asBase64 = (value: unknown) =>
  value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value

const bytesOrSame = (value: unknown) =>
  typeof value === 'object' && value !== null && 'base64' in value ? Buffer.from(String(value.base64), 'base64') : value

/** The streams of a file, by their kind, as ffprobe sees them. */
async function probe(path: string) {
  const { stdout } = await promisify(execFile)('ffprobe', ['-v', 'error', '-show_streams', '-of', 'json', path])
  const { streams } = JSON.parse(stdout) as { streams: { codec_type: string; codec_name: string; duration: string }[] }
  return Object.fromEntries(streams.map((stream) => [stream.codec_type, stream]))
}

/** Without a `PUBLIC_URL`: files go with the call. */
const serverFor = (plane: ControlPlane, env: Record<string, string> = {}) =>
  serverOfTest({ ...plane.env, BACKEND: 'modal', DATA_DIR: folderOfTest(), ...env })

/** One from which the function fetches files. */
async function publicServerFor(plane: ControlPlane) {
  const PORT = String(await freePort())
  return serverFor(plane, { PORT, PUBLIC_URL: `http://127.0.0.1:${PORT}`, MODAL_INLINE_BYTES: '0' })
}

const formWith = (files: Record<string, [Buffer, string]>, fields: Record<string, string> = {}) => {
  const form = new FormData()
  for (const [name, [content, filename]] of Object.entries(files)) {
    form.set(name, new Blob([new Uint8Array(content)]), filename)
  }
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  return form
}

test.skipIf(noPython !== undefined)(
  'files go with the call to run_inference in Python, and its video comes back through download_result',
  TIMEOUT,
  async () => {
    const { plane, returned } = await modalAppOfTest()
    const server = await serverFor(plane)
    const body = formWith({ video: [FACE, 'face.mp4'], audio: [SPEECH, 'speech.wav'] })
    const submitted = (await (await fetch(`${server.url}/jobs`, { method: 'POST', body })).json()) as JobView
    const job = await server.untilStatus(submitted.job_id, 'succeeded')
    expect(job.output_path).toMatch(/\/results\/[0-9a-f]{32}\/v15\/output\.mp4$/)

    const answer = await fetch(`${server.url}/jobs/${job.job_id}/output`)
    const video = Buffer.from(await answer.arrayBuffer())
    expect({ status: answer.status, type: answer.headers.get('content-type') }).toEqual({
      status: 200,
      type: 'video/mp4',
    })
    const ready = (await (await fetch(`${server.url}/readyz`)).json()) as object
    expect(ready).toMatchObject({ status: 'ready', function: 'ok' })
    expect(plane.calls().map(({ functionName }) => functionName)).toEqual(['run_inference', 'download_result'])
    expect(Object.keys(plane.calls()[0]?.kwargs ?? {}).sort()).toEqual(['audio_bytes', 'version', 'video_bytes'])
    expect(returned).toEqual([{ ...(returned[0] as object), status: 'succeeded' }, video])
    const path = join(folderOfTest(), 'output.mp4')
    writeFileSync(path, video)
    const { video: picture, audio: sound } = await probe(path)
    expect([picture?.codec_name, sound?.codec_name]).toEqual(['h264', 'aac'])
    for (const stream of [picture, sound]) {
      expect(Math.abs(Number(stream?.duration) - SPEECH_SECONDS)).toBeLessThan(0.2)
    }
    const log = await (await fetch(`${server.url}/jobs/${job.job_id}/logs`)).text()
    expect(log).toContain('{"musetalk": {"step": "inputs"}}')
    expect(log).toContain('Starting inference')
  },
)

test.skipIf(noPython !== undefined)(
  'what MuseTalk hides, and what the app refuses, is the error of the job',
  TIMEOUT,
  async () => {
    const { plane, checkout } = await modalAppOfTest()
    const server = await serverFor(plane)
    writeFileSync(join(checkout, 'plan.json'), JSON.stringify({ faceless: true }))
    const body = formWith({ image: [PICTURE, 'face.jpg'], audio: [SPEECH, 'speech.wav'] })
    const faceless = (await (await fetch(`${server.url}/jobs`, { method: 'POST', body })).json()) as JobView
    const refused = await server.submit({ video_path: 'data/none.mp4', audio_path: 'data/none.wav' })
    expect(await server.untilStatus(faceless.job_id, 'failed')).toMatchObject({
      error: 'MuseTalk failed: no face was found',
      error_code: 'face_not_found',
    })
    expect(await server.untilStatus(refused.job_id, 'failed')).toMatchObject({
      error: 'audio_path: no such file',
      error_code: 'input_unavailable',
    })
  },
)

test.skipIf(noPython !== undefined)('the parameters of a submit reach the script of MuseTalk', TIMEOUT, async () => {
  const { plane, runs } = await modalAppOfTest()
  const server = await publicServerFor(plane)
  const parameters = { extra_margin: 3, parsing_mode: 'raw', left_cheek_width: 30, right_cheek_width: 31 }
  const still = { ...parameters, batch_size: 2, fps: 10, use_float16: false }
  const body = formWith(
    { image: [PICTURE, 'face.jpg'], audio: [SPEECH, 'speech.wav'] },
    { parameters: JSON.stringify(still) },
  )
  const first = (await (await fetch(`${server.url}/jobs`, { method: 'POST', body })).json()) as JobView
  await server.untilStatus(first.job_id, 'succeeded')
  expect(runs()[0]?.args).toMatchObject({ ...still, version: 'v15' })
  expect(Object.keys(plane.calls()[0]?.kwargs ?? {})).toEqual(expect.arrayContaining(['image_url', 'audio_url']))

  const shifted = formWith(
    { image: [PICTURE, 'face.jpg'], audio: [SPEECH, 'speech.wav'] },
    { version: 'v1', parameters: JSON.stringify({ bbox_shift: -5 }) },
  )
  const second = (await (await fetch(`${server.url}/jobs`, { method: 'POST', body: shifted })).json()) as JobView
  await server.untilStatus(second.job_id, 'succeeded')
  expect(runs()[1]).toMatchObject({ args: { version: 'v1' }, config: { task_0: { bbox_shift: -5 } } })
})

test.skipIf(noPython !== undefined)('the LOCAL_COMMAND of docs/local-gpu.md makes videos', TIMEOUT, async () => {
  const folder = folderOfTest()
  const checkout = join(folder, 'MuseTalk')
  cpSync(join(HELPERS, 'musetalk'), checkout, { recursive: true })
  const [, documented = ''] = /^ +LOCAL_COMMAND=(.*)$/m.exec(readFileSync(join(DOCS, 'local-gpu.md'), 'utf8')) ?? []
  const LOCAL_COMMAND = documented
    .replace('/opt/musetalk-python/bin/python', 'python3')
    .replace('/srv/musetalk', resolve(DOCS, '..'))
    .replace('/opt/MuseTalk', checkout)
  const server = await serverOfTest({ BACKEND: 'local', LOCAL_COMMAND, DATA_DIR: folder, PYTHONDONTWRITEBYTECODE: '1' })
  const input = { video_path: 'face.jpg', audio_path: 'speech.wav' }
  const made = await server.submit({ ...input, parameters: { fps: 10, extra_margin: 4 } })
  await server.untilStatus(made.job_id, 'succeeded')
  const [line = ''] = readFileSync(join(checkout, 'runs.jsonl'), 'utf8').split('\n')
  // The script's own default, as the job does not set it.
  expect(JSON.parse(line)).toMatchObject({ args: { extra_margin: 4, fps: 10, batch_size: 8 } })
  const log = await (await fetch(`${server.url}/jobs/${made.job_id}/logs`)).text()
  expect(log).toContain('Starting inference')

  writeFileSync(join(checkout, 'plan.json'), JSON.stringify({ error: 'CUDA out of memory' }))
  const failed = await server.submit(input)
  const { error } = await server.untilStatus(failed.job_id, 'failed')
  expect(error).toMatch(/MuseTalk failed: CUDA out of memory$/)
})

test.skipIf(noPython !== undefined)('the method of the class runs as the function does', TIMEOUT, async () => {
  const { plane, checkout } = await modalAppOfTest()
  const server = await serverFor(plane, { MODAL_FUNCTION: 'MuseTalk.run_inference' })
  cpSync(join(SAMPLES, 'face.jpg'), join(checkout, 'face.jpg'))
  cpSync(join(SAMPLES, 'speech.wav'), join(checkout, 'speech.wav'))
  const job = await server.submit({ video_path: 'face.jpg', audio_path: 'speech.wav' })
  await server.untilStatus(job.job_id, 'succeeded')
  expect((await fetch(`${server.url}/jobs/${job.job_id}/output`)).status).toBe(200)
  expect(plane.calls().map(({ functionName }) => functionName)).toEqual(['MuseTalk.run_inference', 'download_result'])
})
