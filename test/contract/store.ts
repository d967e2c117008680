import { expect } from 'vitest'
import type { Job, JobEvent } from '../../src/jobs/job.ts'
import {
  contentLabel,
  errorLabel,
  type JobStore,
  type ListPosition,
  type ListQuery,
  metadataLabel,
  type PendingWork,
  versionLabel,
} from '../../src/jobs/ports/store.ts'
import { aJob, after, failed, interrupted, spawned, started, succeeded } from '../helpers/jobs.ts'
import type { ContractCase } from './contract.ts'

const idsPending = async (store: JobStore, what: PendingWork, now = 0) => {
  const ids: string[] = []
  for await (const job of store.pending(what, now)) ids.push(job.id)
  return ids
}

/** What every job store promises. */
export const storeContract: readonly ContractCase<JobStore>[] = [
  [
    'returns a job as it was inserted',
    async (open) => {
      const store = await open()
      const job = aJob({
        metadata: { team: 'dubbing' },
        parameters: { extra_margin: 12, parsing_mode: 'neck', use_float16: false },
        input: { image_url: 'https://a.example/x', audio_path: 'b' },
        media: { audio: { container: 'WAV', durationSeconds: 3.894, hasPicture: false, hasSound: true } },
      })
      await store.insert(job)
      expect(await store.get(job.id)).toEqual(job)
    },
  ],
  [
    'returns nothing for an id that was never inserted',
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
    'changes nothing if the stored revision is another one',
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
    'lists unfinished jobs, in order of creation, as pending a run',
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
      expect(await idsPending(store, 'run')).toEqual([first.id, fourth.id])
    },
  ],
  [
    'lists a retried job as pending a run again',
    async (open) => {
      const store = await open()
      const job = aJob()
      const canceled = after(job, { type: 'canceled' })
      await store.insert(job)
      await store.update(canceled, job.revision)
      await store.update(after(canceled, { type: 'retried' }), canceled.revision)
      expect(await idsPending(store, 'run')).toEqual([job.id])
    },
  ],
  [
    'lists a job with a pending stop until every call of it is stopped',
    async (open) => {
      const store = await open()
      const job = aJob()
      const canceled = after(job, spawned(), { type: 'canceled' })
      await store.insert(job)
      expect(await idsPending(store, 'stop')).toEqual([])
      await store.update(canceled, job.revision)
      expect(await idsPending(store, 'stop')).toEqual([job.id])
      const retried = after(canceled, { type: 'retried' })
      await store.update(retried, canceled.revision)
      expect(await idsPending(store, 'stop')).toEqual([job.id])
      await store.update(after(retried, { type: 'stopped', attempt: 1 }), retried.revision)
      expect(await idsPending(store, 'stop')).toEqual([])
    },
  ],
  [
    'lists as expired only unfinished jobs whose deadline has passed',
    async (open) => {
      const store = await open()
      const [early, late, finished] = [aJob({ deadlineAt: 50 }), aJob({ deadlineAt: 60 }), aJob({ deadlineAt: 10 })]
      for (const job of [early, late, finished]) await store.insert(job)
      await store.update(after(finished, { type: 'canceled' }), 1)
      await store.update(after(early, spawned(), interrupted()), 1)
      expect(await idsPending(store, 'expiry', 49)).toEqual([])
      expect(await idsPending(store, 'expiry', 50)).toEqual([early.id])
      expect((await idsPending(store, 'expiry', 60)).toSorted()).toEqual([early.id, late.id].toSorted())
    },
  ],
  [
    'lists as expired a job whose run exceeds its time limit, once its start is recorded',
    async (open) => {
      const store = await open()
      const limited = aJob({ deadlineAt: 90_000, runTimeoutSeconds: 10 })
      await store.insert(limited)
      const running = after(limited, spawned())
      await store.update(running, 1)
      expect(await idsPending(store, 'expiry', 89_999)).toEqual([])
      await store.update(after(running, started(1, 1_500)), running.revision)
      expect(await idsPending(store, 'expiry', 11_499)).toEqual([])
      expect(await idsPending(store, 'expiry', 11_500)).toEqual([limited.id])
      expect(await store.get(limited.id)).toMatchObject({ runTimeoutSeconds: 10, attempts: [{ runStartedAt: 1_500 }] })
    },
  ],
  [
    'returns the caller’s job of the same idempotency key instead of inserting a second',
    async (open) => {
      const store = await open()
      const first = aJob({ idempotencyKey: 'key', fingerprint: 'a' })
      expect(await store.insert(first)).toEqual({ kind: 'inserted' })
      const running = after(first, spawned())
      await store.update(running, first.revision)
      const again = aJob({ idempotencyKey: 'key', fingerprint: 'b' })
      expect(await store.insert(again)).toEqual({ kind: 'existing', job: running })
      expect(await store.get(again.id)).toBeUndefined()
      const others = [
        aJob({ idempotencyKey: 'key', caller: 'key:bob' }),
        aJob({ idempotencyKey: 'other' }),
        aJob(),
        aJob(),
      ]
      for (const job of others) expect(await store.insert(job)).toEqual({ kind: 'inserted' })
    },
  ],
  [
    'lets exactly one of many inserts racing for one idempotency key win',
    async (open) => {
      const store = await open()
      const rivals = Array.from({ length: 20 }, () => aJob({ idempotencyKey: 'key' }))
      const results = await Promise.all(rivals.map((job) => store.insert(job)))
      expect(results.filter(({ kind }) => kind === 'inserted')).toHaveLength(1)
      const winner = rivals[results.findIndex(({ kind }) => kind === 'inserted')]
      const others = results.filter((result) => result.kind === 'existing').map(({ job }) => job.id)
      expect(new Set(others)).toEqual(new Set([winner?.id]))
    },
  ],
  [
    'refuses an insert beyond the limit of submitted jobs, but still returns the job of a known key',
    async (open) => {
      const store = await open()
      const first = aJob({ idempotencyKey: 'key' })
      await store.insert(first, { maxSubmitted: 2 })
      await store.insert(aJob(), { maxSubmitted: 2 })
      const refused = aJob()
      expect(await store.insert(refused, { maxSubmitted: 2 })).toEqual({ kind: 'full' })
      expect(await store.get(refused.id)).toBeUndefined()
      expect(await store.insert(aJob({ idempotencyKey: 'key' }), { maxSubmitted: 2 })).toMatchObject({
        kind: 'existing',
      })
      await store.update(after(first, { type: 'canceled' }), first.revision)
      expect(await store.insert(refused, { maxSubmitted: 2 })).toEqual({ kind: 'inserted' })
    },
  ],
  [
    'keeps the limit of submitted jobs under many inserts at the same time',
    async (open) => {
      const store = await open()
      const results = await Promise.all(Array.from({ length: 20 }, () => store.insert(aJob(), { maxSubmitted: 7 })))
      expect(results.filter(({ kind }) => kind === 'inserted')).toHaveLength(7)
      expect(await store.countSubmitted()).toBe(7)
    },
  ],
  [
    'reopens a finished job at the expected revision only',
    async (open) => {
      const store = await open()
      const job = aJob()
      const canceled = after(job, { type: 'canceled' })
      const retried = after(canceled, { type: 'retried' })
      await store.insert(job)
      await store.update(canceled, job.revision)
      expect(await store.reopen(retried, job.revision)).toBe('stale')
      expect(await store.get(job.id)).toEqual(canceled)
      expect(await store.reopen(retried, canceled.revision)).toBe('reopened')
      expect(await store.get(job.id)).toEqual(retried)
      expect(await idsPending(store, 'run')).toEqual([job.id])
      expect(await store.countSubmitted()).toBe(1)
      expect(await store.reopen(aJob(), 1)).toBe('stale')
    },
  ],
  [
    'reopens no more jobs at the same time than the limits of an insert allow',
    async (open) => {
      const store = await open()
      const canceled = Array.from({ length: 12 }, (_, n) =>
        after(aJob({ caller: n < 6 ? 'key:alice' : `key:${n}` }), { type: 'canceled' }),
      )
      for (const job of canceled) await store.insert(job)
      const limits = { maxSubmitted: 5, maxActiveOfCaller: 2 }
      const results = await Promise.all(
        canceled.map((job) => store.reopen(after(job, { type: 'retried' }), job.revision, limits)),
      )
      const [ofAlice, ofOthers] = [results.slice(0, 6), results.slice(6)]
      expect(ofAlice).toEqual(['reopened', 'reopened', 'caller-full', 'caller-full', 'caller-full', 'caller-full'])
      expect(ofOthers).toEqual(['reopened', 'reopened', 'reopened', 'full', 'full', 'full'])
      expect(await store.countSubmitted()).toBe(5)
      const refused = canceled[11]
      expect(await store.get(refused?.id ?? '')).toEqual(refused)
    },
  ],
  [
    'keeps the limit of one caller’s unfinished jobs under many inserts at the same time',
    async (open) => {
      const store = await open()
      const limits = { maxActiveOfCaller: 3 }
      const jobs = Array.from({ length: 8 }, () => aJob({ caller: 'key:alice' }))
      const results = await Promise.all(jobs.map((job) => store.insert(job, limits)))
      expect(results.map(({ kind }) => kind)).toEqual([
        ...Array.from({ length: 3 }, () => 'inserted'),
        ...Array.from({ length: 5 }, () => 'caller-full'),
      ])
      expect(await store.insert(aJob({ caller: 'key:bob' }), limits)).toEqual({ kind: 'inserted' })
      const [first = aJob(), second = aJob(), , refused = aJob()] = jobs
      expect(await store.get(refused.id)).toBeUndefined()
      await store.update(after(second, spawned()), second.revision)
      expect(await store.insert(refused, limits)).toEqual({ kind: 'caller-full' })
      const canceled = after(first, { type: 'canceled' })
      await store.update(canceled, first.revision)
      expect(await store.insert(refused, limits)).toEqual({ kind: 'inserted' })
      const retried = after(canceled, { type: 'retried' })
      await store.update(retried, canceled.revision)
      expect(await store.insert(aJob({ caller: 'key:alice' }), limits)).toEqual({ kind: 'caller-full' })
    },
  ],
  [
    'removes a job with its idempotency key, at the expected revision only',
    async (open) => {
      const store = await open()
      const job = aJob({ idempotencyKey: 'key' })
      const canceled = after(job, { type: 'canceled' })
      await store.insert(job)
      await store.update(canceled, job.revision)
      expect(await store.remove(job.id, job.revision)).toBe(false)
      expect(await store.get(job.id)).toEqual(canceled)
      expect(await store.remove(job.id, canceled.revision)).toBe(true)
      expect(await store.remove(job.id, canceled.revision)).toBe(false)
      expect(await store.get(job.id)).toBeUndefined()
      expect(await store.list({ limit: 10 })).toEqual([])
      expect(await idsPending(store, 'removal', 1e15)).toEqual([])
      expect(await store.insert(aJob({ idempotencyKey: 'key' }))).toEqual({ kind: 'inserted' })
    },
  ],
  [
    'lists jobs newest first, filtered by caller, state and time of creation',
    async (open) => {
      const store = await open()
      const jobs = Array.from({ length: 12 }, (_, n) =>
        aJob({ createdAt: 100 + n, caller: n % 2 ? 'key:bob' : 'anonymous' }),
      )
      for (const job of jobs.toSorted((a, b) => a.id.localeCompare(b.id))) await store.insert(job)
      for (const job of jobs.slice(0, 4)) await store.update(after(job, spawned()), 1)
      for (const job of jobs.slice(4, 6)) await store.update(after(job, { type: 'canceled' }), 1)
      const listed = async (query: Partial<ListQuery>) =>
        (await store.list({ limit: 100, ...query })).map((found) => jobs.findIndex(({ id }) => id === found.id))
      expect(await listed({})).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
      expect(await listed({ limit: 2 })).toEqual([11, 10])
      expect(await listed({ caller: 'key:bob' })).toEqual([11, 9, 7, 5, 3, 1])
      expect(await listed({ statuses: ['running', 'canceled'] })).toEqual([5, 4, 3, 2, 1, 0])
      expect(await listed({ statuses: ['running'], caller: 'anonymous' })).toEqual([2, 0])
      expect(await listed({ createdAfter: 103, createdBefore: 107 })).toEqual([6, 5, 4])
      expect(await listed({ createdBefore: 100 })).toEqual([])
      expect(await listed({ after: { createdAt: 105, id: jobs[5]!.id }, createdAfter: 102 })).toEqual([4, 3])
    },
  ],
  [
    'lists jobs by labels: version, error and metadata, those that have all of them',
    async (open) => {
      const store = await open()
      const label = (n: number): Partial<Job> => ({
        createdAt: 100 + n,
        caller: n % 2 ? 'key:bob' : 'anonymous',
        version: n % 4 === 0 ? 'v1' : 'v15',
        metadata: { third: String(n % 3), 'a=b': 'c', [`own ${n}`]: '', ...(n > 5 && { late: 'é\n"' }) },
      })
      const jobs = Array.from({ length: 12 }, (_, n) => aJob(label(n)))
      for (const job of jobs) await store.insert(job)
      for (const job of jobs.slice(4, 8)) await store.update(after(job, failed()), 1)
      const listed = async (query: Partial<ListQuery>) =>
        (await store.list({ limit: 100, ...query })).map((found) => jobs.findIndex(({ id }) => id === found.id))
      const third = (value: number) => metadataLabel('third', String(value))
      expect(await listed({ labels: [versionLabel('v1')] })).toEqual([8, 4, 0])
      expect(await listed({ labels: [third(0)] })).toEqual([9, 6, 3, 0])
      expect(await listed({ labels: [third(0)], caller: 'key:bob' })).toEqual([9, 3])
      expect(await listed({ labels: [third(0)], caller: 'key:eve' })).toEqual([])
      expect(await listed({ labels: [third(0), metadataLabel('late', 'é\n"')] })).toEqual([9, 6])
      expect(await listed({ labels: [third(0), third(1)] })).toEqual([])
      expect(await listed({ labels: [metadataLabel('a', 'b=c')] })).toEqual([])
      expect(await listed({ labels: [metadataLabel('a=b', 'c'), metadataLabel('own 7', '')] })).toEqual([7])
      expect(await listed({ labels: [errorLabel('inference_failed')] })).toEqual([7, 6, 5, 4])
      expect(await listed({ labels: [errorLabel('inference_failed')], statuses: ['submitted'] })).toEqual([])
      expect(await listed({ labels: [third(1), versionLabel('v15')], statuses: ['submitted', 'failed'] })).toEqual([
        10, 7, 1,
      ])
      expect(await listed({ labels: [third(1)], createdAfter: 101, createdBefore: 110 })).toEqual([7, 4])
      expect(await listed({ labels: [third(1)], after: jobs[7]!, limit: 1 })).toEqual([4])
    },
  ],
  [
    'lists the jobs of one content by what they do for it, in step with each change',
    async (open) => {
      const store = await open()
      const contentKey = 'c'.repeat(43)
      const job = aJob({ contentKey, isWaiting: true })
      const other = aJob({ contentKey: 'other' })
      await store.insert(job)
      await store.insert(other)
      const listed = async () => {
        const roles = ['wait', 'run', 'output'] as const
        const lists = roles.map((role) =>
          store.list({ limit: 9, caller: job.caller, labels: [contentLabel(role, contentKey)] }),
        )
        const found = await Promise.all(lists)
        return roles.filter((_role, n) => found[n]?.some(({ id }) => id === job.id))
      }
      const steps: [JobEvent, string[]][] = [
        [{ type: 'released', attempt: 1 }, ['run']],
        [spawned(), ['run']],
        [interrupted(), ['run']],
        [spawned(2), ['run']],
        [succeeded(2), ['output']],
      ]
      expect(await listed()).toEqual(['wait'])
      let current = job
      for (const [event, roles] of steps) {
        const next = after(current, event)
        await store.update(next, current.revision)
        current = next
        expect(await listed()).toEqual(roles)
      }
      await store.remove(job.id, current.revision)
      expect(await listed()).toEqual([])
      const again = aJob({ contentKey, id: job.id, isWaiting: true })
      const canceled = after(again, { type: 'canceled' })
      await store.insert(again)
      await store.update(canceled, 1)
      expect(await listed()).toEqual([])
      // Its files have names, and may be others by now.
      await store.reopen(after(canceled, { type: 'retried' }), canceled.revision)
      expect(await listed()).toEqual([])
      const own = { size: 1, type: 'audio/wav', sha256: 'x' }
      const ended = after(aJob({ contentKey, input: { video: own, audio: own }, id: job.id }), failed())
      await store.remove(job.id, canceled.revision + 1)
      await store.insert(ended)
      await store.reopen(after(ended, { type: 'retried' }), ended.revision)
      expect(await listed()).toEqual(['run'])
    },
  ],
  [
    'keeps the labels of a job in step with it: a retry ends that of its error, a removal all',
    async (open) => {
      const store = await open()
      const job = aJob({ metadata: { team: 'dubbing' } })
      const broken = after(job, failed())
      const listed = async (label: string) => (await store.list({ limit: 9, labels: [label] })).map(({ id }) => id)
      const ofError = () => listed(errorLabel('inference_failed'))
      const ofTeam = () => listed(metadataLabel('team', 'dubbing'))
      await store.insert(job)
      expect([await ofError(), await ofTeam()]).toEqual([[], [job.id]])
      await store.update(broken, 1)
      expect([await ofError(), await ofTeam()]).toEqual([[job.id], [job.id]])
      const retried = after(broken, { type: 'retried' })
      await store.reopen(retried, broken.revision)
      expect([await ofError(), await ofTeam()]).toEqual([[], [job.id]])
      const again = after(retried, { type: 'failed', attempt: 2, code: 'lost', error: 'gone' })
      await store.update(again, retried.revision)
      expect([await ofError(), await listed(errorLabel('lost')), await ofTeam()]).toEqual([[], [job.id], [job.id]])
      await store.remove(job.id, again.revision)
      const labels = [errorLabel('lost'), metadataLabel('team', 'dubbing'), versionLabel('v15')]
      for (const label of labels) expect(await listed(label)).toEqual([])
    },
  ],
  [
    'lists by a label, page by page, every job that has it once, while jobs come, change and go',
    async (open) => {
      const store = await open()
      const jobs = Array.from({ length: 90 }, (_, n) =>
        aJob({ createdAt: 1_000 + Math.floor(n / 9), metadata: { parity: String(n % 2), all: '' } }),
      )
      for (const job of jobs) await store.insert(job)
      const labels = [metadataLabel('all', ''), metadataLabel('parity', '1')]
      const seen: string[] = []
      for (let position: ListPosition | undefined; ;) {
        const page = await store.list({ limit: 7, labels, ...(position && { after: position }) })
        seen.push(...page.map(({ id }) => id))
        const last = page.at(-1)
        if (!last) break
        position = { createdAt: last.createdAt, id: last.id }
        await store.insert(aJob({ createdAt: 5_000, metadata: { parity: '1', all: '' } }))
        await store.update(after(last, failed()), last.revision)
        await store.remove(last.id, last.revision + 1)
      }
      const odd = jobs.filter((_, n) => n % 2 === 1).map(({ id }) => id)
      expect(seen.toSorted()).toEqual(odd.toSorted())
    },
  ],
  [
    'lists no job twice and leaves none out when jobs are inserted and removed between two pages',
    async (open) => {
      const store = await open()
      // Many of one millisecond, as a burst makes them, and a clock that jumps back.
      const jobs = Array.from({ length: 60 }, (_, n) =>
        aJob({ createdAt: 1_000 + Math.floor(n / 10) - (n > 40 ? 3 : 0) }),
      )
      for (const job of jobs) await store.insert(job)
      const doomed = jobs[3]!
      const seen: string[] = []
      let after: ListPosition | undefined
      for (;;) {
        const page = await store.list({ limit: 7, ...(after && { after }) })
        seen.push(...page.map(({ id }) => id))
        const last = page.at(-1)
        if (!last) break
        after = { createdAt: last.createdAt, id: last.id }
        await store.insert(aJob({ createdAt: 5_000 }))
        if (!seen.includes(doomed.id)) await store.remove(doomed.id, doomed.revision)
      }
      expect(new Set(seen).size).toBe(seen.length)
      expect(seen.toSorted()).toEqual(
        jobs
          .map(({ id }) => id)
          .filter((id) => id !== doomed.id)
          .toSorted(),
      )
    },
  ],
  [
    'lists for removal jobs that finished by the given time and have no pending stop',
    async (open) => {
      const store = await open()
      const [finished, stopping, running] = [aJob(), aJob(), aJob()]
      for (const job of [finished, stopping, running]) await store.insert(job)
      await store.update(after(finished, { type: 'canceled' }), 1)
      await store.update(after(stopping, spawned(), { type: 'canceled' }), 1)
      expect(await idsPending(store, 'removal', 1_999)).toEqual([])
      expect(await idsPending(store, 'removal', 2_000)).toEqual([finished.id])
    },
  ],
  [
    'counts the submitted jobs',
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
    'allows jobs to change while it lists pending work',
    async (open) => {
      const store = await open()
      const jobs = Array.from({ length: 50 }, (_, n) => aJob({ createdAt: n, deadlineAt: 1 }))
      for (const job of jobs) await store.insert(job)
      const seen: string[] = []
      for await (const job of store.pending('expiry', 10)) {
        seen.push(job.id)
        await store.update(after(job, { type: 'expired' }), job.revision)
      }
      expect(seen.toSorted()).toEqual(jobs.map((job) => job.id).toSorted())
      expect(await idsPending(store, 'expiry', 10)).toEqual([])
    },
  ],
]
