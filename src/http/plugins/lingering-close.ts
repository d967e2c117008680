import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { problem } from '../../problems.ts'
import type { Refusal } from './refusals.ts'

// If a connection is closed while received bytes are unread, the kernel resets it, and the client loses an answer that it
// has not read yet (RFC 9112 9.6). So the rest of a request is read and discarded first.

export type LingerLimits = {
  /** Maximum time for reading the rest of an answered request, in ms. */
  readonly lingerMs: number
  /** Maximum pause between its bytes meanwhile, in ms. */
  readonly lingerReadMs: number
}

/** Properties of a connection: the request whose body is not completely read, and whether its parser has given up. */
const BODY = Symbol('body')
const ABANDONED = Symbol('abandoned')
/** `_httpMessage` is Node's own and undocumented: the pending answer, the first of several. */
type Connection = Socket & { [BODY]?: IncomingMessage | undefined; [ABANDONED]?: true; _httpMessage?: ServerResponse }

/** Makes the server close its connections without a reset. Call `noteBody` for every request with a body. */
export function closeGently(app: FastifyInstance, limits: LingerLimits): void {
  app.server.on('connection', (socket: Connection) => {
    const closeNow = socket.destroySoon.bind(socket)
    // Node calls this after an answer with `Connection: close`.
    socket.destroySoon = () => {
      if (socket.writableEnded) return
      const body = socket[BODY]
      if (socket[ABANDONED]) limitLinger(socket, limits)
      else if (body && !body.complete) discardRest(body, limits)
      else {
        closeNow()
        return
      }
      socket.end()
    }
  })
}

/** A request behind one whose answer closes the connection is not served (RFC 9112 9.6), and cannot be answered. */
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

/** Whether the latest request on a connection is answered, but its body is not completely read. */
export const isAnswered = (socket: Connection): boolean => socket[BODY] !== undefined && !pendingAnswer(socket)

/** Reads and discards the rest of an answered request. After that the connection is closed, or serves the next request. */
export function discardRest(request: IncomingMessage, limits: LingerLimits): void {
  const { socket } = request
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

/** Detaches a connection from its parser, which has failed, and discards further input. True: that was done before. */
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

/** Destroys a connection that sends nothing for `lingerReadMs`, or sends for `lingerMs`; the returned function stops that. */
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
