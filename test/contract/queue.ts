import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { AttemptId, JobQueue, QueueEntry, RunEntry, Share } from '../../src/jobs/ports/queue.ts'
import { createUuids } from '../../src/lib/ids.ts'
import { until } from '../helpers/until.ts'
import type { ContractCase } from './contract.ts'

/** In the order of arrival, as the server makes them. */
const newId = createUuids()
const anEntry = (attempt = 1, turn: Partial<QueueEntry> = {}): QueueEntry => ({
  id: newId(),
  attempt,
  caller: 'key:a',
  priority: 'normal',
  ...turn,
})

type Runner = ReturnType<typeof createRunner>

/** A runner whose runs finish only when they are released or aborted. */
function createRunner() {
  const started: AttemptId[] = []
  const finished: AttemptId[] = []
  const releases = new Map<string, () => void>()
  const run: RunEntry = async (entry, signal) => {
    started.push(entry)
    await new Promise<void>((resolve) => {
      releases.set(entry.id, resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    finished.push(entry)
  }
  return { run, started, finished, release: (entry: AttemptId) => releases.get(entry.id)?.() }
}

const startRunner = async (queue: JobQueue, entries: QueueEntry[]) => {
  const runner = createRunner()
  await queue.start(runner.run)
  for (const entry of entries) await queue.enqueue(entry)
  await until(() => runner.started.length > 0)
  return runner
}

/** What every queue promises that runs one entry at a time. */
export const boundedQueueContract: readonly ContractCase<JobQueue>[] = [
  [
    'runs no more than the bound, the others in order of arrival',
    async (open) => {
      const [queue, entries] = [await open(), [anEntry(), anEntry(), anEntry()]]
      const runner = await startRunner(queue, entries)
      for (const [n, entry] of entries.entries()) {
        await until(() => runner.started.length > n)
        expect(runner.started).toEqual(entries.slice(0, n + 1))
        runner.release(entry)
      }
    },
  ],
  [
    'gives each waiting entry its position, also after another was dequeued',
    async (open) => {
      const [queue, entries] = [await open(), Array.from({ length: 6 }, () => anEntry())]
      const positions = () => Promise.all(entries.map(async (entry) => queue.position(entry)))
      const runner = await startRunner(queue, entries)
      // A position that is read from Redis may be some moments old.
      await expect.poll(positions).toEqual([undefined, 1, 2, 3, 4, 5])
      await queue.dequeue(entries[2]!)
      await expect.poll(positions).toEqual([undefined, 1, undefined, 2, 3, 4])
      runner.release(entries[0]!)
      await expect.poll(positions).toEqual([undefined, undefined, undefined, 1, 2, 3])
      await queue.enqueue(entries[2]!)
      await expect.poll(positions).toEqual([undefined, undefined, 4, 1, 2, 3])
    },
  ],
  [
    'runs the next entry after a running one was dequeued',
    async (open) => {
      const [queue, entries] = [await open(), [anEntry(), anEntry()]]
      const runner = await startRunner(queue, entries)
      await queue.dequeue(entries[0]!)
      await until(() => runner.started.length === 2)
    },
  ],
]

/** The shares of the callers in `fairQueueContract`; any other caller has the weight 1 and no limit. */
export const SHARES: Readonly<Record<string, Share>> = {
  'key:heavy': { weight: 3 },
  'key:limited': { weight: 1, maxRunning: 1 },
}

/** Enqueues entries behind ones that take all slots, lets them run one after the other, and gives their order. */
async function orderOf(
  queue: JobQueue,
  entries: readonly QueueEntry[],
  runner: Runner,
  beforeStart: () => Promise<unknown> = () => Promise.resolve(),
) {
  const fillers = Array.from({ length: 3 }, () => anEntry(1, { caller: 'key:filler' }))
  for (const entry of fillers) await queue.enqueue(entry)
  await until(() => runner.started.length === 3)
  for (const entry of entries) await queue.enqueue(entry)
  await beforeStart()
  runner.release(fillers[0]!)
  for (let n = 0; n < entries.length; n++) {
    await until(() => runner.started.length === 4 + n)
    runner.release(runner.started[3 + n]!)
  }
  return runner.started.slice(3).map(({ id }) => entries.find((entry) => entry.id === id)!)
}

/** What every queue promises that runs three entries at a time and knows `SHARES`. */
export const fairQueueContract: readonly ContractCase<JobQueue>[] = [
  [
    'starts the only entry of a caller before the many of another',
    async (open) => {
      const [queue, runner] = [await open(), createRunner()]
      await queue.start(runner.run)
      const many = Array.from({ length: 8 }, () => anEntry(1, { caller: 'key:many' }))
      const few = [anEntry(1, { caller: 'key:few' }), anEntry(1, { caller: 'key:few' })]
      const order = await orderOf(queue, [...many, ...few], runner)
      expect([order.indexOf(few[0]!), order.indexOf(few[1]!)]).toEqual([1, 3])
      expect(order.filter(({ caller }) => caller === 'key:many')).toEqual(many)
    },
  ],
  [
    'starts entries of callers in proportion to their weights',
    async (open) => {
      const [queue, runner] = [await open(), createRunner()]
      await queue.start(runner.run)
      const entries = Array.from({ length: 12 }, () => [
        anEntry(1, { caller: 'key:light' }),
        anEntry(1, { caller: 'key:heavy' }),
      ]).flat()
      const order = await orderOf(queue, entries, runner)
      expect(order.slice(0, 16).filter(({ caller }) => caller === 'key:heavy')).toHaveLength(12)
    },
  ],
  [
    'starts entries of one caller by priority, then in order of arrival, and those of others in between as before',
    async (open) => {
      const [queue, runner] = [await open(), createRunner()]
      await queue.start(runner.run)
      const arrivals = (['low', 'normal', 'low', 'high', 'normal', 'high'] as const).map((priority) =>
        anEntry(1, { priority }),
      )
      const others = Array.from({ length: 6 }, () => anEntry(1, { caller: 'key:other', priority: 'low' }))
      const [low1, normal1, low2, high1, normal2, high2] = arrivals
      const expected = [high1!, high2!, normal1!, normal2!, low1!, low2!].flatMap((entry, n) => [others[n]!, entry])
      const order = await orderOf(queue, [...others, ...arrivals], runner, async () => {
        const positions = () => Promise.all(expected.map(async (entry) => queue.position(entry)))
        await expect.poll(positions).toEqual(expected.map((_entry, index) => index + 1))
      })
      expect(order).toEqual(expected)
    },
  ],
  [
    'runs no more entries of a caller than its limit, and those of others meanwhile',
    async (open) => {
      const [queue, runner] = [await open(), createRunner()]
      const limited = Array.from({ length: 4 }, () => anEntry(1, { caller: 'key:limited' }))
      const others = [anEntry(), anEntry()]
      await queue.start(runner.run)
      await queue.enqueue(limited[0]!)
      await until(() => runner.started.length === 1)
      for (const entry of [...limited.slice(1), ...others]) await queue.enqueue(entry)
      await until(() => runner.started.length === 3)
      expect(runner.started.map(({ id }) => id)).toEqual([limited[0]!, others[0]!, others[1]!].map(({ id }) => id))
      for (const [n, entry] of limited.entries()) {
        await until(() => runner.started.some(({ id }) => id === entry.id))
        expect(runner.started.filter(({ id }) => limited.some((other) => other.id === id))).toHaveLength(n + 1)
        runner.release(entry)
      }
    },
  ],
  [
    'starts the entries of a caller at its limit in order of arrival, also those that came while all slots were taken',
    async (open) => {
      const [queue, runner] = [await open(), createRunner()]
      const limited = Array.from({ length: 5 }, () => anEntry(1, { caller: 'key:limited' }))
      await queue.start(runner.run)
      for (const entry of limited.slice(0, 2)) await queue.enqueue(entry)
      await until(() => runner.started.length === 1)
      // The second is at the limit; these take the other slots.
      for (const entry of [anEntry(), anEntry()]) await queue.enqueue(entry)
      await until(() => runner.started.length === 3)
      for (const entry of limited.slice(2)) await queue.enqueue(entry)
      for (const [n, entry] of limited.entries()) {
        const own = () => runner.started.filter(({ id }) => limited.some((other) => other.id === id))
        await until(() => own().length === n + 1)
        expect(own()[n]?.id, `the start of number ${n + 1}`).toBe(entry.id)
        runner.release(entry)
      }
    },
  ],
  [
    'starts no entry while it is paused but those whose jobs have a call, and the others afterwards',
    async (open) => {
      const [queue, runner] = [await open(), createRunner()]
      await queue.start(runner.run)
      const running = anEntry()
      await queue.enqueue(running)
      await until(() => runner.started.length === 1)
      await queue.setPaused(true)
      expect(queue.isPaused()).toBe(true)
      const [waiting, hasCall] = [[anEntry(), anEntry(1, { caller: 'key:heavy' })], anEntry()]
      for (const entry of waiting) await queue.enqueue(entry)
      await queue.resume(hasCall, { hasCall: true })
      await until(() => runner.started.length === 2)
      expect(runner.started.map(({ id }) => id)).toEqual([running.id, hasCall.id])
      // A run that ends makes room, which nothing takes.
      runner.release(running)
      await until(() => queue.running().length === 1)
      await until(async () => (await queue.position(waiting[1]!)) !== undefined)
      expect(runner.started).toHaveLength(2)
      await queue.setPaused(false)
      await until(() => runner.started.length === 4)
      expect(queue.isPaused()).toBe(false)
    },
  ],
  [
    'aborts a spawn of a running entry when a pause begins, and repeats it after the pause',
    async (open) => {
      const queue = await open()
      const [entry, aborted] = [anEntry(), Promise.withResolvers<undefined>()]
      let spawns = 0
      const spawn = async (signal: AbortSignal) => {
        if (++spawns > 1) return
        await once(signal, 'abort')
        aborted.resolve(undefined)
        signal.throwIfAborted()
      }
      await queue.start((_entry, signal) => queue.whenNotPaused(signal, spawn))
      await queue.enqueue(entry)
      await until(() => spawns === 1)
      await queue.setPaused(true)
      await aborted.promise
      await new Promise(setImmediate)
      expect([spawns, queue.running().map(({ id }) => id)]).toEqual([1, [entry.id]])
      await queue.setPaused(false)
      await until(() => queue.running().length === 0)
      expect(spawns).toBe(2)
    },
  ],
  [
    'starts an entry whose job has a call before all others',
    async (open) => {
      const [queue, runner] = [await open(), createRunner()]
      const waiting = [anEntry(), anEntry(), anEntry(), anEntry()]
      const resumed = [anEntry(1, { caller: 'key:limited' }), anEntry(1, { caller: 'key:limited' })]
      for (const entry of waiting) await queue.enqueue(entry)
      for (const entry of resumed) await queue.resume(entry, { hasCall: true })
      await queue.start(runner.run)
      await until(() => runner.started.length === 3)
      expect(runner.started.map(({ id }) => id).toSorted()).toEqual(
        [...resumed, waiting[0]!].map(({ id }) => id).toSorted(),
      )
    },
  ],
]

/** What every queue promises. */
export const queueContract: readonly ContractCase<JobQueue>[] = [
  [
    'runs an entry that is enqueued after the start',
    async (open) => {
      const [queue, runner, entry] = [await open(), createRunner(), anEntry()]
      await queue.start(runner.run)
      await queue.enqueue(entry)
      await until(() => runner.started.length > 0)
      expect(runner.started).toEqual([entry])
    },
  ],
  [
    'runs an entry that was enqueued before the start',
    async (open) => {
      const [queue, runner, entry] = [await open(), createRunner(), anEntry()]
      await queue.enqueue(entry)
      await queue.start(runner.run)
      await until(() => runner.started.length > 0)
      expect(runner.started).toEqual([entry])
    },
  ],
  [
    'does not run an entry that is dequeued in the turn in which it is enqueued',
    async (open) => {
      const [queue, runner, dequeued, next] = [await open(), createRunner(), anEntry(), anEntry()]
      await Promise.all([queue.enqueue(dequeued), queue.dequeue(dequeued)])
      await queue.enqueue(next)
      await queue.start(runner.run)
      await until(() => runner.started.length > 0)
      expect(runner.started).toEqual([next])
    },
  ],
  [
    'does not run an entry a second time when it is enqueued while it waits or runs',
    async (open) => {
      const [queue, runner, entry, next] = [await open(), createRunner(), anEntry(), anEntry()]
      await queue.enqueue(entry)
      await queue.enqueue(entry)
      await queue.start(runner.run)
      await until(() => runner.started.length > 0)
      await queue.enqueue(entry)
      await queue.enqueue(next)
      await until(() => runner.started.length >= 2)
      expect(runner.started).toEqual([entry, next])
    },
  ],
  [
    'runs an entry again when it is enqueued after its run has finished',
    async (open) => {
      const [queue, runner, entry] = [await open(), createRunner(), anEntry()]
      await queue.start(runner.run)
      await queue.enqueue(entry)
      await until(() => runner.started.length === 1)
      runner.release(entry)
      await until(async () => {
        await queue.enqueue(entry)
        return runner.started.length === 2
      })
    },
  ],
  [
    'dequeues one attempt of a job and not the other',
    async (open) => {
      const [queue, runner, first] = [await open(), createRunner(), anEntry(1)]
      const second = { ...first, attempt: 2 }
      await queue.start(runner.run)
      await queue.enqueue(first)
      await queue.enqueue(second)
      await until(() => runner.started.length === 2)
      await queue.dequeue(first)
      await until(() => runner.finished.length >= 1)
      expect(runner.finished).toEqual([first])
    },
  ],
  [
    'aborts a running entry that is dequeued, and no other',
    async (open) => {
      const [queue, runner, dequeued, kept] = [await open(), createRunner(), anEntry(), anEntry()]
      await queue.start(runner.run)
      await queue.enqueue(dequeued)
      await queue.enqueue(kept)
      await until(() => runner.started.length === 2)
      await queue.dequeue(dequeued)
      await until(() => runner.finished.length > 0)
      expect(runner.finished).toEqual([dequeued])
    },
  ],
  [
    'never runs an entry that was dequeued while it waited',
    async (open) => {
      const [queue, runner, dequeued, kept] = [await open(), createRunner(), anEntry(), anEntry()]
      await queue.enqueue(dequeued)
      await queue.dequeue(dequeued)
      await queue.enqueue(kept)
      await queue.start(runner.run)
      await until(() => runner.started.length > 0)
      expect(runner.started).toEqual([kept])
    },
  ],
  [
    'goes on after a run that rejects, and runs its entry again when it is enqueued again',
    async (open) => {
      const [queue, entry] = [await open(), anEntry()]
      let runs = 0
      await queue.start(() => {
        runs++
        return Promise.reject(new Error('a broken runner'))
      })
      await queue.enqueue(entry)
      await until(() => runs === 1)
      await until(async () => {
        await queue.enqueue(entry)
        return runs >= 2
      })
    },
  ],
  [
    'lists an entry as running from the start of its run until it has finished',
    async (open) => {
      const [queue, runner, entry] = [await open(), createRunner(), anEntry()]
      expect(queue.running()).toEqual([])
      await queue.enqueue(entry)
      await queue.start(runner.run)
      await until(() => runner.started.length > 0)
      expect(queue.running()).toEqual([entry])
      runner.release(entry)
      await until(() => queue.running().length === 0)
    },
  ],
  [
    'gives no position to a running or unknown entry',
    async (open) => {
      const [queue, runner, entry] = [await open(), createRunner(), anEntry()]
      await queue.start(runner.run)
      await queue.enqueue(entry)
      await until(() => runner.started.length > 0)
      expect(await queue.position(entry), 'one that runs').toBeUndefined()
      expect(await queue.position(anEntry()), 'one that is unknown').toBeUndefined()
    },
  ],
  [
    'lists running entries, and neither waiting nor finished ones',
    async (open) => {
      const [queue, runner, first, second] = [await open(), createRunner(), anEntry(), anEntry()]
      await queue.enqueue(first)
      await queue.enqueue(second)
      expect(queue.running()).toEqual([])
      await queue.start(runner.run)
      await until(() => runner.started.length === 2)
      expect(queue.running()).toEqual([first, second])
      runner.release(first)
      await until(() => queue.running().length === 1, 'the run to finish', 4_000)
      expect(queue.running()).toEqual([second])
    },
  ],
  [
    'resolves a close only after a run that stops slowly has stopped',
    async (open) => {
      const queue = await open()
      const happened: string[] = []
      await queue.start(async (_entry, signal) => {
        happened.push('started')
        await once(signal, 'abort')
        happened.push('aborted')
        await sleep(100)
        happened.push('stopped')
      })
      await queue.enqueue(anEntry())
      await until(() => happened.length > 0)
      const closing = [queue.close(), queue.close()].map((close) => close.then(() => happened.push('closed')))
      await Promise.all(closing)
      expect(happened).toEqual(['started', 'aborted', 'stopped', 'closed', 'closed'])
    },
  ],
  [
    'aborts its runs and waits for them when it closes, and starts no other',
    async (open) => {
      const [queue, runner, entry] = [await open(), createRunner(), anEntry()]
      await queue.start(runner.run)
      await queue.enqueue(entry)
      await until(() => runner.started.length > 0)
      await Promise.all([queue.close(), queue.close()])
      expect(runner.finished).toEqual([entry])
      await queue.enqueue(anEntry()).catch(() => undefined)
      expect(runner.started).toEqual([entry])
    },
  ],
]
