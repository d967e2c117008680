import { createSqliteStore } from '../../src/store/sqlite/store.ts'
import { createMemoryStore } from '../../src/store/memory/store.ts'
import { testContract } from '../contract/contract.ts'
import { reuseContract } from '../contract/reuse.ts'

testContract('reuse with jobs in memory', reuseContract, createMemoryStore)
testContract('reuse with jobs in SQLite', reuseContract, () => createSqliteStore({ path: ':memory:' }))
