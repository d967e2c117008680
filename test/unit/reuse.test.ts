import { expect, onTestFinished, test } from 'vitest'
import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { startCore } from '../helpers/core.ts'
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
