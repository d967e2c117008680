import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createModalDownload, type ModalDownload, type ModalDownloadOptions } from '../../src/backend/modal/download.ts'
import { OutputTooLarge } from '../../src/jobs/ports/files.ts'
import { videoOf } from '../helpers/control-plane/behaviour.ts'
import {
  type ControlPlane,
  type PlaneOptions,
  startControlPlane,
  status,
} from '../helpers/control-plane/control-plane.ts'
import { silentLog } from '../helpers/log.ts'
import { never, temporaryFolder } from '../helpers/media.ts'
import { useEnvironment } from '../helpers/modal.ts'

let plane: ControlPlane
let downloads: ModalDownload
let restore: () => void
afterEach(async () => {
  await downloads.close()
  await plane.close()
  restore()
})

async function start(options: PlaneOptions = {}, own: Partial<ModalDownloadOptions> = {}) {
  plane = await startControlPlane(options)
  restore = useEnvironment(plane.env)
  downloads = createModalDownload({
    app: 'musetalk-poc',
    functionName: 'download_result',
    log: silentLog(),
    ...own,
  })
  const path = join(await temporaryFolder(), 'output.mp4')
  const fetch = (runId = 'run', signal = never, caller = 'anonymous') =>
    downloads.fetch({ runId, version: 'v1', caller }, path, signal)
  return { fetch, path }
}

test('a small output is part of the answer, requested by the id of the run', async () => {
  const { fetch, path } = await start()
  await fetch()
  expect(await readFile(path)).toEqual(videoOf('run'))
  expect(plane.calls().map(({ functionName, kwargs }) => [functionName, kwargs])).toEqual([
    ['download_result', { job_id: 'run', version: 'v1' }],
  ])
})

test('a large output, which Modal keeps as a blob, arrives unchanged and is never held in memory', async () => {
  const { fetch, path } = await start()
  const runId = 'run-60000000'
  // The stand-in, which is in this process, holds it before as well as after.
  await fetch(runId)
  expect((await stat(path)).size).toBe(60_000_000)
  expect((await readFile(path)).equals(videoOf(runId))).toBe(true)
  const before = process.memoryUsage().arrayBuffers
  let most = before
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().arrayBuffers)), 1)
  await fetch(runId)
  clearInterval(watch)
  // Twice in the stand-in: as a value, and encoded.
  expect(most - before).toBeLessThan(60_000_000 * 2 + 40_000_000)
})

test.each([
  ['comes with the answer', 'run', {}],
  ['Modal keeps apart', 'run-5000000', { blobThresholdBytes: 1 }],
])('an output that is larger than may be kept and %s is refused before it is written', async (_how, runId, options) => {
  const { fetch, path } = await start(options, { maxBytes: videoOf(runId).length - 1 })
  await expect(fetch(runId)).rejects.toBeInstanceOf(OutputTooLarge)
  expect((await stat(path).catch(() => ({ size: 0 }))).size).toBe(0)
  // Another try would not make it smaller.
  expect(plane.calls()).toHaveLength(1)
})

test('an output of exactly the largest size is fetched', async () => {
  const { fetch, path } = await start({ blobThresholdBytes: 1 }, { maxBytes: videoOf('run').length })
  await fetch()
  expect(await readFile(path)).toEqual(videoOf('run'))
})

describe('an output that is read without a file', () => {
  const run = (runId: string) => ({ runId, version: 'v1' as const, caller: 'anonymous' })

  test.each(['run', 'run-5000000'])('arrives unchanged, its size first (%s)', async (runId) => {
    await start()
    const read = await downloads.read(run(runId), never, async ({ size, bytes }) => ({
      size,
      body: await buffer(bytes),
    }))
    expect(read.size).toBe(videoOf(runId).length)
    expect(read.body.equals(videoOf(runId))).toBe(true)
  })

  test('may be larger than what is kept in files', async () => {
    await start({}, { maxBytes: 10 })
    expect(await downloads.read(run('run-5000000'), never, async ({ size }) => size)).toBe(5_000_000)
  })

  test('rejects with the error of its receiver as it is, and is not asked for again', async () => {
    await start()
    const refusal = new Error('the receiver refused', { cause: new Error('it is full') })
    const reading = downloads.read(run('run-5000000'), never, () => Promise.reject(refusal))
    await expect(reading).rejects.toBe(refusal)
    expect(plane.calls()).toHaveLength(1)
  })

  test('that Modal does not give is a 502', async () => {
    await start()
    plane.disrupt({ method: 'BlobGet', code: status.UNAVAILABLE })
    const reading = downloads.read(run('run-5000000'), never, () => Promise.resolve())
    await expect(reading).rejects.toMatchObject({ code: 'output_unavailable', status: 502 })
  })
})

test('an output is fetched even if a connection to its store breaks', async () => {
  const { fetch, path } = await start({ blobThresholdBytes: 1 })
  plane.disrupt({ method: 'DOWNLOAD', times: 1, dropConnection: true })
  plane.disrupt({ method: 'DOWNLOAD', times: 1 })
  await fetch()
  expect(await readFile(path)).toEqual(videoOf('run'))
})

test('an unavailable store, or Modal, is a 502 that asks to retry', async () => {
  const { fetch } = await start({ blobThresholdBytes: 1 })
  const unavailable = { code: 'output_unavailable', status: 502, retryAfterSeconds: 10 }
  plane.disrupt({ method: 'DOWNLOAD' })
  await expect(fetch()).rejects.toMatchObject(unavailable)
  plane.clearDisruptions()
  plane.disrupt({ method: 'FunctionMap', code: status.UNAVAILABLE })
  await expect(fetch()).rejects.toMatchObject(unavailable)
  plane.clearDisruptions()
  await fetch()
})

test.each([
  [
    'raises, for want of the file',
    { kind: 'raise', type: 'FileNotFoundError', message: 'output.mp4' },
    410,
    /has been deleted/,
  ],
  ['raises', { kind: 'raise', type: 'OSError', message: 'output.mp4' }, 502, /OSError/],
  ['returns something else', { kind: 'return', value: { bytes: 'no' } }, 502, /no bytes/],
] as const)('a function that %s has no output to give: %i', async (_what, end, status, words) => {
  const { fetch } = await start({ behave: () => ({ end }) })
  const error: unknown = await fetch().catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'output_unavailable', status, retryAfterSeconds: undefined })
  expect(String(error)).toMatch(words)
})

test('a run whose result has expired has no output, and is not polled for ever', async () => {
  const { fetch } = await start({ behave: () => ({ end: { kind: 'never' } }) })
  const failed = expect(fetch()).rejects.toMatchObject({ code: 'output_unavailable', retryAfterSeconds: undefined })
  await plane.until(() => plane.stats().openPolls > 0)
  plane.expire(plane.calls()[0]?.callId ?? '')
  await failed
  expect(plane.stats().rpcs.FunctionGetOutputs).toBeLessThanOrEqual(3)
})

test('an output is polled once a second while Modal answers early and empty', async () => {
  const { fetch } = await start({ behave: () => ({ afterMs: 10 }) })
  plane.disrupt({ method: 'FunctionGetOutputs', empty: true, times: 2 })
  const from = performance.now()
  await fetch()
  expect(performance.now() - from).toBeGreaterThan(1_900)
  expect(plane.stats().rpcs.FunctionGetOutputs).toBe(3)
})

test('a run that Modal stopped asks to retry', async () => {
  const { fetch } = await start({ behave: () => ({ end: { kind: 'terminated', message: '' } }) })
  const error: unknown = await fetch().catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'output_unavailable', retryAfterSeconds: 10 })
  expect(String(error)).toMatch('stopped at Modal')
})

test('a large value that is not bytes is refused', async () => {
  const { fetch } = await start({ blobThresholdBytes: 1, behave: () => ({ end: { kind: 'return', value: 'text' } }) })
  await expect(fetch()).rejects.toThrow('no byte string')
})

test('a function that is not deployed is reported, and found once it is deployed, under any id', async () => {
  const { fetch } = await start({ functions: { 'musetalk-poc': ['run_inference'] } })
  await expect(fetch()).rejects.toMatchObject({ code: 'output_unavailable', retryAfterSeconds: undefined })
  plane.deploy('musetalk-poc', 'download_result')
  await fetch()
  plane.undeploy('musetalk-poc', 'download_result')
  plane.deploy('musetalk-poc', 'download_result')
  await fetch()
})

test('MODAL_DOWNLOAD_FUNCTION may name a method of a class, also after another deployment', async () => {
  const functionName = 'Results.download_result'
  const app = 'musetalk-poc'
  const { fetch, path } = await start({ functions: { [app]: [functionName, 'Results.other'] } }, { functionName })
  await fetch('first')
  expect(await readFile(path)).toEqual(videoOf('first'))
  plane.undeploy(app, functionName)
  await expect(fetch('second')).rejects.toMatchObject({ code: 'output_unavailable' })
  plane.deploy(app, functionName)
  await fetch('third')
  expect(plane.calls().map((call) => [call.functionName, call.kwargs])).toEqual([
    [functionName, { job_id: 'first', version: 'v1' }],
    [functionName, { job_id: 'third', version: 'v1' }],
  ])
})

test('a throttle is reported with the time after which to retry', async () => {
  const { fetch } = await start()
  plane.disrupt({ method: 'FunctionMap', times: 1, retryAfterSeconds: 41.5 })
  await expect(fetch()).rejects.toMatchObject({ code: 'output_unavailable', retryAfterSeconds: 42 })
  await fetch()
})

test('an expired token is fetched anew, and refused credentials are sent twice', async () => {
  const { fetch } = await start()
  await fetch()
  plane.revokeTokens()
  await fetch()
  plane.disrupt({ method: 'FunctionMap', code: status.UNAUTHENTICATED, message: 'unknown token' })
  const before = plane.stats().rpcs.FunctionMap ?? 0
  const refused = { code: 'output_unavailable', message: expect.stringContaining('unknown token') as string }
  await expect(fetch()).rejects.toMatchObject(refused)
  expect(plane.stats().rpcs.FunctionMap).toBe(before + 2)
})

test('a signal aborts a fetch', async () => {
  const { fetch } = await start({ behave: () => ({ end: { kind: 'never' } }) })
  const abort = new AbortController()
  const failed = expect(fetch('run', abort.signal)).rejects.toThrow('ending')
  await plane.until(() => plane.stats().openPolls > 0)
  abort.abort(new Error('the server is ending'))
  await failed
})

test('a signal aborts the pause before the next attempt to download a large output', async () => {
  const { fetch } = await start({ blobThresholdBytes: 1 })
  const requested = vi.spyOn(globalThis, 'fetch')
  onTestFinished(() => requested.mockRestore())
  plane.disrupt({ method: 'DOWNLOAD' })
  const abort = new AbortController()
  const failed = expect(fetch('run', abort.signal)).rejects.toThrow('ending')
  // A download that is still open would be aborted by itself.
  await vi.waitFor(() => expect(requested.mock.settledResults).toHaveLength(2))
  await nextTurn()
  abort.abort(new Error('the server is ending'))
  await failed
  expect(requested.mock.calls).toHaveLength(2)
  expect(plane.stats().rpcs.BlobGet).toBe(2)
})

test('a full disk rejects with the error of the disk', async () => {
  await start()
  const fetch = (runId: string) => downloads.fetch({ runId, version: 'v1', caller: 'anonymous' }, '/dev/full', never)
  await expect(fetch('run')).rejects.toMatchObject({ code: 'ENOSPC' })
  await expect(fetch('run-5000000')).rejects.toMatchObject({ code: 'ENOSPC' })
})

describe('fetches that hang', () => {
  /** Runs of the name `hung...` never end. */
  const hanging: PlaneOptions = {
    behave: (kwargs) => (String(kwargs.job_id).startsWith('hung') ? { end: { kind: 'never' } } : {}),
  }

  test('of one caller do not delay the outputs of others', async () => {
    const { fetch, path } = await start(hanging)
    const ending = new AbortController()
    const hung = Array.from({ length: 40 }, (_, n) => fetch(`hung-${n}`, ending.signal, 'key:a'))
    const failed = Promise.allSettled(hung)
    await plane.until(() => plane.calls().length >= 8)
    await fetch('run', never, 'key:b')
    expect(await readFile(path)).toEqual(videoOf('run'))
    expect(plane.calls()).toHaveLength(8 + 1)
    ending.abort(new Error('the server is ending'))
    await failed
  })

  test('are aborted while others wait, and only then', async () => {
    const { fetch } = await start(hanging, { contendedStallMs: 500 })
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const ending = new AbortController()
    const outcomes: unknown[] = []
    const hang = (caller: string) =>
      fetch(`hung-${caller}`, ending.signal, caller).catch((error: unknown) => outcomes.push(error))
    for (const [caller, fetches] of Object.entries({ 'key:a': 8, 'key:b': 4, 'key:c': 2, 'key:d': 1, 'key:e': 1 }))
      for (let n = 0; n < fetches; n++) void hang(caller)
    await plane.until(() => plane.calls().length === 16)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(outcomes).toEqual([])
    const fetched = fetch('run', never, 'key:f')
    await vi.advanceTimersByTimeAsync(500)
    await fetched
    expect(outcomes[0]).toMatchObject({ code: 'output_unavailable', retryAfterSeconds: 10 })
    expect(String(outcomes[0])).toMatch(/it made no progress while others waited/)
    ending.abort(new Error('the server is ending'))
  })
})
