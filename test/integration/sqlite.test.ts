import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { createStoreOn, createSqliteStore } from '../../src/store/sqlite/store.ts'
import { prepare } from '../../src/store/sqlite/statements.ts'
import { MIGRATIONS, openSqliteFile } from '../../src/store/sqlite/file.ts'
import { recordingLog } from '../helpers/log.ts'
import { labelsOf } from '../../src/jobs/ports/store.ts'
import { aJob, after, failed, spawned } from '../helpers/jobs.ts'

const newPath = () => join(mkdtempSync(join(tmpdir(), 'sqlite-')), 'deep', 'jobs.db')

describe('the file of a SQLite store', () => {
  test('is created with its folder, and has all jobs when it is opened again', async () => {
    const path = newPath()
    const first = await createSqliteStore({ path })
    const job = aJob()
    await first.insert(job)
    await first.update(after(job, spawned()), job.revision)
    await first.insert(aJob())
    await first.close()
    await first.close()
    const second = await createSqliteStore({ path })
    expect(await second.get(job.id)).toEqual(after(job, spawned()))
    expect(await second.countSubmitted()).toBe(1)
    await second.close()
  })

  test('has a write on disk when it is acknowledged; writes of the same moment share a commit', async () => {
    const path = newPath()
    const db = await openSqliteFile(path)
    const store = createStoreOn(db)
    expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 })
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
    const commits = () => readFileSync(`${path}-wal`).length
    await store.insert(aJob())
    const before = commits()
    await Promise.all(Array.from({ length: 30 }, () => store.insert(aJob())))
    const shared = commits() - before
    for (let n = 0; n < 30; n++) await store.insert(aJob())
    // Thirty commits write the same pages again and again; one commit writes each once.
    expect(shared).toBeLessThan((commits() - before - shared) / 2)
    await store.close()
  })

  test('is locked for a second process, which waits, then is refused', async () => {
    const path = newPath()
    const first = await createSqliteStore({ path })
    await expect(createSqliteStore({ path, lockWaitMs: 150 })).rejects.toThrow(/JOB_STORE.*another process/)
    const waiting = createSqliteStore({ path, lockWaitMs: 5_000 })
    await first.close()
    await (await waiting).close()
  })

  test.each([
    [
      'no database',
      'this is not a database, not at all, but it is long enough to be read as a header of one ..........',
    ],
    ['a damaged header', `SQLite format 3\0${'x'.repeat(4_000)}`],
  ])('that has %s is refused with an explanation', async (_what, content) => {
    const path = join(mkdtempSync(join(tmpdir(), 'sqlite-')), 'jobs.db')
    writeFileSync(path, content)
    await expect(createSqliteStore({ path })).rejects.toThrow(/JOB_STORE: .*(damaged|not a SQLite database)/)
  })

  test('that is damaged in its middle is refused, not taken for empty', async () => {
    const path = newPath()
    const store = await createSqliteStore({ path })
    for (let n = 0; n < 50; n++) await store.insert(aJob())
    await store.close()
    const bytes = readFileSync(path)
    bytes.fill(0xaa, 4096)
    writeFileSync(path, bytes)
    await expect(createSqliteStore({ path })).rejects.toThrow(/JOB_STORE: .*damaged/)
  })

  test('that cannot be written is refused with an explanation', async () => {
    const path = newPath()
    await (await createSqliteStore({ path })).close()
    chmodSync(path, 0o444)
    const open = `import { createSqliteStore } from './src/store/sqlite/store.ts'
      await createSqliteStore({ path: process.argv[1] }).catch((error) => console.log(error.message))`
    // Root may write to any file, so root opens it as another user.
    const uid = process.getuid?.() === 0 ? { uid: 65_534 } : {}
    chmodSync(join(path, '..', '..'), 0o755)
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', open, path], {
      ...uid,
      encoding: 'utf8',
    })
    expect(output).toMatch(/JOB_STORE: .*(cannot be written to|cannot be opened|read or written)/)
  })

  test('that a later release wrote is refused', async () => {
    const path = newPath()
    await (await createSqliteStore({ path })).close()
    const db = new DatabaseSync(path)
    db.exec(`PRAGMA user_version = ${MIGRATIONS.length + 1}`)
    db.close()
    await expect(createSqliteStore({ path })).rejects.toThrow(/later release/)
  })

  test.each(MIGRATIONS.map((_step, version) => version))('of schema version %i is migrated', async (version) => {
    const path = join(mkdtempSync(join(tmpdir(), 'sqlite-')), 'jobs.db')
    const db = new DatabaseSync(path)
    for (const step of MIGRATIONS.slice(0, version)) db.exec(step)
    db.exec(`PRAGMA user_version = ${version}`)
    db.close()
    const store = await createSqliteStore({ path })
    const job = aJob()
    await store.insert(job)
    expect(await store.list({ limit: 1 })).toEqual([job])
    await store.close()
    const again = await openSqliteFile(path)
    expect(again.prepare('PRAGMA user_version').get()).toEqual({ user_version: MIGRATIONS.length })
    again.close()
  })
})

test('a file of a release without labels is migrated: its jobs are found by them, damaged ones stay in other lists', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'sqlite-')), 'jobs.db')
  const db = new DatabaseSync(path)
  const before = MIGRATIONS.findIndex((step) => step.includes('TABLE labels'))
  for (const step of MIGRATIONS.slice(0, before)) db.exec(step)
  db.exec(`PRAGMA user_version = ${before}`)
  const insert = db.prepare(
    `INSERT INTO jobs (id, revision, caller, status, created_at, deadline_at, finished_at, stop_owed, document)
     VALUES (?, ?, ?, ?, ?, 9, NULL, 0, ?)`,
  )
  const metadata = { 'a=b%': 'c=d', plain: 'x"y\n' }
  const labeled = aJob({ createdAt: 2, caller: 'key:alice', version: 'v1', metadata })
  const broken = after(aJob({ createdAt: 3 }), failed())
  const damaged = aJob({ createdAt: 4 })
  for (const { id, revision, caller, status, createdAt, ...job } of [labeled, broken, damaged]) {
    const document = JSON.stringify({ id, revision, caller, status, createdAt, ...job })
    insert.run(id, revision, caller, status, createdAt, id === damaged.id ? document.slice(1) : document)
  }
  db.close()
  const store = await createSqliteStore({ path })
  for (const job of [labeled, broken]) {
    for (const label of labelsOf(job)) expect(await store.list({ limit: 9, labels: [label] })).toEqual([job])
    const labels = labelsOf(job)
    expect(await store.list({ limit: 9, labels, caller: job.caller })).toEqual([job])
    expect(await store.list({ limit: 9, labels, caller: 'key:bob' })).toEqual([])
  }
  expect(await store.list({ limit: 9 })).toEqual([broken, labeled])
  await store.close()
})

test('a list of one caller’s jobs uses the index by caller', () => {
  const db = new DatabaseSync(':memory:')
  for (const step of MIGRATIONS) db.exec(step)
  const { listOf } = prepare(db)
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${listOf.sourceSQL}`).all(...Array<null>(6).fill(null))
  expect(String(plan[0]?.detail)).toContain('jobs_by_caller (caller=? AND status=?')
  db.close()
})

test('a damaged record makes a read of its job fail, and is left out of lists and logged once', async () => {
  const db = await openSqliteFile(':memory:')
  const { log, lines } = await recordingLog()
  const store = createStoreOn(db, log)
  const jobs = [aJob({ createdAt: 1 }), aJob({ createdAt: 2 }), aJob({ createdAt: 3 })]
  const [, damaged = aJob()] = jobs
  for (const job of jobs) await store.insert(job)
  db.exec(`UPDATE jobs SET document = substr(document, 2) WHERE id = '${damaged.id}'`)
  const reopened = createStoreOn(db, log)
  await expect(reopened.get(damaged.id)).rejects.toMatchObject({ code: 'store_unavailable' })
  for (let n = 0; n < 2; n++) expect(await reopened.list({ limit: 2 })).toEqual([jobs[2], jobs[0]])
  expect(await reopened.list({ limit: 2, caller: damaged.caller })).toEqual([jobs[2], jobs[0]])
  const pending: string[] = []
  for await (const job of reopened.pending('run', 9)) pending.push(job.id)
  expect(pending).toEqual([jobs[0]?.id, jobs[2]?.id])
  expect(lines).toMatchObject([{ level: 'error', event: 'job_unreadable', job_id: damaged.id }])
  await store.close()
})

test('a removed, replaced or emptied file makes the probe fail', async () => {
  for (const damage of [
    (path: string) => rmSync(path),
    (path: string) => {
      renameSync(path, `${path}.old`)
      writeFileSync(path, 'x')
    },
    (path: string) => truncateSync(path, 0),
  ]) {
    const path = newPath()
    const store = await createSqliteStore({ path })
    await store.insert(aJob())
    expect(await store.countSubmitted()).toBe(1)
    damage(path)
    await expect(store.countSubmitted()).rejects.toMatchObject({ code: 'store_unavailable' })
    await store.close().catch(() => undefined)
  }
})

test('a read returns the job as last written, also when it is no longer cached', async () => {
  const store = await createSqliteStore({ path: ':memory:' })
  const jobs = Array.from({ length: 21_000 }, (_, n) => aJob({ createdAt: n }))
  await Promise.all(jobs.map((job) => store.insert(job)))
  const [first = aJob(), second = aJob()] = jobs
  const changed = { ...first, revision: 2, status: 'canceled' as const, finishedAt: 1 }
  expect(await Promise.all([store.get(second.id), store.update(changed, 1), store.get(first.id)])).toEqual([
    second,
    true,
    first,
  ])
  expect(await store.get(first.id)).toEqual(changed)
  for (const job of jobs.slice(1)) await store.get(job.id)
  expect(await store.get(first.id)).toEqual(changed)
  expect(await store.update({ ...changed, revision: 3 }, 1)).toBe(false)
  expect(await store.remove(first.id, 2)).toBe(true)
  expect(await store.get(first.id)).toBeUndefined()
  await store.close()
})

test('a secret stays the same when the file is opened again, and differs from that of another name', async () => {
  const path = newPath()
  const first = await createSqliteStore({ path })
  const [links, other] = [await first.secret('links'), await first.secret('other')]
  expect(links).toMatch(/^[\w-]{43}$/)
  expect(other).not.toBe(links)
  await first.close()
  const second = await createSqliteStore({ path })
  expect(await second.secret('links')).toBe(links)
  await second.close()
})

describe('a full disk', () => {
  test('refuses writes as a whole, and reads still work', async () => {
    const db = await openSqliteFile(newPath())
    const store = createStoreOn(db)
    const job = aJob()
    await store.insert(job)
    const key = { idempotencyKey: 'key' }
    await store.insert(aJob(key))
    const { page_count: pages } = db.prepare('PRAGMA page_count').get() as { page_count: number }
    db.exec(`PRAGMA max_page_count = ${pages + 2}`)
    const big = () => aJob({ metadata: { notes: 'x'.repeat(3_000) } })
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => store.insert(big())))
    const refused = results.filter((result) => result.status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'store_unavailable', status: 503 })
    const kept = results.length - refused.length + 2
    expect(await store.list({ limit: 100 })).toHaveLength(kept)
    expect(await store.countSubmitted()).toBe(kept)
    const others = await Promise.allSettled([store.insert(big()), store.insert(aJob(key)), store.remove(job.id, 1)])
    expect(others).toMatchObject([{ status: 'rejected' }, { value: { kind: 'existing' } }, { value: true }])
    const other = aJob()
    await store.insert(other)
    const change = { ...other, revision: 2, metadata: { notes: 'x'.repeat(30_000) } }
    await expect(store.update(change, 1)).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await store.get(other.id)).toEqual(other)
    db.exec('PRAGMA max_page_count = 100000')
    await store.insert(big())
    expect(await store.countSubmitted()).toBe(kept + 1)
    await store.close()
  })

  test('a write that fails for another reason rejects with its own error, and only it is rolled back', async () => {
    const store = await createSqliteStore({ path: ':memory:' })
    const job = aJob()
    await store.insert(job)
    const results = await Promise.allSettled([store.insert(aJob()), store.insert(job), store.insert(aJob())])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(await store.list({ limit: 10 })).toHaveLength(3)
    await store.close()
  })
})

test('no statement of the SQLite store scans a table or sorts', async () => {
  const db = await openSqliteFile(':memory:')
  const Statement = db.prepare('SELECT 1').constructor
  const flat = (value: StatementSync | object): StatementSync[] =>
    value instanceof Statement ? [value as StatementSync] : Object.values(value).flatMap((one: object) => flat(one))
  const statements = flat(prepare(db)).map((statement) => statement.sourceSQL)
  expect(statements.length).toBeGreaterThan(12)
  for (const sql of statements.filter((one) => !one.startsWith('INSERT'))) {
    const parameters = Array<null>(sql.split('?').length - 1).fill(null)
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...parameters)
    const details = plan
      .map(({ detail }) => String(detail))
      .filter((detail) => !/CO-ROUTINE|\(subquery|^CORRELATED SCALAR SUBQUERY/.test(detail))
    for (const detail of details)
      expect(detail, sql).toMatch(
        /^SEARCH ((jobs|deliveries|batches) USING (COVERING )?INDEX|(usage|recent_runs|labels|flags) USING PRIMARY KEY)/,
      )
    // Every condition is part of the index: else the statement would walk over other jobs.
    const conditions = [...sql.matchAll(/(?<!SET[^W]*)\b(caller|status|label|idempotency_key) = /g)].map(
      ([, column]) => column,
    )
    for (const column of conditions) expect(details.join(), sql).toContain(`${column}=?`)
  }
  db.close()
})
