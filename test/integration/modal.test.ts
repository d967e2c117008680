import { afterEach, describe, expect, test } from 'vitest'
import type { Outcome, SpawnRequest } from '../../src/jobs/ports/backend.ts'
import type { Behaviour } from '../helpers/control-plane/control-plane.ts'
import { status as grpc } from '../helpers/control-plane/control-plane.ts'
import { dataFormat, encodeValue } from '../helpers/control-plane/wire.ts'
import { forever, startModal } from '../helpers/modal.ts'
import { until } from '../helpers/until.ts'

let modal: Awaited<ReturnType<typeof startModal>>
const start = async (setting?: Parameters<typeof startModal>[0]) => (modal = await startModal(setting))
afterEach(() => modal.close())

const input = { video_path: 'data/video/yongen.mp4', audio_url: 'https://a.example/speech.wav' }
const aRequest: SpawnRequest = { jobId: 'job', attempt: 1, caller: 'anonymous', input, version: 'v15' }

async function spawn(request: Partial<SpawnRequest> = {}): Promise<string> {
  const spawned = await modal.backend.spawn({ ...aRequest, ...request }, forever)
  if (spawned.kind !== 'spawned') throw new Error(spawned.error)
  return spawned.callId
}

async function outcomeOf(behaviour: Behaviour): Promise<Outcome> {
  const { backend } = await start({ behave: () => behaviour })
  return backend.wait(await spawn(), forever)
}

const returning = (value: unknown): Behaviour => ({ end: { kind: 'return', value } })

describe('spawn', () => {
  test('sends exactly the keyword arguments that are set', async () => {
    const { plane } = await start()
    await spawn()
    await spawn({ input: { image_url: 'https://a.example/face.png', audio_path: 'b.wav' }, version: 'v1' })
    expect(plane.calls().map((call) => [call.functionName, call.kwargs])).toEqual([
      ['run_inference', { ...input, version: 'v15' }],
      ['run_inference', { image_url: 'https://a.example/face.png', audio_path: 'b.wav', version: 'v1' }],
    ])
  })

  test('looks the function up once for all', async () => {
    const { plane } = await start()
    await Promise.all(Array.from({ length: 20 }, (_, n) => spawn({ jobId: `job-${n}` })))
    expect(plane.stats()).toMatchObject({ rpcs: { FunctionGet: 1, FunctionMap: 20 } })
  })

  test("is rejected in Modal's words if the function is not deployed, and later spawns look it up again", async () => {
    const { plane, backend, lines } = await start({ functions: {} })
    const refused = await backend.spawn(aRequest, forever)
    expect(refused).toMatchObject({ kind: 'rejected', code: 'backend_rejected' })
    expect(refused.kind === 'rejected' && refused.error).toContain('run_inference')
    expect(lines.some((line) => line.event === 'modal_function_unavailable')).toBe(true)
    plane.deploy('musetalk-poc', 'run_inference')
    expect(await spawn()).toMatch(/^fc-/)
  })

  test('a deployment that was replaced is looked up again', async () => {
    const { plane } = await start()
    await spawn()
    plane.undeploy('musetalk-poc', 'run_inference')
    plane.deploy('musetalk-poc', 'run_inference')
    expect(await spawn({ jobId: 'next' })).toMatch(/^fc-/)
    expect(plane.stats().rpcs.FunctionGet).toBe(2)
  })

  test('is rejected when there are no credentials', async () => {
    const { backend } = await start({ env: { MODAL_TOKEN_ID: '', MODAL_TOKEN_SECRET: '' } })
    const refused = await backend.spawn(aRequest, forever)
    expect(refused.kind === 'rejected' && refused.error).toContain('credentials')
  })

  test('is rejected when Modal refuses the arguments', async () => {
    const { plane, backend } = await start()
    plane.disrupt({ method: 'FunctionMap', code: grpc.INVALID_ARGUMENT, message: 'no such argument', times: 1 })
    expect(await backend.spawn(aRequest, forever)).toMatchObject({ kind: 'rejected', error: 'no such argument' })
  })

  test('is sent again after transient errors until it works, with one idempotency key', async () => {
    const { plane } = await start()
    await spawn({ jobId: 'first' })
    plane.disrupt({ method: 'FunctionMap', code: grpc.UNAVAILABLE, times: 2, loseAnswer: true })
    await spawn({ jobId: 'second', attempt: 3 })
    const [first, ...others] = plane.calls().map((call) => call.idempotencyKey)
    for (const key of [first, ...others])
      expect(key).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(others).toEqual(Array(3).fill(others[0]))
    expect(others[0]).not.toBe(first)
    expect(plane.stats().spawnsLeftUnanswered).toBe(2)
  })

  test('has the same key in every process, and another for another attempt', async () => {
    const { plane } = await start()
    for (const attempt of [1, 1, 2]) await spawn({ jobId: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b11', attempt })
    await spawn({ jobId: '0198a6f0-7c1e-7a52-9d5b-3f1f5a0c2b12' })
    const keys = plane.calls().map((call) => call.idempotencyKey)
    expect(keys[0]).toBe(keys[1])
    expect(new Set(keys).size).toBe(3)
  })

  test('a call that Modal created without its input is sent the input, and no other call is created', async () => {
    const { plane, backend } = await start()
    plane.disrupt({ method: 'FunctionMap', empty: true, times: 1 })
    const callId = await spawn()
    expect(await backend.wait(callId, forever)).toMatchObject({ kind: 'succeeded' })
    expect(plane.calls()).toMatchObject([{ callId, kwargs: { ...input, version: 'v15' } }])
    expect(plane.stats().rpcs).toMatchObject({ FunctionMap: 1, FunctionPutInputs: 1 })
  })

  test.each([
    ['takes no input for a while', { empty: true }],
    ['is unreachable for a while', { code: grpc.UNAVAILABLE }],
    ['loses the answer', { loseAnswer: true }],
  ])('if Modal %s after it created a call without an input, that call is sent it later', async (_what, disruption) => {
    const { plane, backend } = await start()
    plane.disrupt({ method: 'FunctionMap', empty: true, times: 1 })
    plane.disrupt({ method: 'FunctionPutInputs', times: 2, ...disruption })
    const callId = await spawn()
    expect(await backend.wait(callId, forever)).toMatchObject({ kind: 'succeeded' })
    expect(plane.calls()).toMatchObject([{ callId }])
    expect(plane.stats().rpcs).toMatchObject({ FunctionMap: 1, FunctionPutInputs: 3 })
  })

  test('a call without an input that Modal forgets is created anew', async () => {
    const { plane, backend } = await start()
    plane.disrupt({ method: 'FunctionMap', empty: true, times: 1 })
    plane.disrupt({ method: 'FunctionPutInputs', code: grpc.NOT_FOUND, times: 1 })
    expect(await backend.wait(await spawn(), forever)).toMatchObject({ kind: 'succeeded' })
    expect(plane.calls().map(({ inputAt }) => inputAt !== undefined)).toEqual([false, true])
  })

  test('ends with its signal while Modal is unreachable', async () => {
    const { plane, backend } = await start()
    await plane.stop()
    const end = new AbortController()
    const spawning = backend.spawn(aRequest, end.signal)
    end.abort(new Error('the deadline passed'))
    await expect(spawning).rejects.toThrow('the deadline passed')
  })
})

describe('the outcome of a call', () => {
  test('success, with the path and the id of the run', async () => {
    const outcome = await outcomeOf({})
    expect(outcome).toMatchObject({ kind: 'succeeded', runId: expect.stringMatching(/^[0-9a-f]{32}$/) })
    expect(outcome.kind === 'succeeded' && outcome.outputPath).toBe(
      `/shared/results/${(outcome as { runId: string }).runId}/v15/output.mp4`,
    )
  })

  test.each([
    ['failed', { job_id: 'r', status: 'failed', error: 'no face in frame 3' }, 'no face in frame 3', 'face_not_found'],
    [
      'unknown',
      { job_id: 'r', status: 'unknown', output_path: '/x', error: null },
      "the function reported 'unknown'",
      'inference_failed',
    ],
  ])('the function says %s', async (_status, value, error, code) => {
    expect(await outcomeOf(returning(value))).toEqual({ kind: 'failed', code, error })
  })

  test.each([
    ['nothing', null],
    ['a list', ['succeeded']],
    ['text', 'succeeded'],
    ['no status', { job_id: 'r', output_path: '/x' }],
    ['another status', { job_id: 'r', status: 'done', output_path: '/x' }],
    ['no path', { job_id: 'r', status: 'succeeded' }],
    ['an empty path', { job_id: 'r', status: 'succeeded', output_path: '' }],
    ['a path that is too long', { job_id: 'r', status: 'succeeded', output_path: '/'.repeat(4097) }],
    ['a path with a line break', { job_id: 'r', status: 'succeeded', output_path: '/x\n/y' }],
    ['no id of the run', { status: 'succeeded', output_path: '/x' }],
    ['an id that is too long', { job_id: 'r'.repeat(256), status: 'succeeded', output_path: '/x' }],
  ])('a result of the wrong shape: %s', async (_what, value) => {
    expect(await outcomeOf(returning(value))).toMatchObject({ kind: 'failed', code: 'invalid_output' })
  })

  test('Python raised', async () => {
    const end = { kind: 'raise', type: 'ValueError', message: 'no face' } as const
    expect(await outcomeOf({ end })).toMatchObject({
      kind: 'failed',
      code: 'face_not_found',
      error: "ValueError('no face')",
    })
  })

  test('the function hit its own time limit', async () => {
    const end = { kind: 'timeout', message: 'Task exceeded 3600 s' } as const
    expect(await outcomeOf({ end })).toEqual({ kind: 'failed', code: 'timed_out', error: 'Task exceeded 3600 s' })
  })

  test('Modal lost the container', async () => {
    const end = { kind: 'internal', message: 'worker died' } as const
    expect(await outcomeOf({ end })).toEqual({ kind: 'interrupted', error: 'worker died' })
  })

  test('a result so large that it comes as a blob', async () => {
    const value = { job_id: 'r', status: 'succeeded', output_path: '/x', frames: 'f'.repeat(3_000_000) }
    const { plane, backend } = await start({ behave: () => returning(value) })
    expect(await backend.wait(await spawn(), forever)).toEqual({ kind: 'succeeded', outputPath: '/x', runId: 'r' })
    expect(plane.stats()).toMatchObject({ rpcs: { BlobGet: 1 } })
  })

  test.each([
    ['the bytes are no CBOR', { data: Buffer.from([0xff, 0x1c]) }],
    ['the bytes break off', { data: encodeValue({ status: 'succeeded', output_path: '/x' }).subarray(0, 9) }],
    ['the function answers in pickle', { data: Buffer.from('\x80\x04N.', 'latin1'), format: dataFormat.pickle }],
    ['the format is unknown', { data: encodeValue({ status: 'succeeded' }), format: 99 }],
    ['a number is none that JSON knows', { data: encodeValue({ job_id: 'r', status: 2n ** 60n, output_path: '/x' }) }],
  ])('a result that cannot be read, and is polled for once: %s', async (_what, raw) => {
    const { plane, backend } = await start({ behave: () => ({ end: { kind: 'raw', ...raw } }) })
    expect(await backend.wait(await spawn(), forever)).toMatchObject({ kind: 'failed', code: 'invalid_output' })
    expect(plane.stats()).toMatchObject({ rpcs: { FunctionGetOutputs: 1 } })
  })

  test.each([
    ['is refused', {}],
    ['breaks off', { dropConnection: true }],
  ])('a result whose download %s, as often as the client repeats it, is polled for again', async (_how, disruption) => {
    const value = { job_id: 'r', status: 'succeeded', output_path: '/x' }
    const { plane, backend } = await start({ behave: () => ({ ...returning(value), blob: true }) })
    plane.disrupt({ method: 'DOWNLOAD', times: 5, ...disruption })
    expect(await backend.wait(await spawn(), forever)).toEqual({ kind: 'succeeded', outputPath: '/x', runId: 'r' })
    expect(plane.stats()).toMatchObject({ rpcs: { FunctionGetOutputs: 2 } })
  })

  test('a call that Modal no longer knows is lost', async () => {
    const { plane, backend } = await start()
    const callId = await spawn()
    plane.forget(callId)
    expect(await backend.wait(callId, forever)).toMatchObject({ kind: 'failed', code: 'lost' })
  })

  test('a call whose id Modal refuses is lost', async () => {
    const { plane, backend } = await start()
    const callId = await spawn()
    plane.disrupt({ method: 'FunctionGetOutputs', code: grpc.INVALID_ARGUMENT, message: 'no such id' })
    expect(await backend.wait(callId, forever)).toEqual({
      kind: 'failed',
      code: 'lost',
      error: 'Modal does not know the call any more: no such id',
    })
  })
})

describe('a call whose result has expired', () => {
  test('is lost within a second and three RPCs', async () => {
    const { plane, backend } = await start()
    const callId = await spawn()
    plane.expire(callId)
    const from = performance.now()
    const error = expect.stringContaining('seven days')
    expect(await backend.wait(callId, forever)).toEqual({ kind: 'failed', code: 'lost', error })
    expect(performance.now() - from).toBeLessThan(1_000)
    expect(plane.stats().rpcs.FunctionGetOutputs).toBeLessThanOrEqual(3)
  })

  test('is lost while a poll for it is open too', async () => {
    const { plane, backend } = await start({ behave: () => ({ end: { kind: 'never' } }) })
    const callId = await spawn()
    const waiting = backend.wait(callId, forever)
    await plane.until(() => plane.stats().openPolls === 1)
    plane.expire(callId)
    expect(await waiting).toMatchObject({ kind: 'failed', code: 'lost' })
    expect(plane.stats().rpcs.FunctionGetOutputs).toBeLessThanOrEqual(3)
  })

  test('is not lost after one such answer alone', async () => {
    const { plane, backend } = await start({ behave: () => ({ afterMs: 500 }) })
    const callId = await spawn()
    plane.disrupt({ method: 'FunctionGetOutputs', expired: true, times: 1 })
    expect(await backend.wait(callId, forever)).toMatchObject({ kind: 'succeeded' })
  })
})

describe('wait', () => {
  test('polls once a second while Modal answers early and empty', async () => {
    const { plane, backend } = await start({ behave: () => ({ end: { kind: 'never' } }) })
    const callIds = [await spawn(), await spawn({ jobId: 'other' })]
    plane.disrupt({ method: 'FunctionGetOutputs', empty: true })
    const leave = new AbortController()
    const waits = callIds.map((callId) => backend.wait(callId, leave.signal).catch(() => undefined))
    await plane.until(() => plane.calls().every((call) => call.polls >= 3))
    const seconds = (Date.now() - Math.min(...plane.calls().map((call) => call.createdAt))) / 1_000
    for (const call of plane.calls()) expect(call.polls).toBeLessThanOrEqual(1 + seconds)
    plane.clearDisruptions()
    for (const callId of callIds) plane.end(callId, { kind: 'return' })
    await Promise.all(waits)
    expect(plane.stats().rpcs.FunctionGetOutputs).toBeLessThanOrEqual(8)
  })

  test('continues over many long polls', async () => {
    const { plane, backend } = await start({ behave: () => ({ end: { kind: 'never' } }), backend: { pollMs: 50 } })
    const callId = await spawn()
    const waiting = backend.wait(callId, forever)
    await plane.until(() => (plane.calls()[0]?.polls ?? 0) > 4)
    plane.end(callId, { kind: 'return' })
    expect(await waiting).toMatchObject({ kind: 'succeeded' })
  })

  test('continues after failed polls, and needs no RPC but the poll to attach', async () => {
    const { plane, backend } = await start({ behave: () => ({ end: { kind: 'never' } }) })
    const callId = await spawn()
    plane.disrupt({ method: 'FunctionGetOutputs', code: grpc.UNAVAILABLE, times: 2 })
    const waiting = backend.wait(callId, forever)
    await until(() => plane.stats().openPolls > 0)
    plane.end(callId, { kind: 'return' })
    expect(await waiting).toMatchObject({ kind: 'succeeded' })
    expect(plane.stats()).toMatchObject({ rpcs: { FunctionGetOutputs: 3, FunctionGet: 1 } })
    expect(plane.stats().rpcs).not.toHaveProperty('FunctionCallFromId')
  })

  test.each(['RESOURCE_EXHAUSTED', 'DEADLINE_EXCEEDED', 'ABORTED', 'UNKNOWN'] as const)(
    '%s passes, for a poll as for a spawn',
    async (code) => {
      const { plane, backend } = await start()
      for (const method of ['FunctionMap', 'FunctionGetOutputs']) plane.disrupt({ method, code: grpc[code], times: 1 })
      expect(await backend.wait(await spawn(), forever)).toMatchObject({ kind: 'succeeded' })
      expect(plane.stats()).toMatchObject({ rpcs: { FunctionMap: 2, FunctionGetOutputs: 2 } })
    },
  )

  test('credentials that are refused meanwhile do not fail the job', async () => {
    const { plane, backend } = await start()
    const callId = await spawn()
    plane.disrupt({ method: 'FunctionGetOutputs', code: grpc.UNAUTHENTICATED, times: 1 })
    expect(await backend.wait(callId, forever)).toMatchObject({ kind: 'succeeded' })
  })

  test('its signal aborts the open poll at once, on the wire too, and no other poll', async () => {
    const { plane, backend } = await start({ behave: () => ({ end: { kind: 'never' } }) })
    const [first, second] = [await spawn(), await spawn({ jobId: 'other' })]
    const end = new AbortController()
    const ended = expect(backend.wait(first, end.signal)).rejects.toThrow('shutting down')
    const going = backend.wait(second, forever)
    await until(() => plane.stats().openPolls === 2)
    end.abort(new Error('shutting down'))
    await ended
    await until(() => plane.stats().openPolls === 1)
    plane.end(second, { kind: 'return' })
    expect(await going).toMatchObject({ kind: 'succeeded' })
  })

  test('reports the start that Modal sends with the result, to the subscribers that need it', async () => {
    const { plane, backend } = await start({ behave: () => ({ startsAfterMs: 100, afterMs: 200 }) })
    const callId = await spawn()
    const starts: number[] = []
    const onStart = (at: number) => starts.push(at)
    await backend.wait(callId, forever, { isNeeded: false, onStart })
    expect(starts).toEqual([])
    await backend.wait(callId, forever, { isNeeded: true, onStart })
    expect(starts).toEqual([expect.closeTo(plane.calls()[0]?.startedAt ?? 0, 0)])
  })

  test('can be repeated for a finished call', async () => {
    const { backend } = await start()
    const callId = await spawn()
    expect(await backend.wait(callId, forever)).toEqual(await backend.wait(callId, forever))
  })
})

describe('stop', () => {
  test('cancels the call', async () => {
    const { plane, backend } = await start({ behave: () => ({ end: { kind: 'never' } }) })
    const callId = await spawn()
    await backend.stop(callId, forever)
    await backend.stop(callId, forever)
    expect(plane.calls()[0]?.endedAt).toBeDefined()
    expect(await backend.wait(callId, forever)).toMatchObject({ kind: 'interrupted' })
  })

  test('of a call that Modal does not know succeeds', async () => {
    const { backend } = await start()
    await backend.stop('fc-nobody-knows', forever)
  })

  test('that Modal refuses for good succeeds, and is logged', async () => {
    const { plane, backend, lines } = await start({ behave: () => ({ end: { kind: 'never' } }) })
    const callId = await spawn()
    plane.disrupt({ method: 'FunctionCallCancel', code: grpc.FAILED_PRECONDITION, message: 'it has ended' })
    await backend.stop(callId, forever)
    expect(plane.stats()).toMatchObject({ rpcs: { FunctionCallCancel: 1 } })
    const warnings = lines.filter((line) => line.event === 'modal_cancel_refused')
    expect(warnings).toMatchObject([{ level: 'warn', call_id: callId, reason: 'it has ended' }])
  })

  test('ends with its signal while Modal does not answer', async () => {
    const { plane, backend } = await start({ behave: () => ({ end: { kind: 'never' } }) })
    const callId = await spawn()
    plane.disrupt({ method: 'FunctionCallCancel', delayMs: 20_000 })
    const [end, reason] = [new AbortController(), new Error('shutting down')]
    const ended = expect(backend.stop(callId, end.signal)).rejects.toBe(reason)
    await until(() => plane.stats().rpcs.FunctionCallCancel === 1)
    const from = performance.now()
    end.abort(reason)
    await ended
    expect(performance.now() - from).toBeLessThan(2_000)
  })

  test('is sent again after transient errors', async () => {
    const { plane, backend } = await start({ behave: () => ({ end: { kind: 'never' } }) })
    const callId = await spawn()
    plane.disrupt({ method: 'FunctionCallCancel', code: grpc.INTERNAL, times: 6 })
    await backend.stop(callId, forever)
    expect(plane.calls()[0]?.cancelledAt).toBeDefined()
  })
})
