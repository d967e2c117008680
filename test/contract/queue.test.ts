import { createInProcessQueue } from '../../src/queue/in-process/queue.ts'
import type { JobQueue, QueueEntry } from '../../src/queue/port.ts'
import { silentLog } from '../helpers/log.ts'
import { testBites, testContract } from './contract.ts'
import { boundedQueueContract, queueContract as cases } from './queue.ts'

const open = () => createInProcessQueue({ log: silentLog() })
testContract('in-process queue', cases, open)
testContract('in-process queue, bounded', boundedQueueContract, () =>
  createInProcessQueue({ log: silentLog(), maxRunning: 1 }),
)

const broken = (change: (good: JobQueue) => Partial<JobQueue>) => () => {
  const good = open()
  return { ...good, ...change(good) }
}

testBites('a drop that ignores the attempt', {
  cases,
  promise: 'tells two attempts of one job apart',
  open: broken((good) => ({
    drop: async (entry) => {
      await good.drop({ ...entry, attempt: 1 })
      await good.drop({ ...entry, attempt: 2 })
      await new Promise(setImmediate)
    },
  })),
})

testBites('a queue that runs what it already runs', {
  cases,
  promise: 'does not run an entry a second time while it is waiting or running',
  open: broken((good) => {
    let run: ((entry: { id: string; attempt: number }) => void) | undefined
    return {
      start(work) {
        run = (entry) => void work(entry, new AbortController().signal)
        return good.start(work)
      },
      add: async (entry) => (run ? run(entry) : good.add(entry)),
    }
  }),
})

testBites('a close that does not wait for what runs', {
  cases,
  promise: 'aborts what runs and waits for it when it closes, and takes nothing more',
  open: broken(() => ({ close: () => Promise.resolve() })),
})

testBites('a close that aborts what runs and goes its way', {
  cases,
  promise: 'waits when it closes for a run that takes its time to let go',
  open: broken((good) => ({
    async close() {
      void good.close()
    },
  })),
})

testBites('a queue that never forgets what it ran', {
  cases,
  promise: 'tells what it runs: not what waits, and nothing that has ended',
  open: broken((good) => {
    const ran: QueueEntry[] = []
    return {
      start: (work) =>
        good.start((entry, signal) => {
          ran.push(entry)
          return work(entry, signal)
        }),
      running: () => ran,
    }
  }),
})

testBites('a queue without a bound', {
  cases: boundedQueueContract,
  promise: 'runs no more than the bound, the others in order of arrival',
  open,
})
