import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { namesOf } from '../../src/files/outputs.ts'
import type { Outputs } from '../../src/jobs/ports/files.ts'
import type { Spawned } from '../../src/jobs/ports/backend.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import { currentAttempt } from '../../src/jobs/job.ts'
import { STOP_TIMEOUT_MS } from '../../src/jobs/stopper.ts'
import { presentJob } from '../../src/jobs/view.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { anyCaller, type Core, noOutputs, startCore } from '../helpers/core.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { after, aJob, spawned } from '../helpers/jobs.ts'
import { until } from '../helpers/until.ts'

let core: Core
const start = async (options?: Parameters<typeof startCore>[0]) => (core = await startCore(options))
afterEach(() => core.close())

const callOf = (id: string, attempt = 1) => `fc-${id}-${attempt}`

describe('from submit to finish', () => {
  test('a submit answers before the backend does, and the job then runs and succeeds', async () => {
    const { backend, submit, untilStatus } = await start()
    const spawning = Promise.withResolvers<Spawned>()
    backend.spawnWith = () => spawning.promise
    const job = await submit({ input: { image_url: 'https://a.example/face.png', audio_path: 'speech.wav' } })
    expect(job.status).toBe('submitted')
    expect(job.deadlineAt).toBe(job.createdAt + 60_000)
    spawning.resolve({ kind: 'spawned', callId: 'fc-1' })
    await untilStatus(job.id, 'running')
    backend.end('fc-1', aSuccess)
    expect(await untilStatus(job.id, 'succeeded')).toMatchObject({ runId: 'run', attempts: [{ callId: 'fc-1' }] })
    expect(backend.requests).toEqual([
      { jobId: job.id, attempt: 1, caller: 'anonymous', input: job.input, version: 'v15' },
    ])
  })

  test('a rejected spawn fails the job with the backend’s error', async () => {
    const { backend, submit, untilStatus } = await start()
    backend.spawnWith = async () => ({ kind: 'rejected', code: 'backend_rejected', error: 'no such app' })
    const job = await untilStatus((await submit()).id, 'failed')
    expect(job).toMatchObject({ errorCode: 'backend_rejected', error: 'no such app' })
  })

  test('a failed call fails the job', async () => {
    const { backend, submit, untilStatus } = await start()
    const { id } = await submit()
    await untilStatus(id, 'running')
    backend.end(callOf(id), { kind: 'failed', code: 'inference_failed', error: 'no face' })
    expect(await untilStatus(id, 'failed')).toMatchObject({ errorCode: 'inference_failed', error: 'no face' })
  })

  test('an interrupted call is spawned again, and the job fails after the last attempt', async () => {
    const { backend, submit, untilStatus, untilJob } = await start()
    const { id } = await submit()
    await untilStatus(id, 'running')
    backend.end(callOf(id), { kind: 'interrupted', error: 'the container died' })
    await untilJob(id, (job) => currentAttempt(job).callId === callOf(id, 2), 'in its second attempt')
    backend.end(callOf(id, 2), { kind: 'interrupted', error: 'again' })
    expect(await untilStatus(id, 'failed')).toMatchObject({ errorCode: 'backend_unavailable', error: 'again' })
    expect(backend.requests.map((request) => request.attempt)).toEqual([1, 2])
  })

  test('every log line of a job has its id', async () => {
    const { backend, lines, submit, untilStatus } = await start()
    const { id } = await submit()
    await untilStatus(id, 'running')
    backend.end(callOf(id), aSuccess)
    await untilStatus(id, 'succeeded')
    expect(lines.map((line) => [line.event, line.status])).toEqual([
      ['submitted', undefined],
      ['spawned', 'running'],
      ['succeeded', 'succeeded'],
    ])
    expect(lines.every((line) => line.job_id === id)).toBe(true)
  })

  test('the log line of a finished job has its duration and the run time of its attempt', async () => {
    const { backend, clock, lines, submit, untilStatus, service } = await start()
    const durations = () => lines.map((line) => [line.event, line.duration_ms, line.run_ms])
    const { id } = await submit()
    await untilStatus(id, 'running')
    clock.now += 5_000
    backend.end(callOf(id), { kind: 'failed', code: 'inference_failed', error: 'no face' })
    await untilStatus(id, 'failed')
    clock.now += 60_000
    await service.retry(id, anyCaller)
    await untilStatus(id, 'running')
    clock.now += 2_000
    await service.cancel(id, anyCaller)
    await until(() => durations().length === 7, 'the stop of the call')
    const none = [undefined, undefined]
    expect(durations()).toEqual([
      ['submitted', ...none],
      ['spawned', ...none],
      ['failed', 5_000, 5_000],
      ['retried', ...none],
      ['spawned', ...none],
      ['canceled', 2_000, 2_000],
      ['stopped', ...none],
    ])
  })

  test('a job that is canceled before the backend has it logs a duration and no run time; the line of its submit names the caller', async () => {
    const { clock, lines, submit, service } = await start({ running: false })
    const { id } = await submit()
    clock.now += 1_500
    await service.cancel(id, anyCaller)
    expect(lines).toMatchObject([
      { event: 'submitted', caller: 'anonymous' },
      { event: 'canceled', duration_ms: 1_500 },
    ])
    expect(lines[1]).not.toHaveProperty('run_ms')
  })

  test('a run that takes longer than run_timeout_seconds from its start is stopped, however long it waited before', async () => {
    const { backend, clock, reconciler, submit, untilJob, untilStatus } = await start({ runTimeoutSeconds: 600 })
    const [own, usual] = [await submit({ runTimeoutSeconds: 5 }), await submit()]
    expect({ own: own.runTimeoutSeconds, usual: usual.runTimeoutSeconds }).toEqual({ own: 5, usual: 600 })
    await untilStatus(own.id, 'running')
    clock.now += 30_000
    await reconciler.expireOverdue()
    await until(() => backend.waiting.has(callOf(own.id)), 'a wait')
    expect(backend.subscriberOf(callOf(own.id))?.isNeeded).toBe(true)
    backend.startRun(callOf(own.id), clock.now)
    await untilJob(own.id, (job) => job.attempts[0]?.runStartedAt === clock.now, 'started')
    clock.now += 4_999
    await reconciler.expireOverdue()
    await untilStatus(own.id, 'running')
    clock.now += 1
    await reconciler.expireOverdue()
    const { error } = await untilStatus(own.id, 'failed')
    expect(error).toMatch(/^The run started at .* within its run_timeout_seconds \(5\)\.$/)
    await until(() => backend.stopped.includes(callOf(own.id)), 'stopped')
    await untilStatus(usual.id, 'running')
  })

  test('a subscriber that throws is logged, and affects neither the job nor other subscribers', async () => {
    const broken = () => {
      throw new Error('a defect')
    }
    const { changes, lines, submit, untilStatus } = await start({
      recordMetric: broken,
      outputs: { ...noOutputs, prefetch: broken },
    })
    const published: string[] = []
    changes.subscribe(undefined, (job) => published.push(job.status))
    const { id } = await submit()
    await untilStatus(id, 'running')
    core.backend.end(callOf(id), aSuccess)
    await untilStatus(id, 'succeeded')
    expect(published).toEqual(['submitted', 'running', 'succeeded'])
    const failures = lines.filter(({ event }) => event === 'subscriber_failed')
    expect(failures.map(({ level, job_id: of }) => [level, of])).toEqual(Array(4).fill(['error', id]))
  })

  test('each change is published with its revision', async () => {
    const { backend, changes, submit, untilStatus } = await start()
    const received: [string, number][] = []
    changes.subscribe(undefined, (job) => received.push([job.status, job.revision]))
    const { id } = await submit()
    await untilStatus(id, 'running')
    backend.end(callOf(id), aSuccess)
    await untilStatus(id, 'succeeded')
    expect(received).toEqual([
      ['submitted', 1],
      ['running', 2],
      ['succeeded', 3],
    ])
  })

  test('an invalid input is refused before anything is stored, and the problem names every field', async () => {
    const { backend, submit, reconciler } = await start()
    const refused = submit({ input: { video_url: 'ftp://a.example/x', audio_path: '../speech.wav' } })
    await expect(refused).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(refused).rejects.toMatchObject({ errors: [{ path: '/video_url' }, { path: '/audio_path' }] })
    await reconciler.resumeRuns()
    expect(backend.requests).toEqual([])
  })

  test('a URL that the backend refuses is url_not_allowed, and a path invalid_request', async () => {
    const { backend, submit } = await start()
    backend.check = () => [{ path: '/video_url', message: 'is private' }]
    await expect(submit()).rejects.toMatchObject({ code: 'url_not_allowed', status: 400 })
    backend.check = () => [{ path: '/video_path', message: 'must have letters and digits only' }]
    await expect(submit()).rejects.toMatchObject({ code: 'invalid_request', errors: [{ path: '/video_path' }] })
  })

  test('a job of another caller is not found', async () => {
    const { service, submit } = await start()
    const { id } = await submit()
    for (const verb of ['get', 'result', 'cancel', 'retry', 'remove'] as const) {
      await expect(service[verb](id, { id: 'key:bob', seesAll: false })).rejects.toMatchObject({
        code: 'job_not_found',
        status: 404,
      })
    }
  })
})

test('an error shows only the host of a URL, to the caller and in the log', async () => {
  const { backend, submit, untilStatus, lines } = await start()
  const { id } = await submit()
  const { attempts } = await untilStatus(id, 'running')
  const error =
    'HTTPError: 403 for url: https://user:pass@b.s3.example/secret-path/a.mp4?X-Amz-Signature=secret (retry)'
  backend.end(attempts[0]?.callId ?? '', { kind: 'failed', code: 'inference_failed', error })
  expect((await untilStatus(id, 'failed')).error).toBe('HTTPError: 403 for url: https://b.s3.example/… (retry)')
  const log = JSON.stringify(lines)
  expect(log).toContain('403 for url: https://b.s3.example/… (retry)')
  for (const secret of ['secret', 'user:pass']) expect(log).not.toContain(secret)
})

test('no log line has the path of an input URL, in whatever form an error contains it', async () => {
  const { backend, submit, untilStatus, untilJob, lines } = await start()
  const { id } = await submit({
    input: {
      video_url: 'https://b.example/hidden-folder/a%20face.mp4?X-Amz-Signature=hidden',
      audio_url: 'https://b.example/hidden-speech.wav',
    },
  })
  const errors = [
    "FileNotFoundError: '/hidden-folder/a face.mp4' of b.example",
    'b.example/hidden-folder/a%20face.mp4?X-Amz-Signature=hidden: 403; GET /hidden-speech.wav HTTP/1.1',
  ] as const
  await untilStatus(id, 'running')
  backend.end(callOf(id), { kind: 'interrupted', error: errors[0], traceback: errors.join('\n') })
  await untilJob(id, (job) => currentAttempt(job).callId === callOf(id, 2), 'in its second attempt')
  backend.end(callOf(id, 2), { kind: 'failed', code: 'inference_failed', error: errors[1] })
  expect(await untilStatus(id, 'failed')).toMatchObject({ error: 'b.example/…: 403; GET /… HTTP/1.1' })
  const log = JSON.stringify(lines)
  expect(log).toContain('b.example/…: 403')
  expect(log).toContain("FileNotFoundError: '/…' of b.example")
  expect(log).not.toContain('hidden')
})

test('a traceback is logged once, with the job, its URLs reduced; the job does not show it', async () => {
  const { backend, submit, untilStatus, lines } = await start()
  const { id } = await submit()
  const { attempts } = await untilStatus(id, 'running')
  const traceback = 'Traceback (most recent call last):\nHTTPError: https://b.example/a.mp4?X-Amz-Signature=secret'
  const outcome = { kind: 'failed', code: 'inference_failed', error: 'HTTPError()', traceback } as const
  backend.end(attempts[0]?.callId ?? '', outcome)
  expect(JSON.stringify(await untilStatus(id, 'failed'))).not.toContain('Traceback')
  await until(() => lines.some(({ event }) => event === 'run_raised'))
  const logged = lines.filter((line) => JSON.stringify(line).includes('Traceback'))
  expect(logged).toMatchObject([{ level: 'warn', job_id: id, call_id: attempts[0]?.callId, event: 'run_raised' }])
  expect(logged[0]?.traceback).toBe('Traceback (most recent call last):\nHTTPError: https://b.example/…')
})

describe('cancel', () => {
  test('finishes the job at once and stops its call', async () => {
    const { backend, service, submit, untilStatus, untilJob } = await start()
    const { id } = await submit()
    await untilStatus(id, 'running')
    expect(await service.cancel(id, anyCaller)).toMatchObject({ status: 'canceled' })
    await untilJob(id, (job) => currentAttempt(job).stop === 'done', 'stopped')
    expect(backend.stopped).toEqual([callOf(id)])
  })

  test('stops a call that is spawned after the cancel', async () => {
    const { backend, service, submit, untilJob } = await start()
    const spawning = Promise.withResolvers<Spawned>()
    backend.spawnWith = () => spawning.promise
    const { id } = await submit()
    await service.cancel(id, anyCaller)
    spawning.resolve({ kind: 'spawned', callId: 'fc-late' })
    const job = await untilJob(id, (job) => currentAttempt(job).stop === 'done', 'stopped')
    expect(job).toMatchObject({ status: 'canceled', attempts: [{ callId: 'fc-late' }] })
    expect(backend.stopped).toEqual(['fc-late'])
  })

  test('and a removal during the spawn still stop the call', async () => {
    const { backend, service, submit } = await start()
    const spawning = Promise.withResolvers<Spawned>()
    backend.spawnWith = () => spawning.promise
    const { id } = await submit()
    await service.cancel(id, anyCaller)
    await service.remove(id, anyCaller)
    spawning.resolve({ kind: 'spawned', callId: 'fc-late' })
    await until(() => backend.stopped.includes('fc-late'))
  })

  test('stays canceled when a success arrives later', async () => {
    const { service, submit, transition, untilStatus } = await start()
    const { id } = await submit()
    const running = await untilStatus(id, 'running')
    const canceled = await service.cancel(id, anyCaller)
    const late = await transition(running, { type: 'succeeded', attempt: 1, outputPath: '/x' })
    expect(late).toMatchObject({ accepted: false, job: { status: 'canceled' } })
    expect(canceled.outputPath).toBeUndefined()
  })

  test('is idempotent, and a conflict for a job that finished otherwise', async () => {
    const { backend, service, submit, untilStatus } = await start()
    const [canceled, done] = [await submit(), await submit()]
    await service.cancel(canceled.id, anyCaller)
    expect(await service.cancel(canceled.id, anyCaller)).toMatchObject({ status: 'canceled' })
    await untilStatus(done.id, 'running')
    backend.end(callOf(done.id), aSuccess)
    await untilStatus(done.id, 'succeeded')
    await expect(service.cancel(done.id, anyCaller)).rejects.toMatchObject({ code: 'job_finished', status: 409 })
  })

  test('a stop that fails is pending until a pass of the reconciler succeeds', async () => {
    const { backend, service, submit, reconciler, store, untilStatus } = await start()
    backend.stopWith = () => Promise.reject(new Error('Modal is away'))
    const { id } = await submit()
    await untilStatus(id, 'running')
    await service.cancel(id, anyCaller)
    await reconciler.stopCalls()
    expect(currentAttempt((await store.get(id))!).stop).toBe('pending')
    backend.stopWith = async () => undefined
    await reconciler.stopCalls()
    expect(currentAttempt((await store.get(id))!).stop).toBe('done')
  })

  test('a pending stop as an earlier release recorded it is done too', async () => {
    const { backend, store, reconciler } = await start({ running: false })
    const job = after(aJob(), spawned(1, 'fc-old'), { type: 'canceled' })
    await store.insert({ ...job, attempts: job.attempts.map((attempt) => ({ ...attempt, stop: 'owed' as const })) })
    await reconciler.stopCalls()
    expect(backend.stopped).toEqual(['fc-old'])
    expect(await store.get(job.id)).toMatchObject({ attempts: [{ stop: 'done' }] })
  })

  test('a stop that fails is logged as a warning, and the run does not fail', async () => {
    const { backend, lines, service, submit, untilStatus } = await start()
    backend.stopWith = () => Promise.reject(new Error('Modal is away'))
    const { id } = await submit()
    await untilStatus(id, 'running')
    await service.cancel(id, anyCaller)
    const line = await until(() => lines.find(({ event }) => event === 'stop_failed'))
    expect(line).toMatchObject({ level: 'warn', job_id: id, call_id: callOf(id), reason: 'Modal is away' })
    await new Promise(setImmediate)
    expect(JSON.stringify(lines)).not.toMatch(/"(stack|err)"|"error"/)
  })

  test('stops that hang do not block others', async () => {
    const { backend, store, reconciler } = await start()
    const timeout = AbortSignal.timeout.bind(AbortSignal)
    const timeouts = vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => timeout(ms / 100))
    onTestFinished(() => timeouts.mockRestore())
    const jobs = Array.from({ length: 40 }, (_, n) => after(aJob(), spawned(1, `fc-${n}`), { type: 'canceled' }))
    for (const job of jobs) await store.insert(job)
    const asked: string[] = []
    backend.stopWith = async (callId) => {
      asked.push(callId)
      if (asked.length <= 32) await new Promise(() => undefined)
    }
    await reconciler.stopCalls()
    expect(timeouts).toHaveBeenCalledWith(STOP_TIMEOUT_MS)
    expect(asked).toHaveLength(40)
    expect(backend.stopped.toSorted()).toEqual(asked.slice(32).toSorted())
    const stops = await Promise.all(jobs.map(async ({ id }) => currentAttempt((await store.get(id))!).stop))
    expect([stops.filter((stop) => stop === 'pending'), stops.filter((stop) => stop === 'done')]).toEqual([
      Array(32).fill('pending'),
      Array(8).fill('done'),
    ])
  })

  test('followed by an immediate retry stops the old call and leaves the new attempt running', async () => {
    const { backend, service, submit, untilStatus, untilJob } = await start()
    const { id } = await submit()
    await untilStatus(id, 'running')
    await service.cancel(id, anyCaller)
    expect(await service.retry(id, anyCaller)).toMatchObject({ status: 'submitted', attempts: [{}, { attempt: 2 }] })
    await untilJob(id, (job) => currentAttempt(job).callId === callOf(id, 2), 'in its second attempt')
    backend.end(callOf(id, 1), aSuccess)
    await untilJob(id, (job) => job.attempts[0]?.stop === 'done', 'stopped')
    backend.end(callOf(id, 2), { kind: 'succeeded', outputPath: '/second' })
    expect(await untilStatus(id, 'succeeded')).toMatchObject({ outputPath: '/second' })
  })
})

describe('retry', () => {
  test('starts a failed job again, with a new attempt and a new deadline', async () => {
    const { backend, clock, service, submit, untilStatus } = await start()
    const { id } = await submit({ timeoutSeconds: 7 })
    await untilStatus(id, 'running')
    backend.end(callOf(id), { kind: 'failed', code: 'inference_failed', error: 'no face' })
    await untilStatus(id, 'failed')
    clock.now += 50_000
    const retried = await service.retry(id, anyCaller)
    expect(retried).toMatchObject({ status: 'submitted', deadlineAt: clock.now + 7_000 })
    expect(retried).not.toHaveProperty('error')
    await untilStatus(id, 'running')
    backend.end(callOf(id, 2), aSuccess)
    expect(await untilStatus(id, 'succeeded')).toMatchObject({
      attempts: [{ outcome: 'failed' }, { outcome: 'succeeded' }],
    })
  })

  test('is a conflict for a job that runs or has succeeded', async () => {
    const { backend, service, submit, untilStatus } = await start()
    const { id } = await submit()
    await untilStatus(id, 'running')
    await expect(service.retry(id, anyCaller)).rejects.toMatchObject({ code: 'job_not_finished', status: 409 })
    backend.end(callOf(id), aSuccess)
    await untilStatus(id, 'succeeded')
    await expect(service.retry(id, anyCaller)).rejects.toMatchObject({ code: 'job_finished', status: 409 })
  })
})

describe('many retries', () => {
  test('a retry beyond the limit is a conflict', async () => {
    const { service, submit, store } = await start({ running: false, maxRetries: 2 })
    const { id } = await submit()
    for (let retries = 0; retries < 2; retries++) {
      await service.cancel(id, anyCaller)
      await service.retry(id, anyCaller)
    }
    await service.cancel(id, anyCaller)
    await expect(service.retry(id, anyCaller)).rejects.toMatchObject({ code: 'retry_limit_reached', status: 409 })
    expect(await store.get(id)).toMatchObject({ status: 'canceled', retries: 2 })
  })

  test('a job retried a hundred times stays small, and removing it removes the files of every attempt', async () => {
    const forgotten: string[][] = []
    const outputs: Outputs = { ...noOutputs, forget: async (job) => void forgotten.push(namesOf(job)) }
    const { backend, service, submit, untilStatus, untilJob, store } = await start({ outputs })
    backend.spawnWith = async () => ({ kind: 'rejected', code: 'backend_rejected', error: 'x'.repeat(2_000) })
    const { id } = await submit()
    for (let attempt = 2; attempt <= 101; attempt++) {
      await untilStatus(id, 'failed')
      await service.retry(id, anyCaller)
      await untilJob(id, (job) => currentAttempt(job).attempt === attempt, `in attempt ${attempt}`)
    }
    const job = await untilStatus(id, 'failed')
    expect(JSON.stringify(job).length).toBeLessThan(100_000)
    expect(job.attempts.map(({ attempt }) => attempt)).toEqual([...numbers(1, 20), ...numbers(82, 101)])
    expect(presentJob(job)).toMatchObject({ attempts_omitted: 61 })
    await service.remove(id, anyCaller)
    expect(await store.get(id)).toBeUndefined()
    expect(forgotten).toEqual([numbers(0, 101).map((attempt) => `${id}-${attempt}`)])
  })
})

const numbers = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, n) => first + n)

describe('limits', () => {
  test('jobs beyond the limit are queued in order, each with its position', async () => {
    const { backend, service, submit, untilStatus } = await start({ maxConcurrentJobs: 1 })
    const jobs = [await submit(), await submit(), await submit()]
    const [first, second, third] = jobs.map((job) => job.id) as [string, string, string]
    await untilStatus(first, 'running')
    const positions = () =>
      Promise.all(jobs.map(async ({ id }) => service.queuePosition(await service.get(id, anyCaller))))
    expect(await positions()).toEqual([undefined, 1, 2])
    await service.cancel(second, anyCaller)
    expect(await positions()).toEqual([undefined, undefined, 1])
    backend.end(callOf(first), aSuccess)
    await untilStatus(third, 'running')
    expect(backend.requests.map((request) => request.jobId)).toEqual([first, third])
  })

  test('a job that is queued until its deadline fails without a call', async () => {
    const { clock, reconciler, submit, untilStatus } = await start({ maxConcurrentJobs: 1 })
    const running = await submit({ timeoutSeconds: 1000 })
    await untilStatus(running.id, 'running')
    const { id } = await submit({ timeoutSeconds: 1 })
    clock.now += 1_000
    await reconciler.expireOverdue()
    expect(await untilStatus(id, 'failed')).toMatchObject({ errorCode: 'backend_unavailable' })
  })

  test('a submit or retry beyond the limit of queued jobs is refused until there is room', async () => {
    const { service, submit, untilStatus } = await start({ maxConcurrentJobs: 1, maxQueuedJobs: 2 })
    const { id: running } = await submit()
    await untilStatus(running, 'running')
    const [first] = [await submit(), await submit()]
    await expect(submit()).rejects.toMatchObject({ code: 'queue_full', status: 503, retryAfterSeconds: 30 })
    await service.cancel(running, anyCaller)
    await untilStatus(first.id, 'running')
    await submit()
    await expect(service.retry(running, anyCaller)).rejects.toMatchObject({ code: 'queue_full' })
  })

  test('many retries at once are admitted only up to the limits', async () => {
    const { service, submit, store } = await start({ running: false, maxQueuedJobs: 10, maxActiveOfCaller: 6 })
    const ids: string[] = []
    for (let n = 0; n < 30; n++) {
      const { id } = await submit()
      ids.push(id)
      await service.cancel(id, anyCaller)
    }
    const results = await Promise.allSettled(ids.map((id) => service.retry(id, anyCaller)))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(6)
    expect(await store.countSubmitted()).toBe(6)
    const refused = results.find((result) => result.status === 'rejected')
    expect(refused?.reason).toMatchObject({ code: 'concurrency_limit_reached', status: 429 })
    await service.cancel(ids[0] ?? '', anyCaller)
    await service.retry(ids[0] ?? '', anyCaller)
  })

  test('calls that exist are followed before jobs without a call are started', async () => {
    const { store, reconciler, backend } = await start({ maxConcurrentJobs: 1 })
    const [waiting, called] = [aJob({ createdAt: 1 }), after(aJob({ createdAt: 2 }), spawned(1, 'fc-old'))]
    backend.adopt('fc-old')
    for (const job of [waiting, called]) await store.insert(job)
    await reconciler.resumeRuns()
    await until(() => backend.waiting.has('fc-old'))
    expect(backend.requests).toEqual([])
  })
})

describe('the reconciler', () => {
  test('a job with a call id is attached to, not spawned again', async () => {
    const { backend, store, reconciler, untilStatus } = await start()
    const job = after(aJob({ deadlineAt: 2_000_000 }), spawned(1, 'fc-old'))
    backend.adopt('fc-old')
    await store.insert(job)
    await reconciler.resumeRuns()
    await until(() => backend.waiting.has('fc-old'))
    backend.end('fc-old', aSuccess)
    await untilStatus(job.id, 'succeeded')
    expect(backend.requests).toEqual([])
  })

  test('a job without a call id is spawned', async () => {
    const { store, reconciler, untilStatus } = await start()
    const job = aJob({ deadlineAt: 2_000_000 })
    await store.insert(job)
    await reconciler.resumeRuns()
    await untilStatus(job.id, 'running')
  })

  test('jobs without a call id are resumed in order, many at the same time', async () => {
    const { store, reconciler, queue } = await start({ running: false })
    const jobs = Array.from({ length: 250 }, (_, n) => aJob({ createdAt: n, deadlineAt: 2_000_000 }))
    for (const job of jobs) await store.insert(job)
    const resumed: string[] = []
    let [underWay, most] = [0, 0]
    queue.resume = async ({ id }) => {
      resumed.push(id)
      most = Math.max(most, ++underWay)
      await new Promise(setImmediate)
      underWay--
    }
    await reconciler.resumeRuns()
    expect(resumed).toEqual(jobs.map(({ id }) => id))
    expect(most).toBe(100)
  })

  test('a job of another backend is lost', async () => {
    const { backend, store, reconciler, untilStatus } = await start()
    const job = aJob({ backend: 'local', deadlineAt: 2_000_000 })
    await store.insert(job)
    await reconciler.resumeRuns()
    expect(await untilStatus(job.id, 'failed')).toMatchObject({ errorCode: 'lost' })
    expect(backend.requests).toEqual([])
  })

  test('a call of another backend is not stopped', async () => {
    const { backend, store, reconciler, untilJob } = await start()
    const job = after(aJob({ backend: 'local' }), spawned(), { type: 'canceled' })
    await store.insert(job)
    await reconciler.stopCalls()
    await untilJob(job.id, (now) => currentAttempt(now).stop === 'done', 'settled')
    expect(backend.stopped).toEqual([])
  })

  test('a passed deadline fails the job and stops its call', async () => {
    const { backend, clock, reconciler, submit, untilStatus, untilJob } = await start()
    const { id } = await submit()
    await untilStatus(id, 'running')
    await reconciler.expireOverdue()
    expect((await untilStatus(id, 'running')).status).toBe('running')
    clock.now += 60_000
    await reconciler.expireOverdue()
    expect(await untilStatus(id, 'failed')).toMatchObject({ errorCode: 'timed_out' })
    await untilJob(id, (job) => currentAttempt(job).stop === 'done', 'stopped')
    expect(backend.stopped).toEqual([callOf(id)])
  })

  test('repeats its passes once started', async () => {
    const { store, clock, reconciler, untilStatus } = await start({ running: false })
    await reconciler.start()
    const job = aJob({ deadlineAt: clock.now + 1 })
    await store.insert(job)
    clock.now += 2
    await untilStatus(job.id, 'failed')
  })

  test('one job that fails does not block the others', async () => {
    const jobs = [aJob(), aJob(), aJob()]
    const kept = createMemoryStore()
    const update: Store['update'] = (...write) =>
      write[0].id === jobs[0]?.id ? Promise.reject(new Error('broken')) : kept.update(...write)
    const { store, reconciler, lines } = await start({ running: false, store: { ...kept, update } })
    for (const job of jobs) await store.insert(job)
    await reconciler.expireOverdue()
    const statuses = await Promise.all(jobs.map(async ({ id }) => (await store.get(id))?.status))
    expect(statuses).toEqual(['submitted', 'failed', 'failed'])
    expect(lines.some((line) => line.job_id === jobs[0]?.id && line.level === 'warn')).toBe(true)
  })
})
