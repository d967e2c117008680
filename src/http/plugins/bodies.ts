import type { FastifyInstance } from 'fastify'
import { problem } from '../../problems.ts'
import type { Refusal } from './refusals.ts'

const unsupported = (message: string) => problem('unsupported_media_type', { detail: message })

/**
 * What the server reads: JSON in UTF-8, not compressed. An empty JSON body counts as none, since many clients name the
 * type on every request; whether a body is needed is the schema's to say.
 */
export function registerBodies(app: FastifyInstance): void {
  app.removeContentTypeParser(['text/plain', 'application/json'])
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const charset = /charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1]
    if (charset !== undefined && !/^utf-?8$/i.test(charset)) done(unsupported('JSON is read in UTF-8 only.'))
    else if (body === '') done(null, undefined)
    else void parseJson(request, body as string, done)
  })
}

const malformed = (message: string) => problem('malformed_request', { detail: message })

/**
 * Refuses a request without a host, or with two (RFC 9112 3.2), and one with two credentials (RFC 9110 5.3): a proxy and
 * this server may each take it for another one. Node's `headers` keep the first of several only.
 */
export const ambiguousHeaderRefusal: Refusal = ({ headers, raw }) => {
  if (headers.host === undefined && raw.httpVersion === '1.1') return malformed('The Host header is missing.')
  const { rawHeaders } = raw
  let [hosts, credentials] = [0, 0]
  for (let n = 0; n < rawHeaders.length; n += 2) {
    const name = rawHeaders[n] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
    if (name.length === 13 && name.toLowerCase() === 'authorization') credentials++
  }
  if (hosts > 1) return malformed('There is more than one Host header.')
  return credentials > 1 ? malformed('There is more than one Authorization header.') : undefined
}

/** As Node recognizes it. */
const CONTINUE = /(?:^|\W)100-continue(?:$|\W)/i

/** Lets requests with an expectation that Node does not know go the way of all others, up to `headRefusal`. */
export function admitExpectations(app: FastifyInstance): void {
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
}

/** What of a request is no good before its body is looked at (RFC 9110 8.4, 10.1.1). */
export const headRefusal: Refusal = ({ headers, raw }) => {
  const { 'content-encoding': encoding, expect } = headers
  // HTTP/1.0 knows none, and takes no notice.
  const isUnknown = expect !== undefined && raw.httpVersion === '1.1' && !CONTINUE.test(expect)
  if (isUnknown) return problem('expectation_failed')
  return encoding !== undefined && encoding !== 'identity' ? unsupported('Compressed bodies are not read.') : undefined
}
