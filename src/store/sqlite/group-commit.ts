import type { DatabaseSync } from 'node:sqlite'

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
