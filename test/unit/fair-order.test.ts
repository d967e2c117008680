import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PRIORITIES } from '../../src/jobs/job.ts'
import type { Share } from '../../src/jobs/ports/queue.ts'
import { createFairOrder, type FairOrder } from '../../src/queue/in-process/queue.ts'

type Element = { readonly caller: number; readonly number: number }

const add = (order: FairOrder<Element>, caller: number, number: number) =>
  order.add(`${caller}-${number}`, { caller, number }, { caller: String(caller), priority: 'normal' })

const sharesOf = (shares: readonly Share[]) => (caller: string) => shares[Number(caller)] ?? { weight: 1 }

const aShare = (maxRunning = fc.constant<number | undefined>(undefined)) =>
  fc.record({ weight: fc.integer({ min: 1, max: 16 }), maxRunning })

/** Jobs of some callers that arrive at some time, each with a duration, and the slots that they run in. */
const aLoad = (share = aShare()) =>
  fc.array(share, { minLength: 2, maxLength: 50 }).chain((shares) =>
    fc.record({
      shares: fc.constant(shares),
      slots: fc.integer({ min: 1, max: 8 }),
      arrivals: fc.array(
        fc.record({
          caller: fc.nat(shares.length - 1),
          at: fc.nat(500),
          duration: fc.integer({ min: 1, max: 60 }),
          jobs: fc.integer({ min: 1, max: 12 }),
        }),
        { maxLength: 60 },
      ),
    }),
  )

type Load = ReturnType<typeof aLoad> extends fc.Arbitrary<infer T> ? T : never

/** What a test sees at each start: whose it is, and what each caller has waiting and running just before. */
type Start = { readonly caller: number; readonly waiting: readonly number[]; readonly waitedStarts: number }

/** Runs a load on a fake clock. `onStep` is called once no more jobs can start. */
function runLoad({ shares, slots, arrivals }: Load, onStep?: (waiting: number[], running: number[]) => void): Start[] {
  const order = createFairOrder<Element & { readonly duration: number; readonly arrivedAfter: number }>(
    sharesOf(shares),
  )
  const coming = arrivals.toSorted((a, b) => a.at - b.at)
  const [waiting, running] = [shares.map(() => 0), shares.map(() => 0)]
  let runs: { readonly caller: number; readonly until: number }[] = []
  const starts: Start[] = []
  let jobs = 0
  for (let clock = 0; coming.length > 0 || runs.length > 0; clock++) {
    for (const { caller } of runs.filter(({ until }) => until <= clock)) {
      running[caller]!--
      order.finish(String(caller))
    }
    runs = runs.filter(({ until }) => until > clock)
    while (coming[0] && coming[0].at <= clock) {
      const { caller, duration, jobs: count } = coming.shift()!
      for (let n = 0; n < count; n++) {
        const job = { caller, number: jobs++, duration, arrivedAfter: starts.length }
        order.add(`${job.number}`, job, { caller: String(caller), priority: 'normal' })
        waiting[caller]!++
      }
    }
    while (runs.length < slots) {
      const job = order.start()
      if (!job) break
      starts.push({
        caller: job.caller,
        waiting: [...waiting],
        waitedStarts: starts.length - job.arrivedAfter,
      })
      waiting[job.caller]!--
      running[job.caller]!++
      runs.push({ caller: job.caller, until: clock + job.duration })
    }
    onStep?.(waiting, running)
  }
  expect(starts, 'every job starts').toHaveLength(jobs)
  return starts
}

test('while a caller waits, starts of any other are ahead of its own, each by weight, by at most one job of each', () => {
  fc.assert(
    fc.property(aLoad(), (load) => {
      const starts = runLoad(load)
      const callers = [...load.shares.keys()]
      for (const waiter of callers) {
        for (const other of callers) {
          if (other === waiter) continue
          const [own, others] = [1 / load.shares[waiter]!.weight, 1 / load.shares[other]!.weight]
          // How far the other is ahead, and the least of it since the caller began to wait.
          let [lead, least] = [0, 0]
          for (const { caller, waiting } of starts) {
            if (!waiting[waiter]) [lead, least] = [0, 0]
            else if (caller === other) lead += others
            else if (caller === waiter) lead -= own
            least = Math.min(least, lead)
            if (lead - least > own + others + 1e-3) throw new Error(`${other} is ahead of ${waiter}`)
            // With its last job it no longer waits, also if it waits again at the next start.
            if (caller === waiter && waiting[waiter] === 1) [lead, least] = [0, 0]
          }
        }
      }
    }),
    { numRuns: 60 },
  )
})

test('of callers that all wait, each has its share of starts but one job of each other, and of finished jobs but one per slot', () => {
  // Enough for several rounds of all callers, beyond the slots.
  const jobsOf = ({ weight }: Share) => 4 * weight + 8
  const aBacklog = aLoad().map(({ shares, slots, arrivals }) => ({
    shares,
    slots,
    // With the durations of the load.
    arrivals: shares.flatMap((share, caller) =>
      Array.from({ length: jobsOf(share) }, (_none, n) => {
        const duration = arrivals[(caller + n) % arrivals.length]?.duration ?? 1
        return { caller, at: 0, duration, jobs: 1 }
      }),
    ),
  }))
  fc.assert(
    fc.property(aBacklog, (load) => {
      const total = load.shares.reduce((sum, { weight }) => sum + weight, 0)
      let checks = 0
      runLoad(load, (waiting, running) => {
        if (waiting.includes(0)) return
        checks++
        const started = load.shares.map((share, caller) => jobsOf(share) - waiting[caller]!)
        const all = started.reduce((sum, count) => sum + count, 0)
        for (const [caller, { weight }] of load.shares.entries()) {
          const share = (all - (load.shares.length - 1)) * (weight / total) - 1e-6
          const finished = started[caller]! - running[caller]!
          if (started[caller]! < share || finished < share - load.slots)
            throw new Error(`${caller} is behind its share`)
        }
      })
      expect(checks).toBeGreaterThan(0)
    }),
    { numRuns: 40 },
  )
})

test('no job waits longer than its share makes it, whatever others do', () => {
  fc.assert(
    fc.property(aLoad(), (load) => {
      const ahead = new Map<number, number>()
      for (const { caller, waiting, waitedStarts } of runLoad(load)) {
        // At most so many jobs of its own were before it.
        const own = Math.max(ahead.get(caller) ?? 0, waiting[caller]!)
        ahead.set(caller, own)
        const { weight } = load.shares[caller]!
        const others = load.shares.filter((_share, other) => other !== caller)
        const bound = others.reduce((sum, other) => sum + ((own + 1) * other.weight) / weight + 1, own)
        expect(waitedStarts).toBeLessThanOrEqual(bound)
      }
    }),
    { numRuns: 100 },
  )
})

test('no slot is idle while a caller below its limit waits, and no caller exceeds its limit', () => {
  const limit = fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined })
  fc.assert(
    fc.property(aLoad(aShare(limit)), (load) => {
      runLoad(load, (waiting, running) => {
        const hasFreeSlot = running.reduce((sum, count) => sum + count, 0) < load.slots
        const exceeds = load.shares.some(({ maxRunning = Infinity }, caller) => running[caller]! > maxRunning)
        const couldStart = load.shares.some(
          ({ maxRunning = Infinity }, caller) => waiting[caller]! > 0 && running[caller]! < maxRunning,
        )
        if (exceeds) throw new Error('a caller exceeds its limit')
        if (hasFreeSlot && couldStart) throw new Error('a slot is idle')
      })
    }),
    { numRuns: 100 },
  )
})

test('elements start in the order of their positions, whatever was added, removed and started before', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ verb: fc.constant('add' as const), key: fc.nat(60) }) },
    fc.record({ verb: fc.constant('remove' as const), key: fc.nat(60) }),
    fc.record({ verb: fc.constant('start' as const), key: fc.constant(0) }),
  )
  const anElement = fc.record({
    caller: fc.nat(5),
    priority: fc.constantFrom(...PRIORITIES),
    isFirst: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  })
  fc.assert(
    fc.property(
      fc.array(fc.tuple(step, anElement), { maxLength: 200 }),
      fc.array(aShare(), { minLength: 6, maxLength: 6 }),
      (steps, shares) => {
        const order = createFairOrder<string>(sharesOf(shares))
        for (const [{ verb, key }, { caller, ...turn }] of steps) {
          if (verb === 'add') order.add(String(key), String(key), { ...turn, caller: String(caller) })
          else if (verb === 'remove') order.remove(String(key))
          else order.start()
        }
        const positions = Array.from({ length: 61 }, (_none, key) => order.position(String(key)))
        const started: string[] = []
        for (let next = order.start(); next !== undefined; next = order.start()) started.push(next)
        const expected = [...positions.entries()]
          .filter(([, position]) => position !== undefined)
          .sort(([, a = 0], [, b = 0]) => a - b)
          .map(([key]) => String(key))
        expect(started).toEqual(expected)
        expect(positions.filter((position) => position !== undefined).toSorted((a, b) => a - b)).toEqual(
          started.map((_key, index) => index + 1),
        )
      },
    ),
    { numRuns: 300 },
  )
})

test('a caller whose jobs have all started is not behind a new one once nobody has waited', () => {
  const order = createFairOrder<Element>()
  for (let n = 0; n < 10; n++) add(order, 0, n)
  for (let n = 0; n < 10; n++) order.start()
  add(order, 0, 10)
  add(order, 1, 0)
  expect([order.position('0-10'), order.position('1-0')]).toEqual([1, 2])
})

test('a caller that was at its limit has no more than its share afterwards', () => {
  const shares: Share[] = [{ weight: 1, maxRunning: 1 }, { weight: 1 }]
  const order = createFairOrder<Element>(sharesOf(shares))
  for (let n = 0; n < 20; n++) for (const caller of [0, 1]) add(order, caller, n)
  expect(Array.from({ length: 10 }, () => order.start()?.caller)).toEqual([0, ...Array<number>(9).fill(1)])
  shares[0] = { weight: 1 }
  const started = Array.from({ length: 6 }, () => order.start()?.caller)
  // At once one job more than the other, and then as many.
  expect(started).toEqual([0, 0, 1, 0, 1, 0])
})

test('a change of weights applies to elements that wait already', () => {
  const shares: Share[] = [{ weight: 1 }, { weight: 1 }]
  const order = createFairOrder<Element>(sharesOf(shares))
  for (let n = 0; n < 30; n++) for (const caller of [0, 1]) add(order, caller, n)
  shares[1] = { weight: 3 }
  const started = Array.from({ length: 24 }, () => order.start()!.caller)
  expect(started.filter((caller) => caller === 1)).toHaveLength(18)
})

test('an element that is first comes before all, even if its caller is at its limit, and counts as running', () => {
  const order = createFairOrder<string>(() => ({ weight: 1, maxRunning: 1 }))
  for (const key of ['a', 'b']) order.add(key, key, { caller: 'x', priority: 'high' })
  order.add('c', 'c', { caller: 'x', priority: 'low', isFirst: true })
  expect(['a', 'b', 'c'].map((key) => order.position(key))).toEqual([2, 3, 1])
  expect([order.start(), order.start()]).toEqual(['c', undefined])
  order.finish('x')
  expect([order.start(), order.start()]).toEqual(['a', undefined])
})
