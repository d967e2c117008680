import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { mkdtempSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { signatureError } from './s3-signature.ts'

// An S3-compatible store in a process of its own, on a free port, which it sends. It ends with its parent. s3rver checks
// no signatures and knows no conditional writes: with the argument `strict` both are added here, as AWS documents them.
// The second argument is the CORS configuration of the bucket, in XML.
// A message of its parent is the status and the body with which it answers everything, or the requests of a method; the
// status 0 for not at all; false ends that.
type Handler = (request: IncomingMessage, response: ServerResponse) => void
type S3rver = new (options: object) => { configureBuckets(): Promise<void>; callback(): Handler }
const Store = createRequire(import.meta.url)('s3rver') as S3rver

const [mode = '', cors = ''] = process.argv.slice(2)
const store = new Store({
  silent: true,
  directory: mkdtempSync(join(tmpdir(), 's3-')),
  configureBuckets: [{ name: 'outputs', configs: cors === '' ? [] : [cors] }],
})
await store.configureBuckets()
const handle = store.callback()
const isStrict = mode === 'strict'
const written = new Set<string>()
/** Objects whose PUT was cut off: s3rver keeps the part, S3 does not. */
const partial = new Set<string>()
type Disruption = { readonly status: number; readonly body: string; readonly method?: string }
let disruption: Disruption | false = false

function refusalOf(request: IncomingMessage): { readonly status: number; readonly body: string } | undefined {
  const { method = '', headers } = request
  if (disruption && (disruption.method ?? method) === method) return disruption
  if (!isStrict) return undefined
  // A browser asks before it sends: without a signature.
  if (method === 'OPTIONS') return undefined
  const url = new URL(request.url ?? '', `http://${headers.host ?? ''}`)
  const error = signatureError({ method, url, headers }, 'S3RVER')
  if (error !== undefined) return { status: 403, body: `<Error><Code>${error}</Code></Error>` }
  const isRead = method === 'GET' || method === 'HEAD'
  if (isRead && partial.has(url.pathname)) return { status: 404, body: '<Error><Code>NoSuchKey</Code></Error>' }
  const isTaken = method === 'PUT' && headers['if-none-match'] === '*' && written.has(url.pathname)
  return isTaken ? { status: 412, body: '<Error><Code>PreconditionFailed</Code></Error>' } : undefined
}

const server = createServer((request, response) => {
  const refusal = refusalOf(request)
  // It does not answer.
  if (refusal?.status === 0) return
  if (refusal) {
    response.writeHead(refusal.status, { 'content-type': 'application/xml' }).end(refusal.body)
    return
  }
  const [path = ''] = (request.url ?? '').split('?')
  if (request.method === 'PUT')
    request.once('close', () => {
      if (!request.complete) partial.add(path)
    })
  response.once('finish', () => {
    if (request.method === 'PUT' && response.statusCode === 200) {
      written.add(path)
      partial.delete(path)
    }
    if (request.method === 'DELETE') written.delete(path)
  })
  handle(request, response)
})
process.on('message', (message: Disruption | false) => {
  disruption = message
})
process.once('disconnect', () => process.exit())
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
