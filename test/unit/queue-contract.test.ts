import { createInProcessQueue } from '../../src/queue/in-process/queue.ts'
import type { JobQueue, QueueEntry } from '../../src/jobs/ports/queue.ts'
import { silentLog } from '../helpers/log.ts'
import { testBites, testContract } from '../contract/contract.ts'
import { boundedQueueContract, queueContract as cases } from '../contract/queue.ts'

const open = () => createInProcessQueue({ log: silentLog() })
testContract('in-process queue', cases, open)
testContract('in-process queue, bounded', boundedQueueContract, () =>
  createInProcessQueue({ log: silentLog(), maxRunning: 1 }),
)

const broken = (change: (good: JobQueue) => Partial<JobQueue>) => () => {
  const good = open()
  return { ...good, ...change(good) }
}

testBites('a dequeue that ignores the attempt', {
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

testBites('a queue that runs what it already runs', {
  cases,
  promise: 'does not run an entry a second time when it is enqueued while it waits or runs',
  open: broken((good) => {
    let run: ((entry: { id: string; attempt: number }) => void) | undefined
    return {
      start(work) {
        run = (entry) => void work(entry, new AbortController().signal)
        return good.start(work)
      },
      enqueue: async (entry) => (run ? run(entry) : good.enqueue(entry)),
    }
  }),
})

testBites('a close that does not wait for what runs', {
  cases,
  promise: 'aborts what runs and waits for it when it closes, and runs nothing more',
  open: broken(() => ({ close: () => Promise.resolve() })),
})

testBites('a close that aborts what runs and does not wait', {
  cases,
  promise: 'waits when it closes for a run that stops slowly',
  open: broken((good) => ({
    async close() {
      void good.close()
    },
  })),
})

testBites('a queue that lists finished runs as running', {
  cases,
  promise: 'lists what it runs: not what waits, and nothing that has finished',
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
