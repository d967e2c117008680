import type { Socket } from 'node:net'

import type { Meters } from './meters.ts'

/** The open connections of a server, by the address and port of the client's end. */
export class Connections {
  readonly #sockets = new Map<string, Socket>()
  readonly #meters: Meters

  constructor(meters: Meters) {
    this.#meters = meters
  }

  get size(): number {
    return this.#sockets.size
  }

  add(socket: Socket): void {
    const peer = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`
    this.#sockets.set(peer, socket)
    socket.on('error', () => undefined)
    socket.once('close', () => this.#sockets.delete(peer))
  }

  /** Whether what is written now can still arrive. gRPC goes on handing out RPCs read before the connection was cut. */
  alive(peer: string): boolean {
    return this.#sockets.get(peer)?.destroyed === false
  }

  /** Cuts a connection at once, without goodbyes. */
  drop(peer: string): void {
    this.#meters.dropped(peer)
    this.#sockets.get(peer)?.destroy()
  }

  dropAll(): void {
    for (const peer of this.#sockets.keys()) this.drop(peer)
  }
}
