import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

type Value = { stringValue?: string; intValue?: string; doubleValue?: number }
type Attributes = { key: string; value: Value }[]
type WireSpan = {
  traceId: string
  spanId: string
  parentSpanId?: string
  traceState?: string
  name: string
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: Attributes
  events: { name: string; timeUnixNano: string }[]
  status: { code?: number; message?: string }
}
type Export = {
  resourceSpans: { resource: { attributes: Attributes }; scopeSpans: { scope: object; spans: WireSpan[] }[] }[]
}

const flatten = (attributes: Attributes) =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue ?? value.doubleValue)]),
  )

/** A receiver of OTLP over HTTP (JSON). `answers`: the statuses of its first requests; then 200. */
export async function startOtlpReceiver(...answers: number[]) {
  const spans: (Omit<WireSpan, 'attributes'> & { attributes: Record<string, string | number> })[] = []
  const requests: { path: string | undefined; headers: IncomingHttpHeaders; resource: object }[] = []
  const receive: RequestListener = (request, response) => void take(request, response)
  const take = async (request: IncomingMessage, response: ServerResponse) => {
    const body = JSON.parse(Buffer.concat((await request.toArray()) as Buffer[]).toString()) as Export
    const status = answers.shift() ?? 200
    for (const { resource, scopeSpans } of body.resourceSpans) {
      requests.push({ path: request.url, headers: request.headers, resource: flatten(resource.attributes) })
      if (status !== 200) continue
      for (const span of scopeSpans.flatMap((scope) => scope.spans)) {
        spans.push({ ...span, attributes: flatten(span.attributes) })
      }
    }
    response.writeHead(status).end('{}')
  }
  const server = createServer(receive)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const named = (name: string) => spans.filter((span) => span.name === name)
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, spans, requests, named }
}
