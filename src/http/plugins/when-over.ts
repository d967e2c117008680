import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply } from 'fastify'

/**
 * Calls back once when an answer is over: it is sent, or its connection is gone. Node closes only the answer that has
 * the connection, and not those of pipelined requests that wait behind it.
 */
export type WhenOver = (reply: FastifyReply, callback: () => void) => void

export function trackAnswers(app: FastifyInstance): WhenOver {
  const callbacksOf = new Map<Socket, Set<() => void>>()
  app.server.on('connection', (socket) => {
    const callbacks = new Set<() => void>()
    callbacksOf.set(socket, callbacks)
    socket.once('close', () => {
      callbacksOf.delete(socket)
      // After those of its answer, which has the connection, have been called back by the answer itself.
      setImmediate(() => {
        for (const callback of callbacks) callback()
      })
    })
  })
  return ({ raw, request }, callback) => {
    const callbacks = callbacksOf.get(request.raw.socket)
    const isGone = raw.destroyed || (callbacks === undefined && request.raw.socket.destroyed)
    let isOver = false
    const end = () => {
      if (!isOver) callback()
      isOver = true
      callbacks?.delete(end)
    }
    callbacks?.add(end)
    if (isGone) end()
    else raw.once('close', end)
  }
}
