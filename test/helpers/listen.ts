import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** Lets the app listen, for tests that need a socket. */
export async function listen(app: FastifyInstance): Promise<{ port: number; url: string }> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return { port, url: `http://127.0.0.1:${port}` }
}
