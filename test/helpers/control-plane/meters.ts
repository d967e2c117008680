/** Everything that is counted, from the start of the stand-in, over all its servers. */
export type Counts = {
  /** RPCs that arrived, by method, refused ones included. */
  readonly rpcs: Record<string, number>
  readonly openPolls: number
  readonly maxOpenPolls: number
  /** The most polls that were ever open at once on one connection. */
  readonly maxOpenPollsPerConnection: number
  /** FunctionMap RPCs by `x-idempotency-key`: more than one under a key is a spawn that was repeated. */
  readonly spawnsByKey: Record<string, number>
}

/** The counters behind `Counts`. */
export class Meters {
  readonly #rpcs = new Map<string, number>()
  readonly #spawnsByKey = new Map<string, number>()
  readonly #pollsByPeer = new Map<string, number>()
  #openPolls = 0
  #maxOpenPolls = 0
  #maxOpenPollsPerConnection = 0

  rpc(method: string): void {
    increment(this.#rpcs, method)
  }

  pollOpened(peer: string): void {
    this.#openPolls += 1
    this.#maxOpenPolls = Math.max(this.#maxOpenPolls, this.#openPolls)
    this.#maxOpenPollsPerConnection = Math.max(this.#maxOpenPollsPerConnection, increment(this.#pollsByPeer, peer))
  }

  pollClosed(peer: string): void {
    this.#openPolls -= 1
    const left = (this.#pollsByPeer.get(peer) ?? 0) - 1
    if (left > 0) this.#pollsByPeer.set(peer, left)
    else this.#pollsByPeer.delete(peer)
  }

  spawned(idempotencyKey: string): void {
    increment(this.#spawnsByKey, idempotencyKey)
  }

  read(): Counts {
    return {
      rpcs: Object.fromEntries(this.#rpcs),
      openPolls: this.#openPolls,
      maxOpenPolls: this.#maxOpenPolls,
      maxOpenPollsPerConnection: this.#maxOpenPollsPerConnection,
      spawnsByKey: Object.fromEntries(this.#spawnsByKey),
    }
  }
}

function increment(counts: Map<string, number>, key: string): number {
  const count = (counts.get(key) ?? 0) + 1
  counts.set(key, count)
  return count
}
