import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

export type ProgressLimits = {
  /** How long a client may take nothing of what is sent to it, in ms. */
  readonly stallTimeoutMs: number
}

/** What a connection had taken when that was last seen to grow, in bytes. */
type Progress = { readonly taken: number; readonly since: number }

/**
 * Cuts off clients that take nothing of an answer for `stallTimeoutMs`, whatever the answer is. Connections are looked
 * at and not answers, since one that is refused, or follows another, has unsent bytes too.
 */
export function cutStalledClients(app: FastifyInstance, { stallTimeoutMs }: ProgressLimits): void {
  const open = new Set<Socket>()
  const stalled = new Map<Socket, Progress>()
  app.server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => {
      open.delete(socket)
      stalled.delete(socket)
    })
  })

  const look = (socket: Socket, now: number) => {
    const taken = takenBytesOf(socket)
    const before = stalled.get(socket)
    if (socket.writableLength === 0) stalled.delete(socket)
    else if (before?.taken !== taken) stalled.set(socket, { taken, since: now })
    else if (now - before.since >= stallTimeoutMs) {
      const fields = { event: 'answer_dropped', address: socket.remoteAddress, unsent_bytes: socket.writableLength }
      app.log.info(fields, 'answer dropped: the client takes nothing of it')
      socket.destroy()
    }
  }
  const timer = setInterval(() => {
    const now = performance.now()
    for (const socket of open) look(socket, now)
  }, stallTimeoutMs / 6).unref()
  app.addHook('onClose', (_app, done) => {
    clearInterval(timer)
    done()
  })
}

/**
 * Bytes that the system has taken from a connection. The socket tells only of whole writes, of which one can be a whole
 * page; Node's own timeout of sockets looks at its handle too.
 */
function takenBytesOf(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { bytesWritten: number; writeQueueSize: number } | null }
  return handle ? handle.bytesWritten - handle.writeQueueSize : 0
}
