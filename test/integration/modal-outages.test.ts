import { afterEach, describe, expect, test } from 'vitest'
import type { SpawnRequest } from '../../src/jobs/ports/backend.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { status as grpc } from '../helpers/control-plane/control-plane.ts'
import { countsOf, someFacts } from '../helpers/metrics.ts'
import { forever, startModal } from '../helpers/modal.ts'
import { until } from '../helpers/until.ts'

let modal: Awaited<ReturnType<typeof startModal>>
const start = async (setting?: Parameters<typeof startModal>[0]) => (modal = await startModal(setting))
afterEach(() => modal.close())

const input = { video_path: 'data/video/yongen.mp4', audio_url: 'https://a.example/speech.wav' }
const aRequest: SpawnRequest = { caller: 'anonymous', jobId: 'job', attempt: 1, input, version: 'v15' }

const spawn = (request: Partial<SpawnRequest> = {}, signal = forever) =>
  modal.backend.spawn({ ...aRequest, ...request }, signal)
const spawnAll = (count: number) => Promise.all(Array.from({ length: count }, (_, n) => spawn({ jobId: `job-${n}` })))
const callOf = async () => {
  const spawned = await spawn()
  if (spawned.kind !== 'spawned') throw new Error(spawned.error)
  return spawned.callId
}
const degraded = () => modal.lines.filter(({ event }) => event === 'backend_degraded')
const rpcs = (method: string) => modal.plane.stats().rpcs[method] ?? 0
const REFUSED_POLLS = 'musetalk_modal_rpcs_total{method="FunctionGetOutputs",code="RESOURCE_EXHAUSTED"}'
const SECRET = { MODAL_TOKEN_SECRET: 'as-wrong' }
const endless = () => ({ end: { kind: 'never' } }) as const

describe('a throttle', () => {
  test('pauses all spawns for as long as Modal asks, and not longer', async () => {
    const { plane, backend } = await start()
    await spawn({ jobId: 'first' })
    plane.disrupt({ method: 'FunctionMap', times: 1, retryAfterSeconds: 1.5, message: 'slow down' })
    const from = performance.now()
    const throttled = spawn()
    await until(() => rpcs('FunctionMap') === 2)
    await until(() => backend.health().degraded === 'throttled')
    // Those that come meanwhile wait too, and are not refused one by one.
    const later = spawnAll(20)
    await throttled
    expect(performance.now() - from).toBeGreaterThan(1_450)
    await later
    expect(rpcs('FunctionMap')).toBe(23)
    expect(plane.calls()).toHaveLength(22)
    expect(degraded()).toMatchObject([{ reason: 'throttled', error: 'slow down', level: 'warn' }])
  })

  test('is none if a connection has no room for a poll, which has another turn', async () => {
    const { plane, backend } = await start({ behave: () => ({ after: 300, end: { kind: 'return' } }) })
    const callId = await callOf()
    const message = 'Bandwidth exhausted or memory limit exceeded'
    plane.disrupt({ method: 'FunctionGetOutputs', times: 2, code: grpc.RESOURCE_EXHAUSTED, message })
    expect(await backend.wait(callId, forever)).toMatchObject({ kind: 'succeeded' })
    expect(rpcs('FunctionGetOutputs')).toBeGreaterThanOrEqual(3)
    expect(degraded()).toEqual([])
  })

  test('pauses all polls, which keep their order, and leaves the breaker closed', async () => {
    const { plane, backend } = await start({ behave: endless })
    const callIds = (await spawnAll(40)).map((spawned) => (spawned.kind === 'spawned' ? spawned.callId : ''))
    plane.disrupt({ method: 'FunctionGetOutputs', times: 40, retryAfterSeconds: 1 })
    const waits = callIds.map((callId) => backend.wait(callId, forever))
    await until(() => rpcs('FunctionGetOutputs') === 40)
    await until(() => backend.health().degraded === 'throttled')
    await plane.until(() => plane.stats().openPolls === 40)
    expect(rpcs('FunctionGetOutputs')).toBe(80)
    expect(rpcs('FunctionGet')).toBe(1)
    for (const callId of callIds) plane.end(callId, { kind: 'return' })
    for (const outcome of await Promise.all(waits)) expect(outcome.kind).toBe('succeeded')
  })

  test('pauses cancels, and is read with any status', async () => {
    const { plane, backend } = await start({ behave: endless })
    const callId = await callOf()
    plane.disrupt({ method: 'FunctionCallCancel', times: 1, code: grpc.UNAVAILABLE, retryAfterSeconds: 1 })
    const from = performance.now()
    await backend.stop(callId, forever)
    expect(performance.now() - from).toBeGreaterThan(950)
    expect(rpcs('FunctionCallCancel')).toBe(2)
  })

  test('of polls rejects few of them, and every finished call is noticed', async () => {
    const [calls, perSecond, forMs] = [300, 20, 4_000]
    const metrics = createMetrics(someFacts)
    const { plane, backend } = await start({ behave: () => ({ afterMs: forMs }), backend: { metrics } })
    const callIds = (await spawnAll(calls)).map((spawned) => (spawned.kind === 'spawned' ? spawned.callId : ''))
    plane.disrupt({ method: 'FunctionGetOutputs', perSecond, retryAfterSeconds: 1 })
    const waits = Promise.all(callIds.map((callId) => backend.wait(callId, forever)))
    await plane.until(() => plane.stats().openCalls === 0)
    const refused = (await countsOf(metrics))[REFUSED_POLLS] ?? 0
    // Each slot is refused once, before the pool knows; from then on a few a second.
    expect(refused).toBeGreaterThan(50)
    expect(refused).toBeLessThan(100 + (forMs / 1_000) * perSecond)
    plane.clearDisruptions()
    for (const { kind } of await waits) expect(kind).toBe('succeeded')
  })
})

describe('a spend limit', () => {
  const LIMIT = 'workspace billing cycle spend limit reached'

  test('keeps spawns waiting, is logged in Modal’s words, and does not affect polls', async () => {
    const { plane, backend } = await start({ behave: endless })
    const callId = await callOf()
    const wait = backend.wait(callId, forever)
    plane.disrupt({ method: 'FunctionMap', code: grpc.RESOURCE_EXHAUSTED, message: LIMIT })
    const spawns = spawnAll(50)
    await until(() => backend.health().degraded === 'spend_limit')
    plane.end(callId, { kind: 'return' })
    expect(await wait).toMatchObject({ kind: 'succeeded' })
    expect(backend.health().degraded).toBe('spend_limit')
    await until(() => degraded().length > 0)
    plane.clearDisruptions()
    for (const spawned of await spawns) expect(spawned.kind).toBe('spawned')
    expect(degraded()).toMatchObject([{ reason: 'spend_limit', error: LIMIT, level: 'warn' }])
    expect(backend.health().degraded).toBeUndefined()
    expect(modal.lines.some(({ event }) => event === 'backend_recovered')).toBe(true)
  })

  test('does not outlast the deadline of a spawn', async () => {
    const { plane } = await start()
    plane.disrupt({ method: 'FunctionMap', code: grpc.RESOURCE_EXHAUSTED, message: LIMIT })
    const end = new AbortController()
    const spawning = expect(spawn({}, end.signal)).rejects.toThrow('the deadline')
    await until(() => modal.backend.health().degraded === 'spend_limit')
    end.abort(new Error('the deadline'))
    await spawning
  })
})

test.each(['FAILED_PRECONDITION', 'PERMISSION_DENIED', 'UNIMPLEMENTED', 'OUT_OF_RANGE', 'DATA_LOSS'] as const)(
  'a poll that fails with %s again and again does not open the breaker',
  async (code) => {
    const { plane, backend } = await start({ behave: endless })
    const [odd, other] = (await spawnAll(2)).map((spawned) => (spawned.kind === 'spawned' ? spawned.callId : ''))
    plane.disrupt({ method: 'FunctionGetOutputs', callId: odd!, code: grpc[code] })
    const leaving = new AbortController()
    const left = expect(backend.wait(odd!, leaving.signal)).rejects.toThrow('enough')
    await until(() => rpcs('FunctionGetOutputs') >= 4)
    expect(backend.health().degraded).toBeUndefined()
    expect({ functionGet: rpcs('FunctionGet'), degraded: degraded() }).toEqual({ functionGet: 1, degraded: [] })
    const wait = backend.wait(other!, forever)
    plane.end(other!, { kind: 'return' })
    expect(await wait).toMatchObject({ kind: 'succeeded' })
    leaving.abort(new Error('enough'))
    await left
  },
)

describe('credentials that Modal refuses', () => {
  test('are logged at once, before there is a job', async () => {
    const { backend } = await start({ env: SECRET })
    await until(() => degraded().length > 0)
    expect(degraded()[0]).toMatchObject({ reason: 'credentials', level: 'warn' })
    expect(backend.health().degraded).toBe('credentials')
  })

  test('keep spawns waiting for the grace period, and then fail all of them and each new one', async () => {
    await start({ env: SECRET, backend: { credentialsGraceMs: 1_500 } })
    const from = performance.now()
    const refused = { kind: 'rejected', code: 'backend_rejected', error: 'Token validation failed.' }
    expect(await spawnAll(30)).toEqual(Array(30).fill(refused))
    expect(performance.now() - from).toBeGreaterThan(1_400)
    const late = performance.now()
    expect(await spawn()).toEqual(refused)
    expect(performance.now() - late).toBeLessThan(1_000)
    expect(degraded()).toHaveLength(1)
    expect(modal.backend.health().degraded).toBe('credentials')
  })

  test('fail a spawn at once without a grace period', async () => {
    await start({ env: SECRET, backend: { credentialsGraceMs: 0 } })
    expect(await spawn()).toMatchObject({ kind: 'rejected', code: 'backend_rejected' })
  })

  test.each(['UNAUTHENTICATED', 'PERMISSION_DENIED'] as const)('by %s for a moment cost no job', async (code) => {
    const { plane, backend } = await start()
    await spawn({ jobId: 'first' })
    for (const method of ['FunctionMap', 'FunctionGet']) plane.disrupt({ method, code: grpc[code], times: 2 })
    for (const spawned of await spawnAll(30)) expect(spawned.kind).toBe('spawned')
    expect(backend.health().degraded).toBeUndefined()
  })

  test('are read again for each probe, and polls and cancels use the new token', async () => {
    const { plane, backend } = await start({ behave: endless })
    const callId = await callOf()
    plane.revokeTokens()
    const issued = rpcs('AuthTokenGet')
    const spawned = await spawn({ jobId: 'next' })
    expect(spawned.kind).toBe('spawned')
    expect(rpcs('AuthTokenGet')).toBeGreaterThan(issued)
    const wait = backend.wait(callId, forever)
    await backend.stop(callId, forever)
    expect(await wait).toMatchObject({ kind: 'interrupted' })
  })

  test('are replaced as well if only a poll was refused', async () => {
    const { plane, backend } = await start({ behave: endless })
    const callId = await callOf()
    const wait = backend.wait(callId, forever)
    await plane.until(() => plane.stats().openPolls === 1)
    plane.revokeTokens()
    await plane.stop()
    await plane.start()
    await plane.until(() => plane.stats().openPolls === 1)
    plane.end(callId, { kind: 'return' })
    expect(await wait).toMatchObject({ kind: 'succeeded' })
  })
})

describe('a deployment that changed after its look-up', () => {
  test.each(['FAILED_PRECONDITION', 'ABORTED', 'NOT_FOUND'] as const)(
    'by %s of a spawn is looked up once more',
    async (code) => {
      const { plane } = await start()
      await spawn({ jobId: 'first' })
      plane.disrupt({ method: 'FunctionMap', code: grpc[code], times: 1 })
      expect(await spawn()).toMatchObject({ kind: 'spawned' })
      expect({ functionGet: rpcs('FunctionGet'), functionMap: rpcs('FunctionMap') }).toEqual({
        functionGet: 2,
        functionMap: 3,
      })
    },
  )

  test.each(['FAILED_PRECONDITION', 'NOT_FOUND'] as const)('that fails with %s twice is refused', async (code) => {
    const { plane } = await start()
    plane.disrupt({ method: 'FunctionMap', code: grpc[code], message: 'the app is stopped' })
    const refused = { kind: 'rejected', code: 'backend_rejected', error: 'the app is stopped' }
    expect(await spawn()).toEqual(refused)
    expect({ functionGet: rpcs('FunctionGet'), functionMap: rpcs('FunctionMap') }).toEqual({
      functionGet: 2,
      functionMap: 2,
    })
  })

  test('that answers ABORTED more than twice is spawned on again after a pause', async () => {
    const { plane } = await start()
    plane.disrupt({ method: 'FunctionMap', code: grpc.ABORTED, times: 3 })
    expect(await spawn()).toMatchObject({ kind: 'spawned' })
    expect(rpcs('FunctionMap')).toBe(4)
  })
})
