import { expect } from 'vitest'
import type { Job } from '../../src/jobs/job.ts'
import type { JobStore, Owed } from '../../src/store/port.ts'
import { aJob, after, interrupted, spawned, succeeded } from '../helpers/jobs.ts'
import type { ContractCase } from './contract.ts'

const idsOwed = async (store: JobStore, what: Owed, now = 0) => {
  const ids: string[] = []
  for await (const job of store.owed(what, now)) ids.push(job.id)
  return ids
}

/** What every job store promises. */
export const storeContract: readonly ContractCase<JobStore>[] = [
  [
    'gives back a job as it was inserted',
    async (open) => {
      const store = await open()
      const job = aJob({ metadata: { team: 'dubbing' }, input: { image_url: 'https://a.example/x', audio_path: 'b' } })
      await store.insert(job)
      expect(await store.get(job.id)).toEqual(job)
    },
  ],
  [
    'knows nothing of an id that was never inserted',
    async (open) => {
      const store = await open()
      await store.insert(aJob())
      expect(await store.get(aJob().id)).toBeUndefined()
    },
  ],
  [
    'refuses a second job of the same id and keeps the first',
    async (open) => {
      const store = await open()
      const job = aJob()
      await store.insert(job)
      await expect(store.insert({ ...job, version: 'v1' })).rejects.toThrow()
      expect(await store.get(job.id)).toEqual(job)
    },
  ],
  [
    'replaces a job whose revision is the expected one',
    async (open) => {
      const store = await open()
      const job = aJob()
      const next = after(job, spawned())
      await store.insert(job)
      expect(await store.update(next, job.revision)).toBe(true)
      expect(await store.get(job.id)).toEqual(next)
    },
  ],
  [
    'changes nothing when the revision is another one',
    async (open) => {
      const store = await open()
      const job = aJob()
      const running = after(job, spawned())
      await store.insert(job)
      await store.update(running, job.revision)
      expect(await store.update(after(job, { type: 'canceled' }), job.revision)).toBe(false)
      expect(await store.get(job.id)).toEqual(running)
    },
  ],
  [
    'does not create a job by an update',
    async (open) => {
      const store = await open()
      const job = aJob()
      expect(await store.update(job, job.revision)).toBe(false)
      expect(await store.get(job.id)).toBeUndefined()
    },
  ],
  [
    'lets exactly one of many writers racing for one revision win',
    async (open) => {
      const store = await open()
      const job = aJob()
      await store.insert(job)
      const rivals = Array.from({ length: 20 }, (_, n) => after(job, spawned(1, `fc-${n}`)))
      const won = await Promise.all(rivals.map((rival) => store.update(rival, job.revision)))
      expect(won.filter(Boolean)).toHaveLength(1)
      expect(await store.get(job.id)).toEqual(rivals[won.indexOf(true)])
    },
  ],
  [
    'lists unfinished jobs, in order of creation, as owed a run',
    async (open) => {
      const store = await open()
      const jobs = [aJob({ createdAt: 1 }), aJob({ createdAt: 2 }), aJob({ createdAt: 3 }), aJob({ createdAt: 4 })]
      for (const job of jobs) await store.insert(job)
      const [first, second, third, fourth] = jobs as [Job, Job, Job, Job]
      await store.update(after(first, spawned()), 1)
      await store.update(after(second, { type: 'canceled' }), 1)
      const running = after(third, spawned())
      await store.update(running, 1)
      await store.update(after(running, succeeded()), running.revision)
      expect(await idsOwed(store, 'run')).toEqual([first.id, fourth.id])
    },
  ],
  [
    'lists a retried job as owed a run again',
    async (open) => {
      const store = await open()
      const job = aJob()
      const canceled = after(job, { type: 'canceled' })
      await store.insert(job)
      await store.update(canceled, job.revision)
      await store.update(after(canceled, { type: 'retried' }), canceled.revision)
      expect(await idsOwed(store, 'run')).toEqual([job.id])
    },
  ],
  [
    'lists a job as owed a stop until every call of it is stopped',
    async (open) => {
      const store = await open()
      const job = aJob()
      const canceled = after(job, spawned(), { type: 'canceled' })
      await store.insert(job)
      expect(await idsOwed(store, 'stop')).toEqual([])
      await store.update(canceled, job.revision)
      expect(await idsOwed(store, 'stop')).toEqual([job.id])
      const retried = after(canceled, { type: 'retried' })
      await store.update(retried, canceled.revision)
      expect(await idsOwed(store, 'stop')).toEqual([job.id])
      await store.update(after(retried, { type: 'stopped', attempt: 1 }), retried.revision)
      expect(await idsOwed(store, 'stop')).toEqual([])
    },
  ],
  [
    'lists as owed an end only unfinished jobs whose deadline has passed',
    async (open) => {
      const store = await open()
      const [early, late, ended] = [aJob({ deadlineAt: 50 }), aJob({ deadlineAt: 60 }), aJob({ deadlineAt: 10 })]
      for (const job of [early, late, ended]) await store.insert(job)
      await store.update(after(ended, { type: 'canceled' }), 1)
      const trying = after(early, spawned(), interrupted())
      await store.update(trying, 1)
      expect(await idsOwed(store, 'end', 49)).toEqual([])
      expect(await idsOwed(store, 'end', 50)).toEqual([early.id])
      expect((await idsOwed(store, 'end', 60)).toSorted()).toEqual([early.id, late.id].toSorted())
    },
  ],
  [
    'counts the jobs that are submitted',
    async (open) => {
      const store = await open()
      const [one, two] = [aJob(), aJob()]
      await store.insert(one)
      await store.insert(two)
      expect(await store.countSubmitted()).toBe(2)
      const canceled = after(one, { type: 'canceled' })
      await store.update(canceled, one.revision)
      await store.update(after(two, spawned()), two.revision)
      expect(await store.countSubmitted()).toBe(0)
      await store.update(after(canceled, { type: 'retried' }), canceled.revision)
      expect(await store.countSubmitted()).toBe(1)
    },
  ],
  [
    'bears jobs changing while it lists what is owed',
    async (open) => {
      const store = await open()
      const jobs = Array.from({ length: 50 }, (_, n) => aJob({ createdAt: n, deadlineAt: 1 }))
      for (const job of jobs) await store.insert(job)
      const seen: string[] = []
      for await (const job of store.owed('end', 10)) {
        seen.push(job.id)
        await store.update(after(job, { type: 'expired' }), job.revision)
      }
      expect(seen.toSorted()).toEqual(jobs.map((job) => job.id).toSorted())
      expect(await idsOwed(store, 'end', 10)).toEqual([])
    },
  ],
]
