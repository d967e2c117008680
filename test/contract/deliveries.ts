import { expect } from 'vitest'
import { startDeliveryAttempt, type DueDelivery } from '../../src/jobs/webhooks/delivery.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import { aDelivery, delivered, dueOf } from '../helpers/deliveries.ts'
import { aJob, after } from '../helpers/jobs.ts'
import type { ContractCase } from './contract.ts'

/** Stores a finished job with one pending delivery. */
async function insertWithDelivery(store: Store, change: Parameters<typeof aDelivery>[1] = {}) {
  const job = aJob({ caller: change.caller ?? 'anonymous' })
  const finished = after(job, { type: 'canceled' })
  const delivery = aDelivery(job, change)
  await store.insert(job)
  await store.update(finished, job.revision, { deliveries: [delivery] })
  return { job: finished, delivery }
}

const idsRemovable = async (store: Store) => {
  const ids: string[] = []
  for await (const job of store.pending('removal', 1e15)) ids.push(job.id)
  return ids
}

/** What every outbox promises. */
export const deliveriesContract: readonly ContractCase<Store>[] = [
  [
    'stores a delivery as it was given, together with its change',
    async (open) => {
      const store = await open()
      const { job, delivery } = await insertWithDelivery(store, {
        body: '{"error":"caf\u00e9 \u{1f3ac}"}',
        tries: [{ at: 1, status: 500 }],
      })
      expect(await store.get(job.id)).toEqual(job)
      expect(await store.deliveriesOf(job.id)).toEqual([delivery])
      expect(await store.deliveriesOf(aJob().id)).toEqual([])
    },
  ],
  [
    'stores several deliveries of one change, or none if the number of one is taken',
    async (open) => {
      const store = await open()
      const { job, delivery } = await insertWithDelivery(store)
      const [second, third] = [2, 3].map((number) => aDelivery(job, { number, body: `${number}` }))
      await store.update(job, job.revision, { deliveries: [second!, third!] })
      expect(await store.deliveriesOf(job.id)).toEqual([delivery, second, third])
      expect(await dueOf(store, 0)).toHaveLength(3)
      const fourth = aDelivery(job, { number: 4 })
      await expect(store.update(job, job.revision, { deliveries: [fourth, second!] })).rejects.toThrow()
      expect(await store.deliveriesOf(job.id)).toHaveLength(3)
    },
  ],
  [
    'never shows a change without its delivery',
    async (open) => {
      const store = await open()
      const jobs = Array.from({ length: 10 }, () => aJob())
      for (const job of jobs) await store.insert(job)
      const writing = jobs.map((job) =>
        store.update(after(job, { type: 'canceled' }), job.revision, { deliveries: [aDelivery(job)] }),
      )
      const readOnceChanged = async (job: Job) => {
        while ((await store.get(job.id))?.revision === job.revision) await new Promise(setImmediate)
        return store.deliveriesOf(job.id)
      }
      for (const seen of await Promise.all(jobs.map(readOnceChanged))) expect(seen).toHaveLength(1)
      await Promise.all(writing)
    },
  ],
  [
    'stores no delivery of a change that is not made',
    async (open) => {
      const store = await open()
      const { job } = await insertWithDelivery(store)
      const late = aDelivery(job, { number: 2 })
      expect(await store.update(after(job, { type: 'retried' }), job.revision - 1, { deliveries: [late] })).toBe(false)
      expect(await store.deliveriesOf(job.id)).toHaveLength(1)
      expect(await store.update(job, 1, { deliveries: [aDelivery(aJob())] })).toBe(false)
    },
  ],
  [
    'rejects a change whose delivery has a taken number',
    async (open) => {
      const store = await open()
      const { job, delivery } = await insertWithDelivery(store)
      const change = after(job, { type: 'retried' })
      await expect(
        store.update(change, job.revision, { deliveries: [{ ...delivery, body: 'other' }] }),
      ).rejects.toThrow()
      expect(await store.get(job.id)).toEqual(job)
      expect(await store.deliveriesOf(job.id)).toEqual([delivery])
    },
  ],
  [
    'lists a job’s deliveries by number',
    async (open) => {
      const store = await open()
      const { job } = await insertWithDelivery(store)
      await insertWithDelivery(store)
      for (const number of [2, 10, 3])
        await store.update(job, job.revision, { deliveries: [aDelivery(job, { number })] })
      expect((await store.deliveriesOf(job.id)).map(({ number }) => number)).toEqual([1, 2, 3, 10])
    },
  ],
  [
    'lists due deliveries, the longest due first, and none that is due later or not pending',
    async (open) => {
      const store = await open()
      for (const dueAt of [30, 10, 20]) await insertWithDelivery(store, { dueAt, host: `h${dueAt}` })
      const { delivery } = await insertWithDelivery(store, { dueAt: 5, host: 'done' })
      await store.updateDelivery(delivered(delivery), delivery.revision)
      expect(await dueOf(store, 9)).toEqual([])
      expect(await dueOf(store, 20)).toEqual(['1@h10/10', '1@h20/20'])
      expect(await dueOf(store, 1_000)).toEqual(['1@h10/10', '1@h20/20', '1@h30/30'])
    },
  ],
  [
    'lists each due delivery with its caller and its host, whatever characters they contain',
    async (open) => {
      const store = await open()
      const caller = 'oidc:https://issuer.example/|用户:1 %2F'
      const { job } = await insertWithDelivery(store, { host: '[2001:db8::1]:8443', caller })
      const found: DueDelivery[] = []
      for await (const due of store.dueDeliveries(0)) found.push(due)
      expect(found).toEqual([{ jobId: job.id, number: 1, caller, host: '[2001:db8::1]:8443', dueAt: 0 }])
    },
  ],
  [
    'lists all due deliveries, more than one page of them, while they change',
    async (open) => {
      const store = await open()
      const all = await Promise.all(
        Array.from({ length: 450 }, (_, n) => insertWithDelivery(store, { dueAt: n % 3, host: `${n}` })),
      )
      const seen: string[] = []
      for await (const { jobId, host } of store.dueDeliveries(10)) {
        seen.push(host)
        const [one] = await store.deliveriesOf(jobId)
        await store.updateDelivery(startDeliveryAttempt(one!, 1, 1_000), 1)
      }
      expect(seen.toSorted()).toEqual(all.map((_, n) => `${n}`).toSorted())
      expect(await dueOf(store, 10)).toEqual([])
    },
  ],
  [
    'does not block the event loop while it lists many due deliveries',
    async (open) => {
      const store = await open()
      for (let n = 0; n < 1_000; n += 100)
        await Promise.all(Array.from({ length: 100 }, () => insertWithDelivery(store)))
      let [turns, seen, isFinished] = [0, 0, false]
      const turn = () => {
        turns++
        if (!isFinished) setImmediate(turn)
      }
      setImmediate(turn)
      for await (const due of store.dueDeliveries(10)) seen += due.number
      isFinished = true
      expect(seen).toBe(1_000)
      expect(turns).toBeGreaterThan(2)
    },
  ],
  [
    'lets exactly one of many processes start a delivery attempt',
    async (open) => {
      const store = await open()
      const { job, delivery } = await insertWithDelivery(store)
      const rivals = Array.from({ length: 20 }, (_, n) => startDeliveryAttempt(delivery, n, 1_000))
      const won = await Promise.all(rivals.map((rival) => store.updateDelivery(rival, delivery.revision)))
      expect(won.filter(Boolean)).toHaveLength(1)
      expect(await store.deliveriesOf(job.id)).toEqual([rivals[won.indexOf(true)]])
      expect(await dueOf(store, 999)).toEqual([])
    },
  ],
  [
    'changes nothing if the delivery’s stored revision is another one, and creates none',
    async (open) => {
      const store = await open()
      const { job, delivery } = await insertWithDelivery(store)
      expect(await store.updateDelivery(delivered(delivery), 7)).toBe(false)
      expect(await store.updateDelivery(aDelivery(job, { number: 2 }), 1)).toBe(false)
      expect(await store.updateDelivery(aDelivery(aJob()), 1)).toBe(false)
      expect(await store.deliveriesOf(job.id)).toEqual([delivery])
      expect(await dueOf(store, 0)).toEqual(['1@hooks.example/0'])
    },
  ],
  [
    'leaves the job as it is when a delivery changes',
    async (open) => {
      const store = await open()
      const { job, delivery } = await insertWithDelivery(store)
      expect(await store.updateDelivery(delivered(delivery), delivery.revision)).toBe(true)
      expect(await store.get(job.id)).toEqual(job)
      expect(await store.list({ limit: 1 })).toEqual([job])
    },
  ],
  [
    'lists no job for removal while a delivery is pending',
    async (open) => {
      const store = await open()
      const { job, delivery } = await insertWithDelivery(store)
      const other = await insertWithDelivery(store)
      await store.update(job, job.revision, { deliveries: [aDelivery(job, { number: 2 })] })
      await store.updateDelivery(delivered(delivery), 1)
      expect(await idsRemovable(store)).toEqual([])
      await store.updateDelivery(delivered(aDelivery(job, { number: 2 })), 1)
      expect(await idsRemovable(store)).toEqual([job.id])
      const again = { ...delivered(delivery), revision: 3, state: 'pending', dueAt: 5 } as const
      await store.updateDelivery(again, 2)
      expect(await idsRemovable(store)).toEqual([])
      await store.updateDelivery(delivered(again), 3)
      await store.updateDelivery(delivered(other.delivery), 1)
      expect((await idsRemovable(store)).toSorted()).toEqual([job.id, other.job.id].toSorted())
    },
  ],
  [
    'removes a job’s deliveries with it, at the expected revision only',
    async (open) => {
      const store = await open()
      const { job, delivery } = await insertWithDelivery(store)
      expect(await store.remove(job.id, 1)).toBe(false)
      expect(await store.deliveriesOf(job.id)).toEqual([delivery])
      expect(await store.remove(job.id, job.revision)).toBe(true)
      expect(await store.deliveriesOf(job.id)).toEqual([])
      expect(await dueOf(store, 1_000)).toEqual([])
      expect(await store.updateDelivery(delivered(delivery), delivery.revision)).toBe(false)
    },
  ],
]
