import { once } from 'node:events'
import { createServer, type ListenOptions, type Server } from 'node:net'
import type { FastifyInstance } from 'fastify'

/**
 * The number of sockets that listen on the port. libuv (1.52) accepts one connection per socket in each turn of the event
 * loop. When turns are long, a flood of connections delays new ones, and the kernel drops some, which TCP retransmits
 * after a second. Measured with 1,500 clients that reconnect at once, beside 16 that read long pages: the p99 of a new
 * connection's answer was 3.4 to 6.1 s with one socket, 1.7 to 3.0 s with 4, 0.7 to 1.7 s with 8, 0.6 to 0.9 s with 16.
 * Beside greedy callers of all kinds, who open thousands at once, its median was 10 to 2,500 ms with one socket and 10 to
 * 120 ms with 8. The price: a burst of new connections is served before requests on open ones (p99 of submits 250 to
 * 860 ms with one socket, 570 to 1,160 ms with 8).
 */
export const LISTENERS = 8

export type ListenAddress = { readonly host: string; readonly port: number }

/**
 * Makes an application listen with several sockets if the kernel distributes connections among them (`SO_REUSEPORT`), else
 * with one. They close with the application. Rejects with Node's error if it cannot listen.
 */
export async function openListeners(app: FastifyInstance, { host, port }: ListenAddress): Promise<void> {
  const reusePort = await canSharePort(host)
  // Otherwise another server of this kind on the same port would be no error, and get half of the connections. Of two
  // that start at the same moment both can still succeed.
  if (reusePort && port !== 0) await reserve({ host, port })
  const others = reusePort ? Array.from({ length: LISTENERS - 1 }, () => forwardConnections(app.server)) : []
  const starts: Promise<void>[] = []
  closeTogether(app.server, async () => {
    await Promise.allSettled(starts)
    await Promise.all(others.map(stopListening))
  })
  // In a variable, since Fastify's type lacks an option that it passes to Node.
  const options = { host, port, reusePort, listenTextResolver: (address: string) => `listening at ${address}` }
  await app.listen(options)
  const address = app.server.address()
  // Null: the application was closed meanwhile.
  if (address === null || typeof address === 'string') return
  starts.push(...others.map((other) => startListening(other, { host: address.address, port: address.port, reusePort })))
  await Promise.all(starts)
}

/** A further socket of an HTTP server, which counts and limits its connections. */
function forwardConnections(server: Server): Server {
  // The options of Node's HTTP server.
  const other = createServer({ allowHalfOpen: true, noDelay: true })
  return other.on('connection', (socket) => server.emit('connection', socket))
}

/** Makes `close` of a server call back only when `closeOthers` is done too: Fastify's `onClose` hooks come after that. */
function closeTogether(server: Server, closeOthers: () => Promise<void>): void {
  const close = server.close.bind(server)
  server.close = (callback) => {
    const closesOthers = closeOthers()
    return close((error) => void closesOthers.then(() => callback?.(error)))
  }
}

const canSharePort = (host: string) =>
  reserve({ host, port: 0, reusePort: true }).then(
    () => true,
    () => false,
  )

/** Listens for a moment. */
async function reserve(options: ListenOptions): Promise<void> {
  const server = createServer()
  await startListening(server, options)
  await stopListening(server)
}

async function startListening(server: Server, options: ListenOptions): Promise<void> {
  server.listen(options)
  await once(server, 'listening')
}

const stopListening = (server: Server) => new Promise<void>((resolve) => server.close(() => resolve()))
