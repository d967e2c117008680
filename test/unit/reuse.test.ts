import { expect, onTestFinished, test } from 'vitest'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import { startCore } from '../helpers/core.ts'
import { aSuccess } from '../helpers/fake-backend.ts'
import { aJob } from '../helpers/jobs.ts'
import { until } from '../helpers/until.ts'
import { testContract } from '../contract/contract.ts'
import { reuseContract } from '../contract/reuse.ts'

testContract('reuse with jobs in memory', reuseContract, createMemoryStore)
testContract('reuse with jobs in SQLite', reuseContract, () => createSqliteStore({ path: ':memory:' }))

test('identical jobs that come together share their reads: they do not grow with the square of their number', async () => {
  const store = createMemoryStore()
  let reads = 0
  const list: typeof store.list = (query) => (reads++, store.list(query))
  const media = { read: () => Promise.resolve({ contents: { face: 'a', audio: 'b' } }), close: () => Promise.resolve() }
  const core = await startCore({ store: { ...store, list }, media })
  onTestFinished(core.close)
  await Promise.all(Array.from({ length: 500 }, () => core.submit({ reuse: true })))
  await until(() => core.backend.requests.length > 0, 'a run')
  // Each has looked for an output before it was stored.
  expect(reads).toBeLessThan(500 + 100)
  expect(core.backend.requests).toHaveLength(1)
})

type Role = 'output' | 'run' | 'wait'

/** A store that holds the results of some reads: by what they look for, the how many-th one. */
function holdReads(store: Store, reads: readonly (readonly [Role, number])[]) {
  const counts = { output: 0, run: 0, wait: 0 }
  const holds = reads.map(([role, nth]) => ({
    ...{ role, nth, reached: Promise.withResolvers<undefined>(), held: Promise.withResolvers<undefined>() },
  }))
  const list: Store['list'] = async (query) => {
    const role = /^content\.(output|run|wait)=/.exec(query.labels?.[0] ?? '')?.[1] as Role | undefined
    const nth = role && ++counts[role]
    const found = await store.list(query)
    const hold = holds.find((known) => known.role === role && known.nth === nth)
    hold?.reached.resolve(undefined)
    await hold?.held.promise
    return found
  }
  return { store: { ...store, list }, holds }
}

const media = { read: () => Promise.resolve({ contents: { face: 'a', audio: 'b' } }), close: () => Promise.resolve() }

async function startOn(store: Store) {
  const core = await startCore({ store, media })
  onTestFinished(core.close)
  return core
}

test('a job whose identical one was released and has succeeded while it was decided about is not run', async () => {
  const shared = createMemoryStore()
  const slow = holdReads(shared, [
    ['run', 1],
    ['output', 2],
  ])
  const other = holdReads(shared, [['run', 3]])
  const [a, b] = [await startOn(slow.store), await startOn(other.store)]
  a.clock.now = b.clock.now + 5
  const [noRun, noOutput] = slow.holds as [(typeof slow.holds)[0], (typeof slow.holds)[0]]
  const [afterEnd = noRun] = other.holds

  const first = a.submit({ reuse: true })
  await noRun.reached.promise
  const { id: run } = await b.submit({ reuse: true })
  await until(() => b.backend.waiting.has(`fc-${run}-1`), 'a run')
  noRun.held.resolve(undefined)
  await noOutput.reached.promise
  b.backend.end(`fc-${run}-1`, aSuccess)
  await afterEnd.reached.promise
  noOutput.held.resolve(undefined)
  const { id } = await first
  expect(await shared.get(id)).toMatchObject({ status: 'submitted', isWaiting: true })
  afterEnd.held.resolve(undefined)
  expect(await b.untilStatus(id, 'succeeded')).toMatchObject({ reusedFrom: run })
  expect([a.backend.requests.length, b.backend.requests.length]).toEqual([0, 1])
})

test('an entry of a job that waits for an identical one starts no run', async () => {
  const core = await startCore({ running: false })
  onTestFinished(core.close)
  const job = { ...aJob(), contentKey: 'c', reuse: true as const, isWaiting: true as const }
  await core.store.insert(job)
  await core.run({ id: job.id, attempt: 1 }, new AbortController().signal)
  expect(core.backend.requests).toEqual([])
  expect(await core.store.get(job.id)).toEqual(job)
})
