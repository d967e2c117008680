const MIN_BYTES = 24
const MAX_BYTES = 64
const PREFIX = 'whsec_'

/**
 * Parses `WEBHOOK_SECRET`: secrets separated by commas, the newest first, each in the format of the Standard Webhooks
 * specification, `whsec_` and the base64 of 24 to 64 bytes. Throws a message for the operator that shows none of them.
 */
export function parseWebhookSecrets(text: string): string[] {
  const secrets = text.split(',').map((secret) => secret.trim())
  secrets.forEach((secret, index) => {
    const error = checkSecret(secret)
    if (error) throw new Error(`${secrets.length > 1 ? `secret ${index + 1} of ${secrets.length} ` : ''}${error}`)
  })
  return secrets
}

/** Decodes a secret in this format. */
export const bytesOfSecret = (secret: string): Buffer => Buffer.from(secret.slice(PREFIX.length), 'base64')

/** Encodes bytes as a secret in this format. */
export const secretOf = (bytes: Uint8Array): string => `${PREFIX}${Buffer.from(bytes).toString('base64')}`

function checkSecret(secret: string): string | undefined {
  const how = `make one with: echo ${PREFIX}$(openssl rand -base64 32)`
  if (!secret.startsWith(PREFIX)) return `must begin with ${PREFIX}; ${how}`
  const bytes = bytesOfSecret(secret)
  // Node's decoder skips characters that are not base64.
  if (secretOf(bytes) !== secret) return `must be base64 with its padding after ${PREFIX}; ${how}`
  if (bytes.length < MIN_BYTES || bytes.length > MAX_BYTES) {
    return `must have ${MIN_BYTES} to ${MAX_BYTES} bytes, but has ${bytes.length}; ${how}`
  }
  return undefined
}
