import type { DatabaseSync } from 'node:sqlite'

/** Runs writes in shared transactions. */
export type GroupCommit = {
  /**
   * Runs `work` in the next transaction and resolves with its value once that is on disk. It may run twice: the second
   * time after all that the first did was undone. A `work` that throws is undone alone; a transaction that cannot be committed rejects all that were in it. `committed` is called with the
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
  const [save, release, undo] = [db.prepare('SAVEPOINT one'), db.prepare('RELEASE one'), db.prepare('ROLLBACK TO one')]
  let batch: Pending[] = []

  /** Does one write; what it returns settles its promise once the transaction is committed. */
  const runOne = ({ run, committed, resolve }: Pending): (() => void) => {
    const value = run() as never
    return () => {
      committed?.(value)
      resolve(value)
    }
  }

  /** The same, such that a write that throws is undone alone. */
  const runApart = (pending: Pending): (() => void) => {
    save.run()
    try {
      const settle = runOne(pending)
      release.run()
      return settle
    } catch (error) {
      // A full disk ends the whole transaction by itself; then there is nothing left to undo.
      if (!db.isTransaction) throw error
      undo.run()
      release.run()
      return () => pending.reject(error)
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

  const transact = (runEach: () => (() => void)[]) => {
    begun()
    begin.run()
    const settle = runEach()
    commit.run()
    for (const done of settle) done()
  }

  const flush = () => {
    const work = batch
    batch = []
    try {
      transact(() => work.map(runOne))
      return
    } catch {
      rollBack()
    }
    // One of them is at fault, or the disk: guarding each costs a quarter more, so it is done only now.
    try {
      transact(() => work.map(runApart))
    } catch (error) {
      for (const { reject } of work) reject(error)
      rollBack()
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
