import { randomUUID } from 'node:crypto'

import {
  DEFAULT_AFTER_MS,
  steeredBehaviour,
  usualResult,
  type Behave,
  type Behaviour,
  type Ending,
  type Kwargs,
} from './behaviour.ts'
import { plannedLines, visibleLines, type LogLine } from './logs.ts'

/** What tests may assert about a call. Times are exact: fractional milliseconds since the epoch, of `exactNow`. */
export type CallRecord = {
  readonly callId: string
  readonly appId: string
  readonly functionId: string
  readonly functionName: string
  readonly kwargs: Kwargs
  readonly idempotencyKey: string
  readonly createdAt: number
  /** When its input was taken: with the spawn, or later, or not yet. */
  inputAt?: number
  /** When it got a GPU, on which its container starts. */
  gpuAt?: number
  /** When its input reached a container. */
  startedAt?: number
  endedAt?: number
  end?: Ending
  cancelledAt?: number
  cancelRequests: number
  polls: number
}

/** A call with what drives it. `listeners` run at its end and at each log line added by hand. */
export type Call = CallRecord & {
  readonly behaviour: Behaviour
  readonly startedAtMs: number
  /** Whether its output has expired: nothing is left to wait for. */
  isExpired: boolean
  /** Whether it occupies a GPU. */
  onGpu: boolean
  lines: LogLine[]
  timers: NodeJS.Timeout[]
  blobId?: string
  listeners?: Set<() => void>
}

/** What is known of a call at its spawn. */
export type Spawn = Pick<CallRecord, 'appId' | 'functionId' | 'functionName' | 'kwargs' | 'idempotencyKey'>

/** The time in fractional milliseconds since the epoch, comparable between the processes of one machine. */
export function exactNow(): number {
  return performance.timeOrigin + performance.now()
}

/**
 * Every call ever spawned, and their ends. It outlives the server: calls continue while that is stopped, as Modal's
 * containers do while its control plane is unreachable. Each open call costs at most one timer.
 */
export class Calls {
  readonly #calls = new Map<string, Call>()
  readonly #open = new Set<Call>()
  /** In the order in which their inputs were taken, which is that of the queue. */
  readonly #withInput: Call[] = []
  /** Those that wait for a GPU, the oldest first; some may have ended meanwhile. */
  readonly #queue: Call[] = []
  readonly #behave: Behave | undefined
  readonly #changed: () => void
  readonly #gpus: number
  #running = 0
  #spawned = 0

  /** `gpus`: how many calls run at a time; the others wait in a queue. */
  constructor(behave: Behave | undefined, changed: () => void, gpus = Infinity) {
    this.#behave = behave
    this.#changed = changed
    this.#gpus = gpus
  }

  get spawned(): number {
    return this.#spawned
  }

  get open(): number {
    return this.#open.size
  }

  /**
   * Makes a call, whose input is given to it by `takeInput`. The behaviour is decided first: one that throws fails the
   * spawn.
   */
  spawn(spawn: Spawn): Call {
    const callId = `fc-${randomUUID()}`
    const info = { callId, functionName: spawn.functionName, index: this.#spawned }
    const behaviour = this.#behave?.(spawn.kwargs, info) ?? steeredBehaviour(spawn.kwargs)
    const startedAtMs = Date.now()
    const lines = plannedLines(startedAtMs, durationMs(behaviour), behaviour.logs ?? [])
    const call: Call = {
      callId,
      ...spawn,
      createdAt: exactNow(),
      cancelRequests: 0,
      polls: 0,
      behaviour,
      startedAtMs,
      isExpired: false,
      onGpu: false,
      lines,
      timers: [],
    }
    this.#calls.set(callId, call)
    this.#open.add(call)
    this.#spawned += 1
    return call
  }

  /** Gives a call its one input, from which its times count, if it need not wait for a GPU; does nothing for one that has it. */
  takeInput(call: Call): void {
    if (call.inputAt !== undefined) return
    call.inputAt = exactNow()
    this.#withInput.push(call)
    if (this.#running >= this.#gpus) this.#queue.push(call)
    else this.#run(call)
  }

  #run(call: Call): void {
    this.#running += 1
    call.onGpu = true
    call.gpuAt = exactNow()
    const { end = { kind: 'return' }, startsAfterMs = 0 } = call.behaviour
    if (startsAfterMs === 0) call.startedAt = exactNow()
    else call.timers.push(setTimeout(() => (call.startedAt = exactNow()), startsAfterMs))
    if (end.kind !== 'never') call.timers.push(setTimeout(() => this.end(call, end), durationMs(call.behaviour)))
  }

  /** Gives the GPU of a call that has ended to the next one in the queue. */
  #freeGpu(call: Call): void {
    if (!call.onGpu) return
    call.onGpu = false
    this.#running -= 1
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      if (!this.#open.has(next)) continue
      this.#run(next)
      return
    }
  }

  /** Calls of a function whose inputs were taken in a range of time, oldest first. Times as of `exactNow`. */
  listed(functionId: string, { since, until, limit }: { since: number; until: number; limit: number }): Call[] {
    let [low, high] = [0, this.#withInput.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#withInput[middle]?.inputAt ?? 0) < since) low = middle + 1
      else high = middle
    }
    const found: Call[] = []
    for (let at = low; at < this.#withInput.length && found.length < limit; at++) {
      const call = this.#withInput[at]
      if (!call || (call.inputAt ?? 0) >= until) break
      if (call.functionId === functionId) found.push(call)
    }
    return found
  }

  find(callId: string): Call | undefined {
    return this.#calls.get(callId)
  }

  /** All calls, oldest first. */
  list(): Call[] {
    return [...this.#calls.values()]
  }

  /** Ends a call that is open; does nothing to one that has ended. */
  end(call: Call, ending: Ending): void {
    if (!this.#open.delete(call)) return
    call.timers.forEach(clearTimeout)
    call.endedAt = exactNow()
    call.end =
      ending.kind === 'return' && !('value' in ending)
        ? { kind: 'return', value: usualResult(call.functionName, call.kwargs) }
        : ending
    // What a call cut short had not yet printed is never printed.
    call.lines = visibleLines(call.lines)
    this.#freeGpu(call)
    this.#notify(call)
  }

  /** A request to cancel: an open call ends as terminated, an ended one stays as it is. */
  cancel(call: Call): void {
    call.cancelRequests += 1
    call.cancelledAt ??= exactNow()
    // Modal gives no words for it.
    this.end(call, { kind: 'terminated', message: '' })
    this.#changed()
  }

  /** Adds a log line to a call, printed now. */
  log(call: Call, text: string): void {
    call.lines.push(...plannedLines(Date.now(), 0, [text]))
    this.#notify(call)
  }

  /** Lets the output of a call expire: the call stays known, and there is nothing to wait for. */
  expire(call: Call): void {
    call.timers.forEach(clearTimeout)
    this.#open.delete(call)
    this.#freeGpu(call)
    call.isExpired = true
    this.#notify(call)
  }

  /** Makes a call unknown. */
  forget(call: Call): void {
    call.timers.forEach(clearTimeout)
    this.#open.delete(call)
    this.#freeGpu(call)
    this.#calls.delete(call.callId)
    this.#notify(call)
  }

  /** Stops every timer. */
  close(): void {
    for (const call of this.#open) call.timers.forEach(clearTimeout)
    this.#open.clear()
  }

  #notify(call: Call): void {
    for (const listener of call.listeners ?? []) listener()
    this.#changed()
  }
}

function durationMs(behaviour: Behaviour): number {
  return behaviour.afterMs ?? (behaviour.end?.kind === 'never' ? 0 : DEFAULT_AFTER_MS)
}
