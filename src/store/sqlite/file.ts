import { mkdirSync, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { BootError, problem } from '../../problems.ts'
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

/** Rejects once the file is gone, or another: SQLite would go on with what it holds in memory, and keep nothing. */
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

/** Runs writes in shared transactions. */
export type GroupCommit = {
  /**
   * Runs `work` in the next transaction and resolves with its value once that is on disk. It may run twice: the second
   * time after all that the first did was undone. A `work` that throws is undone alone. `committed` is called with the
   * value in the very moment, in order of the writes and before anybody can read.
   */
  write<T>(work: () => T, committed?: (value: T) => void): Promise<T>
  /** Resolves when nothing is pending any more. */
  settled(): Promise<void>
}

type Pending = {
  readonly run: () => unknown
  readonly committed: ((value: never) => void) | undefined
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

/**
 * The writes of a turn of the event loop, and of the one after it, share one transaction and its fsync, which is what
 * a commit costs; each is acknowledged only after it. The second turn is for those who were let go by the commit
 * before: without it they come in two halves that keep missing each other. A writer alone pays two turns of the loop.
 */
export function createGroupCommit(db: DatabaseSync, begun: () => void = () => undefined): GroupCommit {
  const [begin, commit, rollback] = [db.prepare('BEGIN IMMEDIATE'), db.prepare('COMMIT'), db.prepare('ROLLBACK')]
  let batch: Pending[] = []

  /** A full disk ends a transaction by itself, and a disk that is gone may refuse even this; the next one will tell. */
  const rollBack = () => {
    try {
      if (db.isTransaction) rollback.run()
    } catch {
      // What was in it is told of the first error.
    }
  }

  /** Does these writes in one transaction, and settles them. Throws, with nothing done, where one of them fails. */
  const transact = (work: readonly Pending[]) => {
    begun()
    begin.run()
    const values = work.map(({ run }) => run() as never)
    commit.run()
    for (const [n, { committed, resolve }] of work.entries()) {
      const value = values[n] as never
      committed?.(value)
      resolve(value)
    }
  }

  const attempt = (work: readonly Pending[]): { error: unknown } | undefined => {
    try {
      transact(work)
      return undefined
    } catch (error) {
      rollBack()
      return { error }
    }
  }

  const flush = () => {
    const work = batch
    batch = []
    if (!attempt(work)) return
    // One is at fault, or the disk has no room for all: each for itself, so that nobody fails for another's sake.
    for (const pending of work) {
      const failed = attempt([pending])
      if (failed) pending.reject(failed.error)
    }
  }

  return {
    write: <T>(run: () => T, committed?: (value: T) => void) =>
      new Promise<T>((resolve, reject) => {
        if (batch.push({ run, committed, resolve, reject }) === 1) setImmediate(setImmediate, flush)
      }),
    async settled() {
      while (batch.length > 0) await new Promise(setImmediate)
    },
  }
}
