import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import type { Job, JobInput } from '../../src/jobs/job.ts'
import { type Wired, wire } from '../../src/wiring/wire.ts'
import { anyCaller } from '../helpers/core.ts'
import { type ControlPlane, startControlPlane } from '../helpers/control-plane/control-plane.ts'
import { asking } from '../helpers/jobs.ts'
import { recordingLog } from '../helpers/log.ts'
import { useEnvironment } from '../helpers/modal.ts'
import { startReceiver } from '../helpers/receiver.ts'
import { noRedis, startRedis, type TestRedis } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

async function start(env: Record<string, string>) {
  const { log, lines } = await recordingLog()
  const DATA_DIR = mkdtempSync(join(tmpdir(), 'wired-'))
  const config = loadConfig({ PATH: process.env.PATH, MODAL_CONFIG_PATH: '/nonexistent', DATA_DIR, ...env })
  const wired = await wire(config, log)
  await wired.start()
  onTestFinished(() => wired.close())
  return { wired, lines }
}

async function startPlane(): Promise<ControlPlane> {
  const plane = await startControlPlane()
  onTestFinished(useEnvironment(plane.env))
  onTestFinished(() => plane.close())
  return plane
}

const ended = (wired: Wired, id: string): Promise<Job> =>
  until(async () => {
    const job = await wired.service.get(id, anyCaller)
    return job.finishedAt !== undefined && job
  })

type Mode = { readonly JOB_STORE: string; readonly REDIS_PREFIX?: string; readonly DATA_DIR_SHARED?: string }

let redis: TestRedis | undefined
beforeAll(async () => {
  if (noRedis === undefined) redis = process.env.TEST_REDIS_URL ? undefined : await startRedis()
  else process.stderr.write(`jobs in Redis are not tested: ${noRedis}\n`)
})
afterAll(() => redis?.close())

const MODES: Readonly<Record<string, () => Mode>> = {
  memory: () => ({ JOB_STORE: 'memory' }),
  sqlite: () => ({ JOB_STORE: `sqlite:${join(mkdtempSync(join(tmpdir(), 'wired-')), 'jobs.db')}` }),
  redis: () => ({
    JOB_STORE: redis?.url ?? process.env.TEST_REDIS_URL ?? '',
    REDIS_PREFIX: `test-${randomUUID()}`,
    DATA_DIR_SHARED: 'true',
  }),
}
const isHere = (name: string) => name !== 'redis' || noRedis === undefined

/** The life of jobs in a whole server without its HTTP side, as a configuration wires it. */
describe.each(Object.keys(MODES).filter(isHere))('with its jobs in %s', (name) => {
  let mode: Mode
  beforeEach(() => void (mode = MODES[name]!()))

  test('a job runs on the local backend to a video', async () => {
    const { wired } = await start({ ...mode, INPUT_URL_ALLOWLIST: 'a.example, *.b.example' })
    const input = { video_path: 'face.jpg', audio_path: 'speech.wav' }
    const { id } = (await wired.service.submit({ input, version: 'v1' }, anyCaller)).job
    expect(await ended(wired, id)).toMatchObject({ status: 'succeeded', runId: `${id}-1` })
    const elsewhere = { ...input, audio_path: undefined, audio_url: 'https://c.example/x.wav' }
    await expect(wired.service.submit({ input: elsewhere, version: 'v1' } as never, anyCaller)).rejects.toMatchObject({
      code: 'url_not_allowed',
    })
  })

  test('a job runs on Modal to its result; what is unfinished at a shutdown is continued, or logged with its call', async () => {
    const plane = await startPlane()
    const { wired, lines } = await start({ ...mode, ...plane.env })
    const submit = async (behaviour: string) =>
      (await wired.service.submit({ input: asking(behaviour), version: 'v15' }, anyCaller)).job
    const [{ id }, endless] = [await submit('after=10'), await submit('end=never')]
    expect(await ended(wired, id)).toMatchObject({ status: 'succeeded', backend: 'modal' })
    await plane.until(() => plane.stats().openPolls === 1)
    await wired.close()
    const callId = plane.calls()[1]?.callId ?? ''
    const forgotten = lines.filter((line) => String(line.event).endsWith('_forgotten'))
    if (name === 'memory') {
      expect(forgotten).toMatchObject([{ job_id: endless.id, call_ids: [callId] }])
      return
    }
    expect(forgotten).toEqual([])
    const next = await start({ ...mode, ...plane.env })
    await plane.until(() => plane.stats().openPolls === 1)
    plane.end(callId, { kind: 'return' })
    expect(await ended(next.wired, endless.id)).toMatchObject({ status: 'succeeded', attempts: [{ callId }] })
    expect(plane.calls()).toHaveLength(2)
  })

  test('a canceled job stops its call, is retried, listed, and removed with all its data', async () => {
    const plane = await startPlane()
    const { wired } = await start({ ...mode, ...plane.env })
    const input = asking('end=never')
    const request = { input, version: 'v15' as const, idempotencyKey: 'one' }
    const { id } = (await wired.service.submit(request, anyCaller)).job
    await until(async () => (await wired.service.get(id, anyCaller)).status === 'running')
    await wired.service.cancel(id, anyCaller)
    await plane.until(() => plane.calls()[0]?.cancelledAt !== undefined)
    expect(await wired.service.submit(request, anyCaller)).toMatchObject({ job: { id }, replayed: true })
    await wired.service.retry(id, anyCaller)
    await until(async () => (await wired.service.get(id, anyCaller)).status === 'running')
    plane.end(plane.calls()[1]?.callId ?? '', { kind: 'return' })
    expect(await ended(wired, id)).toMatchObject({ status: 'succeeded', attempts: [{ stop: 'done' }, {}] })
    const listed = () => wired.service.list({ statuses: ['succeeded'], limit: 10 })
    expect((await listed()).jobs).toMatchObject([{ id }])
    await wired.service.remove(id, anyCaller)
    expect((await listed()).jobs).toEqual([])
    expect(await wired.service.submit(request, anyCaller)).toMatchObject({ replayed: false })
  })

  test('a webhook that its receiver refuses stays pending beyond the end of the server', async () => {
    const receiver = await startReceiver()
    receiver.answerWith = (response) => response.writeHead(500).end()
    const plane = await startPlane()
    const secrets = {
      WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
      WEBHOOK_ALLOW_PRIVATE: 'true',
    }
    const { wired } = await start({ ...mode, ...plane.env, ...secrets })
    const input = { video_path: 'a.mp4', audio_path: 'b.wav' }
    const request = { input, version: 'v15' as const, webhookUrl: receiver.url }
    const { id } = (await wired.service.submit(request, anyCaller)).job
    const ledger = (from: Wired) => from.ledger.list(id, anyCaller)
    await until(async () => (await ledger(wired)).deliveries[0]?.triesMade === 1)
    if (name === 'memory') return
    await wired.close()
    receiver.answerWith = (response) => response.writeHead(204).end()
    const next = await start({ ...mode, ...plane.env, ...secrets })
    await next.wired.ledger.redeliver(id, 1, anyCaller)
    await until(async () => (await ledger(next.wired)).deliveries[0]?.state === 'delivered')
    const [first, second] = receiver.received
    expect({ body: second?.body, webhookId: second?.headers['webhook-id'] }).toEqual({
      body: first?.body,
      webhookId: first?.headers['webhook-id'],
    })
  })

  test('Modal’s client is loaded soon even without a job, and logs a function that is not deployed', async () => {
    const plane = await startPlane()
    plane.undeploy('musetalk-poc', 'run_inference')
    const { lines } = await start({ ...mode, ...plane.env })
    await until(() => lines.some((line) => line.event === 'modal_function_unavailable'))
  })
})

/** That what an operator sets arrives where it works. */
describe('settings', () => {
  const faceAndSpeech = { video_path: 'face.mp4', audio_path: 'speech.wav' }
  const endless = asking('end=never')
  const submit = async (wired: Wired, input: JobInput) =>
    (await wired.service.submit({ input, version: 'v15' }, anyCaller)).job
  const get = (wired: Wired, { id }: Job) => wired.service.get(id, anyCaller)
  const running = (wired: Wired, job: Job) => until(async () => (await get(wired, job)).status === 'running')

  async function startOnModal(env: Record<string, string> = {}) {
    const plane = await startPlane()
    return { plane, ...(await start({ ...plane.env, ...env })) }
  }

  test('RUN_TIMEOUT_SECONDS ends a run that takes longer, and no run that is queued', async () => {
    const command = { LOCAL_COMMAND: "sh -c 'sleep 1000' {output} {face} {audio}", LOCAL_MAX_PROCESSES: '1' }
    const { wired } = await start({ ...command, RUN_TIMEOUT_SECONDS: '1', JOB_TIMEOUT_SECONDS: '600' })
    const submitted = [await submit(wired, faceAndSpeech), await submit(wired, faceAndSpeech)]
    const jobs = await Promise.all(submitted.map(({ id }) => ended(wired, id)))
    const error = expect.stringMatching(/^The run started at .* within its run_timeout_seconds \(1\)\.$/) as string
    for (const job of jobs) expect(job).toMatchObject({ status: 'failed', errorCode: 'timed_out', error })
    // The time of one begins when the other leaves it the place.
    const [one = 0, other = 0] = jobs.map(({ attempts }) => attempts[0]?.runStartedAt)
    expect(Math.abs(one - other)).toBeGreaterThan(900)
  })

  test('MAX_INPUT_BYTES bounds what a job may open', async () => {
    const { wired } = await start({ MAX_INPUT_BYTES: '1024' })
    const { id } = await submit(wired, faceAndSpeech)
    expect(await ended(wired, id)).toMatchObject({
      errorCode: 'input_unavailable',
      error: expect.stringMatching(/^video_path: has \d+ bytes, more than the limit of 1024$/) as string,
    })
  })

  test.each([1, 3])('MAX_ATTEMPTS=%i bounds the attempts at a job that Modal loses', async (attempts) => {
    const { plane, wired } = await startOnModal({ MAX_ATTEMPTS: String(attempts) })
    const { id } = await submit(wired, asking('end=internal,message=died'))
    const job = await ended(wired, id)
    expect(job).toMatchObject({ status: 'failed', errorCode: 'backend_unavailable', error: 'died' })
    expect({ attempts: job.attempts.length, calls: plane.calls().length }).toEqual({ attempts, calls: attempts })
  })

  test('JOB_TIMEOUT_SECONDS sets the deadline of a job without timeout_seconds', async () => {
    const { wired } = await startOnModal({ JOB_TIMEOUT_SECONDS: '77' })
    const { createdAt, deadlineAt } = await submit(wired, endless)
    expect(deadlineAt - createdAt).toBe(77_000)
  })

  test.each([
    ['MODAL_FUNCTION', 'another_function'],
    ['MODAL_APP', 'another-app'],
  ])('%s is what is looked up, and named where it is not deployed', async (name, value) => {
    const { wired } = await startOnModal({ [name]: value })
    const { id } = await submit(wired, endless)
    const job = await ended(wired, id)
    expect(job).toMatchObject({
      status: 'failed',
      errorCode: 'backend_rejected',
      error: expect.stringContaining(value),
    })
  })

  test('MAX_CONCURRENT_JOBS bounds the jobs at the backend, MAX_QUEUED_JOBS those that wait', async () => {
    const { plane, wired } = await startOnModal({ MAX_CONCURRENT_JOBS: '1', MAX_QUEUED_JOBS: '2' })
    const first = await submit(wired, endless)
    await running(wired, first)
    const waiting = [await submit(wired, endless), await submit(wired, endless)]
    expect(await Promise.all(waiting.map(async (job) => wired.service.queuePosition(job)))).toEqual([1, 2])
    await expect(submit(wired, endless)).rejects.toMatchObject({ code: 'queue_full' })
    expect(plane.calls()).toHaveLength(1)
    await wired.service.cancel(first.id, anyCaller)
    await running(wired, waiting[0]!)
    expect(plane.calls()).toHaveLength(2)
  })

  test('MAX_FINISHED_JOBS and JOB_RETENTION_SECONDS bound how long finished jobs are kept', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] })
    onTestFinished(() => void vi.useRealTimers())
    const { wired } = await startOnModal({ MAX_FINISHED_JOBS: '2', JOB_RETENTION_SECONDS: '50' })
    const jobs = [await submit(wired, endless), await submit(wired, endless), await submit(wired, endless)]
    for (const job of jobs) {
      await running(wired, job)
      await wired.service.cancel(job.id, anyCaller)
      await until(async () => (await get(wired, job)).attempts[0]?.stop === 'done', 'the stop')
    }
    const left = async () => (await wired.service.list({ limit: 5 })).jobs.length
    await until(async () => (await left()) === 2, 'the first to be forgotten')
    vi.setSystemTime(Date.now() + 49_000)
    vi.advanceTimersByTime(30_000)
    expect(await left()).toBe(2)
    vi.setSystemTime(Date.now() + 10_000)
    vi.advanceTimersByTime(30_000)
    await until(async () => (await left()) === 0, 'the others to be forgotten')
  })

  test('a file of jobs that jobs could read as their input is refused', async () => {
    const root = mkdtempSync(join(tmpdir(), 'media-'))
    onTestFinished(() => rmSync(root, { recursive: true }))
    const env = { BACKEND: 'local', MEDIA_ROOT: root, JOB_STORE: `sqlite:${join(root, 'deep', 'jobs.db')}` }
    await expect(start(env)).rejects.toThrow(/JOB_STORE: .* lies in MEDIA_ROOT/)
  })

  test('MODAL_MAX_CONNECTIONS and MODAL_POLLS_PER_CONNECTION bound the polls', async () => {
    const { plane, wired } = await startOnModal({ MODAL_MAX_CONNECTIONS: '2', MODAL_POLLS_PER_CONNECTION: '3' })
    const jobs = await Promise.all(Array.from({ length: 9 }, () => submit(wired, endless)))
    await Promise.all(jobs.map((job) => running(wired, job)))
    await plane.until(() => plane.calls().every(({ polls }) => polls > 0))
    expect(plane.stats().maxOpenPolls).toBe(6)
  })

  test('BACKEND decides which paths a submit may have: on Modal none with characters that a shell interprets', async () => {
    const { plane, wired: modal } = await startOnModal({ BACKEND: 'modal' })
    const { wired: local } = await startOnModal({ BACKEND: 'local' })
    const input = { video_path: 'data/$(id).mp4', audio_path: 'a b.wav' }
    const errors = [{ path: '/video_path' }, { path: '/audio_path' }]
    await expect(submit(modal, input)).rejects.toMatchObject({ code: 'invalid_request', errors })
    expect(plane.stats().spawned).toBe(0)
    expect(await submit(local, input)).toMatchObject({ status: 'submitted', input })
  })

  test.each(['modal', 'local'])('INPUT_URL_ALLOWLIST is enforced at submit with BACKEND=%s', async (BACKEND) => {
    const { wired } = await startOnModal({ BACKEND, INPUT_URL_ALLOWLIST: 'a.example, *.b.example' })
    const from = (host: string) => ({ image_url: `https://${host}/face.png`, audio_path: 'b.wav' })
    const refusal = { code: 'url_not_allowed', errors: [{ path: '/image_url' }] }
    for (const host of ['c.example', 'b.example', 'x.a.example']) {
      await expect(submit(wired, from(host))).rejects.toMatchObject(refusal)
    }
    for (const host of ['a.example', 'x.b.example']) {
      expect(await submit(wired, from(host))).toMatchObject({ status: 'submitted', backend: BACKEND })
    }
  })
})

test('a second close does nothing', async () => {
  const plane = await startPlane()
  const { wired, lines } = await start(plane.env)
  const input = asking('end=never')
  await wired.service.submit({ input, version: 'v15' }, anyCaller)
  await plane.until(() => plane.stats().openPolls === 1)
  await Promise.all([wired.close(), wired.close()])
  await wired.close()
  expect(lines.filter((line) => String(line.event).endsWith('_forgotten'))).toHaveLength(1)
  await plane.until(() => plane.stats().openPolls === 0)
})
