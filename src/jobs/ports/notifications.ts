import type { Job } from '../job.ts'
import type { SucceededJob } from './files.ts'
import type { DeliveryResult } from '../webhooks/delivery.ts'

export type JobSubscriber = (job: Job) => void

/** Publishes changes of jobs to subscribers on every replica. Messages may be lost: the store has the current state. */
export type ChangeBus = {
  /** Publishes a job as just written. A subscriber that throws affects neither the publisher nor other subscribers. */
  publish(job: Job): void
  /** Subscribes to one job, or to all when `id` is undefined, until the returned function is called. */
  subscribe(id: string | undefined, listener: JobSubscriber): () => void
  /**
   * Calls `listener` when messages may have been lost and arrive again, until the returned function is called: what was
   * received before may be stale and must be read again.
   */
  onGap(listener: () => void): () => void
  /** Removes all subscribers. Idempotent. */
  close(): Promise<void>
}

/** One delivery attempt as it is sent. `at`: its time, in epoch ms. */
export type WebhookMessage = {
  readonly id: string
  readonly at: number
  readonly url: string
  readonly body: string
  /** Whose secrets sign it. */
  readonly caller: string
  /** The headers of these names (W3C Trace Context). */
  readonly traceparent?: string
  readonly tracestate?: string
}

/** Signs and sends by the Standard Webhooks specification (https://www.standardwebhooks.com). */
export type WebhookSender = {
  /**
   * The secrets that sign the messages of a caller, the newest first, each `whsec_` and base64; empty if the operator
   * has set no secret, so that nothing can be sent.
   */
  secretsOf(caller: string): readonly string[]
  /** The error in a URL to which this server may not send; judged by the URL alone. The text continues a field's name. */
  check(url: string): string | undefined
  /** Makes one attempt. An error is a result; rejects only when `signal` aborts, with its reason. */
  send(message: WebhookMessage, signal: AbortSignal): Promise<DeliveryResult>
  /** Aborts what is being sent. Idempotent. */
  close(): Promise<void>
}

/** Sends outputs, each by one PUT. */
export type OutputSender = {
  /** As `WebhookSender.check`, for the URL of a caller. */
  check(url: string): string | undefined
  /**
   * Sends an output to a URL of its caller, or without one to the bucket of this server. An error is a result; rejects only
   * when `signal` aborts, with its reason.
   */
  send(job: SucceededJob, url: string | undefined, signal: AbortSignal): Promise<DeliveryResult>
}
