import { mkdirSync, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { BootError, problem } from '../../problems.ts'
import { messageOf } from '../../lib/errors.ts'

/** How long a second process waits until the first has closed the file, in ms: long enough for a rolling restart. */
const LOCK_WAIT_MS = 5_000
const LOCK_RETRY_MS = 50

/** SQLite's result codes for which `REMEDIES` has a text (https://sqlite.org/rescode.html). */
const SQLITE = { BUSY: 5, READONLY: 8, IOERR: 10, CORRUPT: 11, FULL: 13, CANTOPEN: 14, NOTADB: 26 } as const

/**
 * One step per schema version; a file of version n takes the steps from n on. A released step never changes.
 * The document of a job is the whole job; the other columns are there to search by. `stop_owed`: it has a pending stop.
 */
export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE jobs (
     id TEXT PRIMARY KEY NOT NULL,
     revision INTEGER NOT NULL,
     caller TEXT NOT NULL,
     status TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     deadline_at INTEGER NOT NULL,
     finished_at INTEGER,
     stop_owed INTEGER NOT NULL,
     idempotency_key TEXT,
     document TEXT NOT NULL
   ) STRICT;
   CREATE INDEX jobs_by_status ON jobs (status, created_at, id);
   CREATE INDEX jobs_by_caller ON jobs (caller, status, created_at, id);
   CREATE INDEX jobs_by_deadline ON jobs (deadline_at, id) WHERE finished_at IS NULL;
   CREATE INDEX jobs_by_end ON jobs (finished_at, id) WHERE finished_at IS NOT NULL AND stop_owed = 0;
   CREATE INDEX jobs_stopping ON jobs (created_at, id) WHERE stop_owed = 1;
   CREATE UNIQUE INDEX jobs_by_key ON jobs (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;`,
  'CREATE TABLE secrets (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT;',
  // Not in the job's document: a delivery attempt must neither rewrite the job nor change its revision.
  `CREATE TABLE deliveries (
     job_id TEXT NOT NULL,
     number INTEGER NOT NULL,
     revision INTEGER NOT NULL,
     due_at INTEGER,
     host TEXT NOT NULL,
     document TEXT NOT NULL,
     body TEXT NOT NULL,
     PRIMARY KEY (job_id, number)
   ) STRICT;
   CREATE INDEX deliveries_due ON deliveries (due_at, job_id, number, host) WHERE due_at IS NOT NULL;
   CREATE INDEX deliveries_pending ON deliveries (job_id) WHERE due_at IS NOT NULL;`,
  // Daily sums over attempts, which outlive their jobs, and how long the last runs took.
  `CREATE TABLE usage (
     day TEXT NOT NULL,
     caller TEXT NOT NULL,
     dimension TEXT NOT NULL,
     value TEXT NOT NULL,
     currency TEXT NOT NULL,
     jobs INTEGER NOT NULL,
     attempts INTEGER NOT NULL,
     queued_ms INTEGER NOT NULL,
     startup_ms INTEGER NOT NULL,
     run_ms INTEGER NOT NULL,
     nanos INTEGER NOT NULL,
     PRIMARY KEY (day, caller, dimension, value, currency)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE recent_runs (
     version TEXT NOT NULL,
     number INTEGER NOT NULL,
     ms_per_second INTEGER NOT NULL,
     PRIMARY KEY (version, number)
   ) STRICT, WITHOUT ROWID;`,
  // What lists are filtered by, as \`labelsOf\` has it; \`*\` stands for all callers. Damaged records have none.
  `CREATE TABLE labels (
     label TEXT NOT NULL,
     caller TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     id TEXT NOT NULL,
     PRIMARY KEY (caller, label, created_at, id)
   ) STRICT, WITHOUT ROWID;
   CREATE TEMP TABLE labeled AS
     WITH known AS (
       SELECT id, caller, created_at, status, CASE WHEN json_valid(document) THEN document ELSE '{}' END AS job FROM jobs
     )
     SELECT id, caller, created_at, 'version=' || (job ->> 'version') AS label FROM known
     UNION ALL
     SELECT id, caller, created_at, 'error_code=' || (job ->> 'errorCode') FROM known WHERE status = 'failed'
     UNION ALL
     SELECT known.id, caller, created_at, 'metadata.' || replace(replace(key, '%', '%25'), '=', '%3D') || '=' || atom
       FROM known, json_each(job, '$.metadata');
   INSERT INTO labels SELECT label, caller, created_at, id FROM labeled WHERE label IS NOT NULL;
   INSERT INTO labels SELECT label, '*', created_at, id FROM labeled WHERE label IS NOT NULL;
   DROP TABLE labeled;`,
  'CREATE TABLE flags (name TEXT PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID;',
  // `results`: what became of each job that was asked for. The document has the counts.
  `CREATE TABLE batches (
     id TEXT PRIMARY KEY NOT NULL,
     caller TEXT NOT NULL,
     created_at INTEGER NOT NULL,
     idempotency_key TEXT,
     document TEXT NOT NULL,
     results TEXT NOT NULL
   ) STRICT;
   CREATE INDEX batches_by_time ON batches (created_at, id);
   CREATE INDEX batches_by_caller ON batches (caller, created_at, id);
   CREATE UNIQUE INDEX batches_by_key ON batches (caller, idempotency_key) WHERE idempotency_key IS NOT NULL;`,
]

/**
 * Opens a file for this process alone, creates it where there is none and brings its schema up to date. Rejects with a
 * `BootError` that says what is wrong with the file and what to do.
 */
export async function openSqliteFile(path: string, { lockWaitMs = LOCK_WAIT_MS } = {}): Promise<DatabaseSync> {
  const giveUpAt = performance.now() + lockWaitMs
  for (;;) {
    try {
      return openOnce(path)
    } catch (error) {
      if (sqliteCodeOf(error) !== SQLITE.BUSY || performance.now() > giveUpAt) throw bootErrorOf(path, error)
    }
    await sleep(LOCK_RETRY_MS)
  }
}

function openOnce(path: string): DatabaseSync {
  if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true })
  const db = new DatabaseSync(path, { timeout: 0 })
  try {
    // Exclusive before the first access: no shared memory file, and the lock is held as long as the file is open.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    migrate(db)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

function migrate(db: DatabaseSync) {
  db.exec('BEGIN IMMEDIATE')
  const version = Number(db.prepare('PRAGMA user_version').get()?.user_version)
  if (version > MIGRATIONS.length) {
    throw new BootError(`it was written by a later release (schema ${version}, known up to ${MIGRATIONS.length})`)
  }
  for (const step of MIGRATIONS.slice(version)) db.exec(step)
  db.exec(`PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`)
}

/**
 * Returns a check that rejects once the file was removed or replaced: SQLite would go on in memory, and the jobs would be
 * lost.
 */
export function watchFile(path: string): () => Promise<void> {
  const { ino } = statSync(path)
  return async () => {
    const now = await stat(path).catch((cause: unknown) => Promise.reject(problem('store_unavailable', { cause })))
    if (now.ino !== ino || now.size === 0) {
      throw problem('store_unavailable', { cause: new Error(`${path} is not the file that was opened`) })
    }
  }
}

/** The result code of an error of SQLite, without its extension. */
export function sqliteCodeOf(error: unknown): number | undefined {
  const code: unknown = error instanceof Error && 'errcode' in error ? error.errcode : undefined
  return typeof code === 'number' ? code & 0xff : undefined
}

/** Says in an operator's words what is wrong with the file, and what to do. */
export function bootErrorOf(path: string, error: unknown): BootError {
  const text = REMEDIES[sqliteCodeOf(error) ?? 0] ?? messageOf(error)
  return new BootError(`JOB_STORE: ${path}: ${text}`, { cause: error })
}

const REMEDIES: Readonly<Record<number, string>> = {
  [SQLITE.BUSY]: 'another process has the file open; stop it, or give this one a file of its own',
  [SQLITE.READONLY]: 'the file cannot be written to; check its owner and permissions',
  [SQLITE.IOERR]: 'the file cannot be read or written; check the disk and the permissions',
  [SQLITE.CORRUPT]: 'the file is damaged; restore a copy, or move it away to start with an empty store',
  [SQLITE.FULL]: 'the disk is full',
  [SQLITE.CANTOPEN]: 'the file cannot be opened; check that its folder exists and is writable',
  [SQLITE.NOTADB]: 'the file is not a SQLite database, or is damaged; move it away, or name another',
}

/** Runs writes in shared transactions. */
type GroupCommit = {
  /**
   * Runs `work` in the next transaction and resolves with its value once that is on disk. `work` may run twice, the
   * second time after the first was rolled back. If it throws, only its own changes are rolled back. `onCommit` is called
   * with the value right after the commit, in order of the writes and before anything is read.
   */
  write<T>(work: () => T, onCommit?: (value: T) => void): Promise<T>
  /** Resolves when no write is pending. */
  settled(): Promise<void>
}

type Pending = {
  readonly run: () => unknown
  readonly onCommit: ((value: never) => void) | undefined
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

/**
 * The writes of two turns of the event loop share one transaction and its fsync, which is what a commit costs; each is
 * acknowledged only after it. The second turn is for the callers that the previous commit has answered: without it they
 * split into two halves, each with a commit of its own. A single writer waits for two turns of the loop.
 * `onBegin` is called before each transaction.
 */
export function createGroupCommit(db: DatabaseSync, onBegin: () => void = () => undefined): GroupCommit {
  const [begin, commit, rollback] = [db.prepare('BEGIN IMMEDIATE'), db.prepare('COMMIT'), db.prepare('ROLLBACK')]
  let batch: Pending[] = []

  /** On a full disk SQLite rolls back by itself; on a broken one even this fails. The caller has the first error already. */
  const rollBack = () => {
    try {
      if (db.isTransaction) rollback.run()
    } catch {
      // The next transaction fails likewise.
    }
  }

  /** Runs writes in one transaction and resolves them. Throws if one of them fails: then none is resolved. */
  const commitAll = (work: readonly Pending[]) => {
    onBegin()
    begin.run()
    const values = work.map(({ run }) => run() as never)
    commit.run()
    for (const [n, { onCommit, resolve }] of work.entries()) {
      const value = values[n] as never
      onCommit?.(value)
      resolve(value)
    }
  }

  const tryCommit = (work: readonly Pending[]): { error: unknown } | undefined => {
    try {
      commitAll(work)
      return undefined
    } catch (error) {
      rollBack()
      return { error }
    }
  }

  const flush = () => {
    const work = batch
    batch = []
    if (!tryCommit(work)) return
    // One of them fails, or the disk has no room for all: each alone, so that none fails because of another.
    for (const pending of work) {
      const failed = tryCommit([pending])
      if (failed) pending.reject(failed.error)
    }
  }

  return {
    write: <T>(run: () => T, onCommit?: (value: T) => void) =>
      new Promise<T>((resolve, reject) => {
        if (batch.push({ run, onCommit, resolve, reject }) === 1) setImmediate(setImmediate, flush)
      }),
    async settled() {
      while (batch.length > 0) await new Promise(setImmediate)
    },
  }
}
