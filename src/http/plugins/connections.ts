import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { createLogThrottle } from '../../jobs/log.ts'
import { problem } from '../../problems.ts'
import { connectionAddressOf } from './auth.ts'
import { pendingAnswer } from './lingering-close.ts'
import type { Refusal } from './refusals.ts'
import { createLineLimit } from './request-log.ts'

export type ConnectionLimits = {
  /** Maximum open connections, without the reserve for probes. 0: no limit. */
  readonly maxConnections: number
  /** Time for the head of a request to arrive, in ms. */
  readonly headersTimeoutMs: number
}

/** Maximum size of the URL and the headers of a request together, in bytes: Node's default, on which clients rely. */
export const MAX_HEAD_BYTES = 16_384

/**
 * Fastify's options against slow clients: a request whose head does not arrive is answered 408, and its connection is
 * closed; `enforceBodyTimeout` does the same for bodies. Fastify closes a connection that is idle between requests after
 * 72 s, which is longer than load balancers keep theirs.
 */
export const connectionOptions = ({ headersTimeoutMs }: ConnectionLimits) =>
  ({
    requestTimeout: 0,
    http: {
      headersTimeout: headersTimeoutMs,
      // By default Node checks only every 30 s, so that 15 s would become 45 s.
      connectionsCheckingInterval: Math.ceil(headersTimeoutMs / 3),
      maxHeaderSize: MAX_HEAD_BYTES,
      // We refuse these requests ourselves, with a problem.
      requireHostHeader: false,
    },
  }) satisfies FastifyServerOptions & { http: object }

/** Connections beyond the limit, on which only probes are served. */
const RESERVE = 16
/** The part of the idle connections of an address that is closed at a time: finding them costs more than closing them. */
const CLOSED_SHARE = 1 / 100

/**
 * Limits the number of connections. At the limit, it closes idle connections of the address that has most, so that no
 * client can lock out others by keeping connections open. If no address that has at least as many as the new
 * connection's own has an idle one, the new connection uses the reserve. Returns the refusal for all requests in the
 * reserve but probes, until there is room again.
 */
export function limitConnections(app: FastifyInstance, { maxConnections }: ConnectionLimits): Refusal {
  if (maxConnections === 0) return () => undefined
  const open = openConnections(app.server)
  const reserved = new Set<Socket>()
  const isLineDue = createLogThrottle()
  const warn = (message: string) => {
    if (isLineDue()) app.log.warn({ event: 'connections_full', max_connections: maxConnections }, message)
  }
  // Node counts a closed connection for a moment longer.
  app.server.maxConnections = maxConnections + 2 * RESERVE
  app.server.on('drop', () => warn('too many connections; closing new ones'))
  app.server.on('connection', (socket: Socket) => {
    if (open.size() <= maxConnections) return
    const idle = idleOfLargest(open.byAddress, socket)
    for (const victim of idle.slice(0, Math.ceil(idle.length * CLOSED_SHARE))) open.close(victim)
    if (idle.length > 0) warn('too many connections; closing idle ones of the address with the most')
    else warn('too many connections; refusing requests on new ones, except probes')
    const excess = open.size() - maxConnections
    if (excess > RESERVE) open.close(socket)
    else if (excess > 0) {
      reserved.add(socket)
      socket.once('close', () => reserved.delete(socket))
    }
  })
  // `routeOptions` is a getter that builds an object each time.
  return (request) => {
    if (reserved.size === 0 || !reserved.has(request.raw.socket) || request.routeOptions.config.alwaysAnswered)
      return undefined
    if (open.size() > maxConnections)
      return problem('overloaded', { detail: 'The server has too many connections. Try again later.' })
    reserved.delete(request.raw.socket)
    return undefined
  }
}

/** The open connections by client address, in order of arrival. */
function openConnections(server: Server) {
  const byAddress = new Map<string, Set<Socket>>()
  const addresses = new Map<Socket, string>()
  const close = (socket: Socket) => {
    const address = addresses.get(socket)
    if (address === undefined) return
    addresses.delete(socket)
    const others = byAddress.get(address)
    others?.delete(socket)
    if (others?.size === 0) byAddress.delete(address)
    socket.destroy()
  }
  server.on('connection', (socket: Socket) => {
    const address = connectionAddressOf(socket)
    addresses.set(socket, address)
    byAddress.set(address, (byAddress.get(address) ?? new Set()).add(socket))
    socket.once('close', () => close(socket))
  })
  return { byAddress, close, size: () => addresses.size }
}

/** Idle connections, oldest first, of the address that has most, if it has at least as many as the newcomer's address. */
function idleOfLargest(byAddress: ReadonlyMap<string, ReadonlySet<Socket>>, newcomer: Socket): Socket[] {
  let least = byAddress.get(connectionAddressOf(newcomer))?.size ?? 0
  let found: Socket[] = []
  for (const sockets of byAddress.values()) {
    if (sockets.size < least || (sockets.size === least && found.length > 0)) continue
    const idle = [...sockets].filter((socket) => socket !== newcomer && !pendingAnswer(socket))
    if (idle.length > 0) [least, found] = [sockets.size, idle]
  }
  return found
}

export type ProgressLimits = {
  /** Time without progress after which a client that does not read is disconnected, in ms. */
  readonly stallTimeoutMs: number
}

/** Maximum log lines about disconnected clients, which can reconnect without limit. */
export const DROP_LINES = { perSubject: 20, inAll: 200, maxSubjects: 50, windowMs: 60_000 } as const

/** The bytes that the client had read when they last increased, and when that was, in ms. */
type Progress = { readonly read: number; readonly since: number }

/**
 * Disconnects clients that read nothing of an answer for `stallTimeoutMs`. It checks connections and not answers, since a
 * refusal, or an answer behind another one, has unsent bytes too.
 */
export function disconnectStalledClients(app: FastifyInstance, { stallTimeoutMs }: ProgressLimits): void {
  const open = new Set<Socket>()
  const stalled = new Map<Socket, Progress>()
  app.server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => {
      open.delete(socket)
      stalled.delete(socket)
    })
  })

  const lines = createLineLimit(DROP_LINES, (subject, { count }) => {
    app.log.info({ event: 'answers_dropped', ...subject, count }, 'more answers dropped')
  })
  const logDrop = (socket: Socket) => {
    if (!lines.admits({ remote_address: connectionAddressOf(socket) }, 'dropped')) return
    const { remoteAddress, writableLength } = socket
    const fields = { event: 'answer_dropped', remote_address: remoteAddress, unsent_bytes: writableLength }
    app.log.info(fields, 'answer dropped: the client does not read it')
  }

  const checkProgress = (socket: Socket, now: number) => {
    const read = readBytesOf(socket)
    const before = stalled.get(socket)
    if (socket.writableLength === 0) stalled.delete(socket)
    else if (before?.read !== read) stalled.set(socket, { read, since: now })
    else if (now - before.since >= stallTimeoutMs) {
      logDrop(socket)
      socket.destroy()
    }
  }
  const timer = setInterval(() => {
    const now = performance.now()
    for (const socket of open) checkProgress(socket, now)
  }, stallTimeoutMs / 6).unref()
  app.addHook('onClose', (_app, done) => {
    clearInterval(timer)
    lines.flush()
    done()
  })
}

/**
 * Bytes that the kernel has accepted on a connection, as the client reads. The socket counts only whole writes, of which
 * one can be a whole page; Node's own socket timeout reads the handle too.
 */
function readBytesOf(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { bytesWritten: number; writeQueueSize: number } | null }
  return handle ? handle.bytesWritten - handle.writeQueueSize : 0
}
