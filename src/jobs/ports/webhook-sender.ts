import type { DeliveryResult } from '../webhooks/delivery.ts'

/** One delivery attempt as it is sent. `at`: its time, in epoch ms. */
export type WebhookMessage = {
  readonly id: string
  readonly at: number
  readonly url: string
  readonly body: string
  /** Whose secrets sign it. */
  readonly caller: string
  /** The header of this name (W3C Trace Context). */
  readonly traceparent?: string
}

/** Signs and sends by the Standard Webhooks specification (https://www.standardwebhooks.com). */
export type WebhookSender = {
  /**
   * What the messages of a caller are signed with, the newest first, each `whsec_` and base64; empty where the
   * operator has set up no secret, so that nothing can be sent.
   */
  secretsOf(caller: string): readonly string[]
  /** Why this server does not send to a URL, judged by the URL alone, as a message that follows a field's name. */
  check(url: string): string | undefined
  /** Makes one attempt. An error is a result; rejects only with the signal's reason, when `signal` aborts. */
  send(message: WebhookMessage, signal: AbortSignal): Promise<DeliveryResult>
  /** Aborts what is being sent. Idempotent. */
  close(): Promise<void>
}
