import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** A connection between a client and a server that a test can break. */
export type Relay = {
  readonly url: string
  /** Connections that clients have made so far. */
  readonly connections: number
  /** What clients have sent so far. */
  readonly sent: string
  /** Breaks every connection as soon as the server answers on it, so many times. */
  loseAnswers(count: number): void
  /** Breaks every connection. */
  cut(): void
  /** Does something as soon as a client sends this text, which does not arrive. */
  at(text: string, act: () => void): void
  /** Breaks every connection, and takes no other. */
  end(): void
  /** From now on nothing passes on the connections that there are, which stay open; new ones are whole. */
  swallow(): void
}

/** Opens one to a port of this machine; it ends with the test. */
export async function openRelay(port: number): Promise<Relay> {
  let [toLose, connections, sent] = [0, 0, '']
  let [awaited, act]: [string | undefined, () => void] = [undefined, () => undefined]
  const sockets = new Set<Socket>()
  let silent = new Set<Socket>()
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const join = (from: Socket, to: Socket, passes: (chunk: Buffer) => boolean) => {
    sockets.add(from)
    from.on('error', () => undefined)
    from.on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
    from.on('data', (chunk: Buffer) => {
      if (!silent.has(from) && passes(chunk)) to.write(chunk)
    })
  }
  const server = createServer((client) => {
    connections++
    const upstream = connect({ port, host: '127.0.0.1' })
    join(client, upstream, (chunk) => {
      sent += chunk.toString('latin1')
      if (awaited === undefined || !chunk.includes(awaited)) return true
      act()
      return false
    })
    join(upstream, client, () => {
      if (toLose === 0) return true
      toLose--
      client.destroy()
      return false
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const end = () => {
    cut()
    server.close()
  }
  onTestFinished(end)
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections
    },
    get sent() {
      return sent
    },
    loseAnswers(count) {
      toLose = count
    },
    cut,
    at(text, then) {
      awaited = text
      act = then
    },
    end,
    swallow() {
      silent = new Set(sockets)
    },
  }
}
