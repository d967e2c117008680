import { createHash, hkdfSync } from 'node:crypto'
import { ANONYMOUS_ID } from '../jobs/caller.ts'
import { bytesOfSecret, secretOf } from '../config/webhook-secrets.ts'

const BYTES = 32
/** Longest info that Node derives from, in bytes: the name of a caller of an issuer can be a little longer. */
const INFO_MAX_BYTES = 1024

/**
 * What a caller's messages are signed with, given the operator's secrets. Each caller has its own (HKDF-SHA256 of
 * RFC 5869, no salt, the caller as info, by its SHA-256 where it is too long), so that none can sign in another's name. Callers without a name, as on an
 * open server, are the operator's own: theirs are the secrets themselves.
 */
export function callerSecrets(secrets: readonly string[], caller: string): readonly string[] {
  if (caller === ANONYMOUS_ID) return secrets
  const isLong = Buffer.byteLength(caller) > INFO_MAX_BYTES
  const info = isLong ? createHash('sha256').update(caller).digest() : caller
  return secrets.map((secret) => secretOf(new Uint8Array(hkdfSync('sha256', bytesOfSecret(secret), '', info, BYTES))))
}
