import type { DeliveryResult } from '../jobs/webhooks/delivery.ts'
import type { Resolve } from '../net/resolver.ts'
import { createPoster, PostError } from '../net/post.ts'
import { checkUrlHost, type UrlRule } from '../net/url-rule.ts'
import type { WebhookMessage, WebhookSender } from '../jobs/ports/notifications.ts'
import { parseRetryAfter } from '../lib/timing.ts'
import { createHash, hkdfSync } from 'node:crypto'
import { ANONYMOUS_ID } from '../jobs/ports/access.ts'
import { bytesOfSecret, secretOf } from '../config/formats.ts'
import { createOnce } from '../lib/concurrency.ts'

export type HttpSenderOptions = {
  /** The operator's secrets, the newest first; all of them sign. */
  readonly secrets: readonly string[]
  readonly urlRule: UrlRule
  /** Time limit of one delivery attempt, up to the answer's status. */
  readonly timeoutMs: number
  /** Resolves hosts; by default with a resolver of its own. */
  readonly resolve?: Resolve
}

/** Sends by HTTP, to public addresses unless the rule allows others, signed by the library of the specification. */
export function createHttpSender({ secrets, urlRule, timeoutMs, resolve }: HttpSenderOptions): WebhookSender {
  const poster = createPoster(urlRule, resolve)
  const secretsOf = (caller: string) => callerSecrets(secrets, caller)
  // Loaded with the first webhook: a server that sends none does not need it.
  const library = createOnce(() => import('standardwebhooks'))

  const sign = async ({ id, at, body }: WebhookMessage, keys: readonly string[]): Promise<string[]> => {
    const { Webhook } = await library.get()
    return keys.map((key) => new Webhook(key).sign(id, new Date(at), body))
  }

  return {
    secretsOf,
    check(url) {
      // A message follows soon, and loading the libraries takes longer than sending it.
      library.get().catch(() => undefined)
      poster.prepare()
      return checkUrlHost(url, urlRule)
    },
    async send(message, signal): Promise<DeliveryResult> {
      const keys = secretsOf(message.caller)
      if (keys.length === 0) return { error: 'the server has no WEBHOOK_SECRET to sign with' }
      try {
        const headers = headersOf(message, await sign(message, keys))
        const { status, retryAfter } = await poster.post(message.url, {
          headers,
          body: message.body,
          timeoutMs,
          signal,
          caller: message.caller,
        })
        const retryAfterMs = retryAfter === undefined ? undefined : parseRetryAfter(retryAfter, Date.now())
        return { status, ...(retryAfterMs !== undefined && { retryAfterMs }) }
      } catch (error) {
        if (error instanceof PostError) return { error: error.message }
        throw error
      }
    },
    close: () => poster.close(),
  }
}

const headersOf = (
  { id, at, traceparent, tracestate }: WebhookMessage,
  signatures: readonly string[],
): Record<string, string> => ({
  'content-type': 'application/json',
  'user-agent': 'musetalk-orchestrator',
  'webhook-id': id,
  'webhook-timestamp': String(Math.floor(at / 1000)),
  ...(traceparent !== undefined && { traceparent }),
  ...(tracestate !== undefined && { tracestate }),
  'webhook-signature': signatures.join(' '),
})

const BYTES = 32
/** Longest info that Node derives a key from, in bytes: the name of an OIDC caller can be a little longer. */
const INFO_MAX_BYTES = 1024

/**
 * The secrets that sign a caller's messages, derived from the operator's. Each caller has its own (HKDF-SHA256 of
 * RFC 5869, no salt, the caller as info, by its SHA-256 if it is too long), so that none can sign in another's name. The
 * anonymous caller of an open server has the operator's secrets themselves.
 */
function callerSecrets(secrets: readonly string[], caller: string): readonly string[] {
  if (caller === ANONYMOUS_ID) return secrets
  const isLong = Buffer.byteLength(caller) > INFO_MAX_BYTES
  const info = isLong ? createHash('sha256').update(caller).digest() : caller
  return secrets.map((secret) => secretOf(new Uint8Array(hkdfSync('sha256', bytesOfSecret(secret), '', info, BYTES))))
}
