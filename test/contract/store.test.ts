import type { JobStore } from '../../src/store/port.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { testBites, testContract } from './contract.ts'
import { storeContract as cases } from './store.ts'

testContract('memory store', cases, createMemoryStore)

const broken = (change: (good: JobStore) => Partial<JobStore>) => () => {
  const good = createMemoryStore()
  return { ...good, ...change(good) }
}

testBites('an update that ignores the revision', {
  cases,
  promise: 'changes nothing when the revision is another one',
  open: broken((good) => ({
    async update(job) {
      const stored = await good.get(job.id)
      return stored ? good.update(job, stored.revision) : false
    },
  })),
})

testBites('an update that reports success and does nothing', {
  cases,
  promise: 'replaces a job whose revision is the expected one',
  open: broken(() => ({ update: () => Promise.resolve(true) })),
})

testBites('a check and a write that are not one step', {
  cases,
  promise: 'lets exactly one of many writers racing for one revision win',
  open: broken((good) => ({
    async update(job, expected) {
      const stored = await good.get(job.id)
      await new Promise(setImmediate)
      return stored?.revision === expected ? (await good.update(job, 1)) || true : false
    },
  })),
})

testBites('an index that forgets a stop after a retry', {
  cases,
  promise: 'lists a job as owed a stop until every call of it is stopped',
  open: broken((good) => ({
    async *owed(what, now) {
      for await (const job of good.owed(what, now)) if (what !== 'stop' || job.status === 'canceled') yield job
    },
  })),
})
