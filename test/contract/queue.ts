import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { JobQueue, QueueEntry, RunEntry } from '../../src/queue/port.ts'
import { until } from '../helpers/until.ts'
import type { ContractCase } from './contract.ts'

const anEntry = (attempt = 1): QueueEntry => ({ id: randomUUID(), attempt })

/** A runner that holds every entry until it is released or aborted. */
function holdingRunner() {
  const started: QueueEntry[] = []
  const ended: QueueEntry[] = []
  const releases = new Map<string, () => void>()
  const run: RunEntry = async (entry, signal) => {
    started.push(entry)
    await new Promise<void>((resolve) => {
      releases.set(entry.id, resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    ended.push(entry)
  }
  return { run, started, ended, release: (entry: QueueEntry) => releases.get(entry.id)?.() }
}

const startAndHold = async (queue: JobQueue, entries: QueueEntry[]) => {
  const runner = holdingRunner()
  await queue.start(runner.run)
  for (const entry of entries) await queue.add(entry)
  await until(() => runner.started.length > 0)
  return runner
}

/** What every queue promises that runs one entry at a time. */
export const boundedQueueContract: readonly ContractCase<JobQueue>[] = [
  [
    'runs no more than the bound, the others in order of arrival',
    async (open) => {
      const [queue, entries] = [await open(), [anEntry(), anEntry(), anEntry()]]
      const runner = await startAndHold(queue, entries)
      for (const [n, entry] of entries.entries()) {
        await until(() => runner.started.length > n)
        expect(runner.started).toEqual(entries.slice(0, n + 1))
        runner.release(entry)
      }
    },
  ],
  [
    'tells each waiting entry its position, also after others have left',
    async (open) => {
      const [queue, entries] = [await open(), Array.from({ length: 6 }, () => anEntry())]
      const positions = () => Promise.all(entries.map(async (entry) => queue.position(entry)))
      const runner = await startAndHold(queue, entries)
      expect(await positions()).toEqual([undefined, 1, 2, 3, 4, 5])
      await queue.drop(entries[2]!)
      expect(await positions()).toEqual([undefined, 1, undefined, 2, 3, 4])
      runner.release(entries[0]!)
      await until(() => runner.started.length === 2)
      expect(await positions()).toEqual([undefined, undefined, undefined, 1, 2, 3])
      await queue.add(entries[2]!)
      expect(await positions()).toEqual([undefined, undefined, 4, 1, 2, 3])
    },
  ],
  [
    'gives the place of a dropped running entry to the next',
    async (open) => {
      const [queue, entries] = [await open(), [anEntry(), anEntry()]]
      const runner = await startAndHold(queue, entries)
      await queue.drop(entries[0]!)
      await until(() => runner.started.length === 2)
    },
  ],
]

/** What every queue promises. */
export const queueContract: readonly ContractCase<JobQueue>[] = [
  [
    'runs an entry that is added after the start',
    async (open) => {
      const [queue, runner, entry] = [await open(), holdingRunner(), anEntry()]
      await queue.start(runner.run)
      await queue.add(entry)
      await until(() => runner.started.length > 0)
      expect(runner.started).toEqual([entry])
    },
  ],
  [
    'runs an entry that was added before the start',
    async (open) => {
      const [queue, runner, entry] = [await open(), holdingRunner(), anEntry()]
      await queue.add(entry)
      await queue.start(runner.run)
      await until(() => runner.started.length > 0)
      expect(runner.started).toEqual([entry])
    },
  ],
  [
    'does not run an entry a second time while it is waiting or running',
    async (open) => {
      const [queue, runner, entry, next] = [await open(), holdingRunner(), anEntry(), anEntry()]
      await queue.add(entry)
      await queue.add(entry)
      await queue.start(runner.run)
      await until(() => runner.started.length > 0)
      await queue.add(entry)
      await queue.add(next)
      await until(() => runner.started.length >= 2)
      expect(runner.started).toEqual([entry, next])
    },
  ],
  [
    'runs an entry again when it is added after its run has ended',
    async (open) => {
      const [queue, runner, entry] = [await open(), holdingRunner(), anEntry()]
      await queue.start(runner.run)
      await queue.add(entry)
      await until(() => runner.started.length === 1)
      runner.release(entry)
      await until(async () => {
        await queue.add(entry)
        return runner.started.length === 2
      })
    },
  ],
  [
    'tells two attempts of one job apart',
    async (open) => {
      const [queue, runner, first] = [await open(), holdingRunner(), anEntry(1)]
      const second = { ...first, attempt: 2 }
      await queue.start(runner.run)
      await queue.add(first)
      await queue.add(second)
      await until(() => runner.started.length === 2)
      await queue.drop(first)
      await until(() => runner.ended.length >= 1)
      expect(runner.ended).toEqual([first])
    },
  ],
  [
    'aborts a running entry that is dropped, and no other',
    async (open) => {
      const [queue, runner, dropped, kept] = [await open(), holdingRunner(), anEntry(), anEntry()]
      await queue.start(runner.run)
      await queue.add(dropped)
      await queue.add(kept)
      await until(() => runner.started.length === 2)
      await queue.drop(dropped)
      await until(() => runner.ended.length > 0)
      expect(runner.ended).toEqual([dropped])
    },
  ],
  [
    'never runs an entry that was dropped while it waited',
    async (open) => {
      const [queue, runner, dropped, kept] = [await open(), holdingRunner(), anEntry(), anEntry()]
      await queue.add(dropped)
      await queue.drop(dropped)
      await queue.add(kept)
      await queue.start(runner.run)
      await until(() => runner.started.length > 0)
      expect(runner.started).toEqual([kept])
    },
  ],
  [
    'survives a run that rejects, and runs its entry again when it is added again',
    async (open) => {
      const [queue, entry] = [await open(), anEntry()]
      let runs = 0
      await queue.start(() => {
        runs++
        return Promise.reject(new Error('a runner at fault'))
      })
      await queue.add(entry)
      await until(() => runs === 1)
      await until(async () => {
        await queue.add(entry)
        return runs >= 2
      })
    },
  ],
  [
    'tells which entries run here, and no others',
    async (open) => {
      const [queue, runner, entry] = [await open(), holdingRunner(), anEntry()]
      expect(queue.running()).toEqual([])
      await queue.add(entry)
      await queue.start(runner.run)
      await until(() => runner.started.length > 0)
      expect(queue.running()).toEqual([entry])
      runner.release(entry)
      await until(() => queue.running().length === 0)
    },
  ],
  [
    'gives no position to an entry that runs or is unknown',
    async (open) => {
      const [queue, runner, entry] = [await open(), holdingRunner(), anEntry()]
      await queue.start(runner.run)
      await queue.add(entry)
      await until(() => runner.started.length > 0)
      expect([await queue.position(entry), await queue.position(anEntry())]).toEqual([undefined, undefined])
    },
  ],
  [
    'tells what it runs: not what waits, and nothing that has ended',
    async (open) => {
      const [queue, runner, first, second] = [await open(), holdingRunner(), anEntry(), anEntry()]
      await queue.add(first)
      await queue.add(second)
      expect(queue.running()).toEqual([])
      await queue.start(runner.run)
      await until(() => runner.started.length === 2)
      expect(queue.running()).toEqual([first, second])
      runner.release(first)
      await until(() => queue.running().length === 1, 'the end of a run', 4_000)
      expect(queue.running()).toEqual([second])
    },
  ],
  [
    'waits when it closes for a run that takes its time to let go',
    async (open) => {
      const queue = await open()
      const happened: string[] = []
      await queue.start(async (_entry, signal) => {
        happened.push('started')
        await once(signal, 'abort')
        happened.push('aborted')
        await sleep(100)
        happened.push('let go')
      })
      await queue.add(anEntry())
      await until(() => happened.length > 0)
      const closing = [queue.close(), queue.close()].map((close) => close.then(() => happened.push('closed')))
      await Promise.all(closing)
      expect(happened).toEqual(['started', 'aborted', 'let go', 'closed', 'closed'])
    },
  ],
  [
    'aborts what runs and waits for it when it closes, and takes nothing more',
    async (open) => {
      const [queue, runner, entry] = [await open(), holdingRunner(), anEntry()]
      await queue.start(runner.run)
      await queue.add(entry)
      await until(() => runner.started.length > 0)
      await Promise.all([queue.close(), queue.close()])
      expect(runner.ended).toEqual([entry])
      await queue.add(anEntry()).catch(() => undefined)
      expect(runner.started).toEqual([entry])
    },
  ],
]
