import { randomBytes } from 'node:crypto'
import type { SecretKeeper } from '../jobs/ports/store.ts'

/** 256 bits, as text. */
export const newSecret = (): string => randomBytes(32).toString('base64url')

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
