import type { DatabaseSync } from 'node:sqlite'
import { newSecret, type SecretKeeper } from '../../jobs/ports/store.ts'
import { describeFault } from './file.ts'

/** Secrets in the file of the jobs, whose schema is up to date. Asked for at boot: a fault of the file is a `BootError`. */
export function createSqliteSecrets(db: DatabaseSync, path: string): SecretKeeper {
  const keep = db.prepare('INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING')
  const find = db.prepare('SELECT value FROM secrets WHERE name = ?')
  const valueOf = (name: string) => find.get(name)?.value
  return {
    secret: async (name) => {
      try {
        // A full disk keeps no server from starting that has its secret already.
        if (valueOf(name) === undefined) keep.run(name, newSecret())
        return await Promise.resolve(String(valueOf(name)))
      } catch (error) {
        throw describeFault(path, error)
      }
    },
  }
}
