import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createOutageGate, FAILURES_TO_CLOSE, SPAWNS_PER_SECOND } from '../../src/backend/modal/circuit-breaker.ts'
import { type LogLine, recordingLog } from '../helpers/log.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

const forever = new AbortController().signal

/** A gate before a backend that the test takes away and brings back. */
async function start({ random = () => 0.5 }: { random?: () => number } = {}) {
  const { log, lines } = await recordingLog()
  const state = {
    down: false,
    spawnsRefused: false,
    probes: [] as number[],
    asked: [] as string[],
    hold: undefined as (() => Promise<void>) | undefined,
  }
  const gate = createOutageGate({
    ...{ log, random },
    describe: (error) => (error as Error).message,
    probe: async () => {
      state.probes.push(performance.now())
      await state.hold?.()
      if (state.down) throw new Error('connection refused')
    },
  })
  const ask = (name: string, lane: 'spawn' | 'call' = 'spawn', signal = forever) =>
    gate.run(
      lane,
      async () => {
        state.asked.push(name)
        if (state.down || (lane === 'spawn' && state.spawnsRefused)) throw new Error('connection refused')
        return name
      },
      signal,
    )
  const early: Promise<string>[] = []
  const takeAway = async () => {
    state.down = true
    early.push(...Array.from({ length: FAILURES_TO_CLOSE }, (_, n) => ask(`early-${n}`)))
    await vi.advanceTimersByTimeAsync(0)
    expect(gate.stats().down).toBe(true)
  }
  return { gate, state, lines, ask, takeAway, early }
}

const said = (lines: LogLine[]) => lines.map((line) => line.msg)

describe('a backend that answers', () => {
  test('is asked at once, and nothing waits', async () => {
    const { gate, ask } = await start()
    expect(await Promise.all([ask('a'), ask('b', 'call')])).toEqual(['a', 'b'])
    expect(gate.stats()).toEqual({ down: false, waiting: 0 })
    expect(vi.getTimerCount()).toBe(0)
  })

  test('one call’s bad luck is tried again by itself and is no outage', async () => {
    const { gate, lines } = await start()
    let tries = 0
    const unlucky = gate.run('call', async () => (++tries < 9 ? Promise.reject(new Error('odd')) : 'done'), forever)
    for (let n = 0; n < 300; n++) {
      gate.answered('call')
      await vi.advanceTimersByTimeAsync(500)
    }
    expect(await unlucky).toBe('done')
    expect(lines).toEqual([])
  })
})

describe('an outage', () => {
  test('is met with one probe at a time, further and further apart, whatever waits', async () => {
    const { state, ask, takeAway, gate } = await start({ random: () => 1 })
    await takeAway()
    for (let n = 0; n < 1000; n++) void ask(`late-${n}`)
    await vi.advanceTimersByTimeAsync(200_000)
    expect(vi.getTimerCount()).toBe(1)
    expect(gate.stats().waiting).toBe(1000 + FAILURES_TO_CLOSE)
    expect(state.asked).toHaveLength(FAILURES_TO_CLOSE)
    const pauses = state.probes.map((at, n) => Math.round(at - (state.probes[n - 1] ?? 0))).slice(1)
    expect(pauses.slice(0, 7)).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
  })

  test('has one probe at a time also while a lane opens and closes during it', async () => {
    const { state, ask, gate, takeAway } = await start()
    await takeAway()
    let [open, most] = [0, 0]
    state.hold = async () => {
      most = Math.max(most, ++open)
      await new Promise((resolve) => setTimeout(resolve, 400))
      open--
    }
    for (let n = 0; n < 40; n++) {
      for (let call = 0; call < 3; call++) void ask(`call-${n}-${call}`, 'call')
      await vi.advanceTimersByTimeAsync(100)
      gate.answered('call')
    }
    expect(most).toBe(1)
  })

  test('its pauses have full jitter', async () => {
    // The first two failures pause by themselves; the third begins the outage.
    const draws = [0, 0, 0, 0.25, 1]
    const { state, takeAway } = await start({ random: () => draws.shift() ?? 0.5 })
    await takeAway()
    await vi.advanceTimersByTimeAsync(2_300)
    const [first = 0, second = 0, third = 0] = state.probes
    expect([second - first, third - second].map(Math.round)).toEqual([250, 2000])
  })

  test('ends for spawns in order of arrival, the first alone, the others at a bounded rate', async () => {
    const { state, ask, takeAway, early } = await start()
    await takeAway()
    const late = Array.from({ length: 150 }, (_, n) => ask(`late-${n}`))
    state.asked.length = 0
    state.spawnsRefused = true
    state.down = false
    await vi.advanceTimersByTimeAsync(400)
    // One finds out that nothing is started yet, and only one each probe.
    expect(state.asked.every((name) => name === 'early-0')).toBe(true)
    state.asked.length = 0
    state.spawnsRefused = false
    await vi.advanceTimersByTimeAsync(60_000)
    expect(await Promise.all([...early, ...late])).toHaveLength(153)
    expect(state.asked).toEqual([...[0, 1, 2].map((n) => `early-${n}`), ...late.map((_, n) => `late-${n}`)])
  })

  test('lets no more spawns go in a second than the bound, and later comers queue behind', async () => {
    const { state, ask, takeAway } = await start()
    await takeAway()
    for (let n = 0; n < 500; n++) void ask(`late-${n}`)
    state.asked.length = 0
    state.down = false
    await vi.advanceTimersByTimeAsync(250)
    void ask('last')
    await vi.advanceTimersByTimeAsync(1_000)
    expect(state.asked.length).toBeLessThanOrEqual(SPAWNS_PER_SECOND + 1)
    expect(state.asked.length).toBeGreaterThan(SPAWNS_PER_SECOND / 2)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(state.asked.at(-1)).toBe('last')
  })

  test('ends for calls at once, all of them', async () => {
    const { state, ask } = await start()
    state.down = true
    const calls = Array.from({ length: 200 }, (_, n) => ask(`call-${n}`, 'call'))
    await vi.advanceTimersByTimeAsync(0)
    state.down = false
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await Promise.all(calls)).toHaveLength(200)
  })

  test('of spawns alone leaves the calls alone', async () => {
    const { state, ask, gate } = await start()
    state.spawnsRefused = true
    for (let n = 0; n < 5; n++) void ask(`spawn-${n}`)
    await vi.advanceTimersByTimeAsync(0)
    expect(gate.stats().down).toBe(true)
    expect(await ask('call', 'call')).toBe('call')
  })

  test('an answer to a call under way ends it without a probe', async () => {
    const { state, ask, gate } = await start({ random: () => 1 })
    state.down = true
    const calls = Array.from({ length: 5 }, (_, n) => ask(`call-${n}`, 'call'))
    await vi.advanceTimersByTimeAsync(0)
    state.down = false
    gate.answered('call')
    await vi.advanceTimersByTimeAsync(500)
    expect(await Promise.all(calls)).toHaveLength(5)
    expect(state.probes).toEqual([])
  })

  test('is left at once by whoever’s signal aborts, waiting or pausing', async () => {
    const { state, ask, gate, takeAway } = await start()
    const end = new AbortController()
    state.down = true
    const pausing = expect(ask('pausing', 'call', end.signal)).rejects.toThrow('the deadline')
    await takeAway()
    const waiting = expect(ask('waiting', 'spawn', end.signal)).rejects.toThrow('the deadline')
    await vi.advanceTimersByTimeAsync(0)
    end.abort(new Error('the deadline'))
    await Promise.all([pausing, waiting])
    await vi.advanceTimersByTimeAsync(1_000)
    expect(gate.stats().waiting).toBe(FAILURES_TO_CLOSE)
    await expect(ask('too late', 'spawn', end.signal)).rejects.toThrow('the deadline')
  })

  test('is one line a minute, and one at its end, however many wait', async () => {
    const { state, ask, lines, takeAway } = await start()
    await takeAway()
    for (let n = 0; n < 500; n++) void ask(`late-${n}`)
    await vi.advanceTimersByTimeAsync(10 * 60_000)
    expect(said(lines).filter((line) => line === 'the backend does not answer').length).toBeLessThanOrEqual(11)
    expect(said(lines).length).toBeGreaterThan(7)
    expect(lines[0]).toMatchObject({ level: 'warn', reason: 'connection refused' })
    state.down = false
    await vi.advanceTimersByTimeAsync(60_000)
    expect(said(lines).filter((line) => line === 'the backend answers again')).toHaveLength(1)
  })

  test('leaves no timer and nobody behind when the gate closes', async () => {
    const { gate, ask, state, takeAway, early } = await start()
    await takeAway()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(vi.getTimerCount()).toBe(1)
    const pausing = ask('pausing', 'call')
    await vi.advanceTimersByTimeAsync(0)
    expect(vi.getTimerCount()).toBe(2)
    const left = Promise.allSettled([...early, pausing])
    gate.close()
    expect(vi.getTimerCount()).toBe(0)
    const ends = (await left).map((end) => end.status === 'rejected' && (end.reason as Error).message)
    expect(ends).toEqual(Array(FAILURES_TO_CLOSE + 1).fill('the backend is closed'))
    state.down = false
    await expect(ask('too late', 'call')).rejects.toThrow('the backend is closed')
  })

  test('does not try again what fails once the gate is closed', async () => {
    const { gate } = await start()
    const tries: PromiseWithResolvers<string>[] = []
    const running = gate.run('call', () => (tries[tries.length] = Promise.withResolvers()).promise, forever)
    await vi.advanceTimersByTimeAsync(0)
    gate.close()
    tries[0]?.reject(new Error('cut off'))
    await expect(running).rejects.toThrow()
    expect([tries.length, vi.getTimerCount()]).toEqual([1, 0])
  })
})
