import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { type Batch, NO_COUNTS } from '../../src/jobs/batch.ts'
import type { Job } from '../../src/jobs/job.ts'
import { batchLabel, type NewBatch, type Store } from '../../src/jobs/ports/store.ts'
import { batchEndOf } from '../../src/jobs/webhooks/options.ts'
import { account } from '../../src/jobs/usage.ts'
import { aJob, after, failed, spawned } from '../helpers/jobs.ts'
import type { ContractCase } from './contract.ts'

/** A batch of so many jobs, to be inserted. */
export function aBatch(count: number, change: Partial<Batch> = {}, isAtomic = false): NewBatch {
  const id = randomUUID()
  const { caller = 'anonymous', webhookUrl } = change
  const batch: Batch = {
    id,
    caller,
    createdAt: 1_000,
    refused: 0,
    counts: NO_COUNTS,
    stored: 0,
    usage: { queuedMs: 0, startupMs: 0, runMs: 0 },
    nanos: {},
    ...change,
  }
  const ref = { id, ...(webhookUrl !== undefined && { webhookUrl }) }
  const jobs = Array.from({ length: count }, (_, n) => aJob({ caller, createdAt: 1_000 + n, batch: ref }))
  return { batch, jobs, isAtomic, results: JSON.stringify(jobs.map((job) => ({ jobId: job.id }))) }
}

const price = { nanosPerSecond: 1_000_000_000n, currency: 'USD' }
const succeededIn = (runMs: number) =>
  ({ type: 'succeeded', attempt: 1, outputPath: '/x.mp4', times: { queuedMs: 5, runMs } }) as const

/** Ends a running job as the core does, with what the end of a batch writes. */
async function finish(store: Store, running: Job, runMs: number): Promise<Job> {
  const event = succeededIn(runMs)
  const { job, usage } = account(running, after(running, event), event, { price })
  expect(await store.update(job, running.revision, { usage, batchEnd: batchEndOf(running, job, 3_000) })).toBe(true)
  return job
}

const run = async (store: Store, job: Job): Promise<Job> => {
  const running = after(job, spawned())
  expect(await store.update(running, job.revision)).toBe(true)
  return running
}

/** What every store promises of batches. */
export const batchesContract: readonly ContractCase<Store>[] = [
  [
    'adds a batch with all its jobs, which are listed, counted and pending as others',
    async (open) => {
      const store = await open()
      const request = aBatch(3, { metadata: { episode: '7' }, webhookUrl: 'https://hooks.example/a' })
      const inserted = await store.insertBatch(request)
      const expected = { ...request.batch, stored: 3, counts: { ...NO_COUNTS, submitted: 3 } }
      expect(inserted).toEqual({ kind: 'inserted', batch: expected })
      expect(await store.getBatch(request.batch.id)).toEqual(expected)
      expect(await store.countSubmitted()).toBe(3)
      const listed = await store.list({ limit: 9, labels: [batchLabel(request.batch.id)] })
      expect(listed).toEqual(request.jobs.toReversed())
      expect(await store.getBatch(randomUUID())).toBeUndefined()
    },
  ],
  [
    'gives back the batch of an idempotency key, to one of many racing inserts a new one, and to other callers theirs',
    async (open) => {
      const store = await open()
      const rivals = Array.from({ length: 8 }, () => aBatch(2, { idempotencyKey: 'key', fingerprint: 'f' }))
      const answers = await Promise.all(rivals.map((rival) => store.insertBatch(rival)))
      expect(answers.filter(({ kind }) => kind === 'inserted')).toHaveLength(1)
      expect(await store.countSubmitted()).toBe(2)
      const stored = await store.findBatch('anonymous', 'key')
      expect(answers.find(({ kind }) => kind === 'existing')).toEqual({ kind: 'existing', ...stored })
      expect(JSON.parse(stored?.results ?? '')).toHaveLength(2)
      expect(await store.findBatch('key:bob', 'key')).toBeUndefined()
      const ofBob = aBatch(1, { idempotencyKey: 'key', caller: 'key:bob' })
      expect(await store.insertBatch(ofBob)).toMatchObject({ kind: 'inserted' })
      const jobs = await store.list({ limit: 9, caller: 'anonymous' })
      for (const job of jobs) await store.remove(job.id, job.revision)
      expect(await store.findBatch('anonymous', 'key')).toBeUndefined()
      expect(await store.insertBatch(aBatch(1, { idempotencyKey: 'key' }))).toMatchObject({ kind: 'inserted' })
    },
  ],
  [
    'accepts the first jobs of a batch that the limits allow, of an atomic one all or none',
    async (open) => {
      const store = await open()
      await store.insert(aJob({ caller: 'key:alice' }))
      const limits = { maxSubmitted: 10, maxActiveOfCaller: 3 }
      const partial = aBatch(4, { caller: 'key:alice' })
      const atomic = aBatch(4, { caller: 'key:alice' }, true)
      expect(await store.insertBatch(atomic, limits)).toEqual({ kind: 'caller-full' })
      expect(await store.getBatch(atomic.batch.id)).toBeUndefined()
      const inserted = await store.insertBatch(partial, limits)
      expect(inserted).toMatchObject({ kind: 'inserted', batch: { stored: 2, refused: 2, counts: { submitted: 2 } } })
      const listed = await store.list({ limit: 9, labels: [batchLabel(partial.batch.id)] })
      expect(listed.map(({ id }) => id)).toEqual([partial.jobs[1]?.id, partial.jobs[0]?.id])
      expect(await store.insertBatch(aBatch(1, { caller: 'key:alice' }), limits)).toEqual({ kind: 'caller-full' })
      expect(await store.insertBatch(aBatch(9, { caller: 'key:bob' }, true), { maxSubmitted: 10 })).toEqual({
        kind: 'full',
      })
      expect(await store.insertBatch(aBatch(7, { caller: 'key:bob' }, true), { maxSubmitted: 10 })).toMatchObject({
        kind: 'inserted',
      })
      expect(await store.countSubmitted()).toBe(10)
    },
  ],
  [
    'accepts the jobs of a batch that are exempt from the limits beside those that the limits allow',
    async (open) => {
      const store = await open()
      await store.insert(aJob({ caller: 'key:alice' }))
      const batch = (count: number, exempt: number, isAtomic = false) => ({
        ...aBatch(count, { caller: 'key:alice' }, isAtomic),
        exempt,
      })
      for (const limits of [{ maxActiveOfCaller: 1 }, { maxSubmitted: 1 }]) {
        const full = limits.maxSubmitted === 1 ? 'full' : 'caller-full'
        expect(await store.insertBatch(batch(3, 2, true), limits)).toEqual({ kind: full })
        expect(await store.insertBatch(batch(3, 0), limits)).toEqual({ kind: full })
        const partial = batch(3, 2)
        expect(await store.insertBatch(partial, limits)).toMatchObject({ kind: 'inserted', batch: { stored: 2 } })
        const listed = await store.list({ limit: 9, labels: [batchLabel(partial.batch.id)] })
        expect(listed.map(({ id }) => id)).toEqual([partial.jobs[1]?.id, partial.jobs[0]?.id])
        const whole = await store.insertBatch(batch(2, 2, true), limits)
        expect(whole).toMatchObject({ kind: 'inserted', batch: { stored: 2 } })
      }
      const room = await store.insertBatch(batch(5, 2), { maxSubmitted: 11 })
      expect(room).toMatchObject({ kind: 'inserted', batch: { stored: 4, refused: 1 } })
    },
  ],
  [
    'counts each change of a job in its batch, sums usage and cost, and keeps the counts of removed jobs until the last',
    async (open) => {
      const store = await open()
      const { batch, jobs } = aBatch(4)
      await store.insertBatch({ batch, jobs, isAtomic: false, results: '[]' })
      const counts = async () => (await store.getBatch(batch.id))?.counts
      const [first = aJob(), second = aJob(), third = aJob(), fourth = aJob()] = jobs
      const running = await run(store, first)
      expect(await counts()).toEqual({ ...NO_COUNTS, submitted: 3, running: 1 })
      expect(await store.update(running, 1)).toBe(false)
      const succeeded = await finish(store, running, 1_500)
      await finish(store, await run(store, second), 250)
      const broken = after(third, failed())
      await store.update(broken, 1)
      await store.update(after(fourth, { type: 'canceled' }), 1)
      expect(await store.getBatch(batch.id)).toMatchObject({
        counts: { submitted: 0, running: 0, succeeded: 2, failed: 1, canceled: 1 },
        usage: { queuedMs: 10, startupMs: 0, runMs: 1_750 },
        nanos: { USD: '1750000000' },
      })
      const retried = after(broken, { type: 'retried' })
      expect(await store.reopen(retried, broken.revision)).toBe('reopened')
      expect(await counts()).toEqual({ ...NO_COUNTS, submitted: 1, succeeded: 2, canceled: 1 })
      await store.remove(succeeded.id, succeeded.revision)
      expect(await store.getBatch(batch.id)).toMatchObject({ stored: 3, counts: { succeeded: 2 } })
      for (const job of await store.list({ limit: 9 })) await store.remove(job.id, job.revision)
      expect(await store.getBatch(batch.id)).toBeUndefined()
      expect(await store.listBatches({ limit: 9 })).toEqual([])
    },
  ],
  [
    'writes the delivery of the end with exactly one of many jobs that finish at once, with the counts',
    async (open) => {
      const store = await open()
      const { batch, jobs } = aBatch(12, { webhookUrl: 'https://hooks.example/a' })
      await store.insertBatch({ batch, jobs, isAtomic: false, results: '[]' })
      const running = await Promise.all(jobs.map((job) => run(store, job)))
      const ended = await Promise.all(running.map((job) => finish(store, job, 100)))
      const bodies: string[] = []
      for (const { id } of jobs) bodies.push(...(await store.deliveriesOf(id)).map(({ body }) => body))
      expect(bodies).toHaveLength(1)
      expect(JSON.parse(bodies[0] ?? '')).toMatchObject({
        type: 'batch.finished',
        data: { batch_id: batch.id, counts: { ...NO_COUNTS, succeeded: 12 }, links: { self: `/batches/${batch.id}` } },
      })
      const due = []
      for await (const delivery of store.dueDeliveries(1e12)) due.push(delivery)
      expect(due).toMatchObject([{ host: 'hooks.example', number: 1_000_001 }])
      const removable: string[] = []
      for await (const job of store.pending('removal', 1e12)) removable.push(job.id)
      expect(removable).toHaveLength(ended.length - 1)
    },
  ],
  [
    'lists batches newest first, of one caller or all, page by page',
    async (open) => {
      const store = await open()
      const made = Array.from({ length: 6 }, (_, n) =>
        aBatch(1, { createdAt: 100 + Math.floor(n / 2), caller: n % 3 ? 'key:bob' : 'anonymous' }),
      )
      for (const batch of made) await store.insertBatch(batch)
      const all = await store.listBatches({ limit: 9 })
      expect(all.map(({ createdAt }) => createdAt)).toEqual([102, 102, 101, 101, 100, 100])
      expect(await store.listBatches({ limit: 4, after: all[1]! })).toEqual(all.slice(2))
      expect(await store.listBatches({ limit: 9, caller: 'key:bob' })).toEqual(
        all.filter(({ caller }) => caller === 'key:bob'),
      )
    },
  ],
]
