import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { problem } from '../../problems.ts'
import type { Refusal } from './refusals.ts'

// Closing a connection of which bytes are unread makes the kernel reset it, and the reset takes an answer with it that
// the client has not read yet (RFC 9112 9.6). So what is left of a request is read and thrown away first.

export type LingerLimits = {
  /** How long at most the rest of a request that has its answer is read, in ms. */
  readonly lingerMs: number
  /** How long nothing of it may come meanwhile, in ms. */
  readonly lingerReadMs: number
}

/** The request on a connection whose body has not been read to its end, and whether its parser has given up. */
const BODY = Symbol('body')
const ABANDONED = Symbol('abandoned')
/** `_httpMessage` is Node's own, and undocumented: the answer that is being made or sent, of several the first. */
type Connection = Socket & { [BODY]?: IncomingMessage | undefined; [ABANDONED]?: true; _httpMessage?: ServerResponse }

/** Makes the server close its connections without a reset. Call `noteBody` for every request that has a body. */
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

/** What comes behind a request whose answer closes the connection is not served (RFC 9112 9.6), nor can be answered. */
export const closedConnectionRefusal: Refusal = ({ raw }) =>
  raw.socket.writableEnded ? problem('malformed_request', { detail: 'The connection is being closed.' }) : undefined

/** Remembers that the body of a request is still to come. */
export function noteBody(request: IncomingMessage): void {
  const socket: Connection = request.socket
  socket[BODY] = request
  request.once('end', () => {
    if (socket[BODY] === request) socket[BODY] = undefined
  })
}

/** The answer that is being made or sent on a connection, if any. */
export const pendingAnswer = (socket: Connection): ServerResponse | undefined => socket._httpMessage ?? undefined

/** Whether the latest request on a connection has its answer, though it has not come to its end. */
export const isAnswered = (socket: Connection): boolean => socket[BODY] !== undefined && !pendingAnswer(socket)

/** Reads what is still to come of a request that has its answer. After its end the connection goes on, or is closed. */
export function discardRest(request: IncomingMessage, limits: LingerLimits): void {
  const { socket } = request
  const stop = limitLinger(socket, limits)
  request.once('end', () => {
    stop()
    if (!socket.writableEnded) return
    if (socket.writableFinished) socket.destroy()
    else socket.once('finish', () => socket.destroy())
  })
  // Whatever it is piped into takes no more of it.
  request.unpipe()
  request.resume()
}

/** Takes a connection from its parser, which cannot read on, and throws away all that comes. True: it is done already. */
export function abandonInput(socket: Connection): boolean {
  if (socket[ABANDONED]) return true
  socket[ABANDONED] = true
  for (const listener of socket.listeners('data')) socket.off('data', listener as () => void)
  // A listener is what makes Node give the bytes to it instead of the parser.
  socket.on('data', () => undefined).resume()
  return false
}

/** Closes a connection once all answers on it have gone. */
export function closeAfterAnswers(socket: Socket): void {
  const answer = pendingAnswer(socket)
  if (answer) answer.once('close', () => closeAfterAnswers(socket))
  else socket.destroySoon()
}

/** Destroys a connection on which nothing comes, or something for too long. Gives what ends that. */
function limitLinger(socket: Socket, { lingerMs, lingerReadMs }: LingerLimits): () => void {
  const startedAt = performance.now()
  let before = socket.bytesRead
  const timer = setInterval(() => {
    const isOver = socket.bytesRead === before || performance.now() - startedAt >= lingerMs
    before = socket.bytesRead
    if (isOver) socket.destroy()
  }, lingerReadMs).unref()
  const stop = () => {
    clearInterval(timer)
    socket.off('close', stop)
  }
  socket.once('close', stop)
  return stop
}
