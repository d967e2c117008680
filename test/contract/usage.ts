import { expect } from 'vitest'
import type { Store } from '../../src/jobs/ports/store.ts'
import {
  SAMPLES_KEPT,
  type UsageQuery,
  type UsageRecord,
  VALUES_PER_DAY,
  VALUES_PER_DIMENSION,
} from '../../src/jobs/usage.ts'
import { aJob, after, spawned } from '../helpers/jobs.ts'
import type { ContractCase } from './contract.ts'

const DAY = '2026-11-26'
const succeeded = { dimension: 'status', value: 'succeeded' }

const aRecord = (change: Partial<UsageRecord> = {}): UsageRecord => ({
  day: DAY,
  caller: 'anonymous',
  groups: [succeeded],
  jobs: 1,
  attempts: 1,
  queuedMs: 20,
  startupMs: 0,
  runMs: 3_000,
  nanos: 492_000n,
  currency: 'USD',
  ...change,
})

const labelled = (key: string, value: string) => ({ dimension: `metadata.${key}`, value })

/** Writes each record with a change of a job of its own. */
async function add(store: Store, ...records: UsageRecord[]) {
  const jobs = records.map(() => aJob())
  await Promise.all(jobs.map((job) => store.insert(job)))
  const written = jobs.map((job, n) => store.update(after(job, spawned()), job.revision, { usage: records[n] }))
  expect(await Promise.all(written)).not.toContain(false)
}

/** The rows of a day, in order of their caller, value and currency. */
const rowsOf = async (store: Store, query: Partial<UsageQuery> = {}, day = DAY) => {
  const rows = await store.usageOn(day, { dimension: 'status', ...query })
  const keyOf = (row: (typeof rows)[number]) => JSON.stringify([row.caller, row.value, row.currency])
  return rows.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
}

const row = ({ groups, sample, ...record }: UsageRecord, group = groups[0]) => ({ ...group, ...record })

/** What every store promises of its daily sums. */
export const usageContract: readonly ContractCase<Store>[] = [
  [
    'adds an attempt to the sums of each of its groups',
    async (open) => {
      const store = await open()
      const groups = [succeeded, labelled('team', 'dubbing'), labelled('scene', '12')]
      const record = aRecord({ groups })
      await add(store, record, { ...record, jobs: 0, queuedMs: 0, startupMs: 7, runMs: 500, nanos: 1n })
      const sum = { ...record, jobs: 1, attempts: 2, queuedMs: 20, startupMs: 7, runMs: 3_500, nanos: 492_001n }
      for (const group of groups) {
        expect(await rowsOf(store, { dimension: group.dimension })).toEqual([row(sum, group)])
      }
      expect(await rowsOf(store, { dimension: 'metadata.other' })).toEqual([])
    },
  ],
  [
    'adds nothing with a change that is not made',
    async (open) => {
      const store = await open()
      const job = aJob()
      await store.insert(job)
      expect(await store.update(job, job.revision + 1, { usage: aRecord() })).toBe(false)
      expect(await store.update(aJob(), 1, { usage: aRecord() })).toBe(false)
      expect(await rowsOf(store)).toEqual([])
    },
  ],
  [
    'adds once when many writers race for one revision',
    async (open) => {
      const store = await open()
      const job = aJob()
      await store.insert(job)
      const rivals = Array.from({ length: 20 }, (_, n) => after(job, spawned(1, `fc-${n}`)))
      await Promise.all(rivals.map((rival) => store.update(rival, job.revision, { usage: aRecord() })))
      expect(await rowsOf(store)).toEqual([row(aRecord())])
    },
  ],
  [
    'keeps callers, days, values and currencies apart',
    async (open) => {
      const store = await open()
      const names = ['anonymous', 'a:b', 'a b', 'ü "quoted" \\ {x}', 'status']
      const records = [
        ...names.map((caller) => aRecord({ caller })),
        aRecord({ day: '2026-11-27' }),
        aRecord({ groups: [{ dimension: 'status', value: 'failed' }] }),
        aRecord({ currency: 'EUR' }),
        aRecord({ currency: '', nanos: 0n }),
      ]
      await add(store, ...records)
      for (const caller of names.slice(1)) expect(await rowsOf(store, { caller })).toEqual([row(aRecord({ caller }))])
      const own = await rowsOf(store, { caller: 'anonymous' })
      expect(own.map(({ value, currency }) => `${value} ${currency}`)).toEqual([
        'failed USD',
        'succeeded ',
        'succeeded EUR',
        'succeeded USD',
      ])
      expect(await rowsOf(store)).toHaveLength(records.length - 1)
      expect(await rowsOf(store, {}, '2026-11-27')).toEqual([row(aRecord({ day: '2026-11-27' }))])
      expect(await rowsOf(store, { caller: 'nobody' })).toEqual([])
    },
  ],
  [
    'adds costs exactly, also beyond what a number can hold',
    async (open) => {
      const store = await open()
      const nanos = 2n ** 53n
      await add(store, aRecord({ nanos }), aRecord({ nanos: 1n }), aRecord({ nanos: nanos + 2n }))
      expect((await rowsOf(store)).map((one) => one.nanos)).toEqual([2n ** 54n + 3n])
    },
  ],
  [
    'makes the change although a sum exceeds 64 bits',
    async (open) => {
      const store = await open()
      const nanos = 2n ** 63n - 1n
      await add(store, aRecord({ nanos }), aRecord({ nanos }))
      expect((await rowsOf(store)).map((one) => one.attempts)).toEqual([2])
    },
  ],
  [
    'keeps the sums of a job that is removed',
    async (open) => {
      const store = await open()
      const job = aJob()
      const changed = after(job, spawned())
      await store.insert(job)
      await store.update(changed, job.revision, { usage: aRecord() })
      expect(await store.remove(job.id, changed.revision)).toBe(true)
      expect(await rowsOf(store)).toEqual([row(aRecord())])
    },
  ],
  [
    'removes the sums of the days before the given one',
    async (open) => {
      const store = await open()
      const days = ['2025-12-31', '2026-11-25', DAY]
      await add(store, ...days.flatMap((day) => [aRecord({ day }), aRecord({ day, caller: 'other' })]))
      await store.removeUsage(DAY)
      await store.removeUsage(DAY)
      const left = await Promise.all(days.map((day) => rowsOf(store, {}, day)))
      expect(left.map((rows) => rows.length)).toEqual([0, 0, 2])
    },
  ],
  [
    'bounds the values of one metadata key of a caller and day, and counts the rest by outcome',
    async (open) => {
      const store = await open()
      const attempts = VALUES_PER_DIMENSION + 5
      const recordOf = (n: number) =>
        aRecord({ groups: [succeeded, labelled('take', String(n)), labelled('team', 'dubbing')] })
      for (let n = 0; n < attempts; n++) await add(store, recordOf(n))
      // A value that is known already still counts.
      await add(store, recordOf(0), { ...recordOf(attempts), caller: 'other' })
      const takes = await rowsOf(store, { dimension: 'metadata.take', caller: 'anonymous' })
      expect(takes.map(({ value }) => Number(value)).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: VALUES_PER_DIMENSION }, (_, n) => n),
      )
      expect(takes.find(({ value }) => value === '0')?.attempts).toBe(2)
      const sumOf = async (dimension: string) =>
        (await rowsOf(store, { dimension })).reduce((sum, one) => sum + one.attempts, 0)
      expect(await sumOf('status')).toBe(attempts + 2)
      expect(await sumOf('metadata.team')).toBe(attempts + 2)
      expect(await rowsOf(store, { dimension: 'metadata.take', caller: 'other' })).toHaveLength(1)
    },
  ],
  [
    'bounds the values of all metadata keys of a caller and day',
    async (open) => {
      const store = await open()
      const perRecord = 16
      const records = Array.from({ length: VALUES_PER_DAY / perRecord + 5 }, (_, n) =>
        aRecord({ groups: [succeeded, ...Array.from({ length: perRecord }, (_, i) => labelled(`${n}.${i}`, 'x'))] }),
      )
      await add(store, ...records)
      const dimensions = records.flatMap(({ groups }) => groups.map(({ dimension }) => dimension))
      const rows = await Promise.all([...new Set(dimensions)].map((dimension) => rowsOf(store, { dimension })))
      expect(rows.flat()).toHaveLength(VALUES_PER_DAY)
      expect((await rowsOf(store)).map((one) => one.attempts)).toEqual([records.length])
    },
  ],
  [
    'keeps samples of the last runs of each model, the newest first',
    async (open) => {
      const store = await open()
      const sampled = (version: 'v1' | 'v15', msPerSecond: number) => aRecord({ sample: { version, msPerSecond } })
      expect(await store.recentRuns('v15')).toEqual([])
      for (let n = 0; n < SAMPLES_KEPT + 3; n++) await add(store, sampled('v15', n))
      await add(store, sampled('v1', 9_999), aRecord())
      expect(await store.recentRuns('v15')).toEqual(
        Array.from({ length: SAMPLES_KEPT }, (_, n) => SAMPLES_KEPT + 2 - n),
      )
      expect(await store.recentRuns('v1')).toEqual([9_999])
    },
  ],
]
