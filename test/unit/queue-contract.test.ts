import { expect, test } from 'vitest'
import { createInProcessQueue } from '../../src/queue/in-process/queue.ts'
import type { QueueEntry } from '../../src/jobs/ports/queue.ts'
import { silentLog } from '../helpers/log.ts'
import { brokenFrom, testContractCatches, testContract } from '../contract/contract.ts'
import { boundedQueueContract, fairQueueContract, queueContract as cases, SHARES } from '../contract/queue.ts'

const open = () => createInProcessQueue({ log: silentLog() })
testContract('in-process queue', cases, open)
testContract('in-process queue, bounded', boundedQueueContract, () =>
  createInProcessQueue({ log: silentLog(), maxRunning: 1 }),
)
testContract('in-process queue, shared by callers', fairQueueContract, () =>
  createInProcessQueue({ log: silentLog(), maxRunning: 3, shareOf: (caller) => SHARES[caller] ?? { weight: 1 } }),
)

const broken = brokenFrom(open)

testContractCatches('a dequeue that ignores the attempt', {
  cases,
  promise: 'dequeues one attempt of a job and not the other',
  open: broken((good) => ({
    dequeue: async (entry) => {
      await good.dequeue({ ...entry, attempt: 1 })
      await good.dequeue({ ...entry, attempt: 2 })
      await new Promise(setImmediate)
    },
  })),
})

testContractCatches('a queue that runs a running entry again', {
  cases,
  promise: 'does not run an entry a second time when it is enqueued while it waits or runs',
  open: broken((good) => {
    let run: ((entry: QueueEntry) => void) | undefined
    return {
      start(work) {
        run = (entry) => void work(entry, new AbortController().signal)
        return good.start(work)
      },
      enqueue: async (entry) => (run ? run(entry) : good.enqueue(entry)),
    }
  }),
})

testContractCatches('a close that does nothing', {
  cases,
  promise: 'aborts its runs and waits for them when it closes, and starts no other',
  open: broken(() => ({ close: () => Promise.resolve() })),
})

testContractCatches('a close that aborts runs and does not wait for them', {
  cases,
  promise: 'resolves a close only after a run that stops slowly has stopped',
  open: broken((good) => ({
    async close() {
      void good.close()
    },
  })),
})

testContractCatches('a queue that lists finished runs as running', {
  cases,
  promise: 'lists running entries, and neither waiting nor finished ones',
  open: broken((good) => {
    const ran: QueueEntry[] = []
    return {
      start: (work) =>
        good.start((entry, signal) => {
          ran.push({ ...entry, caller: 'key:a', priority: 'normal' })
          return work(entry, signal)
        }),
      running: () => ran,
    }
  }),
})

testContractCatches('a queue without a bound', {
  cases: boundedQueueContract,
  promise: 'runs no more than the bound, the others in order of arrival',
  open,
})

testContractCatches('a queue that ignores the limits of callers', {
  cases: fairQueueContract,
  promise: 'runs no more entries of a caller than its limit, and those of others meanwhile',
  open: () => createInProcessQueue({ log: silentLog(), maxRunning: 3, shareOf: () => ({ weight: 1 }) }),
})

test('a pause lasts over a restart if the store keeps it', async () => {
  const kept = new Set<string>()
  const flags = {
    flag: (name: string) => Promise.resolve(kept.has(name)),
    setFlag(name: string, isSet: boolean) {
      if (isSet) kept.add(name)
      else kept.delete(name)
      return Promise.resolve()
    },
  }
  const [first, second, third] = [1, 2, 3].map(() => createInProcessQueue({ log: silentLog(), flags }))
  await first!.setPaused(true)
  await second!.start(() => Promise.resolve())
  expect(second!.isPaused()).toBe(true)
  await second!.setPaused(false)
  await third!.start(() => Promise.resolve())
  expect(third!.isPaused()).toBe(false)
})
