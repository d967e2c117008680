import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Delivery } from '../../src/jobs/webhooks/delivery.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import { aDelivery } from '../helpers/deliveries.ts'
import { brokenFrom, testContractCatches, testContract } from '../contract/contract.ts'
import { deliveriesContract as cases } from '../contract/deliveries.ts'

testContract('memory outbox', cases, createMemoryStore)
testContract('SQLite outbox', cases, () => createSqliteStore({ path: ':memory:' }))
testContract('SQLite outbox in a file', cases, () =>
  createSqliteStore({ path: join(mkdtempSync(join(tmpdir(), 'outbox-')), 'jobs.db') }),
)

const broken = brokenFrom(() => createMemoryStore())

testContractCatches('a change and its delivery that are two steps', {
  cases,
  promise: 'never shows a change without its delivery',
  open: broken((good) => ({
    async update(job, expected, additions) {
      const isMade = await good.update(job, expected)
      await new Promise(setImmediate)
      await new Promise(setImmediate)
      return isMade && good.update(job, job.revision, additions)
    },
  })),
})

testContractCatches('a delivery that is written before the revision is checked', {
  cases,
  promise: 'stores no delivery of a change that is not made',
  open: broken((good) => ({
    async update(job, expected, additions) {
      const before = await good.get(job.id)
      if (before && additions?.deliveries) await good.update(before, before.revision, additions)
      return good.update(job, expected)
    },
  })),
})

testContractCatches('a delivery that is not written', {
  cases,
  promise: 'stores a delivery as it was given, together with its change',
  open: broken((good) => ({ update: (job, expected) => good.update(job, expected) })),
})

testContractCatches('a delivery that replaces the one of its number', {
  cases,
  promise: 'rejects a change whose delivery has a taken number',
  open: broken((good) => ({
    async update(job, expected, additions) {
      const delivery = additions?.deliveries?.[0]
      const [known] = await good.deliveriesOf(job.id)
      if (!known || !delivery) return good.update(job, expected, additions)
      await good.updateDelivery({ ...delivery, revision: known.revision }, known.revision)
      return good.update(job, expected)
    },
  })),
})

testContractCatches('a claim that is read and written in two steps', {
  cases,
  promise: 'lets exactly one of many processes start a delivery attempt',
  open: broken((good) => ({
    async updateDelivery(delivery, expected) {
      const stored = (await good.deliveriesOf(delivery.jobId)).find(({ number }) => number === delivery.number)
      await new Promise(setImmediate)
      return stored?.revision === expected ? (await good.updateDelivery(delivery, expected)) || true : false
    },
  })),
})

testContractCatches('a claim that ignores the revision', {
  cases,
  promise: 'changes nothing if the delivery’s stored revision is another one, and creates none',
  open: broken((good) => ({
    async updateDelivery(delivery) {
      const stored = (await good.deliveriesOf(delivery.jobId)).find(({ number }) => number === delivery.number)
      return stored ? good.updateDelivery(delivery, stored.revision) : false
    },
  })),
})

testContractCatches('a list of due deliveries that ignores the time', {
  cases,
  promise: 'lists due deliveries, the longest due first, and none that is due later or not pending',
  open: broken((good) => ({ dueDeliveries: () => good.dueDeliveries(Infinity) })),
})

testContractCatches('a list of due deliveries that blocks the event loop', {
  cases,
  promise: 'does not block the event loop while it lists many due deliveries',
  open: broken((good) => ({
    async *dueDeliveries() {
      for (const { id } of await good.list({ limit: 2_000 })) {
        const [{ dueAt = 0, ...one } = aDelivery({ id })] = await good.deliveriesOf(id)
        yield { ...one, dueAt }
      }
    },
  })),
})

testContractCatches('a list of removable jobs that ignores pending deliveries', {
  cases,
  promise: 'lists no job for removal while a delivery is pending',
  open: broken((good) => ({
    async *pending(what, now) {
      if (what !== 'removal') yield* good.pending(what, now)
      else for (const job of await good.list({ limit: 100 })) if (job.finishedAt !== undefined) yield job
    },
  })),
})

testContractCatches('a removal that leaves the deliveries', {
  cases,
  promise: 'removes a job’s deliveries with it, at the expected revision only',
  open: broken((good) => {
    const left = new Map<string, Delivery>()
    return {
      update(job, expected, additions) {
        for (const delivery of additions?.deliveries ?? []) left.set(job.id, delivery)
        return good.update(job, expected, additions)
      },
      deliveriesOf: (jobId) => Promise.resolve([left.get(jobId)].filter((one) => one !== undefined)),
    }
  }),
})
