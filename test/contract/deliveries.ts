import { expect } from 'vitest'
import { startDeliveryAttempt, type DueDelivery } from '../../src/jobs/webhooks/delivery.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import { aDelivery, delivered, dueOf } from '../helpers/deliveries.ts'
import { aJob, after } from '../helpers/jobs.ts'
import type { ContractCase } from './contract.ts'

/** A job that has ended, in the store, with one pending delivery. */
async function owing(store: Store, change: Parameters<typeof aDelivery>[1] = {}) {
  const job = aJob({ caller: change.caller ?? 'anonymous' })
  const ended = after(job, { type: 'canceled' })
  const delivery = aDelivery(job, change)
  await store.insert(job)
  await store.update(ended, job.revision, delivery)
  return { job: ended, delivery }
}

const removable = async (store: Store) => {
  const ids: string[] = []
  for await (const job of store.pending('removal', 1e15)) ids.push(job.id)
  return ids
}

/** What every outbox promises. */
export const deliveriesContract: readonly ContractCase<Store>[] = [
  [
    'keeps a delivery as it was given, with the change that owes it',
    async (open) => {
      const store = await open()
      const { job, delivery } = await owing(store, {
        body: '{"error":"caf\u00e9 \u{1f3ac}"}',
        tries: [{ at: 1, status: 500 }],
      })
      expect(await store.get(job.id)).toEqual(job)
      expect(await store.deliveriesOf(job.id)).toEqual([delivery])
      expect(await store.deliveriesOf(aJob().id)).toEqual([])
    },
  ],
  [
    'never shows a change without the delivery that it owes',
    async (open) => {
      const store = await open()
      const jobs = Array.from({ length: 10 }, () => aJob())
      for (const job of jobs) await store.insert(job)
      const writing = jobs.map((job) => store.update(after(job, { type: 'canceled' }), job.revision, aDelivery(job)))
      const look = async (job: Job) => {
        while ((await store.get(job.id))?.revision === job.revision) await new Promise(setImmediate)
        return store.deliveriesOf(job.id)
      }
      for (const seen of await Promise.all(jobs.map(look))) expect(seen).toHaveLength(1)
      await Promise.all(writing)
    },
  ],
  [
    'keeps no delivery of a change that is not made',
    async (open) => {
      const store = await open()
      const { job } = await owing(store)
      const late = aDelivery(job, { number: 2 })
      expect(await store.update(after(job, { type: 'retried' }), job.revision - 1, late)).toBe(false)
      expect(await store.deliveriesOf(job.id)).toHaveLength(1)
      expect(await store.update(job, 1, aDelivery(aJob()))).toBe(false)
    },
  ],
  [
    'makes no change whose delivery has a number that is taken',
    async (open) => {
      const store = await open()
      const { job, delivery } = await owing(store)
      const change = after(job, { type: 'retried' })
      await expect(store.update(change, job.revision, { ...delivery, body: 'other' })).rejects.toThrow()
      expect(await store.get(job.id)).toEqual(job)
      expect(await store.deliveriesOf(job.id)).toEqual([delivery])
    },
  ],
  [
    'lists a job’s deliveries by number',
    async (open) => {
      const store = await open()
      const { job } = await owing(store)
      await owing(store)
      for (const number of [2, 10, 3]) await store.update(job, job.revision, aDelivery(job, { number }))
      expect((await store.deliveriesOf(job.id)).map(({ number }) => number)).toEqual([1, 2, 3, 10])
    },
  ],
  [
    'tells what is due, the longest due first, and nothing that is due later or never',
    async (open) => {
      const store = await open()
      for (const dueAt of [30, 10, 20]) await owing(store, { dueAt, host: `h${dueAt}` })
      const { delivery } = await owing(store, { dueAt: 5, host: 'done' })
      await store.updateDelivery(delivered(delivery), delivery.revision)
      expect(await dueOf(store, 9)).toEqual([])
      expect(await dueOf(store, 20)).toEqual(['1@h10/10', '1@h20/20'])
      expect(await dueOf(store, 1_000)).toEqual(['1@h10/10', '1@h20/20', '1@h30/30'])
    },
  ],
  [
    'tells whose each due delivery is, whatever a caller is called',
    async (open) => {
      const store = await open()
      const caller = 'oidc:https://issuer.example/|用户:1 %2F'
      const { job } = await owing(store, { host: '[2001:db8::1]:8443', caller })
      const found: DueDelivery[] = []
      for await (const due of store.dueDeliveries(0)) found.push(due)
      expect(found).toEqual([{ jobId: job.id, number: 1, caller, host: '[2001:db8::1]:8443', dueAt: 0 }])
    },
  ],
  [
    'tells all that is due, however much, while it changes',
    async (open) => {
      const store = await open()
      const all = await Promise.all(Array.from({ length: 450 }, (_, n) => owing(store, { dueAt: n % 3, host: `${n}` })))
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
    'lets others have their turn while it tells of much that is due',
    async (open) => {
      const store = await open()
      for (let n = 0; n < 1_000; n += 100) await Promise.all(Array.from({ length: 100 }, () => owing(store)))
      let [turns, seen, isOver] = [0, 0, false]
      const turn = () => {
        turns++
        if (!isOver) setImmediate(turn)
      }
      setImmediate(turn)
      for await (const due of store.dueDeliveries(10)) seen += due.number
      isOver = true
      expect(seen).toBe(1_000)
      expect(turns).toBeGreaterThan(2)
    },
  ],
  [
    'lets exactly one of many that begin a try win',
    async (open) => {
      const store = await open()
      const { job, delivery } = await owing(store)
      const rivals = Array.from({ length: 20 }, (_, n) => startDeliveryAttempt(delivery, n, 1_000))
      const won = await Promise.all(rivals.map((rival) => store.updateDelivery(rival, delivery.revision)))
      expect(won.filter(Boolean)).toHaveLength(1)
      expect(await store.deliveriesOf(job.id)).toEqual([rivals[won.indexOf(true)]])
      expect(await dueOf(store, 999)).toEqual([])
    },
  ],
  [
    'changes nothing when the delivery’s revision is another one, and creates none',
    async (open) => {
      const store = await open()
      const { job, delivery } = await owing(store)
      expect(await store.updateDelivery(delivered(delivery), 7)).toBe(false)
      expect(await store.updateDelivery(aDelivery(job, { number: 2 }), 1)).toBe(false)
      expect(await store.updateDelivery(aDelivery(aJob()), 1)).toBe(false)
      expect(await store.deliveriesOf(job.id)).toEqual([delivery])
      expect(await dueOf(store, 0)).toEqual(['1@hooks.example/0'])
    },
  ],
  [
    'never touches the job when a delivery changes',
    async (open) => {
      const store = await open()
      const { job, delivery } = await owing(store)
      expect(await store.updateDelivery(delivered(delivery), delivery.revision)).toBe(true)
      expect(await store.get(job.id)).toEqual(job)
      expect(await store.list({ limit: 1 })).toEqual([job])
    },
  ],
  [
    'lists no job for removal as long as a delivery is pending',
    async (open) => {
      const store = await open()
      const { job, delivery } = await owing(store)
      const other = await owing(store)
      await store.update(job, job.revision, aDelivery(job, { number: 2 }))
      await store.updateDelivery(delivered(delivery), 1)
      expect(await removable(store)).toEqual([])
      await store.updateDelivery(delivered(aDelivery(job, { number: 2 })), 1)
      expect(await removable(store)).toEqual([job.id])
      const again = { ...delivered(delivery), revision: 3, state: 'pending', dueAt: 5 } as const
      await store.updateDelivery(again, 2)
      expect(await removable(store)).toEqual([])
      await store.updateDelivery(delivered(again), 3)
      await store.updateDelivery(delivered(other.delivery), 1)
      expect((await removable(store)).toSorted()).toEqual([job.id, other.job.id].toSorted())
    },
  ],
  [
    'drops a job’s deliveries with it, at the expected revision only',
    async (open) => {
      const store = await open()
      const { job, delivery } = await owing(store)
      expect(await store.remove(job.id, 1)).toBe(false)
      expect(await store.deliveriesOf(job.id)).toEqual([delivery])
      expect(await store.remove(job.id, job.revision)).toBe(true)
      expect(await store.deliveriesOf(job.id)).toEqual([])
      expect(await dueOf(store, 1_000)).toEqual([])
      expect(await store.updateDelivery(delivered(delivery), delivery.revision)).toBe(false)
    },
  ],
]
