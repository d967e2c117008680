import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { type Problem, problem } from '../../problems.ts'
import { discardRest, type LingerLimits, noteBody } from './lingering-close.ts'
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

/** How the body of a request has to arrive. */
export type BodyTimeouts = LingerLimits & {
  /** How long the body of a request may take, in ms, from the end of its head. */
  readonly requestTimeoutMs: number
  /** What an upload, which may take as long as it likes, has to bring every so many ms, in bytes. */
  readonly uploadCheckMs: number
  readonly uploadMinBytes: number
}

/** What a request may bring from now on, as long as it makes progress. */
export type Progress = {
  readonly maxBytes: number
  /** Whether others were refused lately, for want of the place that it has. */
  readonly isContended: () => boolean
}

/** How much faster an upload has to come while others are refused. */
export const CONTENDED_FACTOR = 8

type Watch = { expectProgress(progress: Progress): void }

/** On the request itself: a `WeakMap` of all of them, which is collected slowly, was a third of what a submit cost. */
const WATCH = Symbol('watch')
const FAILURE = Symbol('failure')
type Watched = IncomingMessage & { [WATCH]?: Watch; [FAILURE]?: Problem }

/**
 * Cuts off clients whose request does not arrive, with 408. Node's own `requestTimeout` is one for all requests, and
 * an upload may take longer than anything else should.
 */
export function enforceBodyTimeout(app: FastifyInstance, limits: BodyTimeouts): void {
  app.server.prependListener('request', (request: Watched, response: ServerResponse) => {
    if (!hasBody(request)) return
    request[WATCH] = watch(request, response, limits)
    noteBody(request)
  })
}

const hasBody = ({ headers }: IncomingMessage) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

function watch(request: IncomingMessage, response: ServerResponse, limits: BodyTimeouts): Watch {
  const { socket } = request
  let timer = setTimeout(() => failBody(request, problem('request_timeout')), limits.requestTimeoutMs).unref()
  const stop = () => clearTimeout(timer)
  request.once('end', stop).once('close', stop)
  response.once('close', () => {
    stop()
    // Where the answer closes the connection, that is done already.
    if (!request.complete && socket.writable) discardRest(request, limits)
  })
  return {
    expectProgress({ maxBytes, isContended }) {
      stop()
      const begun = socket.bytesRead
      let before = begun
      timer = setInterval(() => {
        // What has come and is not read yet is our delay, not the client's.
        const minBytes = limits.uploadMinBytes * (isContended() ? CONTENDED_FACTOR : 1)
        const isSlow = socket.bytesRead - before < minBytes && request.readableLength === 0
        before = socket.bytesRead
        if (isSlow) failBody(request, problem('request_timeout'))
        else if (before - begun > maxBytes) failBody(request, problem('body_too_large'))
      }, limits.uploadCheckMs).unref()
    },
  }
}

/** Fails the body of a request for its reader; if it has none yet, `failedBodyRefusal` answers with the error. */
export function failBody(request: Watched, error: Problem): void {
  if (request.complete) return
  if (request.listenerCount('error') > 0) request.emit('error', error)
  else request[FAILURE] = error
}

/** Refuses a request whose body failed before anything read it. */
export const failedBodyRefusal: Refusal = ({ raw }) => (raw as Watched)[FAILURE]

/** From here on a request may take its time, as long as it makes progress and brings no more than so many bytes. */
export function expectProgress(request: Watched, progress: Progress): void {
  request[WATCH]?.expectProgress(progress)
}
