import type { webhooks } from './schema.ts'

/** The body of a webhook; its `type` says which. */
export type WebhookEvent = webhooks[keyof webhooks]['post']['requestBody']['content']['application/json']

/** A `Headers` object, or an object by lower-case name, such as `request.headers` in Node. */
export type WebhookHeaders = Pick<Headers, 'get'> | Readonly<Record<string, string | readonly string[] | undefined>>

export type VerifyOptions = {
  /** Maximum difference between the time of the webhook and this clock, in seconds; 300 by default. */
  readonly toleranceSeconds?: number | undefined
}

/** The webhook was not sent by the server, was changed on its way, or is older than the tolerance. */
export class WebhookVerificationError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'WebhookVerificationError'
  }
}

const TOLERANCE_SECONDS = 300

/**
 * The event of a webhook once its signature is verified (Standard Webhooks). `body` must be as received, not parsed and
 * written again. `secret`: that of `GET /webhooks/secret`, or several, any of which may have signed. Rejects with a
 * `WebhookVerificationError`; answer 401 then.
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: WebhookHeaders,
  secret: string | readonly string[],
  { toleranceSeconds = TOLERANCE_SECONDS }: VerifyOptions = {},
): Promise<WebhookEvent> {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    headerOf(headers, name),
  )
  if (!id || !timestamp || !signatures) throw new WebhookVerificationError('a header of the signature is missing')
  const seconds = /^\d{1,12}$/.test(timestamp) ? Number(timestamp) : Number.NaN
  // Also refuses NaN.
  if (!(Math.abs(Date.now() / 1000 - seconds) <= toleranceSeconds))
    throw new WebhookVerificationError('the webhook is too old, or from the future')
  const text = typeof body === 'string' ? body : new TextDecoder().decode(body)
  const signed = new TextEncoder().encode(`${id}.${timestamp}.${text}`)
  const secrets = typeof secret === 'string' ? [secret] : secret
  for (const key of await Promise.all(secrets.map(importSecret))) {
    for (const signature of signaturesIn(signatures)) {
      if (await crypto.subtle.verify('HMAC', key, signature, signed)) return JSON.parse(text) as WebhookEvent
    }
  }
  throw new WebhookVerificationError('no signature is valid')
}

function headerOf(headers: WebhookHeaders, name: string): string | undefined {
  if (typeof headers.get === 'function') return headers.get(name) ?? undefined
  const value = (headers as Readonly<Record<string, unknown>>)[name]
  return typeof value === 'string' ? value : undefined
}

const importSecret = (secret: string) => {
  const bytes = bytesOf(secret.replace(/^whsec_/, ''))
  if (!bytes) throw new TypeError('the secret is not base64')
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
}

/** Those of version 1; others are ignored, as the specification says. */
const signaturesIn = (header: string) =>
  header.split(' ').flatMap((one) => {
    const bytes = one.startsWith('v1,') ? bytesOf(one.slice('v1,'.length)) : undefined
    return bytes ? [bytes] : []
  })

/** Undefined if the text is not base64. */
function bytesOf(base64: string) {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  } catch {
    return undefined
  }
}
