import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { createLogThrottle } from '../../jobs/log.ts'
import { problem } from '../../problems.ts'
import { connectionAddressOf } from './caller.ts'
import { pendingAnswer } from './lingering-close.ts'
import { createLineLimit } from './line-limit.ts'
import type { Refusal } from './refusals.ts'

export type ConnectionLimits = {
  /** Connections at a time, those that probes may have in addition left out. 0: no limit. */
  readonly maxConnections: number
  /** How long the head of a request may take to arrive, in ms. */
  readonly headersTimeoutMs: number
}

/** URL and headers of a request together, in bytes; Node's own default, stated since callers depend on it. */
export const MAX_HEAD_BYTES = 16_384

/**
 * Fastify's options against clients that are slow, by accident or on purpose: a request whose head does not arrive is
 * answered 408, and its connection closed; for its body see `enforceBodyTimeout`. A connection that is idle between requests
 * is closed by Fastify after 72 s, which is longer than load balancers keep theirs.
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

/** Connections beyond the limit on which probes are answered, and all else is refused. */
const RESERVE = 16
/** Of the idle connections of one address so many are closed at a time: looking for them costs more than closing. */
const CLOSED_SHARE = 1 / 100

/**
 * Keeps the number of connections within its limit. When it is reached, idle ones of the address that has most make
 * room, so that nobody can lock out others by holding connections. Where none is idle that belongs to an address with
 * as many as the new one's, the new one gets a place of the reserve. Returns the refusal for what is no probe there, as
 * long as there is no room.
 */
export function limitConnections(app: FastifyInstance, { maxConnections }: ConnectionLimits): Refusal {
  if (maxConnections === 0) return () => undefined
  const open = openConnections(app.server)
  const reserved = new Set<Socket>()
  const isDue = createLogThrottle()
  const warn = (message: string) => {
    if (isDue()) app.log.warn({ event: 'connections_full', max_connections: maxConnections }, message)
  }
  // What is closed still counts for Node for a moment.
  app.server.maxConnections = maxConnections + 2 * RESERVE
  app.server.on('drop', () => warn('too many connections: new ones are closed'))
  app.server.on('connection', (socket: Socket) => {
    if (open.size() <= maxConnections) return
    const idle = idleOfGreediest(open.byAddress, socket)
    for (const victim of idle.slice(0, Math.ceil(idle.length * CLOSED_SHARE))) open.close(victim)
    if (idle.length > 0) warn('too many connections: idle ones of the address that has most are closed')
    else warn('too many connections: new ones are refused, except for probes')
    const excess = open.size() - maxConnections
    if (excess > RESERVE) open.close(socket)
    else if (excess > 0) {
      reserved.add(socket)
      socket.once('close', () => reserved.delete(socket))
    }
  })
  return ({ raw, routeOptions }) => {
    if (reserved.size === 0 || !reserved.has(raw.socket) || routeOptions.config.alwaysAnswered) return undefined
    if (open.size() > maxConnections)
      return problem('overloaded', { detail: 'The server has too many connections; try again later.' })
    reserved.delete(raw.socket)
    return undefined
  }
}

/** The connections that are open, by the address of their client, each in the order they came. */
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

/** Idle connections of the address that has most, and at least as many as that of the newcomer; the oldest first. */
function idleOfGreediest(byAddress: ReadonlyMap<string, ReadonlySet<Socket>>, newcomer: Socket): Socket[] {
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
  /** How long a client may take nothing of what is sent to it, in ms. */
  readonly stallTimeoutMs: number
}

/** Lines about clients that were cut off. A stranger can open new connections, and read nothing of them, for ever. */
export const DROP_LINES = { perSubject: 20, inAll: 200, maxSubjects: 50, windowMs: 60_000 } as const

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

  const lines = createLineLimit(DROP_LINES, (subject, { count }) => {
    app.log.info({ event: 'answers_dropped', ...subject, count }, 'answers dropped without a line of their own')
  })
  const logDrop = (socket: Socket) => {
    if (!lines.admits({ remote_address: connectionAddressOf(socket) }, 'dropped')) return
    const { remoteAddress, writableLength } = socket
    const fields = { event: 'answer_dropped', remote_address: remoteAddress, unsent_bytes: writableLength }
    app.log.info(fields, 'answer dropped: the client takes nothing of it')
  }

  const look = (socket: Socket, now: number) => {
    const taken = takenBytesOf(socket)
    const before = stalled.get(socket)
    if (socket.writableLength === 0) stalled.delete(socket)
    else if (before?.taken !== taken) stalled.set(socket, { taken, since: now })
    else if (now - before.since >= stallTimeoutMs) {
      logDrop(socket)
      socket.destroy()
    }
  }
  const timer = setInterval(() => {
    const now = performance.now()
    for (const socket of open) look(socket, now)
  }, stallTimeoutMs / 6).unref()
  app.addHook('onClose', (_app, done) => {
    clearInterval(timer)
    lines.flush()
    done()
  })
}

/**
 * Bytes that the system has taken from a connection. The socket reports only whole writes, of which one can be a whole
 * page; Node's own timeout of sockets looks at its handle too.
 */
function takenBytesOf(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { bytesWritten: number; writeQueueSize: number } | null }
  return handle ? handle.bytesWritten - handle.writeQueueSize : 0
}
