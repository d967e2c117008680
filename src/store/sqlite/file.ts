import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { BootError } from '../../problems.ts'
import { messageOf } from '../../lib/errors.ts'

/** How long a second process waits for the first to let go of the file, in ms: long enough for a rolling restart. */
const LOCK_WAIT_MS = 5_000
const LOCK_RETRY_MS = 50

/** SQLite's result codes that are told in words (https://sqlite.org/rescode.html). */
const SQLITE = { BUSY: 5, READONLY: 8, IOERR: 10, CORRUPT: 11, FULL: 13, CANTOPEN: 14, NOTADB: 26 } as const

/**
 * One step per schema version; a file of version n takes the steps from n on. Steps are never changed once released.
 * A job is its document; the columns beside it are what is searched by.
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
  // Beside the job and not in it: a try must not rewrite the job, nor its revision change.
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
      if (codeOf(error) !== SQLITE.BUSY || performance.now() > giveUpAt) throw describeFault(path, error)
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

/** The result code of an error of SQLite, without its extension. */
export function codeOf(error: unknown): number | undefined {
  const code: unknown = error instanceof Error && 'errcode' in error ? error.errcode : undefined
  return typeof code === 'number' ? code & 0xff : undefined
}

/** An error of the file in words for an operator. */
export function describeFault(path: string, error: unknown): BootError {
  const words = messageOf(error)
  return new BootError(`JOB_STORE: ${path}: ${REMEDIES[codeOf(error) ?? 0] ?? words}`, { cause: error })
}

const REMEDIES: Readonly<Record<number, string>> = {
  [SQLITE.BUSY]: 'another process has the file open; end it, or give this one a file of its own',
  [SQLITE.READONLY]: 'the file cannot be written to; check its owner and permissions',
  [SQLITE.IOERR]: 'the file cannot be read or written; check the disk and the permissions',
  [SQLITE.CORRUPT]: 'the file is damaged; restore a copy, or move it away to begin anew',
  [SQLITE.FULL]: 'the disk is full',
  [SQLITE.CANTOPEN]: 'the file cannot be opened; check that its folder exists and is writable',
  [SQLITE.NOTADB]: 'the file is no SQLite database, or damaged; move it away, or name another',
}
