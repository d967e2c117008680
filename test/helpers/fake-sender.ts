import type { OutputSender, WebhookMessage, WebhookSender } from '../../src/jobs/ports/notifications.ts'
import type { DeliveryResult } from '../../src/jobs/webhooks/delivery.ts'

/** A sender for tests of the core: what is sent is recorded, and answered by `answerWith`, 200 at first. */
export type FakeSender = WebhookSender & {
  readonly sent: WebhookMessage[]
  answerWith: (message: WebhookMessage, signal: AbortSignal) => Promise<DeliveryResult>
  checkWith: (url: string) => string | undefined
  secrets: readonly string[]
}

export function createFakeSender(): FakeSender {
  const sender: FakeSender = {
    sent: [],
    secrets: ['whsec_c2VjcmV0LW9mLXRoZS1vcGVyYXRvci0wMQ=='],
    answerWith: async () => ({ status: 200 }),
    checkWith: () => undefined,
    secretsOf: (caller) => (caller === 'anonymous' ? sender.secrets : sender.secrets.map((one) => `${one}/${caller}`)),
    check: (url) => sender.checkWith(url),
    send(message, signal) {
      sender.sent.push(message)
      return sender.answerWith(message, signal)
    },
    close: () => Promise.resolve(),
  }
  return sender
}

/** A sender of outputs likewise: what is sent is recorded as `<job id> <url>`, and no url stands for the bucket. */
export type FakeOutputSender = OutputSender & {
  readonly sent: string[]
  answerWith: (signal: AbortSignal) => Promise<DeliveryResult>
  checkWith: (url: string) => string | undefined
}

export function createFakeOutputSender(): FakeOutputSender {
  const sender: FakeOutputSender = {
    sent: [],
    answerWith: async () => ({ status: 200 }),
    checkWith: () => undefined,
    check: (url) => sender.checkWith(url),
    send({ id }, url, signal) {
      sender.sent.push(`${id} ${url ?? 'bucket'}`)
      return sender.answerWith(signal)
    },
  }
  return sender
}
