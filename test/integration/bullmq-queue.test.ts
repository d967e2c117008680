import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import type { Position, QueueEntry } from '../../src/jobs/ports/queue.ts'
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
    const locks = many.map(({ id }) => `{${prefix}}:runs:${id}-1:lock`)
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
    await admin.set(`{${prefix}}:runs:${entry.id}-1:lock`, 'of another', 'KEEPTTL')
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
})
