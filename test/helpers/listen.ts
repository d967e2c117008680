import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { openListeners } from '../../src/http/listeners.ts'

const ADDRESS = { host: '127.0.0.1', port: 0 }

/** Lets the app listen as the server does, unless it does so already, for tests that need a socket. */
export async function listen(app: FastifyInstance): Promise<{ port: number; url: string }> {
  if (!app.server.listening) await openListeners(app, ADDRESS)
  return addressOf(app)
}

/** The same with one socket, so that `app.server.getConnections` counts all connections. */
export async function listenOnOneSocket(app: FastifyInstance): Promise<{ port: number; url: string }> {
  if (!app.server.listening) await app.listen(ADDRESS)
  return addressOf(app)
}

function addressOf(app: FastifyInstance) {
  const { port } = app.server.address() as AddressInfo
  return { port, url: `http://127.0.0.1:${port}` }
}
