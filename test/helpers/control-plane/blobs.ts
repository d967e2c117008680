import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'

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
  close(): Promise<void>
}

/** Starts the blob server on a free port. */
export async function openBlobs(disruptions: Disruptions): Promise<Blobs> {
  const blobs = new Map<string, Uint8Array>()
  const server = createServer((request, response) => void serve({ blobs, disruptions: disruptions }, request, response))
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
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

async function serve(
  { blobs, disruptions: disruptions }: { blobs: Map<string, Uint8Array>; disruptions: Disruptions },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const blobId = (request.url ?? '').slice(1)
  if (request.method === 'PUT') {
    blobs.set(blobId, await buffer(request))
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
