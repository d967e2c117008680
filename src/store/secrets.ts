import { randomBytes } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import type { SecretKeeper } from './port.ts'

/** 256 bits, as text. */
const newSecret = () => randomBytes(32).toString('base64url')

/** Secrets for as long as the process lives, like the jobs beside them. */
export function createMemorySecrets(): SecretKeeper {
  const secrets = new Map<string, string>()
  return {
    secret(name) {
      const secret = secrets.get(name) ?? newSecret()
      secrets.set(name, secret)
      return Promise.resolve(secret)
    },
  }
}

/** Secrets in the file of the jobs, whose schema is up to date. */
export function createSqliteSecrets(db: DatabaseSync): SecretKeeper {
  const keep = db.prepare('INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING')
  const find = db.prepare('SELECT value FROM secrets WHERE name = ?')
  return {
    secret: async (name) => {
      keep.run(name, newSecret())
      return Promise.resolve(String(find.get(name)?.value))
    },
  }
}
