import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

import { portOf } from './address.ts'
import type { Disruptions } from './disruptions.ts'

/** Where values too large for an RPC are kept: an HTTP server, as Modal's object storage is, apart from the RPCs. */
export type Blobs = {
  /** Keeps bytes and gives their blob id. */
  put(bytes: Uint8Array): string
  get(blobId: string): Uint8Array | undefined
  /** Where a blob is read with GET and written with PUT. */
  urlOf(blobId: string): string
  /** An id to write to. */
  reserve(): string
  /** The most uploads at a time. */
  uploadsPeak(): number
  close(): Promise<void>
}

/** Starts the blob server on a free port. */
export async function openBlobs(disruptions: Disruptions): Promise<Blobs> {
  const blobs = new Map<string, Uint8Array>()
  const uploads = { open: 0, peak: 0 }
  const server = createServer((request, response) => void serve({ blobs, uploads, disruptions }, request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${portOf(server)}`
  const reserve = () => `bl-${randomUUID()}`
  return {
    put(bytes) {
      const blobId = reserve()
      blobs.set(blobId, bytes)
      return blobId
    },
    get: (blobId) => blobs.get(blobId),
    urlOf: (blobId) => `${origin}/${blobId}`,
    reserve,
    uploadsPeak: () => uploads.peak,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

type Store = {
  readonly blobs: Map<string, Uint8Array>
  readonly uploads: { open: number; peak: number }
  readonly disruptions: Disruptions
}

async function serve(
  { blobs, uploads, disruptions }: Store,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const blobId = (request.url ?? '').slice(1)
  if (request.method === 'PUT') {
    uploads.open += 1
    uploads.peak = Math.max(uploads.peak, uploads.open)
    const bytes = await buffer(request)
    const refusal = disruptions.take('UPLOAD')
    if (refusal?.delayMs !== undefined) await sleep(refusal.delayMs)
    else if (refusal) response.statusCode = 503
    if (response.statusCode === 200) blobs.set(blobId, bytes)
    uploads.open -= 1
    response.end()
    return
  }
  const disruption = disruptions.take('DOWNLOAD')
  if (disruption?.dropConnection) {
    request.socket.destroy()
    return
  }
  if (disruption) {
    response.writeHead(503).end()
    return
  }
  const bytes = blobs.get(blobId)
  if (!bytes) response.statusCode = 404
  response.end(bytes)
}
