import { afterEach, expect, test } from 'vitest'
import type { SpawnRequest } from '../../src/jobs/ports/backend.ts'
import { measureBackend } from '../../src/wiring/backends.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { status as grpc } from '../helpers/control-plane/control-plane.ts'
import { exactNow } from '../helpers/control-plane/calls.ts'
import { createFakeBackend, aSuccess } from '../helpers/fake-backend.ts'
import { countsOf, parseMetrics, someFacts } from '../helpers/metrics.ts'
import { forever, startModal } from '../helpers/modal.ts'
import { until } from '../helpers/until.ts'

let modal: Awaited<ReturnType<typeof startModal>> | undefined
afterEach(async () => {
  await modal?.close()
  modal = undefined
})

async function start({ backend, ...setting }: NonNullable<Parameters<typeof startModal>[0]> = {}) {
  const metrics = createMetrics(someFacts)
  const scene = await startModal({ ...setting, backend: { ...backend, metrics } })
  modal = scene
  return { ...scene, counts: () => countsOf(metrics, 'musetalk_modal_') }
}

const aRequest: SpawnRequest = {
  jobId: 'job',
  attempt: 1,
  caller: 'anonymous',
  version: 'v15',
  input: { video_path: 'face.mp4', audio_path: 'speech.wav' },
}

type Backend = Awaited<ReturnType<typeof start>>['backend']
async function spawn(backend: Backend, attempt = 1): Promise<string> {
  const spawned = await backend.spawn({ ...aRequest, attempt }, forever)
  return spawned.kind === 'spawned' ? spawned.callId : ''
}
const rpcs = (method: string, code: string) => `musetalk_modal_rpcs_total{method="${method}",code="${code}"}`

test('RPCs are counted by method and gRPC code, and timed', async () => {
  const { plane, backend, counts } = await start()
  plane.disrupt({ method: 'FunctionMap', code: grpc.UNAVAILABLE, times: 1 })
  await backend.wait(await spawn(backend), forever)
  expect(await counts()).toMatchObject({
    [rpcs('FunctionGet', 'OK')]: 1,
    [rpcs('FunctionMap', 'UNAVAILABLE')]: 1,
    [rpcs('FunctionMap', 'OK')]: 1,
    [rpcs('FunctionGetOutputs', 'OK')]: 1,
    'musetalk_modal_rpc_duration_seconds_count{method="FunctionMap"}': 2,
  })
})

test('an aborted poll counts as CANCELLED, and an RPC that could not be sent as NONE', async () => {
  const { plane, backend, counts } = await start({ behave: () => ({ end: { kind: 'never' } }) })
  const leaving = new AbortController()
  const waiting = backend.wait(await spawn(backend), leaving.signal)
  await plane.until(() => plane.stats().openPolls === 1)
  leaving.abort(new Error('not wanted any more'))
  await expect(waiting).rejects.toThrow('not wanted any more')
  await until(async () => (await counts())[rpcs('FunctionGetOutputs', 'CANCELLED')] === 1)
  await modal?.close()

  const { backend: stranger, counts: ofStranger } = await start({ env: { MODAL_TOKEN_ID: '', MODAL_TOKEN_SECRET: '' } })
  expect(await stranger.spawn(aRequest, forever)).toMatchObject({ kind: 'rejected' })
  expect(Object.keys(await ofStranger())).toContain(rpcs('FunctionGet', 'NONE'))
})

test('a finished call is timed by Modal’s clock: its run, and the delay until it was noticed', async () => {
  const { backend, counts } = await start({ behave: () => ({ afterMs: 1_200 }) })
  await backend.wait(await spawn(backend), forever)
  const found = await counts()
  expect(found).toMatchObject({ musetalk_modal_run_seconds_count: 1, musetalk_modal_end_to_notice_seconds_count: 1 })
  expect(found.musetalk_modal_run_seconds_sum).toBeGreaterThan(1.1)
  expect(found.musetalk_modal_end_to_notice_seconds_sum).toBeLessThan(1)
})

test('a call that finished while no server polled it is noticed late', async () => {
  const { plane, backend, counts } = await start({ behave: () => ({ afterMs: 10 }) })
  const callId = await spawn(backend)
  await until(() => exactNow() - (plane.calls()[0]?.endedAt ?? Infinity) > 300, 'an end some time ago')
  await backend.wait(callId, forever)
  expect((await counts()).musetalk_modal_end_to_notice_seconds_sum).toBeGreaterThan(0.29)
})

test('gauges show open polls, connections and calls that wait for a poll turn', async () => {
  const behave = () => ({ end: { kind: 'never' as const } })
  const { backend, plane, counts } = await start({ behave, backend: { maxConnections: 2, pollsPerConnection: 2 } })
  const leaving = new AbortController()
  const waits: Promise<unknown>[] = []
  for (let n = 1; n <= 7; n++) waits.push(backend.wait(await spawn(backend, n), leaving.signal).catch(() => undefined))
  await plane.until(() => plane.stats().openPolls === 4)
  expect(await counts()).toMatchObject({
    musetalk_modal_polls_open: 4,
    musetalk_modal_polls_waiting: 3,
    musetalk_modal_poll_connections: 2,
  })
  // The calls that had to wait get their turn, and are counted when they have it.
  await until(async () => (await counts()).musetalk_modal_turn_wait_seconds_count! >= 7)
  expect((await counts()).musetalk_modal_turn_wait_seconds_sum).toBeGreaterThan(1)
  leaving.abort()
  await Promise.all(waits)
  await until(async () => (await counts()).musetalk_modal_polls_open === undefined)
})

test('a gauge shows the calls that wait until Modal is available again', async () => {
  const { plane, backend, counts } = await start()
  await plane.stop()
  const spawns = Array.from({ length: 5 }, (_, n) => backend.spawn({ ...aRequest, attempt: n + 1 }, forever))
  await until(async () => (await counts()).musetalk_modal_calls_held === 5)
  await plane.start()
  await Promise.all(spawns)
  expect(await counts()).not.toHaveProperty('musetalk_modal_calls_held')
})

test('jobs in flight are those that this process follows, whatever their outcome', async () => {
  const metrics = createMetrics(someFacts)
  const backend = createFakeBackend()
  const watched = measureBackend(backend, metrics)
  const inFlight = async () => (await countsOf(metrics)).musetalk_jobs_in_flight ?? 0
  const leaving = new AbortController()
  backend.adopt('a')
  backend.adopt('b')
  const waits = [watched.wait('a', forever), watched.wait('b', leaving.signal).catch(() => undefined)]
  expect(await inFlight()).toBe(2)
  backend.end('a', aSuccess)
  leaving.abort()
  await Promise.all(waits)
  expect(await inFlight()).toBe(0)
  expect(await countsOf(metrics)).toMatchObject({ musetalk_backend_up: 1 })
})

test('a gauge shows why the backend is degraded; while throttled it still counts as up', async () => {
  const metrics = createMetrics(someFacts)
  const backend = createFakeBackend()
  measureBackend(backend, metrics)
  const degraded = (reason: string) => `musetalk_backend_degraded{reason="${reason}"}`
  const reasons = ['spend_limit', 'throttled', 'unreachable', 'credentials'] as const
  for (const reason of reasons) {
    backend.health = () => ({ degraded: reason })
    const series = parseMetrics(await metrics.render())
    expect(reasons.map((other) => series.get(degraded(other)))).toEqual(
      reasons.map((other) => Number(other === reason)),
    )
    expect(series.get('musetalk_backend_up')).toBe(Number(reason === 'throttled'))
  }
})
