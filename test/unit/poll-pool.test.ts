import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createPollPool, type Poll, type PollPoolOptions, type PollTurn } from '../../src/backend/modal/poll-pool.ts'
import type { CallStage, StageHint } from '../../src/backend/modal/poll-queue.ts'

/** A signal that never aborts. One for each follower: to add a listener takes as long as the signal has listeners. */
const forever = () => new AbortController().signal
const deterministic = { seed: 3, numRuns: 150 }

type Event = { at: number; order: number; run: () => void }
type Start = PollTurn & { at: number; id: number; no: number; endNo: number }
/** What a poll does when its turn is ended: rejects (a while later), gives nothing, or ignores it. */
type Manner = { kind: 'reject' | 'nothing' | 'ignore'; afterMs: number }

/** Lets every promise settle that can. A turn of the event loop would do so too, and take most of the time of these tests. */
const settlePromises = () => new Promise<void>((resolve) => process.nextTick(resolve))

/** A clock, and calls that end at known times, polled over a network with a round trip of `roundTripMs`. */
function createWorld(options: PollPoolOptions, network: { roundTripMs?: number; manner?: Manner } = {}) {
  const { roundTripMs = 0, manner = { kind: 'reject', afterMs: 0 } } = network
  const events: Event[] = []
  const starts: Start[] = []
  const noticed = new Map<number, number>()
  const load: number[] = []
  const used = { timers: 0, timersSet: 0, maxTimers: 0, clockReads: 0, maxLoad: 0, order: 0 }
  let nowMs = 0

  const isBefore = (a: Event, b: Event) => a.at < b.at || (a.at === b.at && a.order < b.order)
  const schedule = (delayMs: number, run: () => void) => {
    const event = { at: nowMs + delayMs, order: used.order++, run }
    let [low, high] = [0, events.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (isBefore(event, events[middle]!)) low = middle + 1
      else high = middle
    }
    events.splice(low, 0, event)
    return () => {
      event.run = () => undefined
    }
  }
  const setTimer = (run: () => void, delayMs: number) => {
    used.timersSet++
    used.maxTimers = Math.max(used.maxTimers, ++used.timers)
    let isSet = true
    const unset = () => {
      if (isSet) used.timers--
      isSet = false
    }
    const cancel = schedule(delayMs, () => {
      unset()
      run()
    })
    return () => {
      unset()
      cancel()
    }
  }
  const now = () => {
    used.clockReads++
    return nowMs
  }
  const pool = createPollPool({ now, setTimer, random: () => 0.5, ...options })

  /** The call `id`, which ends at `endsAt`. */
  const call =
    (id: number, endsAt: number): Poll<number> =>
    (turn) => {
      const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
      const start: Start = { ...turn, at: nowMs, id, no: used.order++, endNo: Infinity }
      starts.push(start)
      load[turn.connection] = (load[turn.connection] ?? 0) + 1
      used.maxLoad = Math.max(used.maxLoad, load[turn.connection]!)
      const arrivesAt = nowMs + roundTripMs / 2
      const isEnd = endsAt <= arrivesAt + turn.waitMs
      const answersAt = isEnd ? Math.max(arrivesAt, endsAt) : arrivesAt + turn.waitMs
      const settle = (then: () => void) => () => {
        turn.signal.removeEventListener('abort', onAbort)
        load[turn.connection]!--
        start.endNo = used.order++
        then()
      }
      const cancel = schedule(
        answersAt + roundTripMs / 2 - nowMs,
        settle(() => resolve(isEnd ? id : undefined)),
      )
      const onAbort = () => {
        if (manner.kind === 'ignore') return
        cancel()
        const finish = settle(() => (manner.kind === 'reject' ? reject(new Error('ended')) : resolve(undefined)))
        if (manner.afterMs === 0) finish()
        else schedule(manner.afterMs, finish)
      }
      turn.signal.addEventListener('abort', onAbort)
      return promise
    }

  return {
    ...{ pool, starts, noticed, used, call, schedule },
    now: () => nowMs,
    /** Follows a call until its end; its value is its own number. */
    follow(id: number, endsAt = Infinity, signal = forever(), hint?: StageHint) {
      const followed = pool.follow(call(id, endsAt), signal, hint).then((value) => {
        expect(value).toBe(id)
        noticed.set(id, nowMs)
      })
      followed.catch(() => undefined)
      return followed
    },
    /** Lets everything happen that happens until `ms`. */
    async runUntil(ms: number) {
      await settlePromises()
      while ((events.at(-1)?.at ?? Infinity) <= ms) {
        const event = events.pop()!
        nowMs = event.at
        event.run()
        await settlePromises()
      }
      nowMs = ms
    },
  }
}

type World = ReturnType<typeof createWorld>

const slotsOf = ({ maxConnections, pollsPerConnection }: PollPoolOptions) => maxConnections * pollsPerConnection
const meanTurnMs = (options: PollPoolOptions) =>
  Math.max(options.minTurnMs ?? 1_000, (1_000 * slotsOf(options)) / (options.maxPollsPerSecond ?? 1_250))

/** The bound that the pool's doc states, in ms. */
const noticeBoundMs = (options: PollPoolOptions, followers: number, roundTripMs: number) => {
  const turnMs = meanTurnMs(options)
  return (followers / slotsOf(options)) * (turnMs + roundTripMs) + 1.25 * turnMs + roundTripMs
}

/** The most starts within any second that starts at `fromMs` or later. */
function busiestSecond(starts: readonly Start[], fromMs = -1): number {
  let most = 0
  let first = 0
  for (const [index, { at }] of starts.entries()) {
    while (starts[first]!.at <= Math.max(fromMs, at - 1_000)) if (first++ === index) break
    most = Math.max(most, index + 1 - first)
  }
  return most
}

const poolOptions = fc.record({
  maxConnections: fc.integer({ min: 1, max: 4 }),
  pollsPerConnection: fc.integer({ min: 1, max: 5 }),
  maxPollsPerSecond: fc.integer({ min: 4, max: 300 }),
  minTurnMs: fc.integer({ min: 20, max: 1_000 }),
})
/** Luck of every kind: all long turns, all short ones, long runs of each. */
const luck = fc
  .array(fc.oneof(fc.constantFrom(0, 0.5, 1), fc.double({ min: 0, max: 1, noNaN: true })), {
    minLength: 1,
    maxLength: 30,
  })
  .map((draws) => {
    let index = 0
    return () => draws[index++ % draws.length]!
  })
const calls = fc.array(
  fc.record({ joinsAt: fc.integer({ min: 0, max: 3_000 }), lastsMs: fc.integer({ min: 0, max: 20_000 }) }),
  { minLength: 1, maxLength: 60, size: 'max' },
)
const manners = fc.record({
  kind: fc.constantFrom('reject' as const, 'nothing' as const, 'ignore' as const),
  afterMs: fc.integer({ min: 0, max: 30 }),
})

test('with a slot for each follower, all long-poll repeatedly, and no timer is set', async () => {
  const world = createWorld({ maxConnections: 2, pollsPerConnection: 2 })
  for (const id of [0, 1, 2, 3]) void world.follow(id, 120_000 + id)
  await world.runUntil(130_000)
  expect(world.starts.map(({ id }) => id)).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3])
  expect(new Set(world.starts.map(({ waitMs }) => waitMs))).toEqual(new Set([55_000]))
  expect([...world.noticed]).toEqual([0, 1, 2, 3].map((id) => [id, 120_000 + id]))
  expect(world.used.timersSet).toBe(0)
})

test('connections are opened on demand, and the lowest with room is used first', async () => {
  const world = createWorld({ maxConnections: 3, pollsPerConnection: 2 })
  const leaving = new AbortController()
  expect(world.pool.stats()).toEqual({ open: 0, waiting: 0, connections: 0 })
  for (const id of [0, 1, 2]) void world.follow(id, Infinity, id === 1 ? leaving.signal : forever())
  expect(world.starts.map(({ connection }) => connection)).toEqual([0, 0, 1])
  expect(world.pool.stats()).toEqual({ open: 3, waiting: 0, connections: 2 })
  leaving.abort()
  await world.runUntil(0)
  for (const id of [3, 4, 5, 6, 7]) void world.follow(id)
  expect(world.starts.slice(3).map(({ connection }) => connection)).toEqual([0, 1, 2, 2])
  expect(world.pool.stats()).toEqual({ open: 6, waiting: 1, connections: 3 })
})

test('more followers than slots abort the long polls, oldest first, after their turn; free slots bring them back', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 2 })
  const third = new AbortController()
  void world.follow(0)
  await world.runUntil(400)
  void world.follow(1)
  await world.runUntil(500)
  void world.follow(2, Infinity, third.signal)
  expect(world.pool.stats()).toMatchObject({ open: 2, waiting: 1 })
  await world.runUntil(999)
  expect(world.starts).toHaveLength(2)
  await world.runUntil(1_400)
  expect(world.starts.map(({ id, at, waitMs }) => [id, at, waitMs])).toEqual([
    [0, 0, 55_000],
    [1, 400, 55_000],
    [2, 1_000, 1_000],
    [0, 1_400, 1_000],
  ])
  third.abort()
  await world.runUntil(2_400)
  expect(world.starts.slice(4).map(({ id, at, waitMs }) => [id, at, waitMs])).toEqual([
    [1, 1_400, 55_000],
    [0, 2_400, 55_000],
  ])
  expect(world.used.timers).toBe(0)
})

test('one follower more than slots aborts one long poll, not all', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 20 }, { manner: { kind: 'reject', afterMs: 50 } })
  for (let id = 0; id < 20; id++) void world.follow(id)
  await world.runUntil(30_000)
  void world.follow(20)
  await world.runUntil(30_010)
  expect(world.starts.filter(({ signal }) => signal.aborted).map(({ id }) => id)).toEqual([0])
})

/** A hundred slots, all with long polls, and as many more followers after 30 s; the rate allows two at once, then 50/s. */
async function crowdOfLongPolls(manner: Manner) {
  const world = createWorld({ maxConnections: 2, pollsPerConnection: 50, maxPollsPerSecond: 50 }, { manner })
  for (let id = 0; id < 100; id++) void world.follow(id)
  await world.runUntil(30_000)
  for (let id = 100; id < 200; id++) void world.follow(id)
  const endedIds = () => world.starts.filter(({ signal }) => signal.aborted).map(({ id }) => id)
  return { world, endedIds }
}

test('long polls are aborted only as fast as others may start in their place', async () => {
  const { world, endedIds } = await crowdOfLongPolls({ kind: 'reject', afterMs: 0 })
  expect(endedIds()).toEqual([0, 1])
  await world.runUntil(30_100)
  expect(world.pool.stats()).toMatchObject({ open: 100, waiting: 100 })
  expect(endedIds()).toEqual([0, 1, 2, 3, 4, 5, 6])
})

test('while aborted polls have not settled, no timer repeats', async () => {
  const { world, endedIds } = await crowdOfLongPolls({ kind: 'reject', afterMs: 400 })
  const { timersSet } = world.used
  await world.runUntil(30_399)
  expect(endedIds()).toEqual([0, 1])
  expect(world.used.timersSet - timersSet).toBeLessThanOrEqual(1)
})

test('a free slot is used as soon as the rate allows', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 4, maxPollsPerSecond: 4, minTurnMs: 10_000 })
  for (let id = 0; id < 6; id++) void world.follow(id, id === 0 ? 10 : Infinity)
  await world.runUntil(300)
  expect(world.starts.map(({ id, at }) => [id, at]).slice(4)).toEqual([[4, 250]])
})

test('the timer is cleared when the waiting follower leaves', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 1 })
  const leaving = new AbortController()
  void world.follow(0)
  void world.follow(1, Infinity, leaving.signal)
  expect(world.used.timers).toBe(1)
  leaving.abort()
  expect(world.used.timers).toBe(0)
})

test('no turn is longer than a long poll', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 1, longPollMs: 700 })
  for (const id of [0, 1]) void world.follow(id)
  await world.runUntil(3_000)
  expect(world.starts.map(({ waitMs }) => waitMs)).toEqual([700, 700, 700, 700, 700])
})

test('a turn is as long as the rate demands, and 25 % longer or shorter in pairs', async () => {
  const draws = [0, 0.5, 1]
  const options = { maxConnections: 2, pollsPerConnection: 50, maxPollsPerSecond: 50, minTurnMs: 1_000 }
  const world = createWorld({ ...options, random: () => draws.shift() ?? 0.25 })
  for (let id = 0; id < 101; id++) void world.follow(id)
  await world.runUntil(4_000)
  const waits = world.starts.filter(({ waitMs }) => waitMs < 55_000).map(({ waitMs }) => waitMs)
  expect(waits.slice(0, 8)).toEqual([1_500, 2_500, 2_000, 2_000, 2_500, 1_500, 1_750, 2_250])
})

test('a finished call is noticed within the stated bound, for any numbers, jitter and poll behaviour', async () => {
  const property = fc.asyncProperty(
    ...([poolOptions, calls, luck, manners, fc.integer({ min: 0, max: 200 })] as const),
    async (options, followers, random, manner, roundTripMs) => {
      const inTime: Manner = {
        kind: manner.kind === 'ignore' ? 'nothing' : manner.kind,
        afterMs: Math.min(roundTripMs, manner.afterMs),
      }
      const world = createWorld({ ...options, random }, { roundTripMs, manner: inTime })
      for (const [id, { joinsAt, lastsMs }] of followers.entries()) {
        world.schedule(joinsAt, () => void world.follow(id, joinsAt + lastsMs))
      }
      await world.runUntil(300_000)
      const late = followers.map(({ joinsAt, lastsMs }, id) => (world.noticed.get(id) ?? Infinity) - joinsAt - lastsMs)
      expect(Math.max(...late)).toBeLessThanOrEqual(noticeBoundMs(options, followers.length, roundTripMs) + 2)
      expect(world.pool.stats()).toMatchObject({ open: 0, waiting: 0 })
      expect(world.used.timers).toBe(0)
    },
  )
  await fc.assert(property, { ...deterministic, numRuns: 250 })
})

test('no connection ever has more polls open than allowed, also while aborted ones have not settled', async () => {
  const property = fc.asyncProperty(poolOptions, calls, luck, manners, async (options, followers, random, manner) => {
    const world = createWorld({ ...options, random }, { roundTripMs: 10, manner })
    for (const [id, { joinsAt, lastsMs }] of followers.entries()) {
      const leaving = new AbortController()
      world.schedule(joinsAt, () => void world.follow(id, joinsAt + lastsMs, leaving.signal))
      if (id % 3 === 0) world.schedule(joinsAt + lastsMs / 2, () => leaving.abort())
    }
    await world.runUntil(300_000)
    expect(world.used.maxLoad).toBeLessThanOrEqual(options.pollsPerConnection)
    expect(Math.max(...world.starts.map(({ connection }) => connection))).toBeLessThan(options.maxConnections)
    expect(world.used.maxTimers).toBeLessThanOrEqual(1)
    expect(world.pool.stats()).toMatchObject({ open: 0, waiting: 0 })
    expect(world.used.timers).toBe(0)
  })
  await fc.assert(property, deterministic)
})

test('no second has more polls than the rate and its burst, also when polls return empty at once', async () => {
  const idleMs = 20_000
  const property = fc.asyncProperty(poolOptions, fc.integer({ min: 1, max: 80 }), luck, async (options, n, random) => {
    const world = createWorld({ ...options, random })
    const rate = options.maxPollsPerSecond
    const hasty = (id: number) => (turn: PollTurn) =>
      id % 2 === 0 ? world.call(id, Infinity)({ ...turn, waitMs: 0 }) : world.call(id, Infinity)(turn)
    await world.runUntil(idleMs)
    for (let id = 0; id < n; id++) void world.pool.follow(hasty(id), forever())
    await world.runUntil(idleMs + 4_000)
    const isCrowd = n > slotsOf(options)
    expect(busiestSecond(world.starts)).toBeLessThanOrEqual(2 * rate)
    if (isCrowd) expect(busiestSecond(world.starts, idleMs)).toBeLessThanOrEqual(rate + Math.max(1, 0.04 * rate))
  })
  await fc.assert(property, { ...deterministic, numRuns: 60 })
})

/** The followers that waited when another had a turn, and had none before its next one. */
function passedOver(own: readonly Start[], turns: readonly Start[][]): string[] {
  return turns.flatMap((theirs, id) => {
    let next = 0
    return own.slice(1).flatMap(({ no: second }, nth) => {
      const first = own[nth]!.no
      while (next < theirs.length && theirs[next]!.no <= first) next++
      const hasPoll = next > 0 && theirs[next - 1]!.endNo > first
      const hasTurn = next < theirs.length && theirs[next]!.no < second
      return hasPoll || hasTurn ? [] : [`${id} between ${first} and ${second}`]
    })
  })
}

test('between two turns of a follower, each one that waited at the first has a turn', async () => {
  const property = fc.asyncProperty(
    poolOptions,
    fc.integer({ min: 1, max: 40 }),
    luck,
    async (options, more, random) => {
      const n = slotsOf(options) + more
      const world = createWorld({ ...options, random }, { roundTripMs: 5 })
      for (let id = 0; id < n; id++) void world.follow(id)
      await world.runUntil(3 * noticeBoundMs(options, n, 5))
      const turns = Array.from({ length: n }, (): Start[] => [])
      for (const start of world.starts) turns[start.id]!.push(start)
      expect(turns.flatMap((own) => passedOver(own, turns))).toEqual([])
    },
  )
  await fc.assert(property, { ...deterministic, numRuns: 60 })
})

test('without jitter no follower is ever more than one turn ahead', async () => {
  const property = fc.asyncProperty(poolOptions, fc.integer({ min: 1, max: 40 }), async (options, more) => {
    const world = createWorld(options)
    // With more followers polls do not wait, and one that holds a slot from before may keep it.
    const n = slotsOf(options) + Math.min(more, 2 * slotsOf(options))
    for (let id = 0; id < n; id++) void world.follow(id)
    await world.runUntil(3 * noticeBoundMs(options, n, 0))
    const turns = Array<number>(n).fill(0)
    for (const [index, { id }] of world.starts.entries()) {
      turns[id]!++
      if (index >= n) expect(Math.max(...turns) - Math.min(...turns)).toBeLessThanOrEqual(1)
    }
    expect(Math.min(...turns)).toBeGreaterThan(0)
  })
  await fc.assert(property, { ...deterministic, numRuns: 40 })
})

test('every value arrives, however a poll handles its abort and however the instants coincide', async () => {
  // Everything happens at multiples of a turn, so that ends and aborts meet.
  const meeting = fc.array(fc.record({ joinsAt: fc.nat(5), lasts: fc.nat(8) }), { minLength: 2, maxLength: 20 })
  const property = fc.asyncProperty(meeting, manners, async (followers, manner) => {
    const options = { maxConnections: 1, pollsPerConnection: 3, longPollMs: 3_000 }
    const world = createWorld(options, { manner: { ...manner, afterMs: manner.afterMs > 15 ? 1_000 : 0 } })
    for (const [id, { joinsAt, lasts }] of followers.entries()) {
      world.schedule(joinsAt * 1_000, () => void world.follow(id, (joinsAt + lasts) * 1_000))
    }
    await world.runUntil(120_000)
    expect(world.noticed.size).toBe(followers.length)
  })
  await fc.assert(property, { ...deterministic, numRuns: 100 })
})

/** A pool with one slot, whose long poll must make room for another follower; `poll` is what happens to it. */
async function endTurnOf(poll: Poll<string>) {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 1 })
  const followed = world.pool.follow(poll, forever())
  followed.catch(() => undefined)
  await world.runUntil(2_000)
  void world.follow(1)
  await world.runUntil(2_000)
  return { world, followed }
}

test.each([0, 1, 500])(
  'a value that arrives %i ms after the end of the turn is not polled for again',
  async (afterMs) => {
    const given: Poll<string> = ({ signal }) =>
      new Promise((resolve) => signal.addEventListener('abort', () => later(() => resolve('value'))))
    let later = (then: () => void) => then()
    const poll = vi.fn(given)
    if (afterMs > 0) later = (then) => void pending.push(then)
    const pending: (() => void)[] = []
    const { world, followed } = await endTurnOf(poll)
    if (afterMs > 0) expect(world.starts).toHaveLength(0)
    await world.runUntil(2_000 + afterMs)
    for (const then of pending) then()
    expect(await followed).toBe('value')
    await world.runUntil(5_000)
    expect(poll).toHaveBeenCalledTimes(1)
    expect(world.starts[0]).toMatchObject({ id: 1, at: 2_000 + afterMs })
  },
)

test('a rejection after a poll was aborted is not an error, before that it is', async () => {
  const poll = vi.fn<Poll<string>>(
    ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('CANCELLED')))),
  )
  const { world, followed } = await endTurnOf(poll)
  expect(world.starts).toMatchObject([{ id: 1, at: 2_000 }])
  poll.mockRejectedValueOnce(new Error('UNAVAILABLE'))
  await world.runUntil(3_000)
  await expect(followed).rejects.toThrow('UNAVAILABLE')
  expect(poll).toHaveBeenCalledTimes(2)
  await world.runUntil(3_000)
  expect(world.starts.at(-1)).toMatchObject({ id: 1, at: 3_000, waitMs: 55_000 })
})

test('a poll that throws or rejects frees its slot for the next', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 1 })
  const thrown = world.pool.follow(() => {
    throw new Error('thrown')
  }, forever())
  const rejected = world.pool.follow(() => Promise.reject(new Error('rejected')), forever())
  void world.follow(2, 10)
  await expect(thrown).rejects.toThrow('thrown')
  await expect(rejected).rejects.toThrow('rejected')
  await world.runUntil(100)
  expect(world.noticed.get(2)).toBe(10)
  expect(world.pool.stats()).toMatchObject({ open: 0, waiting: 0 })
})

test('a follower whose signal aborts rejects at once, and leaves neither poll, queue entry nor listener', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 1 }, { manner: { kind: 'reject', afterMs: 20 } })
  const [first, second] = [new AbortController(), new AbortController()]
  const open = world.follow(0, Infinity, first.signal)
  const waiting = world.follow(1, Infinity, second.signal)
  void world.follow(2, 5_000)
  expect(getEventListeners(first.signal, 'abort')).toHaveLength(1)
  expect(getEventListeners(second.signal, 'abort')).toHaveLength(1)

  second.abort(new Error('cancelled'))
  await expect(waiting).rejects.toThrow('cancelled')
  expect(world.pool.stats()).toMatchObject({ open: 1, waiting: 1 })
  first.abort(new Error('deadline'))
  await expect(open).rejects.toThrow('deadline')
  expect(world.starts[0]!.signal.reason).toEqual(new Error('deadline'))
  expect(world.pool.stats()).toMatchObject({ open: 1, waiting: 1 })

  await world.runUntil(6_000)
  expect(world.starts.map(({ id, at }) => [id, at])).toEqual([
    [0, 0],
    [2, 20],
  ])
  expect(world.noticed.get(2)).toBe(5_000)
  expect([first, second].flatMap(({ signal }) => getEventListeners(signal, 'abort'))).toEqual([])
  expect(world.pool.stats()).toMatchObject({ open: 0, waiting: 0 })
})

test('a follower whose signal aborts in the instant of its failure does not cost the others a slot', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 1 })
  const leaving = new AbortController()
  const failed = world.pool.follow(() => Promise.reject(new Error('failed')), leaving.signal)
  void world.pool.follow((turn) => {
    leaving.abort()
    return world.call(1, Infinity)(turn)
  }, forever())
  await expect(failed).rejects.toThrow('failed')
  void world.follow(2)
  // Were the failed poll counted as about to end for ever, the open one would not be ended for the one who waits.
  await world.runUntil(2_500)
  expect(world.starts.map(({ id }) => id)).toEqual([1, 2, 1])
})

test('listeners on a signal that outlives its follower are removed', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 1 })
  const { signal } = new AbortController()
  const followed = [0, 1, 2].map((id) => world.follow(id, 100, signal))
  const failed = world.pool.follow(() => Promise.reject(new Error('x')), signal)
  await Promise.all([world.runUntil(9_000), expect(failed).rejects.toThrow('x'), ...followed])
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

test('an aborted signal starts no poll', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 1 })
  await expect(world.follow(0, 0, AbortSignal.abort(new Error('aborted')))).rejects.toThrow('aborted')
  expect(world.starts).toEqual([])
})

test('close aborts open polls, rejects every follower and leaves no timer', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 2 })
  const followed = [0, 1, 2, 3].map((id) => world.follow(id))
  expect(world.used.timers).toBe(1)
  world.pool.close()
  expect(world.used.timers).toBe(0)
  for (const follower of followed) await expect(follower).rejects.toThrow('closed')
  expect(world.starts.map(({ signal }) => signal.aborted)).toEqual([true, true])
  await expect(world.follow(4)).rejects.toThrow('closed')
  world.pool.close()
  await world.runUntil(60_000)
  expect(world.starts).toHaveLength(2)
  expect(world.pool.stats()).toEqual({ open: 0, waiting: 0, connections: 1 })
  expect(world.used.timers).toBe(0)
})

test('a paused pool starts no poll for that long, then one at a time, at half its rate, and forgets no follower', async () => {
  const options = { maxConnections: 1, pollsPerConnection: 100, maxPollsPerSecond: 100, longPollMs: 1_000 }
  const world = createWorld(options)
  for (let id = 0; id < 50; id++) void world.follow(id, 60_000)
  await world.runUntil(100)
  expect(world.starts).toHaveLength(50)
  world.pool.pause(5_000)
  const beforeHold = world.starts.length
  await world.runUntil(5_099)
  expect(world.starts).toHaveLength(beforeHold)
  await world.runUntil(5_101)
  expect(world.starts).toHaveLength(beforeHold + 1)
  await world.runUntil(6_100)
  const [least, most] = [beforeHold + 45, beforeHold + 58]
  expect(world.starts.length).toBeGreaterThanOrEqual(least)
  expect(world.starts.length).toBeLessThanOrEqual(most)
  await world.runUntil(70_000)
  expect(world.noticed.size).toBe(50)
})

test('with the real clock the timer does not keep the process alive, and turns rotate', async () => {
  const pool = createPollPool({ maxConnections: 1, pollsPerConnection: 1, minTurnMs: 5 })
  onTestFinished(() => pool.close())
  const asked = [0, 0, 0]
  const poll =
    (id: number): Poll<number> =>
    ({ signal }) => {
      if (asked[id]!++ > 0) return Promise.resolve(id)
      const { promise, resolve } = Promise.withResolvers<undefined>()
      signal.addEventListener('abort', () => resolve(undefined))
      if (id > 0) resolve(undefined)
      return promise
    }
  const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const followed = [0, 1, 2].map((id) => pool.follow(poll(id), forever()))
  expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout')).toHaveLength(before)
  expect(await Promise.all(followed)).toEqual([0, 1, 2])
})

/** Runs a crowd and counts what it did beyond the polls themselves. */
async function effortOf(followers: number, untilMs: number): Promise<World & { perTurn: Record<string, number> }> {
  const world = createWorld({ maxConnections: 16, pollsPerConnection: 80 })
  for (let id = 0; id < followers; id++) void world.follow(id)
  await world.runUntil(untilMs)
  const { clockReads, timersSet } = world.used
  const turns = world.starts.length + followers
  return { ...world, perTurn: { clockReads: clockReads / turns, timersSet: timersSet / turns } }
}

/** Notes every walk over an array, a set or a map of more than 500, until it is asked for them. */
function watchWalks(): () => string[] {
  const walks: string[] = []
  const watch = (prototype: object, verb: PropertyKey) => {
    const original = Object.getOwnPropertyDescriptor(prototype, verb)!
    const walk = original.value as (...given: unknown[]) => unknown
    const value = function (this: { length?: number; size?: number }, ...given: unknown[]) {
      const length = this.length ?? this.size ?? 0
      if (length > 500) walks.push(`${String(verb)} over ${length}`)
      return Reflect.apply(walk, this, given)
    }
    Object.defineProperty(prototype, verb, { ...original, value })
    return () => Object.defineProperty(prototype, verb, original)
  }
  const ofArrays = [
    'shift',
    'unshift',
    'indexOf',
    'includes',
    'filter',
    'find',
    'findIndex',
    'forEach',
    Symbol.iterator,
  ]
  const ofSets = ['values', 'keys', 'forEach', Symbol.iterator]
  const restore = [
    ...ofArrays.map((verb) => watch(Array.prototype, verb)),
    ...ofSets.flatMap((verb) => [watch(Set.prototype, verb), watch(Map.prototype, verb)]),
  ]
  return () => {
    for (const undo of restore) undo()
    return walks
  }
}

test('a turn of 10,000 followers costs what it costs with 2,000', async () => {
  const walks = watchWalks()
  const few = await effortOf(2_000, 4_000)
  const many = await effortOf(10_000, 10_000)
  expect(walks()).toEqual([])
  expect(many.used.maxTimers).toBe(1)
  expect(many.perTurn.clockReads).toBeLessThanOrEqual(Math.max(12, few.perTurn.clockReads!))
  expect(many.perTurn.timersSet).toBeLessThanOrEqual(0.5)
  expect(busiestSecond(many.starts, 0)).toBeLessThanOrEqual(1_300)
  expect(new Set(many.starts.map(({ id }) => id)).size).toBe(10_000)
}, 60_000)

test('finished followers are forgotten', async () => {
  const world = createWorld({ maxConnections: 10, pollsPerConnection: 80 })
  await Promise.all([...Array.from({ length: 600 }, (_, id) => world.follow(id, 1)), world.runUntil(10)])
  const walks = watchWalks()
  world.pool.close()
  expect(walks()).toEqual([])
})

test('a poll that returns early and empty is repeated a second after its start, one that returns in time at once', async () => {
  const options = { maxConnections: 1, pollsPerConnection: 10, longPollMs: 5_000 }
  const world = createWorld(options)
  const starts: number[] = []
  let answersAfterMs = 0
  const poll: Poll<never> = () => {
    starts.push(world.now())
    return new Promise((resolve) => world.schedule(answersAfterMs, () => resolve(undefined)))
  }
  world.pool.follow(poll, forever()).catch(() => undefined)
  await world.runUntil(2_500)
  expect(starts).toEqual([0, 1_000, 2_000])
  answersAfterMs = 700
  await world.runUntil(4_500)
  expect(starts.slice(3)).toEqual([3_000, 4_000])
  answersAfterMs = 5_000
  await world.runUntil(14_500)
  expect(starts.slice(5)).toEqual([5_000, 10_000])
})

test('a follower that pauses after an early answer leaves with its signal, and with the pool', async () => {
  const world = createWorld({ maxConnections: 1, pollsPerConnection: 10 })
  const empty: Poll<never> = () => Promise.resolve(undefined)
  const leave = new AbortController()
  const left = world.pool.follow(empty, leave.signal)
  const closed = world.pool.follow(empty, forever())
  await world.runUntil(100)
  leave.abort(new Error('not wanted'))
  await expect(left).rejects.toThrow('not wanted')
  world.pool.close()
  await expect(closed).rejects.toThrow('closed')
  await world.runUntil(5_000)
  expect(world.used.timers).toBe(0)
})

test('polls that all return early stay within the rate of the pool', async () => {
  const options = { maxConnections: 1, pollsPerConnection: 500, maxPollsPerSecond: 100 }
  const world = createWorld(options)
  let polls = 0
  const empty: Poll<never> = () => {
    polls++
    return Promise.resolve(undefined)
  }
  for (let n = 0; n < 400; n++) world.pool.follow(empty, forever()).catch(() => undefined)
  await world.runUntil(10_000)
  expect(polls).toBeLessThanOrEqual(100 * 11)
  expect(polls).toBeGreaterThan(100 * 9)
  world.pool.close()
})

/** The bound that the pool's doc states for whatever the hints say, in ms. */
const hintedBoundMs = (options: PollPoolOptions, followers: number, roundTripMs: number) =>
  (options.maxIntervalMs ?? 60_000) +
  (3_000 * followers) / (options.maxPollsPerSecond ?? 1_250) +
  2.25 * meanTurnMs(options) +
  (followers / slotsOf(options) + 1) * roundTripMs

const stage = fc.constantFrom<CallStage | undefined>('queued', 'starting', 'running', 'ended', undefined)

test('whatever the hints say, each call is polled within the stated bound and no rate is exceeded', async () => {
  const crowd = fc.array(
    fc.record({
      joinsAt: fc.integer({ min: 0, max: 3_000 }),
      lastsMs: fc.integer({ min: 0, max: 12_000 }),
      stages: fc.array(stage, { minLength: 1, maxLength: 6 }),
      changesEveryMs: fc.integer({ min: 50, max: 5_000 }),
    }),
    { minLength: 1, maxLength: 50, size: 'max' },
  )
  const property = fc.asyncProperty(
    ...([poolOptions, crowd, luck, fc.integer({ min: 0, max: 100 }), fc.integer({ min: 500, max: 8_000 })] as const),
    async (pool, followers, random, roundTripMs, maxIntervalMs) => {
      const options = { ...pool, maxIntervalMs }
      const world = createWorld({ ...options, random }, { roundTripMs })
      for (const [id, { joinsAt, lastsMs, stages, changesEveryMs }] of followers.entries()) {
        const hint: { stage: CallStage | undefined; onChange?: () => void } = { stage: stages[0] }
        world.schedule(joinsAt, () => void world.follow(id, joinsAt + lastsMs, forever(), hint))
        for (const [nth, next] of stages.entries()) {
          world.schedule(joinsAt + nth * changesEveryMs, () => {
            hint.stage = next
            hint.onChange?.()
          })
        }
      }
      await world.runUntil(300_000)
      const late = followers.map(({ joinsAt, lastsMs }, id) => (world.noticed.get(id) ?? Infinity) - joinsAt - lastsMs)
      expect(Math.max(...late)).toBeLessThanOrEqual(hintedBoundMs(options, followers.length, roundTripMs) + 2)
      expect(world.used.maxLoad).toBeLessThanOrEqual(options.pollsPerConnection)
      expect(busiestSecond(world.starts)).toBeLessThanOrEqual(2 * options.maxPollsPerSecond)
      expect(world.pool.stats()).toMatchObject({ open: 0, waiting: 0 })
      expect(world.used.timers).toBe(0)
    },
  )
  await fc.assert(property, { ...deterministic, numRuns: 60 })
}, 60_000)

test('calls in the queue are each polled once an interval, at an even pace, and hold no slot', async () => {
  const options = { maxConnections: 1, pollsPerConnection: 10, maxPollsPerSecond: 100, maxIntervalMs: 10_000 }
  const world = createWorld(options, { roundTripMs: 20 })
  for (let id = 0; id < 200; id++) void world.follow(id, Infinity, forever(), { stage: 'queued' })
  // By then those that came while there were slots for all have had their long polls.
  await world.runUntil(70_000)
  const from = world.starts.length
  await world.runUntil(80_000)
  const asked = world.starts.slice(from)
  expect(new Set(asked.map(({ id }) => id)).size).toBeGreaterThanOrEqual(198)
  expect(asked.length).toBeLessThanOrEqual(203)
  expect(new Set(asked.map(({ waitMs }) => waitMs))).toEqual(new Set([0]))
  expect(busiestSecond(world.starts, 70_000)).toBeLessThanOrEqual(22)
})

test('running calls long-poll while thousands wait in the queue, and their ends are noticed at once', async () => {
  const options = { maxConnections: 1, pollsPerConnection: 80, maxPollsPerSecond: 100, maxIntervalMs: 60_000 }
  const world = createWorld(options, { roundTripMs: 20 })
  for (let id = 0; id < 2_000; id++) void world.follow(id, Infinity, forever(), { stage: 'queued' })
  for (let id = 2_000; id < 2_040; id++) void world.follow(id, 30_000 + id, forever(), { stage: 'running' })
  await world.runUntil(40_000)
  const late = [...world.noticed].map(([id, at]) => at - 30_000 - id)
  expect(late).toHaveLength(40)
  expect(Math.max(...late)).toBeLessThanOrEqual(20)
  expect(world.starts.filter(({ id }) => id >= 2_000).length).toBeLessThanOrEqual(80)
})

test('turns go to finished calls first, then to running ones, then to unknown ones', async () => {
  const options = { maxConnections: 1, pollsPerConnection: 1, maxPollsPerSecond: 10, minTurnMs: 100 }
  const world = createWorld(options)
  const hints = ([undefined, 'queued', 'running', 'ended', 'starting', 'ended'] as const).map((known) => ({
    stage: known,
  }))
  void world.follow(99)
  world.pool.pause(1_000)
  for (const [id, hint] of hints.entries()) void world.follow(id, 0, forever(), hint)
  await world.runUntil(5_000)
  expect(world.starts.map(({ id }) => id).filter((id) => id !== 99)).toEqual([3, 5, 2, 4, 0])
})

test('a call in the queue that is found running gets its turn at once', async () => {
  const options = { maxConnections: 1, pollsPerConnection: 20, maxPollsPerSecond: 100, maxIntervalMs: 60_000 }
  const world = createWorld(options)
  const hint: { stage: CallStage; onChange?: () => void } = { stage: 'queued' }
  for (let id = 0; id < 100; id++) void world.follow(id, Infinity, forever(), { stage: 'queued' })
  void world.follow(100, 20_000, forever(), hint)
  await world.runUntil(10_000)
  hint.stage = 'running'
  hint.onChange?.()
  await world.runUntil(10_050)
  expect(world.starts.at(-1)).toMatchObject({ id: 100, waitMs: 55_000 })
  await world.runUntil(20_000)
  expect(world.noticed.get(100)).toBe(20_000)
})
