import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import { expect, test } from 'vitest'
import { VALUES_PER_DAY } from '../../src/jobs/usage.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { MAX_LABEL_SUMS } from '../../src/store/memory/timeline.ts'
import { aJob, after, spawned } from '../helpers/jobs.ts'
import { brokenFrom, testContractCatches, testContract } from '../contract/contract.ts'
import { storeContract as cases } from '../contract/store.ts'
import { batchesContract } from '../contract/batches.ts'
import { usageContract } from '../contract/usage.ts'

testContract('memory store', cases, createMemoryStore)
testContract('SQLite store', cases, () => createSqliteStore({ path: ':memory:' }))
testContract('SQLite store in a file', cases, () =>
  createSqliteStore({ path: join(mkdtempSync(join(tmpdir(), 'store-')), 'jobs.db') }),
)

testContract('batches in memory', batchesContract, createMemoryStore)
testContract('batches in SQLite', batchesContract, () => createSqliteStore({ path: ':memory:' }))

testContract('daily sums in memory', usageContract, createMemoryStore)
testContract('daily sums in SQLite', usageContract, () => createSqliteStore({ path: ':memory:' }))

const NOTHING = { jobs: 1, attempts: 1, queuedMs: 0, startupMs: 0, runMs: 0, nanos: 0n, currency: '' }

test('the memory store bounds the sums of all labels, and has room again when old days are removed', async () => {
  const store = createMemoryStore()
  const add = async (day: string, caller: string, prefix: string) => {
    const groups = Array.from({ length: VALUES_PER_DAY - 1 }, (_, n) => ({ dimension: `${prefix}.${n}`, value: 'x' }))
    const job = aJob()
    const record = { day, caller, groups: [{ dimension: 'status', value: 'succeeded' }, ...groups], ...NOTHING }
    await store.insert(job)
    await store.update(after(job, spawned()), 1, { usage: record })
  }
  const countOf = async (day: string, dimension: string) => (await store.usageOn(day, { dimension })).length
  const callers = Math.ceil(MAX_LABEL_SUMS / (VALUES_PER_DAY - 1)) + 1
  for (let n = 0; n < callers; n++) await add('2026-11-25', `key:${n}`, 'metadata')
  expect(await countOf('2026-11-25', 'status')).toBe(callers)
  expect(await countOf('2026-11-25', 'metadata.0')).toBe(callers - 1)
  await add('2026-11-26', 'key:0', 'metadata')
  expect(await countOf('2026-11-26', 'metadata.0')).toBe(0)
  await store.removeUsage('2026-11-26')
  await add('2026-11-26', 'key:0', 'metadata')
  expect(await countOf('2026-11-26', 'metadata.0')).toBe(1)
})

const broken = brokenFrom(() => createMemoryStore())

testContractCatches('an update that ignores the revision', {
  cases,
  promise: 'changes nothing if the stored revision is another one',
  open: broken((good) => ({
    async update(job) {
      const stored = await good.get(job.id)
      return stored ? good.update(job, stored.revision) : false
    },
  })),
})

testContractCatches('an update that reports success and does nothing', {
  cases,
  promise: 'replaces a job whose revision is the expected one',
  open: broken(() => ({ update: () => Promise.resolve(true) })),
})

testContractCatches('a check and a write that are not one step', {
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

testContractCatches('a check of the limits and a retry that are not one step', {
  cases,
  promise: 'reopens no more jobs at the same time than the limits of an insert allow',
  open: broken((good) => ({
    async reopen(job, expected, limits) {
      const active = await good.list({ caller: job.caller, statuses: ['submitted', 'running'], limit: 100 })
      if (active.length >= (limits?.maxActiveOfCaller ?? Infinity)) return 'caller-full'
      await new Promise(setImmediate)
      return good.reopen(job, expected)
    },
  })),
})

testContractCatches('an index that forgets a stop after a retry', {
  cases,
  promise: 'lists a job with a pending stop until every call of it is stopped',
  open: broken((good) => ({
    async *pending(what, now) {
      for await (const job of good.pending(what, now)) if (what !== 'stop' || job.status === 'canceled') yield job
    },
  })),
})

testContractCatches('a remove that does nothing', {
  cases,
  promise: 'removes a job with its idempotency key, at the expected revision only',
  open: broken(() => ({ remove: () => Promise.resolve(true) })),
})

testContractCatches('a check of the key and an insert that are not one step', {
  cases,
  promise: 'lets exactly one of many inserts racing for one idempotency key win',
  open: broken((good) => ({
    async insert(job) {
      const known = (await good.list({ limit: 100 })).find((other) => other.idempotencyKey === job.idempotencyKey)
      await new Promise(setImmediate)
      return known ? { kind: 'existing', job: known } : good.insert({ ...job, idempotencyKey: job.id })
    },
  })),
})

testContractCatches('pages by offset', {
  cases,
  promise: 'lists no job twice and leaves none out when jobs are inserted and removed between two pages',
  open: broken((good) => {
    let offset = 0
    return {
      async list(query) {
        const all = await good.list({ limit: 1000 })
        offset = query.after ? offset + query.limit : 0
        return all.slice(offset, offset + query.limit)
      },
    }
  }),
})

testContractCatches('labels of which one is enough', {
  cases,
  promise: 'lists jobs by labels: version, error and metadata, those that have all of them',
  open: broken((good) => ({
    list: ({ labels, ...query }) => good.list({ ...query, ...(labels && { labels: labels.slice(0, 1) }) }),
  })),
})

testContractCatches('sums that are added before the revision is checked', {
  cases: usageContract,
  promise: 'adds nothing with a change that is not made',
  open: broken((good) => ({
    async update(job, expected, additions) {
      const other = aJob()
      await good.insert(other)
      await good.update(other, other.revision, additions)
      return good.update(job, expected)
    },
  })),
})

testContractCatches('sums that are not added', {
  cases: usageContract,
  promise: 'adds an attempt to the sums of each of its groups',
  open: broken((good) => ({ update: (job, expected) => good.update(job, expected) })),
})

testContractCatches('a removal that leaves old days', {
  cases: usageContract,
  promise: 'removes the sums of the days before the given one',
  open: broken(() => ({ removeUsage: () => Promise.resolve() })),
})

testContractCatches('a batch that does not count', {
  cases: batchesContract,
  promise:
    'counts each change of a job in its batch, sums usage and cost, and keeps the counts of removed jobs until the last',
  open: broken((good) => {
    const first = new Map<string, Awaited<ReturnType<typeof good.getBatch>>>()
    return {
      async getBatch(id) {
        if (!first.has(id)) first.set(id, await good.getBatch(id))
        return first.get(id)
      },
    }
  }),
})

testContractCatches('an end of a batch that each of its jobs reports', {
  cases: batchesContract,
  promise: 'writes the delivery of the end with exactly one of many jobs that finish at once, with the counts',
  open: broken((good) => ({
    update: (job, expected, { batchEnd, ...additions } = {}) =>
      good.update(job, expected, { ...additions, deliveries: batchEnd ? [batchEnd.delivery] : [] }),
  })),
})
