const MIN_BYTES = 24
const MAX_BYTES = 64
const PREFIX = 'whsec_'

/**
 * The secrets of `WEBHOOK_SECRET`, the newest first: separated by commas, each in the form of the Standard Webhooks
 * specification, `whsec_` and the base64 of 24 to 64 bytes. Throws what is wrong, without showing any of them.
 */
export function parseWebhookSecrets(text: string): string[] {
  const secrets = text.split(',').map((secret) => secret.trim())
  secrets.forEach((secret, index) => {
    const fault = faultOf(secret)
    if (fault) throw new Error(`${secrets.length > 1 ? `secret ${index + 1} of ${secrets.length} ` : ''}${fault}`)
  })
  return secrets
}

/** The bytes of a secret in this form. */
export const bytesOfSecret = (secret: string): Buffer => Buffer.from(secret.slice(PREFIX.length), 'base64')

/** Bytes as a secret in this form. */
export const secretOf = (bytes: Uint8Array): string => `${PREFIX}${Buffer.from(bytes).toString('base64')}`

function faultOf(secret: string): string | undefined {
  const how = `make one with: echo ${PREFIX}$(openssl rand -base64 32)`
  if (!secret.startsWith(PREFIX)) return `must begin with ${PREFIX}; ${how}`
  const bytes = bytesOfSecret(secret)
  // Node's decoder skips what is no base64.
  if (secretOf(bytes) !== secret) return `must be base64 with its padding after ${PREFIX}; ${how}`
  if (bytes.length < MIN_BYTES || bytes.length > MAX_BYTES) {
    return `must hold ${MIN_BYTES} to ${MAX_BYTES} bytes, and holds ${bytes.length}; ${how}`
  }
  return undefined
}
