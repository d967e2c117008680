import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { type Problem, problem } from '../../problems.ts'
import { discardRest, type LingerLimits, noteBody } from './lingering-close.ts'
import type { Refusal } from './refusals.ts'

const unsupported = (message: string) => problem('unsupported_media_type', { detail: message })

/**
 * Bodies are JSON in UTF-8, not compressed. An empty JSON body counts as absent, since many clients send the type with
 * every request; the schema decides whether a body is needed.
 */
export function registerBodies(app: FastifyInstance): void {
  app.removeContentTypeParser(['text/plain', 'application/json'])
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const charset = /charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1]
    if (charset !== undefined && !/^utf-?8$/i.test(charset)) done(unsupported('JSON must be in UTF-8.'))
    else if (body === '') done(null, undefined)
    else void parseJson(request, body as string, done)
  })
}

/** For `JSON.parse`: throws for a key that the parser of bodies refuses too, however it is escaped. */
export function refusePrototype(key: string, value: unknown): unknown {
  const isPrototype = key === 'constructor' && typeof value === 'object' && value !== null && 'prototype' in value
  if (key === '__proto__' || isPrototype) throw new SyntaxError('a key that is not allowed')
  return value
}

const malformed = (message: string) => problem('malformed_request', { detail: message })

/**
 * Refuses a request without a host, or with two (RFC 9112 3.2), and one with two credentials (RFC 9110 5.3): a proxy and
 * this server might read it differently. Node's `headers` keep only the first of several.
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

/** Node's own pattern. */
const CONTINUE = /(?:^|\W)100-continue(?:$|\W)/i

/** Passes on requests with an expectation that Node does not know; `headRefusal` refuses them. */
export function admitExpectations(app: FastifyInstance): void {
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
}

/** Refuses an expectation or a content encoding that the server does not support (RFC 9110 8.4, 10.1.1). */
export const headRefusal: Refusal = ({ headers, raw }) => {
  const { 'content-encoding': encoding, expect } = headers
  // HTTP/1.0 has no expectations, and ignores them.
  const isUnknown = expect !== undefined && raw.httpVersion === '1.1' && !CONTINUE.test(expect)
  if (isUnknown) return problem('expectation_failed')
  return encoding !== undefined && encoding !== 'identity'
    ? unsupported('Compressed bodies are not supported.')
    : undefined
}

/** Time limits for the body of a request. */
export type BodyTimeouts = LingerLimits & {
  /** How long the body may take to arrive, from the end of the head, in ms. An upload instead has to make progress. */
  readonly requestTimeoutMs: number
  /** Interval of the progress check of uploads, in ms, and the bytes that have to arrive in it. */
  readonly uploadCheckMs: number
  readonly uploadMinBytes: number
}

/** The limits of an upload. */
export type Progress = {
  readonly maxBytes: number
  /** Whether other uploads were refused lately because too many are under way. */
  readonly isContended: () => boolean
}

/** How much faster an upload has to arrive while others are refused. */
const CONTENDED_FACTOR = 8

type Watch = { expectProgress(progress: Progress): void }

/** Kept on the request itself: a `WeakMap`, which is collected slowly, took a third of the time of a submit. */
const WATCH = Symbol('watch')
const FAILURE = Symbol('failure')
type Watched = IncomingMessage & { [WATCH]?: () => Watch; [FAILURE]?: Problem }

/**
 * Answers 408 when the body of a request does not arrive in time. Node's own `requestTimeout` is the same for all requests,
 * and an upload may take longer than any other. A body that arrives with its head is not watched: Node reads both before
 * the next tick, and a timer and its listeners would take longer than that.
 */
export function enforceBodyTimeout(app: FastifyInstance, limits: BodyTimeouts): void {
  app.server.prependListener('request', (request: Watched, response: ServerResponse) => {
    if (!hasBody(request)) return
    let watched: Watch | undefined
    const start = () => (watched ??= watch(request, response, limits))
    request[WATCH] = start
    process.nextTick(() => {
      if (!request.complete) start()
    })
  })
}

const hasBody = ({ headers }: IncomingMessage) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

function watch(request: IncomingMessage, response: ServerResponse, limits: BodyTimeouts): Watch {
  const { socket } = request
  noteBody(request)
  let timer = setTimeout(() => failBody(request, problem('request_timeout')), limits.requestTimeoutMs).unref()
  const stop = () => clearTimeout(timer)
  request.once('end', stop).once('close', stop)
  response.once('close', () => {
    stop()
    // Not needed if the answer closes the connection.
    if (!request.complete && socket.writable) discardRest(request, socket, limits)
  })
  return {
    expectProgress({ maxBytes, isContended }) {
      stop()
      const bytesAtStart = socket.bytesRead
      let bytesBefore = bytesAtStart
      timer = setInterval(() => {
        // Unread bytes that have arrived are our delay.
        const minBytes = limits.uploadMinBytes * (isContended() ? CONTENDED_FACTOR : 1)
        const isSlow = socket.bytesRead - bytesBefore < minBytes && request.readableLength === 0
        bytesBefore = socket.bytesRead
        if (isSlow) failBody(request, problem('request_timeout'))
        else if (bytesBefore - bytesAtStart > maxBytes) failBody(request, problem('body_too_large'))
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

/** Replaces the body timeout of a request by the limits of an upload. */
export function expectProgress(request: Watched, progress: Progress): void {
  request[WATCH]?.().expectProgress(progress)
}
