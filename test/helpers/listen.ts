import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { openListeners } from '../../src/http/listeners.ts'

/** Lets the app listen as the server does, for tests that need a socket. */
export async function listen(app: FastifyInstance): Promise<{ port: number; url: string }> {
  await openListeners(app, { host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return { port, url: `http://127.0.0.1:${port}` }
}
