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

/** What of a request is no good before its body is looked at. */
export const headRefusal: Refusal = ({ headers, raw }) => {
  const { host, 'content-encoding': encoding } = headers
  if (host === undefined && raw.httpVersion === '1.1') {
    return new AppError('malformed_request', 400, 'The Host header is missing.')
  }
  return encoding !== undefined && encoding !== 'identity' ? unsupported('Compressed bodies are not read.') : undefined
}
