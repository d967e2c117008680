import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { createLineLimit } from '../jobs/log.ts'

export type ConnectionLimits = {
  /** Connections at a time; beyond them new ones are closed at once. 0: no limit. */
  readonly maxConnections: number
  /** How long the head of a request may take to arrive, in ms. */
  readonly headersTimeoutMs: number
}

/** URL and headers of a request together, in bytes; Node's own default, stated since callers depend on it. */
export const MAX_HEAD_BYTES = 16_384

/**
 * Fastify's options against clients that are slow, by fault or on purpose: a request whose head does not arrive is
 * answered 408, and its connection closed; for its body see `limitArrival`. A connection that is idle between requests is closed by Fastify after 72 s, which is longer
 * than load balancers keep theirs.
 */
export const connectionOptions = ({ headersTimeoutMs }: ConnectionLimits) =>
  ({
    requestTimeout: 0,
    http: {
      headersTimeout: headersTimeoutMs,
      // Node looks only every 30 s otherwise: a limit of 15 s would be one of 45.
      connectionsCheckingInterval: Math.ceil(headersTimeoutMs / 3),
      maxHeaderSize: MAX_HEAD_BYTES,
      // Ours to refuse, with a problem document.
      requireHostHeader: false,
    },
  }) satisfies FastifyServerOptions & { http: object }

/** Keeps the number of connections within its limit, and says so when it does. */
export function limitConnections(app: FastifyInstance, { maxConnections }: ConnectionLimits): void {
  if (maxConnections === 0) return
  const isDue = createLineLimit()
  app.server.maxConnections = maxConnections
  app.server.on('drop', () => {
    if (!isDue()) return
    app.log.warn({ max_connections: maxConnections }, 'there are too many connections: new ones are closed')
  })
}
