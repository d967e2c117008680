import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown
export type Stored = { readonly path: string; readonly headers: Record<string, unknown>; readonly body: Buffer }

/** A store on loopback that takes PUTs, closed after the test. It answers 200 until `answerWith` is replaced. */
export async function startPutStore() {
  const stored: Stored[] = []
  const store = {
    stored,
    url: '',
    port: 0,
    answerWith: ((_request, response) => response.end()) as Handler,
    /** Replaces what it does with a request before it reads the body: it may refuse it, or be slow. */
    receiveWith: undefined as Handler | undefined,
  }
  const receive: Handler = async (request, response) => {
    const body = await buffer(request)
    stored.push({ path: request.url ?? '', headers: request.headers, body })
    store.answerWith(request, response)
  }
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    request.on('error', () => undefined)
    if (store.receiveWith) return void store.receiveWith(request, response)
    response.writeContinue()
    Promise.resolve(receive(request, response)).catch(() => undefined)
  }
  const server = createServer(handle).on('checkContinue', handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => new Promise((resolve) => (server.closeAllConnections(), server.close(() => resolve()))))
  store.port = (server.address() as AddressInfo).port
  store.url = `http://127.0.0.1:${store.port}/bucket/video.mp4?X-Amz-Signature=secret`
  return store
}
