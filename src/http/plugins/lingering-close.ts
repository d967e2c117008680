import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { problem } from '../../problems.ts'
import type { Refusal } from './refusals.ts'

// Closing a connection with unread bytes makes the kernel reset it, and the client may lose the answer (RFC 9112 9.6). So
// the rest of the request is read and discarded first.

export type LingerLimits = {
  /** Maximum time to read the rest of an answered request, in ms. */
  readonly lingerMs: number
  /** Maximum pause in it, in ms. */
  readonly lingerReadMs: number
}

/** Properties of a connection: the request whose body is not completely read, and whether its parser has given up. */
const BODY = Symbol('body')
const ABANDONED = Symbol('abandoned')
/** `_httpMessage` is private to Node: the first answer in progress. */
type Connection = Socket & { [BODY]?: IncomingMessage | undefined; [ABANDONED]?: true; _httpMessage?: ServerResponse }

/** Makes the server close its connections without a reset. Call `noteBody` for each body that does not arrive with its head. */
export function closeGently(app: FastifyInstance, limits: LingerLimits): void {
  app.server.on('connection', (socket: Connection) => {
    const closeNow = socket.destroySoon.bind(socket)
    // Node calls this after an answer with `Connection: close`.
    socket.destroySoon = () => {
      if (socket.writableEnded) return
      const body = socket[BODY]
      if (socket[ABANDONED]) limitLinger(socket, limits)
      else if (body && !body.complete) discardRest(body, socket, limits)
      else {
        closeNow()
        return
      }
      socket.end()
    }
  })
}

/** Requests after an answer with `Connection: close` are not served (RFC 9112 9.6). */
export const closedConnectionRefusal: Refusal = ({ raw }) =>
  raw.socket.writableEnded ? problem('malformed_request', { detail: 'The connection is being closed.' }) : undefined

/** Notes that the body of a request is not completely read yet. */
export function noteBody(request: IncomingMessage): void {
  const socket: Connection = request.socket
  socket[BODY] = request
  request.once('end', () => {
    if (socket[BODY] === request) socket[BODY] = undefined
  })
}

/** The answer in progress on a connection, if any. */
export const pendingAnswer = (socket: Connection): ServerResponse | undefined => socket._httpMessage ?? undefined

/** Whether the latest request is answered although its body is incomplete. */
export const isAnswered = (socket: Connection): boolean => socket[BODY] !== undefined && !pendingAnswer(socket)

/** Reads the rest of an answered request, then keeps or closes its connection, which a destroyed request no longer names. */
export function discardRest(request: IncomingMessage, socket: Socket, limits: LingerLimits): void {
  const stop = limitLinger(socket, limits)
  request.once('end', () => {
    stop()
    if (!socket.writableEnded) return
    if (socket.writableFinished) socket.destroy()
    else socket.once('finish', () => socket.destroy())
  })
  // The stream that it was piped into gets no more of it.
  request.unpipe()
  request.resume()
}

/** Detaches the failed parser and discards further bytes. True: already done. */
export function abandonInput(socket: Connection): boolean {
  if (socket[ABANDONED]) return true
  socket[ABANDONED] = true
  for (const listener of socket.listeners('data')) socket.off('data', listener as () => void)
  // With a listener Node passes the bytes to it instead of the parser.
  socket.on('data', () => undefined).resume()
  return false
}

/** Closes a connection once all answers on it are sent. */
export function closeAfterAnswers(socket: Socket): void {
  const answer = pendingAnswer(socket)
  if (answer) answer.once('close', () => closeAfterAnswers(socket))
  else socket.destroySoon()
}

/** Destroys a connection that is silent or sends for too long. Returns a function that cancels this. */
function limitLinger(socket: Socket, { lingerMs, lingerReadMs }: LingerLimits): () => void {
  const startedAt = performance.now()
  let before = socket.bytesRead
  const timer = setInterval(() => {
    const isExceeded = socket.bytesRead === before || performance.now() - startedAt >= lingerMs
    before = socket.bytesRead
    if (isExceeded) socket.destroy()
  }, lingerReadMs).unref()
  const stop = () => {
    clearInterval(timer)
    socket.off('close', stop)
  }
  socket.once('close', stop)
  return stop
}
