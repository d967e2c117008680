import { hkdfSync } from 'node:crypto'
import { ANONYMOUS_ID } from '../jobs/caller.ts'
import { bytesOfSecret, secretOf } from '../webhook-secrets.ts'

const BYTES = 32

/**
 * What a caller's messages are signed with, given the operator's secrets. Each caller has its own (HKDF-SHA256 of
 * RFC 5869, no salt, the caller as info), so that none can sign in another's name. Callers without a name, as on an
 * open server, are the operator's own: theirs are the secrets themselves.
 */
export function callerSecrets(secrets: readonly string[], caller: string): readonly string[] {
  if (caller === ANONYMOUS_ID) return secrets
  return secrets.map((secret) => secretOf(new Uint8Array(hkdfSync('sha256', bytesOfSecret(secret), '', caller, BYTES))))
}
