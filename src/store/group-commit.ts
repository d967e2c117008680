import type { DatabaseSync } from 'node:sqlite'

/** Runs writes in shared transactions. */
export type GroupCommit = {
  /**
   * Runs `work` in the next transaction and resolves with its value once that is on disk. A `work` that throws is
   * undone alone; a transaction that cannot be committed rejects all that were in it. `committed` is called with the
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
 * The writes of one turn of the event loop share one transaction and its fsync, which is what a commit costs; each is
 * acknowledged only after it. One writer alone pays nothing for it but a turn of the loop.
 */
export function createGroupCommit(db: DatabaseSync): GroupCommit {
  const [begin, commit, rollback] = [db.prepare('BEGIN IMMEDIATE'), db.prepare('COMMIT'), db.prepare('ROLLBACK')]
  const [save, release, undo] = [db.prepare('SAVEPOINT one'), db.prepare('RELEASE one'), db.prepare('ROLLBACK TO one')]
  let batch: Pending[] = []

  /** Does one write; what it returns settles its promise once the transaction is committed. */
  const runOne = ({ run, committed, resolve, reject }: Pending): (() => void) => {
    save.run()
    try {
      const value = run() as never
      release.run()
      return () => {
        committed?.(value)
        resolve(value)
      }
    } catch (error) {
      // A full disk ends the whole transaction by itself; then there is nothing left to undo.
      if (!db.isTransaction) throw error
      undo.run()
      release.run()
      return () => reject(error)
    }
  }

  /** A disk that is gone may refuse even this; the next transaction will then tell. */
  const rollBack = () => {
    try {
      if (db.isTransaction) rollback.run()
    } catch {
      // The writes have been rejected already.
    }
  }

  const flush = () => {
    const work = batch
    batch = []
    try {
      begin.run()
      const settle = work.map(runOne)
      commit.run()
      for (const done of settle) done()
    } catch (error) {
      for (const { reject } of work) reject(error)
      rollBack()
    }
  }

  return {
    write: <T>(run: () => T, committed?: (value: T) => void) =>
      new Promise<T>((resolve, reject) => {
        if (batch.push({ run, committed, resolve, reject }) === 1) setImmediate(flush)
      }),
    async settled() {
      while (batch.length > 0) await new Promise(setImmediate)
    },
  }
}
