import type { Rpc } from './rpc-server.ts'

/** Calls whose spawn may look failed to the client. Repeats of a spawn lie between the first number and the sum. */
export type SpawnAnswerCounts = {
  /** FunctionMap RPCs that made a call and were never answered. */
  readonly spawnsLeftUnanswered: number
  /** Those whose answer was sent on a connection that was cut before the client was known to have read it. */
  readonly spawnsUnconfirmed: number
  /** The ids of the calls of both. */
  readonly unansweredCalls: readonly string[]
}

/**
 * Whether the answers of spawns arrived. An answer is pending once its call exists, then sent, then confirmed; a cut
 * connection loses it in any state.
 */
export class SpawnAnswers {
  readonly #pending = new Map<Rpc, 'pending' | 'sent'>()
  readonly #callIds = new WeakMap<Rpc, string>()
  readonly #unansweredCalls: string[] = []
  #unanswered = 0
  #unconfirmed = 0

  expected(rpc: Rpc, callId: string): void {
    this.#pending.set(rpc, 'pending')
    this.#callIds.set(rpc, callId)
  }

  sent(rpc: Rpc): void {
    if (this.#pending.has(rpc)) this.#pending.set(rpc, 'sent')
  }

  /** Whether this is the RPC of a spawn whose answer has been sent. */
  isSent(rpc: Rpc): boolean {
    return this.#pending.get(rpc) === 'sent'
  }

  confirmed(rpc: Rpc): void {
    this.#pending.delete(rpc)
  }

  /** The stream of an RPC is over for the client. */
  cut(rpc: Rpc): void {
    const state = this.#pending.get(rpc)
    if (!this.#pending.delete(rpc)) return
    this.#unansweredCalls.push(this.#callIds.get(rpc) ?? '')
    if (state === 'pending') this.#unanswered += 1
    else this.#unconfirmed += 1
  }

  /** A connection is over, with all streams on it. */
  cutAll(peer: string): void {
    for (const rpc of this.#pending.keys()) if (rpc.peer === peer) this.cut(rpc)
  }

  read(): SpawnAnswerCounts {
    const unansweredCalls = [...this.#unansweredCalls]
    return { spawnsLeftUnanswered: this.#unanswered, spawnsUnconfirmed: this.#unconfirmed, unansweredCalls }
  }
}
