import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { until } from './until.ts'

export type Received = {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly at: number
}

/**
 * A receiver of webhooks on loopback, closed after the test. It answers 204 until `answerWith` is replaced. A concurrent
 * test passes its own `onTestFinished`.
 */
export async function startReceiver(port = 0, afterTest = onTestFinished) {
  const received: Received[] = []
  let [atOnce, most] = [0, 0]
  const receiver = {
    received,
    answerWith: (response: ServerResponse): unknown => response.writeHead(204).end(),
    url: '',
    port: 0,
    /** The largest number of requests that were open at the same time. */
    most: () => most,
    untilReceived: (count: number) => until(() => received.length >= count && received, `${count} webhooks`),
  }
  const server = createServer((request, response) => {
    most = Math.max(most, ++atOnce)
    response.on('close', () => atOnce--)
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      received.push({
        headers: request.headers as Record<string, string>,
        body: Buffer.concat(chunks).toString(),
        at: performance.now(),
      })
      receiver.answerWith(response)
    })
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  afterTest(() => new Promise((resolve) => (server.closeAllConnections(), server.close(() => resolve()))))
  receiver.port = (server.address() as AddressInfo).port
  receiver.url = `http://127.0.0.1:${receiver.port}/hook`
  return receiver
}
