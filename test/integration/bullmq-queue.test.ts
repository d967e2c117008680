import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { bullKeyOf } from '../../src/queue/bullmq/entries.ts'
import type { Position, QueueEntry } from '../../src/jobs/ports/queue.ts'
import type { BullmqQueueOptions } from '../../src/queue/bullmq/queue.ts'
import type { QueueProcessOptions } from '../helpers/queue-process.ts'
import { anEntry, createRunTracker, entries, replicasOn } from '../helpers/queues.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

const PROCESS = fileURLToPath(new URL('../helpers/queue-process.ts', import.meta.url))
/** Short enough for a test. */
const SHORT_TIMES = { lockDurationMs: 1_000, stalledIntervalMs: 300 }

const idsOf = (some: readonly QueueEntry[]) => some.map(({ id }) => id).sort()

describeWithRedis('a queue of several replicas', (redis) => {
  const { open, openPair, connect, openBullQueue } = replicasOn(redis.url)

  test('a bound holds for all replicas together, and a finished run makes room for the next', async () => {
    const { runs, a, b } = await openPair({ maxRunning: 3 })
    const many = entries(12)
    for (const entry of many) await a.enqueue(entry)
    for (let finished = 0; finished < 12; finished++) {
      // Full again, as long as entries wait.
      await until(() => runs.current.size === Math.min(3, 12 - finished))
      const [[id, run] = []] = runs.current
      run?.release()
      await until(() => id !== undefined && !runs.current.has(id))
    }
    expect(runs.counts).toEqual({ started: 12, most: 3, doubles: 0 })
    expect(await Promise.all(many.map(async (entry) => b.position(entry)))).toEqual(many.map(() => undefined))
  })

  test('runs that finish at the same time are followed by as many others', async () => {
    const { runs, a } = await openPair({ maxRunning: 150 })
    await Promise.all(entries(300).map((entry) => a.enqueue(entry)))
    await until(() => runs.current.size === 150)
    runs.releaseAll()
    await until(() => runs.counts.started === 300 && runs.current.size === 150)
    expect(runs.counts).toEqual({ started: 300, most: 150, doubles: 0 })
  })

  test('a replica that is started without a bound removes it for all', async () => {
    const [prefix, runs] = [redis.newPrefix(), createRunTracker()]
    const bounded = await open(prefix, { maxRunning: 1 })
    await bounded.start(runs.runnerOf('bounded'))
    for (const entry of entries(3)) await bounded.enqueue(entry)
    await until(() => runs.current.size === 1)
    await (await open(prefix)).start(runs.runnerOf('free'))
    await until(() => runs.current.size === 3)
  })

  test('without a bound an entry that was just enqueued has no position, however many come', async () => {
    const { runs, a } = await openPair()
    const many = entries(20)
    const positions: Position[] = []
    for (const entry of many) {
      await a.enqueue(entry)
      await until(() => runs.current.has(entry.id))
      positions.push(await a.position(entry))
    }
    expect(positions).toEqual(many.map(() => undefined))
  })

  test('an entry that is dequeued on one replica is aborted on another, and no other entry is', async () => {
    const { runs, a, b } = await openPair()
    const [dequeued, kept] = [anEntry(), anEntry()]
    await a.enqueue(dequeued)
    await a.enqueue(kept)
    await until(() => runs.current.size === 2)
    const bystander = runs.current.get(dequeued.id)?.replica === 'a' ? b : a
    await bystander.dequeue(dequeued)
    await until(() => !runs.current.has(dequeued.id))
    expect([...runs.current.keys()]).toEqual([kept.id])
    expect([...a.running(), ...b.running()]).toContainEqual(kept)
    await until(async () => {
      await a.enqueue(dequeued)
      return runs.current.has(dequeued.id)
    })
  })

  test('a replica that closes hands its entries over to the other at once, and none runs twice at the same time', async () => {
    const { runs, a, b } = await openPair()
    const many = entries(100)
    await Promise.all(many.map((entry) => a.enqueue(entry)))
    await until(() => runs.current.size === 100)
    const startedAt = performance.now()
    await a.close()
    await until(() => runs.on('b').length === 100)
    expect(performance.now() - startedAt).toBeLessThan(2_000)
    expect(runs.counts.doubles).toBe(0)
    expect(idsOf(b.running())).toEqual(idsOf(many))
    expect(a.running()).toEqual([])
  })

  test('under a bound, entries that were handed over run before those that have only waited', async () => {
    const { prefix, runs, a, b } = await openPair({ maxRunning: 2 })
    const many = entries(6)
    for (const entry of many) await a.enqueue(entry)
    await until(() => runs.current.size === 2)
    const first = [...runs.current.keys()].sort()
    await Promise.all([a.close(), b.close()])
    expect(runs.current.size).toBe(0)
    const c = await open(prefix, { maxRunning: 2 })
    expect(await Promise.all(many.slice(2).map(async (entry) => c.position(entry)))).toEqual([3, 4, 5, 6])
    await c.start(runs.runnerOf('c'))
    await until(() => runs.current.size === 2)
    expect(runs.on('c').sort()).toEqual(first)
  })

  test('the first entry of a long queue runs before the last is claimed', async () => {
    const queue = await open(redis.newPrefix())
    await Promise.all(entries(1_000).map((entry) => queue.enqueue(entry)))
    const last = anEntry()
    await queue.enqueue(last)
    const waiting: (Position | Promise<Position>)[] = []
    let started = 0
    await queue.start(() => {
      if (started++ === 0) waiting.push(queue.position(last))
      return Promise.resolve()
    })
    await until(() => started === 1_001)
    expect(await waiting[0]).toBeGreaterThan(500)
  })

  test('a run whose lock is lost is aborted, and its entry runs again once it has stopped', async () => {
    const [prefix, runs, admin] = [redis.newPrefix(), createRunTracker(), connect()]
    const queue = await open(prefix, SHORT_TIMES)
    await queue.start(runs.runnerOf('only'))
    const many = entries(10)
    const locks = many.map((entry) => `{${prefix}}:runs:${bullKeyOf(entry)}:lock`)
    const tokens = () => admin.mget(locks)
    for (const entry of many) await queue.enqueue(entry)
    await until(() => runs.current.size === 10)
    const before = await tokens()
    await admin.del(locks)
    await until(() => runs.counts.started === 20 && runs.current.size === 10)
    expect(runs.counts.doubles).toBe(0)
    // The new locks are renewed: they stay longer than a claim is valid.
    const after = await tokens()
    expect(after.filter((token) => token !== null && !before.includes(token))).toHaveLength(10)
    let [left, renewals] = [Infinity, 0]
    await until(async () => {
      const before = left
      left = await admin.pttl(locks[0]!)
      if (left > before) renewals++
      return renewals === 4
    })
    expect(await tokens()).toEqual(after)
  })

  test('a run whose entry another replica has claimed is aborted and does not finish the entry', async () => {
    const { prefix, runs, a, b } = await openPair(SHORT_TIMES)
    const [entry, admin] = [anEntry(), connect()]
    await a.enqueue(entry)
    await until(() => runs.current.size === 1)
    // Forged: as if another replica had it.
    await admin.set(`{${prefix}}:runs:${bullKeyOf(entry)}:lock`, 'of another', 'KEEPTTL')
    await until(() => runs.current.size === 0)
    expect([...a.running(), ...b.running()]).toEqual([])
    // It is not finished either: only the other replica may do that.
    expect(await openBullQueue(prefix).getActiveCount()).toBe(1)
    await until(() => runs.current.size === 1)
  })

  test('the entries of a killed replica run on others, again and again', async () => {
    const [prefix, runs] = [randomUUID(), createRunTracker()]
    const settings: QueueProcessOptions = { url: redis.url(), prefix, ...SHORT_TIMES }
    const queue = await open(prefix, { ...SHORT_TIMES, maxRunning: 4 })
    const many = entries(6)
    for (const entry of many) await queue.enqueue(entry)
    for (let kills = 0; kills < 2; kills++) {
      const child = fork(PROCESS, [JSON.stringify(settings)], { execArgv: [] })
      onTestFinished(() => void child.kill('SIGKILL'))
      const started = new Set<string>()
      child.on('message', ({ id }: QueueEntry) => started.add(id))
      await until(() => started.size === 6)
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await queue.start(runs.runnerOf('survivor'))
    await until(() => runs.current.size === 4)
    // Entries that a dead replica has lost come before those that were only enqueued.
    const returned = many.filter(({ id }) => !runs.current.has(id))
    await queue.enqueue(anEntry())
    expect((await Promise.all(returned.map(async (entry) => queue.position(entry)))).sort()).toEqual([1, 2])
    const last = anEntry()
    await queue.enqueue(last)
    expect(await queue.position(last)).toBe(4)
    runs.releaseAll()
    await until(() => runs.counts.started === 8)
  })

  /** Runs all entries one after the other, and gives their callers in the order of their starts. */
  async function callersInOrder(runs: ReturnType<typeof createRunTracker>, all: readonly QueueEntry[]) {
    const callers: string[] = []
    while (callers.length < all.length) {
      await until(() => runs.current.size === 1)
      const [[id, run] = []] = runs.current
      callers.push(all.find((entry) => entry.id === id)?.caller ?? '')
      run?.release()
      await until(() => id !== undefined && !runs.current.has(id))
    }
    return callers
  }

  /** A pair with a running entry, behind which others wait. */
  async function openBusyPair(options: Partial<BullmqQueueOptions> = {}) {
    const pair = await openPair({ maxRunning: 1, ...options })
    const filler = anEntry('key:filler')
    await pair.a.enqueue(filler)
    await until(() => pair.runs.current.size === 1)
    return { ...pair, filler }
  }

  test('callers have their shares on all replicas together, whichever replica their entries come through', async () => {
    const { runs, a, b, filler } = await openBusyPair()
    const [many, few] = [entries(12, 'key:many'), entries(4, 'key:few')]
    await Promise.all(many.map((entry, n) => (n % 2 ? a : b).enqueue(entry)))
    await Promise.all(few.map((entry) => a.enqueue(entry)))
    const callers = await callersInOrder(runs, [filler, ...many, ...few])
    for (let n = 2; n <= 8; n += 2) {
      const started = callers.slice(1, 1 + n).filter((caller) => caller === 'key:few').length
      expect(Math.abs(started - n / 2), `after ${n} starts`).toBeLessThanOrEqual(1)
    }
  })

  test('a caller that has canceled its entries is not behind the others for them', async () => {
    const { runs, a, b, filler } = await openBusyPair()
    const [canceled, kept, others] = [entries(20), anEntry(), entries(6, 'key:other')]
    for (const entry of [...canceled, kept, ...others]) await a.enqueue(entry)
    for (const entry of canceled) await b.dequeue(entry)
    await expect.poll(() => b.position(kept)).toBeLessThanOrEqual(2)
    const next = anEntry()
    await a.enqueue(next)
    await expect.poll(() => b.position(next)).toBeLessThanOrEqual(4)
    const callers = await callersInOrder(runs, [filler, kept, next, ...others])
    expect(callers.slice(1, 5).filter((caller) => caller === 'key:a')).toHaveLength(2)
  })

  test('entries that a process handed over run first, whatever the shares of their callers', async () => {
    const { prefix, runs, a, b } = await openPair({ maxRunning: 2 })
    for (const entry of entries(8, 'key:first')) await a.enqueue(entry)
    for (let n = 1; n <= 4; n++) {
      await until(() => runs.current.size === 2)
      runs.current.values().next().value?.release()
      await until(() => runs.counts.started === 2 + n)
    }
    for (const entry of entries(3, 'key:later')) await b.enqueue(entry)
    const handedOver = [...runs.current.keys()].sort()
    await Promise.all([a.close(), b.close()])
    const c = await open(prefix, { maxRunning: 2 })
    await c.start(runs.runnerOf('c'))
    await until(() => runs.current.size === 2)
    expect(runs.on('c').sort()).toEqual(handedOver)
  })

  test('once nobody has waited for a while, a caller with many jobs before is not behind a new one', async () => {
    const { prefix, runs, a, filler } = await openBusyPair({ restAfterMs: 20 })
    const admin = connect()
    const earlier = entries(5)
    for (const entry of earlier) await a.enqueue(entry)
    await callersInOrder(runs, [filler, ...earlier])
    await until(async () => (await admin.hkeys(`{${prefix}}:fair`)).every((field) => !field.startsWith('of:')))
    const [busy, next, others] = [anEntry('key:filler'), anEntry(), entries(3, 'key:new')]
    for (const entry of [busy, next, ...others]) await a.enqueue(entry)
    await until(() => runs.current.size === 1)
    await expect.poll(() => a.position(next)).toBe(1)
  })

  test('the order that a killed process was about to change is changed by the next that starts', async () => {
    const { prefix, runs, a, filler } = await openBusyPair()
    const [many, few] = [entries(6, 'key:many'), entries(2, 'key:few')]
    for (const entry of [...many, ...few]) await a.enqueue(entry)
    // Forged: the killed process has recorded what it is about to do, and has not done it yet.
    const bull = openBullQueue(prefix)
    for (const entry of few) await (await bull.getJob(bullKeyOf(entry)))?.changePriority({ priority: 1_000 })
    await connect().sadd(`{${prefix}}:spreads`, 'key:few')
    await expect.poll(() => a.position(few[1]!)).toBe(8)
    const c = await open(prefix, { maxRunning: 1 })
    await c.start(runs.runnerOf('c'))
    await expect.poll(() => a.position(few[1]!), { timeout: 10_000 }).toBeLessThanOrEqual(4)
    const callers = await callersInOrder(runs, [filler, ...many, ...few])
    expect(callers.slice(1, 5).filter((caller) => caller === 'key:few')).toHaveLength(2)
  })

  test('a change of weights applies to entries that wait already', async () => {
    const weights: Record<string, number> = {}
    const { runs, a, filler } = await openBusyPair({ shareOf: (caller) => ({ weight: weights[caller] ?? 1 }) })
    const [first, second] = [entries(12, 'key:first'), entries(12, 'key:second')]
    for (const [n, entry] of first.entries()) for (const waiting of [entry, second[n]!]) await a.enqueue(waiting)
    weights['key:second'] = 3
    await callersInOrder(runs, [filler, first[0]!, second[0]!])
    // The first start of the caller has noticed it; its other entries move up.
    await expect.poll(() => a.position(second[8]!)).toBeLessThanOrEqual(12)
    const callers = await callersInOrder(runs, [...first.slice(1, 5), ...second.slice(1, 9)])
    expect(callers.filter((caller) => caller === 'key:second').length).toBeGreaterThanOrEqual(8)
  })

  test('priorities are counted from the current virtual time again before they run out, and the order stays fair', async () => {
    const { prefix, runs, a } = await openBusyPair()
    const far = String(2 ** 21 * 720_720)
    await connect().hset(`{${prefix}}:fair`, { virtual: far, latest: far })
    const [many, few] = [entries(8, 'key:many'), entries(3, 'key:few')]
    for (const entry of [...many, ...few]) await a.enqueue(entry)
    const bull = openBullQueue(prefix)
    const priorities = async () => (await bull.getPrioritized()).map(({ priority }) => priority)
    expect(new Set(await priorities())).toEqual(new Set([2 ** 21 - 1]))
    runs.releaseAll()
    // The next start notices it.
    await until(async () => (await priorities()).every((priority) => priority < 1_000))
    const callers = await callersInOrder(runs, [...many, ...few])
    expect(callers.slice(1, 7).filter((caller) => caller === 'key:few')).toHaveLength(3)
  })

  test('a pause or resume holds whose message is lost with the connection, or overtaken by that of an older one', async () => {
    const { prefix, a, b } = await openPair()
    const [admin, key] = [connect(), `{${prefix}}:paused`]
    // Both have read at their start what is stored.
    for (const paused of [true, false]) {
      await a.setPaused(paused)
      await until(() => b.isPaused() === paused)
    }
    await admin.set(key, '1')
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => a.isPaused() && b.isPaused())
    await admin.del(key)
    await admin.publish(`{${prefix}}:0:pauses`, 'true')
    await until(() => !a.isPaused() && !b.isPaused())
  })

  test.each([{ maxRunning: 3 }, { maxRunning: undefined }])(
    'a pause holds on all replicas, over restarts, and for no entry that was running: %o',
    async (options) => {
      const { prefix, runs, a, b } = await openPair(options)
      const [running, waiting] = [entries(2), entries(30)]
      for (const entry of running) await a.enqueue(entry)
      await until(() => runs.current.size === 2)
      await b.setPaused(true)
      await until(() => a.isPaused())
      for (const [n, entry] of waiting.entries()) await (n % 2 ? a : b).enqueue(entry)
      await Promise.all([a.close(), b.close()])
      const c = await open(prefix, options)
      await c.start(runs.runnerOf('c'))
      await until(() => runs.on('c').length === 2)
      expect(idsOf(c.running())).toEqual(idsOf(running))
      expect(c.isPaused()).toBe(true)
      expect(runs.counts.started).toBe(4)
      await c.setPaused(false)
      await until(() => runs.counts.started >= 5)
      await until(() => {
        runs.releaseAll()
        return runs.counts.started === 34 && runs.current.size === 0
      })
      expect(runs.counts.doubles).toBe(0)
    },
  )
})
