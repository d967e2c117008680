import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import type { Position, QueueEntry } from '../../src/queue/port.ts'
import type { QueueProcessOptions } from '../helpers/queue-process.ts'
import { anEntry, createStage, entries, replicasOn } from '../helpers/queues.ts'
import { describeWithRedis } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

const PROCESS = fileURLToPath(new URL('../helpers/queue-process.ts', import.meta.url))
/** Short enough to wait for. */
const HASTE = { lockDurationMs: 1_000, stalledIntervalMs: 300 }

const idsOf = (some: readonly QueueEntry[]) => some.map(({ id }) => id).sort()

describeWithRedis('queues of many replicas', (redis) => {
  const { open, openPair, connect } = replicasOn(redis.url)

  test('a bound holds for all replicas together, and a place that falls free is taken', async () => {
    const { stage, a, b } = await openPair({ maxRunning: 3 })
    const many = entries(12)
    for (const entry of many) await a.enqueue(entry)
    for (let ended = 0; ended < 12; ended++) {
      // Full again, as long as somebody waits.
      await until(() => stage.current.size === Math.min(3, 12 - ended))
      const [[id, run] = []] = stage.current
      run?.release()
      await until(() => id !== undefined && !stage.current.has(id))
    }
    expect(stage.counts).toEqual({ started: 12, most: 3, doubles: 0 })
    expect(await Promise.all(many.map(async (entry) => b.position(entry)))).toEqual(many.map(() => undefined))
  })

  test('all that end at the same moment are followed by as many', async () => {
    const { stage, a } = await openPair({ maxRunning: 150 })
    await Promise.all(entries(300).map((entry) => a.enqueue(entry)))
    await until(() => stage.current.size === 150)
    stage.releaseAll()
    await until(() => stage.counts.started === 300 && stage.current.size === 150)
    expect(stage.counts).toEqual({ started: 300, most: 150, doubles: 0 })
  })

  test('a replica that is started without a bound takes it away for all', async () => {
    const [prefix, stage] = [redis.newPrefix(), createStage()]
    const bounded = await open(prefix, { maxRunning: 1 })
    await bounded.start(stage.runnerOf('bounded'))
    for (const entry of entries(3)) await bounded.enqueue(entry)
    await until(() => stage.current.size === 1)
    await (await open(prefix)).start(stage.runnerOf('free'))
    await until(() => stage.current.size === 3)
  })

  test('a drop on one replica aborts the run on another, and no other run', async () => {
    const { stage, a, b } = await openPair()
    const [dropped, kept] = [anEntry(), anEntry()]
    await a.enqueue(dropped)
    await a.enqueue(kept)
    await until(() => stage.current.size === 2)
    const bystander = stage.current.get(dropped.id)?.replica === 'a' ? b : a
    await bystander.dequeue(dropped)
    await until(() => !stage.current.has(dropped.id))
    expect([...stage.current.keys()]).toEqual([kept.id])
    expect([...a.running(), ...b.running()]).toContainEqual(kept)
    await until(async () => {
      await a.enqueue(dropped)
      return stage.current.has(dropped.id)
    })
  })

  test('a polite close hands everything to the other replica at once, and nothing runs twice at a time', async () => {
    const { stage, a, b } = await openPair()
    const many = entries(100)
    await Promise.all(many.map((entry) => a.enqueue(entry)))
    await until(() => stage.current.size === 100)
    const startedAt = performance.now()
    await a.close()
    await until(() => stage.on('b').length === 100)
    expect(performance.now() - startedAt).toBeLessThan(2_000)
    expect(stage.counts.doubles).toBe(0)
    expect(idsOf(b.running())).toEqual(idsOf(many))
    expect(a.running()).toEqual([])
  })

  test('what is handed back with a bound goes before those that have only waited', async () => {
    const { prefix, stage, a, b } = await openPair({ maxRunning: 2 })
    const many = entries(6)
    for (const entry of many) await a.enqueue(entry)
    await until(() => stage.current.size === 2)
    const first = [...stage.current.keys()].sort()
    await Promise.all([a.close(), b.close()])
    expect(stage.current.size).toBe(0)
    const c = await open(prefix, { maxRunning: 2 })
    expect(await Promise.all(many.slice(2).map(async (entry) => c.position(entry)))).toEqual([3, 4, 5, 6])
    await c.start(stage.runnerOf('c'))
    await until(() => stage.current.size === 2)
    expect(stage.on('c').sort()).toEqual(first)
  })

  test('the first of a long line is run before the last is taken', async () => {
    const queue = await open(redis.newPrefix())
    await Promise.all(entries(1_000).map((entry) => queue.enqueue(entry)))
    const last = anEntry()
    await queue.enqueue(last)
    const waiting: (Position | Promise<Position>)[] = []
    let begun = 0
    await queue.start(() => {
      if (begun++ === 0) waiting.push(queue.position(last))
      return Promise.resolve()
    })
    await until(() => begun === 1_001)
    expect(await waiting[0]).toBeGreaterThan(500)
  })

  test('a run whose lock is gone is aborted, and begun again once nobody holds the entry', async () => {
    const [prefix, stage, admin] = [redis.newPrefix(), createStage(), connect()]
    const queue = await open(prefix, HASTE)
    await queue.start(stage.runnerOf('only'))
    const many = entries(10)
    const locks = many.map(({ id }) => `{${prefix}}:runs:${id}-1:lock`)
    const tokens = () => admin.mget(locks)
    for (const entry of many) await queue.enqueue(entry)
    await until(() => stage.current.size === 10)
    const before = await tokens()
    await admin.del(locks)
    await until(() => stage.counts.started === 20 && stage.current.size === 10)
    expect(stage.counts.doubles).toBe(0)
    // The new locks are renewed: they outlive what one take gives them.
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

  test('an entry that another replica has taken over is not run on where it was lost', async () => {
    const { prefix, stage, a, b } = await openPair(HASTE)
    const [entry, admin] = [anEntry(), connect()]
    await a.enqueue(entry)
    await until(() => stage.current.size === 1)
    // Forged: as if the other had it.
    await admin.set(`{${prefix}}:runs:${entry.id}-1:lock`, 'of another', 'KEEPTTL')
    await until(() => stage.current.size === 0)
    expect([...a.running(), ...b.running()]).toEqual([])
    // It is not ended either: whoever has it does that.
    expect(await admin.llen(`{${prefix}}:runs:active`)).toBe(1)
    await until(() => stage.current.size === 1)
  })

  test('a replica that is killed hands over what it ran, again and again', async () => {
    const [prefix, stage] = [randomUUID(), createStage()]
    const settings: QueueProcessOptions = { url: redis.url(), prefix, ...HASTE }
    const queue = await open(prefix, { ...HASTE, maxRunning: 4 })
    const many = entries(6)
    for (const entry of many) await queue.enqueue(entry)
    for (let kills = 0; kills < 2; kills++) {
      const child = fork(PROCESS, [JSON.stringify(settings)], { execArgv: [] })
      onTestFinished(() => void child.kill('SIGKILL'))
      const begun = new Set<string>()
      child.on('message', ({ id }: QueueEntry) => begun.add(id))
      await until(() => begun.size === 6)
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await queue.start(stage.runnerOf('survivor'))
    await until(() => stage.current.size === 4)
    // What a dead replica leaves to others stands in another list than what was added.
    const returned = many.filter(({ id }) => !stage.current.has(id))
    await queue.enqueue(anEntry())
    expect((await Promise.all(returned.map(async (entry) => queue.position(entry)))).sort()).toEqual([1, 2])
    const last = anEntry()
    await queue.enqueue(last)
    expect(await queue.position(last)).toBe(4)
    stage.releaseAll()
    await until(() => stage.counts.started === 8)
  })
})
