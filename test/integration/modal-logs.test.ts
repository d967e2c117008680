import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { MAX_LOG_READERS } from '../../src/backend/modal/logs.ts'
import type { LoggedCall } from '../../src/jobs/ports/backend.ts'
import { status as grpc } from '../helpers/control-plane/control-plane.ts'
import { forever, startModal } from '../helpers/modal.ts'
import { watchProgress } from '../helpers/progress.ts'
import { until } from '../helpers/until.ts'

let modal: Awaited<ReturnType<typeof startModal>>
const start = async (setting?: Parameters<typeof startModal>[0]) => (modal = await startModal(setting))
afterEach(async () => {
  vi.useRealTimers()
  await modal.close()
})

/** Takes the place of the clock by which the client asks again. */
const holdClock = () => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })

/** Lets seconds pass, and what is asked for in them arrive: an RPC of the test's own comes after it. */
async function pass(seconds: number) {
  for (let passed = 0; passed < seconds; passed++) {
    await vi.advanceTimersByTimeAsync(1_000)
    await spawn()
  }
}

const never = { end: { kind: 'never' } } as const

async function spawn(): Promise<LoggedCall> {
  const request = {
    jobId: 'job',
    attempt: 1,
    caller: 'anonymous',
    input: { video_path: 'a.mp4', audio_path: 'b.wav' },
    version: 'v15',
  } as const
  const spawned = await modal.backend.spawn(request, forever)
  if (spawned.kind !== 'spawned') throw new Error(spawned.error)
  return { callId: spawned.callId, startedAt: Date.now() }
}

/** RPCs of a log that is followed; every second the client asks whether the call runs on. */
const asked = () => [modal.plane.stats().rpcs.AppGetLogs, modal.plane.stats().rpcs.FunctionCallGetInfo]

const ended = (call: LoggedCall): LoggedCall => ({ ...call, finishedAt: Date.now() })

/** Reads on in the background: what has come so far, and how it ended. */
function follow(call: LoggedCall, signal = forever) {
  const seen: string[] = []
  const read = async () => {
    for await (const text of modal.backend.logs(call, signal)) seen.push(text)
    return seen
  }
  return { seen, end: read() }
}

test('the progress of a call is read from its log while it runs, with one reader, until it ends', async () => {
  const { plane, backend } = await start({ behave: () => never })
  const { callId } = await spawn()
  plane.log(callId, 'load the models')
  plane.log(callId, '\rlips:  21%|##        | 42/200 [00:35<02:12,  1.19it/s]')
  const seen = watchProgress(backend, callId)
  await until(() => seen.length === 1, 'the first progress')
  expect(seen).toMatchObject([{ step: 'lips', done: 42, total: 200, percent: 21 }])
  plane.log(callId, '{"musetalk": {"step": "blending", "done": 1, "total": 3}}')
  plane.log(callId, '\rlips:  42%|####      | 84/200 [01:10<01:37,  1.19it/s]')
  await until(() => seen.length === 2, 'the next progress')
  expect(seen[1]).toMatchObject({ step: 'blending', done: 1, total: 3, percent: 33 })
  expect(modal.plane.stats().rpcs.AppGetLogs).toBeLessThanOrEqual(2)
})

describe('the log of a finished call', () => {
  test('is fetched, all of it', async () => {
    const { backend } = await start({ behave: () => ({ afterMs: 60, logs: ['one', 'two', 'three'] }) })
    const call = await spawn()
    await backend.wait(call.callId, forever)
    expect(await follow(ended(call)).end).toEqual(['one\n', 'two\n', 'three\n'])
    expect(modal.plane.stats().rpcs.AppGetLogs).toBeUndefined()
  })

  test('is found even if its lines lie minutes outside the times of the attempt', async () => {
    const { plane } = await start({ behave: () => never })
    const { callId } = await spawn()
    plane.log(callId, 'a line')
    const minutes = (count: number) => Date.now() + count * 60_000
    expect(await follow({ callId, startedAt: minutes(-9), finishedAt: minutes(-8) }).end).toEqual(['a line\n'])
    expect(await follow({ callId, startedAt: minutes(8), finishedAt: minutes(9) }).end).toEqual(['a line\n'])
    expect(await follow({ callId, startedAt: minutes(-40), finishedAt: minutes(-30) }).end).toEqual([])
  })

  test('is empty when nothing was printed', async () => {
    const { backend } = await start()
    const call = await spawn()
    await backend.wait(call.callId, forever)
    expect(await follow(ended(call)).end).toEqual([])
  })
})

describe('the log of a running call', () => {
  test('is streamed line by line until the call finishes, with no line lost or repeated', async () => {
    const { plane } = await start({ behave: () => ({ ...never, logs: ['at once'] }) })
    const call = await spawn()
    const { seen, end } = follow(call)
    await until(() => seen.length === 1)
    plane.log(call.callId, 'later')
    await until(() => seen.length === 2)
    plane.log(call.callId, 'last')
    plane.end(call.callId, { kind: 'return' })
    expect(await end).toEqual(['at once\n', 'later\n', 'last\n'])
  })

  test('continues after the connection broke, with the line after the last', async () => {
    const { plane } = await start({ behave: () => never })
    const call = await spawn()
    const { seen, end } = follow(call)
    plane.log(call.callId, 'before')
    await until(() => seen.length === 1)
    await plane.stop()
    plane.log(call.callId, 'meanwhile')
    await plane.start()
    await until(() => seen.length === 2)
    plane.end(call.callId, { kind: 'return' })
    expect(await end).toEqual(['before\n', 'meanwhile\n'])
  })

  test('is aborted by its signal: no stream and no request stays open', async () => {
    const { plane } = await start({ behave: () => never })
    holdClock()
    const call = await spawn()
    const leave = new AbortController()
    const { seen, end } = follow(call, leave.signal)
    plane.log(call.callId, 'a line')
    await until(() => seen.length === 1)
    const reason = new Error('the client has left')
    leave.abort(reason)
    await expect(end).rejects.toBe(reason)
    const before = asked()
    plane.log(call.callId, 'another')
    await pass(3)
    expect({ asked: asked(), seen }).toEqual({ asked: before, seen: ['a line\n'] })
  })

  test('is closed when its reader stops reading', async () => {
    const { plane, backend } = await start({ behave: () => never })
    holdClock()
    const call = await spawn()
    plane.log(call.callId, 'a line')
    for await (const text of backend.logs(call, forever)) {
      expect(text).toBe('a line\n')
      break
    }
    const before = asked()
    await pass(3)
    expect(asked()).toEqual(before)
  })

  test('is not requested in a tight loop when its stream ends at once', async () => {
    const { plane } = await start({ behave: () => never })
    const call = await spawn()
    const leave = new AbortController()
    const { end } = follow(call, leave.signal)
    await until(() => plane.stats().rpcs.AppGetLogs === 1)
    plane.forget(call.callId)
    await plane.stop()
    await plane.start()
    // A rate is measured, so in real time.
    await sleep(1500)
    leave.abort(new Error('enough'))
    await expect(end).rejects.toThrow('enough')
    expect(plane.stats().rpcs.AppGetLogs).toBeLessThanOrEqual(4)
  })
})

describe('there is no log', () => {
  test('for a call that Modal does not know or no longer knows', async () => {
    const { plane } = await start({ behave: () => never })
    const call = await spawn()
    plane.forget(call.callId)
    for (const unknown of [call, ended(call), { callId: 'fc-unknown', startedAt: 0 }]) {
      await expect(follow(unknown).end).rejects.toMatchObject({ status: 410, code: 'logs_unavailable' })
    }
  })

  test('while Modal is unavailable, which is reported within seconds', async () => {
    const { plane } = await start({ behave: () => never })
    const call = await spawn()
    await plane.stop()
    await expect(follow(call).end).rejects.toMatchObject({ code: grpc.UNAVAILABLE })
  })

  test('for one reader too many, until another stops', async () => {
    const { plane } = await start({ behave: () => never })
    const call = await spawn()
    plane.log(call.callId, 'a line')
    const leave = new AbortController()
    const readers = Array.from({ length: MAX_LOG_READERS }, () => follow(call, leave.signal))
    for (const reader of readers) reader.end.catch(() => undefined)
    await until(() => readers.every(({ seen }) => seen.length === 1))
    await expect(follow(call).end).rejects.toMatchObject({ status: 503, code: 'logs_unavailable' })
    leave.abort()
    await Promise.allSettled(readers.map(({ end }) => end))
    expect(await follow(ended(call)).end).toEqual(['a line\n'])
  })

  test('with an aborted signal', async () => {
    const { plane } = await start({ behave: () => never })
    const call = await spawn()
    await expect(follow(call, AbortSignal.abort(new Error('aborted'))).end).rejects.toThrow('aborted')
    expect(plane.stats().rpcs.AppGetLogs).toBeUndefined()
  })
})
