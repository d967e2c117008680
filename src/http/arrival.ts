import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { answerClientError } from './problems.ts'

/** How the body of a request has to arrive. */
export type ArrivalLimits = {
  /** How long the body of a request may take, in ms, from the end of its head. */
  readonly requestTimeoutMs: number
  /** How long the rest of a request that has its answer already is thrown away, before the connection is, in ms. */
  readonly lingerMs: number
  /** What an upload, which may take as long as it likes, has to bring every so many ms, in bytes. */
  readonly uploadCheckMs: number
  readonly uploadMinBytes: number
}

type Watch = { expectProgress(maxBytes: number): void }

/** On the request itself: a `WeakMap` of all of them, which is collected slowly, was a third of what a submit cost. */
const WATCH = Symbol('watch')
type Watched = IncomingMessage & { [WATCH]?: Watch }

/**
 * Cuts off clients whose request does not arrive, with 408. Node's own `requestTimeout` is one for all requests, and
 * an upload may take longer than anything else should.
 */
export function limitArrival(app: FastifyInstance, limits: ArrivalLimits): void {
  app.server.prependListener('request', (request: Watched, response: ServerResponse) => {
    if (hasBody(request)) request[WATCH] = watch(request, response, limits)
  })
}

const hasBody = ({ headers }: IncomingMessage) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

function watch(request: IncomingMessage, response: ServerResponse, limits: ArrivalLimits): Watch {
  const { socket } = request
  const cutOff = () => {
    // Who has its answer needs no other.
    if (response.headersSent) socket.destroy()
    else answerClientError(Object.assign(new Error('slow'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket)
  }
  let timer = setTimeout(cutOff, limits.requestTimeoutMs).unref()
  const stop = () => clearTimeout(timer)

  /** Closing at once would take the answer with it, so what still comes is read for a while (RFC 9112 9.6). */
  const linger = () => {
    stop()
    timer = setTimeout(() => socket.destroy(), limits.lingerMs).unref()
    request.resume()
  }

  request.once('end', stop).once('close', stop)
  response.once('close', () => (request.complete || socket.destroyed ? stop() : linger()))
  return {
    expectProgress(maxBytes) {
      stop()
      const begun = socket.bytesRead
      let before = begun
      timer = setInterval(() => {
        // What has come and is not read yet is our delay, not the client's.
        const isSlow = socket.bytesRead - before < limits.uploadMinBytes && request.readableLength === 0
        before = socket.bytesRead
        if (isSlow) cutOff()
        else if (before - begun > maxBytes) socket.destroy()
        if (socket.destroyed || request.complete) stop()
      }, limits.uploadCheckMs).unref()
    },
  }
}

/** From here on a request may take its time, as long as it makes progress and brings no more than so many bytes. */
export function expectProgress(request: Watched, maxBytes: number): void {
  request[WATCH]?.expectProgress(maxBytes)
}
