import { once } from 'node:events'
import { type AddressInfo, createServer, type ListenOptions, type Server } from 'node:net'
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

/** The listening sockets of an application. Close them before the application or together with it. */
export type Listeners = {
  /** Rejects with Node's error if the application cannot listen. */
  listen(address: ListenAddress): Promise<void>
  close(): Promise<void>
}

/** Listens with several sockets if the kernel distributes connections among them (`SO_REUSEPORT`), else with one. */
export function createListeners(app: FastifyInstance): Listeners {
  const others = new Set<Server>()
  let isClosed = false

  const open = async ({ address, port }: AddressInfo) => {
    // The options of Node's HTTP server.
    const other = createServer({ allowHalfOpen: true, noDelay: true })
    if (app.server.maxConnections) other.maxConnections = app.server.maxConnections
    const forward = (event: string) => other.on(event, (...args: unknown[]) => app.server.emit(event, ...args))
    forward('connection')
    forward('drop')
    await startListening(other, { host: address, port, reusePort: true })
    forward('error')
    if (isClosed) other.close()
    else others.add(other)
  }

  return {
    async listen({ host, port }) {
      const reusePort = await canSharePort(host)
      // Otherwise another server of this kind on the same port would be no error, and get half of the connections.
      if (reusePort && port !== 0) await reserve({ host, port })
      const options = { host, port, reusePort, listenTextResolver: (address: string) => `listening at ${address}` }
      await app.listen(options)
      const address = app.server.address()
      if (!reusePort || address === null || typeof address === 'string') return
      await Promise.all(Array.from({ length: LISTENERS - 1 }, () => open(address)))
    },
    async close() {
      isClosed = true
      await Promise.all([...others].map(stopListening))
    },
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
