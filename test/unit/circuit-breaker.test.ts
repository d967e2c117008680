import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createCircuitBreaker, FAILURES_TO_OPEN } from '../../src/backend/modal/circuit-breaker.ts'
import type { Failure } from '../../src/backend/modal/outcome.ts'
import { ADMITTED_PER_SECOND } from '../../src/backend/modal/lane.ts'
import { recordingLog } from '../helpers/log.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

const forever = new AbortController().signal

/** A breaker for a backend that the test makes unavailable and available. */
async function start({ random = () => 0.5, graceMs = 120_000 }: { random?: () => number; graceMs?: number } = {}) {
  const { log, lines } = await recordingLog()
  const state = {
    unavailable: false,
    spawnsRefused: false,
    probes: [] as number[],
    reasons: [] as string[],
    asked: [] as string[],
    probeCause: undefined as Partial<Failure> | undefined,
    beforeProbeEnds: undefined as (() => Promise<void>) | undefined,
  }
  const breaker = createCircuitBreaker({
    ...{ log, random },
    classify: (error): Failure => {
      const { message, cause } = error as Error
      return cause ? { ...(cause as Failure), message } : { reason: 'unreachable', message }
    },
    graceMs,
    probe: async (reason) => {
      state.probes.push(performance.now())
      state.reasons.push(reason)
      await state.beforeProbeEnds?.()
      if (state.unavailable) throw new Error('connection refused', { cause: state.probeCause })
    },
  })
  const ask = (name: string, lane: 'spawn' | 'call' = 'spawn', signal = forever) =>
    breaker.run(
      lane,
      async () => {
        state.asked.push(name)
        if (state.unavailable || (lane === 'spawn' && state.spawnsRefused)) throw new Error('connection refused')
        return name
      },
      signal,
    )
  const early: Promise<string>[] = []
  const startOutage = async () => {
    state.unavailable = true
    early.push(...Array.from({ length: FAILURES_TO_OPEN }, (_, n) => ask(`early-${n}`)))
    await vi.advanceTimersByTimeAsync(0)
    expect(breaker.stats().reason).toBe('unreachable')
  }
  return { breaker, state, lines, ask, startOutage, early }
}

describe('while the backend is available', () => {
  test('the breaker passes requests on at once', async () => {
    const { breaker, ask } = await start()
    expect(await Promise.all([ask('a'), ask('b', 'call')])).toEqual(['a', 'b'])
    expect(breaker.stats()).toEqual({ reason: undefined, waiting: 0 })
    expect(vi.getTimerCount()).toBe(0)
  })

  test('the breaker retries a single failing call and reports no outage', async () => {
    const { breaker, lines } = await start()
    let tries = 0
    const unlucky = breaker.run('call', async () => (++tries < 9 ? Promise.reject(new Error('odd')) : 'done'), forever)
    for (let n = 0; n < 300; n++) {
      breaker.answered('call')
      await vi.advanceTimersByTimeAsync(500)
    }
    expect(await unlucky).toBe('done')
    expect(lines).toEqual([])
  })
})

describe('during an outage', () => {
  test('the breaker sends one probe at a time with growing pauses, however many requests wait', async () => {
    const { state, ask, startOutage, breaker } = await start({ random: () => 1 })
    await startOutage()
    for (let n = 0; n < 1000; n++) void ask(`late-${n}`)
    await vi.advanceTimersByTimeAsync(200_000)
    expect(vi.getTimerCount()).toBe(1)
    expect(breaker.stats().waiting).toBe(1000 + FAILURES_TO_OPEN)
    expect(state.asked).toHaveLength(FAILURES_TO_OPEN)
    const pauses = state.probes.map((at, n) => Math.round(at - (state.probes[n - 1] ?? 0))).slice(1)
    expect(pauses.slice(0, 7)).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
  })

  test('the breaker sends one probe at a time even when a lane closes and opens meanwhile', async () => {
    const { state, ask, breaker, startOutage } = await start()
    await startOutage()
    let [open, most] = [0, 0]
    state.beforeProbeEnds = async () => {
      most = Math.max(most, ++open)
      await new Promise((resolve) => setTimeout(resolve, 400))
      open--
    }
    for (let n = 0; n < 40; n++) {
      for (let call = 0; call < 3; call++) void ask(`call-${n}-${call}`, 'call')
      await vi.advanceTimersByTimeAsync(100)
      breaker.answered('call')
    }
    expect(most).toBe(1)
  })

  test('the pauses between probes have full jitter', async () => {
    // The first two failures only pause; the third starts the outage.
    const draws = [0, 0, 0, 0.25, 1]
    const { state, startOutage } = await start({ random: () => draws.shift() ?? 0.5 })
    await startOutage()
    await vi.advanceTimersByTimeAsync(2_300)
    const [first = 0, second = 0, third = 0] = state.probes
    expect([second - first, third - second].map(Math.round)).toEqual([250, 2000])
  })

  test('spawns wait; afterwards the first is admitted alone, the others in order at a bounded rate', async () => {
    const { state, ask, startOutage, early } = await start()
    await startOutage()
    const late = Array.from({ length: 150 }, (_, n) => ask(`late-${n}`))
    state.asked.length = 0
    state.spawnsRefused = true
    state.unavailable = false
    await vi.advanceTimersByTimeAsync(400)
    // Each probe admits one spawn, which finds that spawns still fail.
    expect(state.asked.every((name) => name === 'early-0')).toBe(true)
    state.asked.length = 0
    state.spawnsRefused = false
    await vi.advanceTimersByTimeAsync(60_000)
    expect(await Promise.all([...early, ...late])).toHaveLength(153)
    expect(state.asked).toEqual([...[0, 1, 2].map((n) => `early-${n}`), ...late.map((_, n) => `late-${n}`)])
  })

  test('spawns wait; afterwards at most the bound is admitted per second, and later spawns queue behind', async () => {
    const { state, ask, startOutage } = await start()
    await startOutage()
    for (let n = 0; n < 500; n++) void ask(`late-${n}`)
    state.asked.length = 0
    state.unavailable = false
    await vi.advanceTimersByTimeAsync(250)
    void ask('last')
    await vi.advanceTimersByTimeAsync(1_000)
    expect(state.asked.length).toBeLessThanOrEqual(ADMITTED_PER_SECOND + 1)
    expect(state.asked.length).toBeGreaterThan(ADMITTED_PER_SECOND / 2)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(state.asked.at(-1)).toBe('last')
  })

  test('calls wait; afterwards all are admitted at once', async () => {
    const { state, ask } = await start()
    state.unavailable = true
    const calls = Array.from({ length: 200 }, (_, n) => ask(`call-${n}`, 'call'))
    await vi.advanceTimersByTimeAsync(0)
    state.unavailable = false
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await Promise.all(calls)).toHaveLength(200)
  })

  test('calls are admitted if only spawns fail', async () => {
    const { state, ask, breaker } = await start()
    state.spawnsRefused = true
    for (let n = 0; n < 5; n++) void ask(`spawn-${n}`)
    await vi.advanceTimersByTimeAsync(0)
    expect(breaker.stats().reason).toBe('unreachable')
    expect(await ask('call', 'call')).toBe('call')
  })

  test('the answer to a call in flight closes the lane without a probe', async () => {
    const { state, ask, breaker } = await start({ random: () => 1 })
    state.unavailable = true
    const calls = Array.from({ length: 5 }, (_, n) => ask(`call-${n}`, 'call'))
    await vi.advanceTimersByTimeAsync(0)
    state.unavailable = false
    breaker.answered('call')
    await vi.advanceTimersByTimeAsync(500)
    expect(await Promise.all(calls)).toHaveLength(5)
    expect(state.probes).toEqual([])
  })

  test('a waiting or pausing request rejects at once when its signal aborts', async () => {
    const { state, ask, breaker, startOutage } = await start()
    const end = new AbortController()
    state.unavailable = true
    const pausing = expect(ask('pausing', 'call', end.signal)).rejects.toThrow('deadline exceeded')
    await startOutage()
    const waiting = expect(ask('waiting', 'spawn', end.signal)).rejects.toThrow('deadline exceeded')
    await vi.advanceTimersByTimeAsync(0)
    end.abort(new Error('deadline exceeded'))
    await Promise.all([pausing, waiting])
    await vi.advanceTimersByTimeAsync(1_000)
    expect(breaker.stats().waiting).toBe(FAILURES_TO_OPEN)
    await expect(ask('too late', 'spawn', end.signal)).rejects.toThrow('deadline exceeded')
  })

  test('the breaker logs once a minute, and once on recovery, however many requests wait', async () => {
    const { state, ask, lines, startOutage } = await start()
    await startOutage()
    for (let n = 0; n < 500; n++) void ask(`late-${n}`)
    await vi.advanceTimersByTimeAsync(10 * 60_000)
    expect(lines.filter(({ reason }) => reason === 'unreachable').length).toBeLessThanOrEqual(11)
    expect(lines.length).toBeGreaterThan(7)
    expect(lines[0]).toMatchObject({ level: 'warn', reason: 'unreachable', error: 'connection refused' })
    state.unavailable = false
    await vi.advanceTimersByTimeAsync(60_000)
    expect(lines.filter(({ event }) => event === 'backend_recovered')).toHaveLength(1)
  })

  test('close() leaves no timer and no waiting request', async () => {
    const { breaker, ask, state, startOutage, early } = await start()
    await startOutage()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(vi.getTimerCount()).toBe(1)
    const pausing = ask('pausing', 'call')
    await vi.advanceTimersByTimeAsync(0)
    expect(vi.getTimerCount()).toBe(2)
    const left = Promise.allSettled([...early, pausing])
    breaker.close()
    expect(vi.getTimerCount()).toBe(0)
    const ends = (await left).map((end) => end.status === 'rejected' && (end.reason as Error).message)
    expect(ends).toEqual(Array(FAILURES_TO_OPEN + 1).fill('the backend is closed'))
    state.unavailable = false
    await expect(ask('too late', 'call')).rejects.toThrow('the backend is closed')
  })

  test('no failed request is retried after close()', async () => {
    const { breaker } = await start()
    const tries: PromiseWithResolvers<string>[] = []
    const running = breaker.run('call', () => (tries[tries.length] = Promise.withResolvers()).promise, forever)
    await vi.advanceTimersByTimeAsync(0)
    breaker.close()
    tries[0]?.reject(new Error('cut off'))
    await expect(running).rejects.toThrow()
    expect({ tries: tries.length, timers: vi.getTimerCount() }).toEqual({ tries: 1, timers: 0 })
  })
})

/** Fails `times` times with `cause`, then succeeds; records the time of each run. */
function failing(times: number, cause: Partial<Failure>, words = 'no') {
  const tries: number[] = []
  const work = () => {
    tries.push(performance.now())
    return tries.length > times ? Promise.resolve('done') : Promise.reject(new Error(words, { cause }))
  }
  return { tries, work }
}

describe('a throttle', () => {
  const slowDown = { reason: 'throttled', retryAfterMs: 3_000 } as const

  test('pauses its lane for the requested time, then lowers its rate, and does not affect the other lane', async () => {
    const { breaker, ask, state } = await start()
    const { work } = failing(1, slowDown)
    const first = breaker.run('spawn', work, forever)
    await vi.advanceTimersByTimeAsync(0)
    const others = Array.from({ length: 200 }, (_, n) => ask(`other-${n}`))
    expect(await ask('a call', 'call')).toBe('a call')
    await vi.advanceTimersByTimeAsync(2_990)
    expect(state.asked).toEqual(['a call'])
    expect(breaker.stats()).toEqual({ reason: 'throttled', waiting: 201 })
    await vi.advanceTimersByTimeAsync(1_100)
    expect(await first).toBe('done')
    const inOneSecond = state.asked.length - 1
    expect(inOneSecond).toBeGreaterThan(ADMITTED_PER_SECOND / 4)
    expect(inOneSecond).toBeLessThan(ADMITTED_PER_SECOND * 0.6)
    await vi.advanceTimersByTimeAsync(10_000)
    await Promise.all(others)
    expect(state.asked.slice(1)).toEqual(others.map((_, n) => `other-${n}`))
    expect(breaker.stats()).toEqual({ reason: undefined, waiting: 0 })
    expect({ probes: state.probes, timers: vi.getTimerCount() }).toEqual({ probes: [], timers: 0 })
  })

  test('is waited out and never opens a lane, however often it is repeated', async () => {
    const { breaker, state, lines } = await start()
    const { tries, work } = failing(6, slowDown, 'slow down')
    const run = breaker.run('call', work, forever)
    await vi.advanceTimersByTimeAsync(40_000)
    expect(await run).toBe('done')
    const pauses = tries.slice(1).map((at, n) => at - tries[n]!)
    for (const pause of pauses) expect(pause).toBeGreaterThanOrEqual(3_000)
    for (const pause of pauses) expect(pause).toBeLessThan(4_200)
    expect(state.probes).toEqual([])
    expect(lines).toMatchObject([{ event: 'backend_degraded', reason: 'throttled', error: 'slow down' }])
  })

  test('outlasts a shorter outage of its lane', async () => {
    const { breaker, state, ask } = await start({ random: () => 1 })
    breaker.failed('call', new Error('slow down', { cause: slowDown }))
    const held = Array.from({ length: 20 }, (_, n) => ask(`held-${n}`, 'call'))
    for (let n = 0; n < FAILURES_TO_OPEN; n++) breaker.failed('call', new Error('connection refused'))
    expect(breaker.stats().reason).toBe('unreachable')
    breaker.answered('call')
    await vi.advanceTimersByTimeAsync(2_900)
    expect(state.asked).toEqual([])
    await vi.advanceTimersByTimeAsync(3_000)
    expect(await Promise.all(held)).toHaveLength(20)
  })

  test('of a probe ends the outage and pauses the waiting requests', async () => {
    const { breaker, state, startOutage, early } = await start()
    await startOutage()
    state.probeCause = slowDown
    const probes = state.probes.length
    await vi.advanceTimersByTimeAsync(600)
    expect(state.probes.length).toBe(probes + 1)
    state.unavailable = false
    expect(breaker.stats().reason).toBe('throttled')
    await vi.advanceTimersByTimeAsync(2_000)
    expect(breaker.stats().waiting).toBe(FAILURES_TO_OPEN)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(await Promise.all(early)).toHaveLength(FAILURES_TO_OPEN)
  })
})

describe('a failure that concerns all requests', () => {
  test('opens the lane of spawns and is logged at once', async () => {
    const { breaker, lines, ask } = await start()
    const { work } = failing(1, { reason: 'spend_limit' }, 'spend limit reached')
    const run = breaker.run('spawn', work, forever)
    await vi.advanceTimersByTimeAsync(0)
    expect(breaker.stats().reason).toBe('spend_limit')
    expect(lines).toMatchObject([{ reason: 'spend_limit', error: 'spend limit reached' }])
    expect(await ask('call', 'call')).toBe('call')
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await run).toBe('done')
    expect(breaker.stats().reason).toBeUndefined()
  })

  test('is logged once a minute while it lasts', async () => {
    const { breaker, lines } = await start()
    const end = new AbortController()
    const { work } = failing(Infinity, { reason: 'spend_limit' })
    const runs = Array.from({ length: 50 }, () => breaker.run('spawn', work, end.signal).catch(() => undefined))
    await vi.advanceTimersByTimeAsync(10 * 60_000)
    expect(lines.length).toBeLessThanOrEqual(11)
    expect(lines.length).toBeGreaterThan(7)
    end.abort(new Error('enough'))
    await Promise.all(runs)
  })

  test('by refused credentials makes spawns wait for the grace period only, and calls without limit', async () => {
    const { breaker, state } = await start({ graceMs: 20_000 })
    const refused = { reason: 'credentials' } as const
    Object.assign(state, { unavailable: true, probeCause: refused })
    const spawns = Array.from({ length: 30 }, () => breaker.run('spawn', failing(Infinity, refused).work, forever))
    const ended = Promise.allSettled(spawns)
    const end = new AbortController()
    const call = breaker.run('call', failing(Infinity, refused).work, end.signal).catch(() => 'aborted')
    await vi.advanceTimersByTimeAsync(19_900)
    expect(breaker.stats()).toMatchObject({ reason: 'credentials', waiting: 31 })
    expect(new Set(state.reasons)).toEqual(new Set(['credentials']))
    await vi.advanceTimersByTimeAsync(2_000)
    expect((await ended).map(({ status }) => status)).toEqual(Array(30).fill('rejected'))
    await expect(breaker.run('spawn', failing(1, refused, 'still').work, forever)).rejects.toThrow('still')
    expect(breaker.stats().waiting).toBe(1)
    end.abort()
    expect(await call).toBe('aborted')
    state.unavailable = false
    await vi.advanceTimersByTimeAsync(60_000)
    expect(breaker.stats().reason).toBeUndefined()
    const again = breaker.run('spawn', failing(1, refused).work, forever)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await again).toBe('done')
  })
})

test('an error that concerns one call alone does not delay others', async () => {
  const { breaker, ask, lines } = await start()
  const { tries, work } = failing(8, {})
  const run = breaker.run('call', work, forever)
  await vi.advanceTimersByTimeAsync(3_000)
  expect(tries.length).toBeGreaterThan(2)
  expect(breaker.stats().reason).toBeUndefined()
  expect(await ask('another', 'call')).toBe('another')
  await vi.advanceTimersByTimeAsync(120_000)
  expect(await run).toBe('done')
  expect(lines).toEqual([])
})
