import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'

import type { Rpc } from './rpc-server.ts'
import type { SpawnAnswers } from './spawn-answers.ts'

type Connection = { readonly socket: Socket; readonly unconfirmed: Rpc[]; pinging: boolean }

/** The open connections of a server, by the address and port of the client's end. */
export class Connections {
  readonly #connections = new Map<string, Connection>()
  readonly #answers: SpawnAnswers

  constructor(answers: SpawnAnswers) {
    this.#answers = answers
  }

  get size(): number {
    return this.#connections.size
  }

  add(socket: Socket): void {
    const peer = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`
    this.#connections.set(peer, { socket, unconfirmed: [], pinging: false })
    socket.on('error', () => undefined)
    socket.once('close', () => {
      this.#connections.delete(peer)
      this.#answers.cutAll(peer)
    })
  }

  /**
   * To be called once the stream of a spawn has closed. Confirms its answer when the client answers a PING that was
   * sent after it: a client reads in order. That an answer was written proves nothing, a cut takes it away unread.
   */
  confirm(rpc: Rpc): void {
    const connection = this.#connections.get(rpc.peer)
    // gRPC still dispatches and answers the RPCs that it had read before the connection was cut.
    if (!connection) {
      this.#answers.cut(rpc)
      return
    }
    connection.unconfirmed.push(rpc)
    if (!connection.pinging) this.#ping(connection, rpc.session)
  }

  /** Cuts a connection at once, without goodbyes. */
  drop(peer: string): void {
    this.#answers.cutAll(peer)
    this.#connections.get(peer)?.socket.destroy()
  }

  dropAll(): void {
    for (const peer of this.#connections.keys()) this.drop(peer)
  }

  // One PING at a time confirms all that closed before it, however many spawns a second there are.
  #ping(connection: Connection, session: ServerHttp2Session): void {
    const batch = connection.unconfirmed.splice(0)
    if (batch.length === 0 || session.destroyed) return
    connection.pinging = true
    session.ping((error) => {
      connection.pinging = false
      if (error) return
      for (const rpc of batch) this.#answers.confirmed(rpc)
      this.#ping(connection, session)
    })
  }
}
