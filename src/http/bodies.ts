import type { FastifyInstance } from 'fastify'
import { AppError } from '../errors.ts'
import type { Refusal } from './refusals.ts'

const unsupported = (message: string) => new AppError('unsupported_media_type', 415, message)

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

/** RFC 9112 3.2: without a host, or with two, proxies and servers may each take the request for another one. */
export const hostRefusal: Refusal = ({ headers, raw }) => {
  if (headers.host === undefined) {
    const isMissing = raw.httpVersion === '1.1'
    return isMissing ? new AppError('malformed_request', 400, 'The Host header is missing.') : undefined
  }
  const { rawHeaders } = raw
  let hosts = 0
  for (let n = 0; n < rawHeaders.length; n += 2) {
    const name = rawHeaders[n] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
  }
  return hosts > 1 ? new AppError('malformed_request', 400, 'There is more than one Host header.') : undefined
}

/** What of a request is no good before its body is looked at. */
export const headRefusal: Refusal = ({ headers }) => {
  const { 'content-encoding': encoding } = headers
  return encoding !== undefined && encoding !== 'identity' ? unsupported('Compressed bodies are not read.') : undefined
}
