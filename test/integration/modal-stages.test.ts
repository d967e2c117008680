import { expect, onTestFinished, test } from 'vitest'
import type { RunTimes } from '../../src/jobs/job.ts'
import { status } from '../helpers/control-plane/control-plane.ts'
import { forever, startModal } from '../helpers/modal.ts'
import { until } from '../helpers/until.ts'

type Setting = Parameters<typeof startModal>[0]

async function start(setting: Setting) {
  const modal = await startModal(setting)
  onTestFinished(() => modal.close())
  const spawn = async (jobId: string) => {
    const request = { jobId, attempt: 1, caller: 'anonymous', version: 'v15', input: {} } as const
    const spawned = await modal.backend.spawn(request, forever)
    if (spawned.kind !== 'spawned') throw new Error(spawned.error)
    return spawned.callId
  }
  return { ...modal, spawn }
}

test('the start of a run is known from the listing, long before the run ends', async () => {
  const { plane, backend, spawn } = await start({ behave: () => ({ end: { kind: 'never' } }) })
  const callId = await spawn('a')
  const starts: number[] = []
  const subscriber = { spawnedAt: Date.now(), isNeeded: true, onStart: (at: number) => void starts.push(at) }
  const wait = backend.wait(callId, forever, subscriber)
  await until(() => starts.length > 0, 'a start')
  const { startedAt = 0 } = plane.calls()[0]!
  expect(Math.abs(starts[0]! - startedAt)).toBeLessThan(2)
  plane.end(callId, { kind: 'return' })
  expect(await wait).toMatchObject({ kind: 'succeeded' })
  expect(starts).toHaveLength(1)
})

test('a call that waits for a GPU is queued, and running once it has it; only its outcome says that it has finished', async () => {
  const { plane, backend, spawn } = await start({ gpus: 1, behave: () => ({ end: { kind: 'never' } }) })
  const stages: [string[], string[]] = [[], []]
  const callIds = [await spawn('a'), await spawn('b')] as const
  const waits = callIds.map((callId, n) => {
    const onStage = (stage: string | undefined) => void stages[n]!.push(String(stage))
    return backend.wait(callId, forever, { isNeeded: false, onStart: () => undefined, onStage })
  })
  await until(() => stages.every(({ length }) => length > 0), 'the stages')
  expect(stages).toEqual([['running'], ['queued']])
  plane.end(callIds[0], { kind: 'return' })
  await waits[0]
  await until(() => stages[1].length > 1, 'the next stage')
  plane.end(callIds[1], { kind: 'return' })
  await waits[1]
  expect(stages).toEqual([['running'], ['queued', 'running']])
})

test('nothing is listed before a call is in flight, and nothing after the last has ended', async () => {
  const { plane, backend, spawn } = await start({ behave: () => ({ end: { kind: 'never' } }) })
  const callId = await spawn('a')
  const wait = backend.wait(callId, forever)
  await until(() => (plane.stats().rpcs.FunctionCallFetch ?? 0) > 0, 'a listing')
  plane.end(callId, { kind: 'return' })
  await wait
  const { FunctionCallFetch: listings } = plane.stats().rpcs
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect(plane.stats().rpcs.FunctionCallFetch).toBe(listings)
})

test.each([
  ['does not know the listing', { code: status.UNIMPLEMENTED }],
  ['throttles the listing', { retryAfterSeconds: 60 }],
  ['does not answer the listing', { delayMs: 60_000 }],
])('a control plane that %s leaves the end of a call as it is', async (_how, disruption) => {
  const { plane, backend, spawn } = await start({ behave: () => ({ end: { kind: 'never' } }) })
  plane.disrupt({ method: 'FunctionCallFetch', ...disruption })
  const callId = await spawn('a')
  const wait = backend.wait(callId, forever)
  await until(() => (plane.stats().rpcs.FunctionCallFetch ?? 0) > 0, 'a listing')
  plane.end(callId, { kind: 'return' })
  expect(await wait).toMatchObject({ kind: 'succeeded' })
  expect(plane.stats().rpcs.FunctionCallFetch).toBe(1)
  expect(backend.health().degraded).toBeUndefined()
})

test('with more calls than slots the running one long-polls, and those in the queue are polled without waiting', async () => {
  const slots = { maxConnections: 1, pollsPerConnection: 2, maxPollsPerSecond: 20, maxPollIntervalMs: 2_000 }
  const { plane, backend, spawn } = await start({ gpus: 1, backend: slots, behave: () => ({ end: { kind: 'never' } }) })
  const callIds: string[] = []
  for (let n = 0; n < 8; n++) callIds.push(await spawn(`job-${n}`))
  const waits = callIds.map((callId) => backend.wait(callId, forever))
  const polls = () => new Map(plane.calls().map((call) => [call.callId, call.polls]))
  await until(() => (plane.stats().rpcs.FunctionCallFetch ?? 0) >= 2, 'two listings')
  const before = polls()
  await new Promise((resolve) => setTimeout(resolve, 4_500))
  const asked = callIds.map((callId) => polls().get(callId)! - before.get(callId)!)
  expect(asked[0]).toBeLessThanOrEqual(1)
  expect(Math.min(...asked.slice(1))).toBeGreaterThanOrEqual(1)
  expect(Math.max(...asked.slice(1))).toBeLessThanOrEqual(5)
  const startedAt = performance.now()
  plane.end(callIds[0]!, { kind: 'return' })
  await waits[0]
  expect(performance.now() - startedAt).toBeLessThan(500)
  for (const callId of callIds.slice(1)) plane.end(callId, { kind: 'return' })
  await Promise.all(waits)
})

test('a call reports how long it was queued, started and ran, by the listing and the answer', async () => {
  const { plane, backend, spawn } = await start({ behave: () => ({ startsAfterMs: 300, end: { kind: 'never' } }) })
  const callId = await spawn('a')
  const known: RunTimes[] = []
  const subscriber = { spawnedAt: Date.now(), isNeeded: false, onStart: () => undefined }
  let stage: string | undefined
  const wait = backend.wait(callId, forever, {
    ...subscriber,
    onStage: (next) => void (stage = next),
    onTimes: (times) => void known.push(times),
  })
  await until(() => stage === 'running', 'a listing of the run')
  plane.end(callId, { kind: 'return' })
  await wait
  const { inputAt = 0, gpuAt = 0, startedAt = 0, endedAt = 0 } = plane.calls()[0]!
  const [times] = known
  expect(known).toHaveLength(1)
  expect(times?.queuedMs).toBeCloseTo(gpuAt - inputAt, -1)
  expect(times?.startupMs).toBeCloseTo(startedAt - gpuAt, -1)
  expect(times?.startupMs).toBeGreaterThan(250)
  expect(times?.runMs).toBeCloseTo(endedAt - startedAt, -1)
})
