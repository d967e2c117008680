import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

// What a bucket answers, on a free port, which it sends to its parent; it ends with that. Of each object it keeps the size
// and the first bytes: a disk would be the slowest part. It checks no signatures.
const HEAD_BYTES = 64 * 1024
type Stored = { readonly size: number; readonly head: Buffer }
const objects = new Map<string, Stored>()

async function put(path: string, request: IncomingMessage, response: ServerResponse) {
  const head = Buffer.alloc(HEAD_BYTES)
  let size = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    if (size < HEAD_BYTES) piece.copy(head, size)
    size += piece.length
  }
  if (size !== Number(request.headers['content-length'])) return response.destroy()
  objects.set(path, { size, head })
  return response.writeHead(200, { etag: '"etag"' }).end()
}

function answer(request: IncomingMessage, response: ServerResponse) {
  const [path = ''] = (request.url ?? '').split('?')
  if (request.method === 'PUT') return void put(path, request, response).catch(() => response.destroy())
  if (request.url?.includes('list-type=2')) return void response.end('<ListBucketResult></ListBucketResult>')
  const object = objects.get(path)
  if (!object) return void response.writeHead(404).end()
  const { size, head } = object
  if (request.method === 'HEAD') return void response.writeHead(200, { etag: '"etag"', 'content-length': size }).end()
  const [, from = '0', to = '0'] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  const bytes = Buffer.alloc(Math.min(Number(to) + 1, size) - Number(from))
  head.copy(bytes, 0, Number(from))
  const range = `bytes ${from}-${Number(from) + bytes.length - 1}/${size}`
  response.writeHead(206, { etag: '"etag"', 'content-range': range, 'content-length': bytes.length }).end(bytes)
}

const server = createServer(answer)
process.once('disconnect', () => process.exit())
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
