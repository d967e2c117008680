import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Delivery } from '../../src/jobs/webhooks/delivery.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import { aDelivery } from '../helpers/deliveries.ts'
import { testBites, testContract } from '../contract/contract.ts'
import { deliveriesContract as cases } from '../contract/deliveries.ts'

testContract('memory outbox', cases, createMemoryStore)
testContract('SQLite outbox', cases, () => createSqliteStore({ path: ':memory:' }))
testContract('SQLite outbox in a file', cases, () =>
  createSqliteStore({ path: join(mkdtempSync(join(tmpdir(), 'outbox-')), 'jobs.db') }),
)

const broken = (change: (good: Store) => Partial<Store>) => () => {
  const good = createMemoryStore()
  return { ...good, ...change(good) }
}

testBites('a change and its delivery that are two steps', {
  cases,
  promise: 'never shows a change without the delivery that it owes',
  open: broken((good) => ({
    async update(job, expected, delivery) {
      const isMade = await good.update(job, expected)
      await new Promise(setImmediate)
      await new Promise(setImmediate)
      return isMade && good.update(job, job.revision, delivery)
    },
  })),
})

testBites('a delivery that is written before it is known whether the change is made', {
  cases,
  promise: 'keeps no delivery of a change that is not made',
  open: broken((good) => ({
    async update(job, expected, delivery) {
      const before = await good.get(job.id)
      if (before && delivery) await good.update(before, before.revision, delivery)
      return good.update(job, expected)
    },
  })),
})

testBites('a delivery that is forgotten', {
  cases,
  promise: 'keeps a delivery as it was given, with the change that owes it',
  open: broken((good) => ({ update: (job, expected) => good.update(job, expected) })),
})

testBites('a delivery that replaces one of its number', {
  cases,
  promise: 'makes no change whose delivery has a number that is taken',
  open: broken((good) => ({
    async update(job, expected, delivery) {
      const [known] = await good.deliveriesOf(job.id)
      if (!known || !delivery) return good.update(job, expected, delivery)
      await good.updateDelivery({ ...delivery, revision: known.revision }, known.revision)
      return good.update(job, expected)
    },
  })),
})

testBites('a claim that is read and written in two steps', {
  cases,
  promise: 'lets exactly one of many that begin a try win',
  open: broken((good) => ({
    async updateDelivery(delivery, expected) {
      const stored = (await good.deliveriesOf(delivery.jobId)).find(({ number }) => number === delivery.number)
      await new Promise(setImmediate)
      return stored?.revision === expected ? (await good.updateDelivery(delivery, expected)) || true : false
    },
  })),
})

testBites('a claim that ignores the revision', {
  cases,
  promise: 'changes nothing when the delivery’s revision is another one, and creates none',
  open: broken((good) => ({
    async updateDelivery(delivery) {
      const stored = (await good.deliveriesOf(delivery.jobId)).find(({ number }) => number === delivery.number)
      return stored ? good.updateDelivery(delivery, stored.revision) : false
    },
  })),
})

testBites('a look at what is due that knows no time', {
  cases,
  promise: 'tells what is due, the longest due first, and nothing that is due later or never',
  open: broken((good) => ({ dueDeliveries: () => good.dueDeliveries(Infinity) })),
})

testBites('a look at what is due that holds up everybody', {
  cases,
  promise: 'lets others have their turn while it tells of much that is due',
  open: broken((good) => ({
    async *dueDeliveries() {
      for (const { id } of await good.list({ limit: 2_000 })) {
        const [{ dueAt = 0, ...one } = aDelivery({ id })] = await good.deliveriesOf(id)
        yield { ...one, dueAt }
      }
    },
  })),
})

testBites('a removal that does not wait for deliveries', {
  cases,
  promise: 'lists no job for removal as long as a delivery is pending',
  open: broken((good) => ({
    async *pending(what, now) {
      if (what !== 'removal') yield* good.pending(what, now)
      else for (const job of await good.list({ limit: 100 })) if (job.finishedAt !== undefined) yield job
    },
  })),
})

testBites('a removal that leaves the deliveries', {
  cases,
  promise: 'drops a job’s deliveries with it, at the expected revision only',
  open: broken((good) => {
    const left = new Map<string, Delivery>()
    return {
      update(job, expected, delivery) {
        if (delivery) left.set(job.id, delivery)
        return good.update(job, expected, delivery)
      },
      deliveriesOf: (jobId) => Promise.resolve([left.get(jobId)].filter((one) => one !== undefined)),
    }
  }),
})
