import { setTimeout as sleep } from 'node:timers/promises'

import {
  FunctionTimeoutError,
  InternalFailure,
  InvalidError,
  ModalClient,
  NotFoundError,
  RemoteError,
  TimeoutError,
} from 'modal'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'

import {
  startControlPlane,
  status,
  type ControlPlane,
  type PlaneOptions,
} from '../helpers/control-plane/control-plane.ts'
import { forkControlPlane } from '../helpers/control-plane/remote.ts'
import { encodeValue } from '../helpers/control-plane/wire.ts'

// grpc-js reads the name of the trusted authority's file when it is imported: before every import above.
const certificate = await vi.hoisted(async () => {
  const { makeCertificate } = await import('../helpers/control-plane/certificate.ts')
  const made = makeCertificate()
  process.env.GRPC_DEFAULT_SSL_ROOTS_FILE_PATH = made.caFile
  return made
})
afterAll(() => certificate.remove())

async function open(options: PlaneOptions = {}): Promise<ControlPlane> {
  const plane = await startControlPlane(options)
  onTestFinished(() => plane.close())
  return plane
}

type ClientOptions = ConstructorParameters<typeof ModalClient>[0]

/** The real client, pointed at a stand-in in the only way it can be. */
function connect({ env }: Pick<ControlPlane, 'env'>, options?: ClientOptions): ModalClient {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  const client = new ModalClient({ logLevel: 'error', ...options })
  vi.unstubAllEnvs()
  onTestFinished(() => client.close())
  return client
}

async function setUp(options: PlaneOptions = {}) {
  const plane = await open(options)
  const client = connect(plane)
  const run = await client.functions.fromName('musetalk-poc', 'run_inference')
  return { plane, client, run }
}

async function textOf(lines: AsyncIterable<{ message: string }>): Promise<string[]> {
  const texts: string[] = []
  for await (const { message } of lines) texts.push(message)
  return texts
}

const never = { end: { kind: 'never' } } as const

describe('the ends of a call', () => {
  it('a call that was spawned returns what the deployed function returns', async () => {
    const { plane, run } = await setUp()
    const call = await run.spawn([], { video_path: 'face.mp4', audio_path: 'speech.wav', version: 'v1' })
    const result = (await call.get()) as { job_id: string }
    expect(result.job_id).toMatch(/^[0-9a-f]{32}$/)
    expect(result).toEqual({
      job_id: result.job_id,
      status: 'succeeded',
      output_path: `/shared/results/${result.job_id}/v1/output.mp4`,
    })
    const [record] = plane.calls()
    expect(record).toMatchObject({ callId: call.functionCallId, functionName: 'run_inference', polls: 1 })
    expect(record?.kwargs).toEqual({ video_path: 'face.mp4', audio_path: 'speech.wav', version: 'v1' })
    expect(record?.endedAt).toBeGreaterThan(record?.createdAt ?? Infinity)
  })

  it.each([
    ['raise', RemoteError, "Remote error: RuntimeError('no face')"],
    ['timeout', FunctionTimeoutError, 'Timeout: no face'],
    ['internal', InternalFailure, 'Internal failure: no face'],
    ['terminated', RemoteError, 'Remote error: no face'],
  ] as const)('%s rejects the wait with the error of its own', async (kind, type, message) => {
    const { run } = await setUp({ behave: () => ({ end: { kind, message: 'no face' } }) })
    const call = await run.spawn()
    const error: unknown = await call.get().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(type)
    expect(String(error)).toContain(message)
  })

  it('a call is ended by hand while a poll waits for it', async () => {
    const { plane, run } = await setUp({ behave: () => never })
    const call = await run.spawn()
    const result = call.get()
    await plane.until(() => plane.stats().openPolls === 1)
    plane.end(call.functionCallId, { kind: 'return', value: { by: 'hand' } })
    expect(await result).toEqual({ by: 'hand' })
    expect(plane.stats()).toMatchObject({
      openPolls: 0,
      maxOpenPolls: 1,
      openCalls: 0,
      rpcs: { FunctionGetOutputs: 1 },
    })
  })

  it('a cancel ends an open call and leaves an ended one alone', async () => {
    const { plane, run } = await setUp({ behave: (_, { index }) => (index === 0 ? never : undefined) })
    const open = await run.spawn()
    const rejected = expect(open.get()).rejects.toBeInstanceOf(RemoteError)
    await plane.until(() => plane.stats().openPolls === 1)
    await open.cancel()
    await rejected
    const ended = await run.spawn()
    await ended.get()
    await ended.cancel()
    const [first, second] = plane.calls()
    expect(first).toMatchObject({ cancelRequests: 1, end: { kind: 'terminated' } })
    expect(first?.cancelledAt).toBeDefined()
    expect(second).toMatchObject({ cancelRequests: 1, end: { kind: 'return' } })
  })

  it('a wait that is shorter than the call runs out, and the same call can be waited for again', async () => {
    const { plane, client, run } = await setUp({ behave: () => never })
    const { functionCallId } = await run.spawn()
    const call = await client.functionCalls.fromId(functionCallId)
    const startedMs = performance.now()
    await expect(call.get({ timeoutMs: 150 })).rejects.toBeInstanceOf(TimeoutError)
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(140)
    plane.end(functionCallId, { kind: 'return', value: 1 })
    expect(await call.get({ timeoutMs: 0 })).toBe(1)
  })

  it('an output too large for an RPC, and arguments too large for one, travel through a blob', async () => {
    const { plane, run, client } = await setUp({ blobThresholdBytes: 1000 })
    const text = 'x'.repeat(20_000)
    await (await run.spawn([], { text })).get()
    expect(plane.calls()[0]?.kwargs).toEqual({ text })
    expect(plane.stats().rpcs).not.toHaveProperty('BlobGet')

    const download = await client.functions.fromName('musetalk-poc', 'download_result')
    const call = await download.spawn([], { job_id: 'r'.repeat(2000) })
    expect(Buffer.from((await call.get()) as Uint8Array).toString()).toBe(`video of ${'r'.repeat(2000)}`)
    expect(plane.stats().rpcs).toMatchObject({ BlobCreate: 1, BlobGet: 1 })
  })

  it.each([
    ['end=raise,message=no%20face', "Remote error: RuntimeError('no face')"],
    ['end=status-8', 'Remote error: steered'],
    ['after=20,end=timeout', 'Timeout: steered'],
    ['end=internal,blob', 'Internal failure: steered'],
  ])('the arguments steer the call: %s', async (settings, message) => {
    const { run } = await setUp()
    const call = await run.spawn([], { video_path: 'face.mp4', audio_path: `behave/${settings}.wav` })
    await expect(call.get()).rejects.toThrow(message)
  })

  it.each(['failed', 'unknown'])('the arguments steer what is returned: %s', async (outcome) => {
    const { plane, run } = await setUp()
    const call = await run.spawn([], { video_url: `https://media.example/behave/end=${outcome},blob.mp4` })
    expect(await call.get()).toMatchObject({ status: outcome, error: 'steered' })
    expect(plane.stats().rpcs.BlobGet).toBe(1)
  })
})

describe('what is refused', () => {
  it('an unknown function, and an old one after it was stopped and deployed anew', async () => {
    const { plane, client, run } = await setUp()
    await expect(client.functions.fromName('musetalk-poc', 'other')).rejects.toBeInstanceOf(NotFoundError)
    await expect(client.functions.fromName('other', 'run_inference')).rejects.toBeInstanceOf(NotFoundError)
    plane.undeploy('musetalk-poc', 'run_inference')
    plane.deploy('musetalk-poc', 'run_inference')
    await expect(run.spawn()).rejects.toMatchObject({ code: status.NOT_FOUND })
    await (await client.functions.fromName('musetalk-poc', 'run_inference')).spawn()
    plane.undeploy('musetalk-poc', 'run_inference')
    await expect(client.functions.fromName('musetalk-poc', 'run_inference')).rejects.toBeInstanceOf(NotFoundError)
  })

  it('a function that was deployed by a Python SDK too old for CBOR', async () => {
    const { run } = await setUp({ inputFormats: [1] })
    await expect(run.spawn()).rejects.toBeInstanceOf(InvalidError)
  })

  it('wrong credentials', async () => {
    const plane = await open()
    const client = connect({ env: { ...plane.env, MODAL_TOKEN_SECRET: 'wrong' } })
    const lookup = client.functions.fromName('musetalk-poc', 'run_inference')
    await expect(lookup).rejects.toMatchObject({ code: status.UNAUTHENTICATED })
  })

  it('an auth token that was revoked, until the client gets another', async () => {
    const { plane, run } = await setUp()
    plane.revokeTokens()
    await expect(run.spawn()).rejects.toMatchObject({ code: status.UNAUTHENTICATED })
    const fresh = connect(plane)
    await (await fresh.functions.fromName('musetalk-poc', 'run_inference')).spawn()
    expect(plane.stats()).toMatchObject({ spawned: 1, rpcs: { AuthTokenGet: 2 } })
  })

  it('a call that is unknown, or was forgotten', async () => {
    const { plane, client, run } = await setUp({ behave: () => never })
    await expect(client.functionCalls.fromId('fc-other')).rejects.toMatchObject({ code: status.NOT_FOUND })
    const call = await run.spawn()
    plane.forget(call.functionCallId)
    await expect(call.get()).rejects.toMatchObject({ code: status.NOT_FOUND })
    await expect(call.cancel()).rejects.toMatchObject({ code: status.NOT_FOUND })
  })
})

it('a function that is deployed again keeps its id', async () => {
  const { plane, run } = await setUp()
  plane.deploy('musetalk-poc', 'run_inference')
  await run.spawn()
})

describe('the answers on the wire', () => {
  /** The real client, and every answer of one method that it got. */
  async function listen(method: string, options: PlaneOptions) {
    const plane = await open(options)
    const answers: unknown[] = []
    const client = connect(plane, {
      grpcMiddleware: [
        async function* (call, rpcOptions) {
          const answer = yield* call.next(call.request, rpcOptions)
          if (call.method.path.endsWith(`/${method}`)) answers.push(answer)
          return answer
        },
      ],
    })
    const run = await client.functions.fromName('musetalk-poc', 'run_inference')
    return { plane, client, run, answers }
  }

  it.each(Array.from({ length: 12 }, (_, n) => n).filter((n) => ![1, 7].includes(n)))(
    'status %i travels with its text, or with none',
    async (number) => {
      const text = { exception: 'why', traceback: 'Traceback', exitcode: 137 }
      const end = (index: number) => ({ kind: 'status' as const, status: number, ...(index === 0 && text) })
      const { run, answers } = await listen('FunctionGetOutputs', { behave: (_, { index }) => ({ end: end(index) }) })
      for (const call of [await run.spawn(), await run.spawn()]) await expect(call.get()).rejects.toThrow()
      expect(answers).toMatchObject([
        { outputs: [{ result: { status: number, ...text } }], numUnfinishedInputs: 0 },
        { outputs: [{ result: { status: number, exception: '', traceback: '', exitcode: 0 } }] },
      ])
    },
  )

  it('what Python raised travels as its repr, with its traceback', async () => {
    const end = { kind: 'raise', type: 'ValueError', message: "it's\nbroken" } as const
    const { run, answers } = await listen('FunctionGetOutputs', { behave: () => ({ end }) })
    await expect((await run.spawn()).get()).rejects.toThrow()
    const traceback = expect.stringMatching(/^Traceback[^]+ValueError: it's\nbroken\n$/)
    expect(answers).toMatchObject([{ outputs: [{ result: { exception: 'ValueError("it\'s\\nbroken")', traceback } }] }])
  })

  it('a call that was cancelled ends as terminated, without a word', async () => {
    const { run, answers } = await listen('FunctionGetOutputs', { behave: () => never })
    const call = await run.spawn()
    await call.cancel()
    await expect(call.get()).rejects.toThrow()
    expect(answers).toMatchObject([{ outputs: [{ result: { status: 3, exception: '', traceback: '' } }] }])
  })

  it('an output says when its input started and when it was made', async () => {
    const { run, answers, plane } = await listen('FunctionGetOutputs', {
      behave: () => ({ startsAfterMs: 100, afterMs: 250 }),
    })
    await (await run.spawn()).get()
    const [output] = (answers as { outputs: { inputStartedAt: number; outputCreatedAt: number }[] }[])[0]?.outputs ?? []
    const [record] = plane.calls()
    expect(output?.inputStartedAt).toBeCloseTo((record?.startedAt ?? 0) / 1000, 3)
    expect(output?.outputCreatedAt).toBeCloseTo((record?.endedAt ?? 0) / 1000, 3)
    expect(record?.startedAt).toBeGreaterThan(record?.createdAt ?? Infinity)
  })

  it('an expired call is answered at once, without outputs and without unfinished inputs', async () => {
    const { plane, run, client, answers } = await listen('FunctionGetOutputs', { behave: () => never })
    const { functionCallId } = await run.spawn()
    plane.expire(functionCallId)
    const get = { functionCallId, maxValues: 1, timeout: 50, lastEntryId: '0-0', clearOnSuccess: false }
    await client.cpClient.functionGetOutputs({ ...get, requestedAt: 0 })
    expect(answers).toMatchObject([{ outputs: [], numUnfinishedInputs: 0 }])
  })

  it('an early empty answer leaves its input unfinished; a disruption of one call leaves the others alone', async () => {
    const { plane, run, client, answers } = await listen('FunctionGetOutputs', {})
    const { functionCallId } = await run.spawn()
    const other = await run.spawn()
    plane.disrupt({ method: 'FunctionGetOutputs', empty: true, callId: functionCallId })
    const get = { functionCallId, maxValues: 1, timeout: 50, lastEntryId: '0-0', clearOnSuccess: false }
    await client.cpClient.functionGetOutputs({ ...get, requestedAt: 0 })
    expect(answers).toMatchObject([{ outputs: [], numUnfinishedInputs: 1 }])
    expect(await other.get()).toMatchObject({ status: 'succeeded' })
  })

  it('a call whose input was not taken runs once FunctionPutInputs has put it there', async () => {
    const { plane, client, run, answers } = await listen('FunctionMap', {})
    plane.disrupt({ method: 'FunctionMap', times: 1, empty: true })
    await expect(run.spawn()).rejects.toThrow("Cannot read properties of undefined (reading 'inputJwt')")
    expect(answers).toMatchObject([{ functionCallId: plane.calls()[0]?.callId, pipelinedInputs: [] }])
    const { callId: functionCallId = '', functionId = '' } = plane.calls()[0] ?? {}
    const input = { args: encodeValue([[], {}]), dataFormat: 4, finalInput: true }
    const put = { functionId, functionCallId, inputs: [{ idx: 0, input }] }
    plane.disrupt({ method: 'FunctionPutInputs', times: 1, empty: true })
    expect(await client.cpClient.functionPutInputs(put)).toMatchObject({ inputs: [] })
    expect(plane.calls()).toMatchObject([{ callId: functionCallId }])
    expect(plane.calls()[0]?.inputAt).toBeUndefined()
    expect(await client.cpClient.functionPutInputs(put)).toMatchObject({ inputs: [{ idx: 0, inputJwt: 'jwt' }] })
    const call = await client.functionCalls.fromId(functionCallId)
    expect(await call.get()).toMatchObject({ status: 'succeeded' })
  })
})

describe('logs', () => {
  it('those of a finished call are fetched, and their tail', async () => {
    const { run } = await setUp({ behave: () => ({ afterMs: 60, logs: ['one', 'two', 'three'] }) })
    const call = await run.spawn()
    await call.get()
    expect(await textOf(call.logs.fetch())).toEqual(['one\n', 'two\n', 'three\n'])
    expect(await textOf(call.logs.tail({ entries: 2 }))).toEqual(['two\n', 'three\n'])
  })

  it('those of a running call are streamed as they are printed, until it ends', async () => {
    const { plane, run } = await setUp({ behave: () => ({ ...never, logs: ['at once'] }) })
    const call = await run.spawn()
    const seen: string[] = []
    for await (const { message } of call.logs.stream()) {
      seen.push(message)
      if (seen.length === 1) plane.log(call.functionCallId, 'by hand')
      else plane.end(call.functionCallId, { kind: 'return' })
    }
    expect(seen).toEqual(['at once\n', 'by hand\n'])
  })

  it('what a call cut short had not printed is never seen', async () => {
    const { run } = await setUp({ behave: () => ({ afterMs: 60_000, logs: ['first', 'second'] }) })
    const call = await run.spawn()
    await call.cancel()
    expect(await textOf(call.logs.fetch())).toEqual(['first\n'])
  })
})

describe('outages and limits', () => {
  it('calls continue while the server is stopped, and are there when it starts again on the same port', async () => {
    const { plane, run } = await setUp({ behave: () => ({ afterMs: 50 }) })
    const call = await run.spawn()
    await plane.stop()
    await plane.stop()
    await plane.until(() => plane.calls()[0]?.endedAt !== undefined)
    await plane.start()
    expect(await call.get()).toMatchObject({ status: 'succeeded' })
    expect(plane.stats()).toMatchObject({ spawned: 1, spawnsLeftUnanswered: 0, connections: 1 })
  })

  it('a poll that is open when the server is stopped is repeated by the client', async () => {
    const { plane, run } = await setUp({ behave: () => never })
    const call = await run.spawn()
    const result = call.get()
    await plane.until(() => plane.stats().openPolls === 1)
    await plane.stop()
    await plane.until(() => plane.stats().openPolls === 0)
    await plane.start()
    plane.end(call.functionCallId, { kind: 'return', value: 7 })
    expect(await result).toBe(7)
  })

  it('a poll that the client gives up is open no more', async () => {
    const plane = await open({ behave: () => never })
    const given = new AbortController()
    const client = connect(plane, {
      grpcMiddleware: [
        async function* (call, options) {
          const polls = call.method.path.endsWith('FunctionGetOutputs')
          return yield* call.next(call.request, polls ? { ...options, signal: given.signal } : options)
        },
      ],
    })
    const call = await (await client.functions.fromName('musetalk-poc', 'run_inference')).spawn()
    const rejected = expect(call.get()).rejects.toThrow()
    await plane.until(() => plane.stats().openPolls === 1)
    given.abort()
    await rejected
    await plane.until(() => plane.stats().openPolls === 0)
  })

  it('a third RPC waits where a connection may carry two, until a poll ends', async () => {
    const { plane, run } = await setUp({ maxConcurrentStreams: 2, behave: () => never })
    const [first, second] = [await run.spawn(), await run.spawn()]
    const polls = [first.get(), second.get()]
    await plane.until(() => plane.stats().openPolls === 2)
    const spawning = run.spawn()
    // An RPC that does not wait arrives within a few milliseconds.
    await sleep(100)
    expect(plane.stats()).toMatchObject({ spawned: 2, connections: 1, maxOpenPollsPerConnection: 2 })
    plane.end(first.functionCallId, { kind: 'return' })
    const third = await spawning
    for (const { functionCallId } of [second, third]) plane.end(functionCallId, { kind: 'return' })
    await Promise.all(polls)
  })

  it('TLS works, with a connection for each client', async () => {
    const plane = await open({ tls: certificate })
    expect(plane.url).toBe(`https://localhost:${plane.port}`)
    for (const client of [connect(plane), connect(plane)]) {
      const call = await (await client.functions.fromName('musetalk-poc', 'run_inference')).spawn()
      expect(await call.get()).toMatchObject({ status: 'succeeded' })
    }
    expect(plane.stats().connections).toBe(2)
    await plane.stop()
    expect(plane.stats().connections).toBe(0)
  })
})

describe('disruptions', () => {
  it.each([{}, { dropConnection: true }])('an answer to a spawn that is lost makes a second call %o', async (how) => {
    const { plane, run } = await setUp()
    plane.disrupt({ method: 'FunctionMap', times: 1, loseAnswer: true, ...how })
    const call = await run.spawn()
    await call.get()
    expect(plane.calls()).toHaveLength(2)
    expect(plane.stats().spawnsLeftUnanswered).toBe(1)
    expect(Object.values(plane.stats().spawnsByKey)).toEqual([2])
    expect(new Set(plane.calls().map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1)
  })

  it('no second call where idempotency keys are honoured', async () => {
    const { plane, run } = await setUp({ honourIdempotencyKeys: true })
    plane.disrupt({ method: 'FunctionMap', times: 1, loseAnswer: true })
    const call = await run.spawn()
    expect(plane.calls().map(({ callId }) => callId)).toEqual([call.functionCallId])
    expect(plane.stats().spawnsLeftUnanswered).toBe(1)
  })

  it('a spawn in flight when the server is killed is counted as left unanswered', async () => {
    const { plane, run } = await setUp()
    await run.spawn()
    plane.disrupt({ method: 'FunctionMap', times: 1, delayMs: 60_000 })
    const spawning = run.spawn()
    await plane.until(() => plane.stats().spawned === 2)
    await plane.stop()
    expect(plane.stats().spawnsLeftUnanswered).toBe(1)
    await plane.start()
    await spawning
    expect(plane.stats()).toMatchObject({ spawned: 3, spawnsLeftUnanswered: 1 })
  })

  it('no more spawns are repeated than it counts as unanswered or unconfirmed, however often it is killed', async () => {
    const { plane, run } = await setUp()
    const answered = new Set<string>()
    for (let round = 1; round <= 10; round += 1) {
      const before = plane.stats().spawned
      const spawning = Array.from({ length: 40 }, () => run.spawn())
      await plane.until(() => plane.stats().spawned >= before + round * 3)
      await plane.stop()
      await plane.start()
      for (const { functionCallId } of await Promise.all(spawning)) answered.add(functionCallId)
    }
    const { spawned, spawnsLeftUnanswered, spawnsUnconfirmed } = plane.stats()
    expect(answered.size).toBe(400)
    expect(spawned - 400).toBeGreaterThanOrEqual(spawnsLeftUnanswered)
    expect(spawned - 400).toBeLessThanOrEqual(spawnsLeftUnanswered + spawnsUnconfirmed)
  })

  it('a spawn whose answer was read is confirmed', async () => {
    const { plane, run } = await setUp()
    for (const call of await Promise.all(Array.from({ length: 50 }, () => run.spawn()))) await call.get()
    await plane.stop()
    expect(plane.stats()).toMatchObject({ spawned: 50, spawnsLeftUnanswered: 0, spawnsUnconfirmed: 0 })
  })

  it('a failure does no work, is limited to its number of RPCs, and can be cleared', async () => {
    const { plane, run } = await setUp()
    plane.disrupt({ method: 'FunctionMap', times: 1, code: status.INVALID_ARGUMENT, message: 'too odd' })
    await expect(run.spawn()).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, details: 'too odd' })
    plane.disrupt({ method: 'FunctionMap', code: status.PERMISSION_DENIED })
    await expect(run.spawn()).rejects.toMatchObject({ code: status.PERMISSION_DENIED })
    plane.clearDisruptions()
    await run.spawn()
    expect(plane.stats()).toMatchObject({ spawned: 1, rpcs: { FunctionMap: 3 } })
  })

  it('a retry-after is obeyed by the client', async () => {
    const { plane, run } = await setUp()
    plane.disrupt({ method: 'FunctionMap', times: 1, retryAfterSeconds: 0.3 })
    const startedMs = performance.now()
    await run.spawn()
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(290)
    expect(plane.stats()).toMatchObject({ spawned: 1, rpcs: { FunctionMap: 2 } })
  })
})

it('in a process of its own it is steered by arguments and by its control port', async () => {
  const plane = await forkControlPlane()
  onTestFinished(() => plane.close())
  const client = connect(plane)
  const run = await client.functions.fromName('musetalk-poc', 'run_inference')
  const call = await run.spawn([], { video_path: 'behave/end=never.mp4' })
  await plane.stop()
  await plane.start()
  const result = call.get()
  await plane.until(async () => (await plane.stats()).openPolls === 1)
  await plane.end(call.functionCallId, { kind: 'return', value: 'by hand' })
  expect(await result).toBe('by hand')
  expect(await plane.calls()).toMatchObject([{ callId: call.functionCallId, polls: 1 }])
  await expect(plane.end('fc-other', { kind: 'return' })).rejects.toThrow('knows no call fc-other')
})
