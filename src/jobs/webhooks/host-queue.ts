import { createFifo, type Fifo } from '../../lib/fifo.ts'

/** A piece of work of a caller for a host, and the name by which it is waited for only once. */
export type HostWork = { readonly key: string; readonly caller: string; readonly host: string; run(): Promise<void> }

export type HostQueues = {
  /**
   * Lets work wait for its turn, unless it waits already or its line is full. What is added while work of its key runs
   * takes its turn after that.
   */
  add(work: HostWork): void
  /** Lets nothing more begin, and resolves when what runs has ended. */
  close(): Promise<void>
}

export type HostQueuesOptions = {
  /** How much of a line may run at the same time. */
  readonly perHost: number
  /** How much may wait in a line. */
  readonly maxQueued: number
  /** Called when a line that was full is empty: there is more for it elsewhere. */
  readonly drained: () => void
}

type HostQueue = { readonly name: string; readonly waiting: Fifo<HostWork>; running: number; wasFull: boolean }

/**
 * A line for each host of each caller: a host that takes its time holds up nobody but its own line. `run` must not
 * reject.
 */
export function createHostQueues({ perHost, maxQueued, drained }: HostQueuesOptions): HostQueues {
  const lines = new Map<string, HostQueue>()
  const waiting = new Set<string>()
  /** What runs, by key, and what was added meanwhile. */
  const running = new Map<string, HostWork | undefined>()
  const underWay = new Set<Promise<void>>()
  let isClosed = false

  const lineOf = ({ caller, host }: HostWork): HostQueue => {
    const name = JSON.stringify([caller, host])
    const line = lines.get(name) ?? { name, waiting: createFifo(), running: 0, wasFull: false }
    lines.set(name, line)
    return line
  }

  const begin = (line: HostQueue, work: HostWork) => {
    line.running++
    waiting.delete(work.key)
    running.set(work.key, undefined)
    const run = work.run().finally(() => {
      line.running--
      underWay.delete(run)
      const again = running.get(work.key)
      running.delete(work.key)
      if (again) add(again)
      serve(line)
    })
    underWay.add(run)
  }

  const serve = (line: HostQueue) => {
    while (!isClosed && line.running < perHost) {
      const work = line.waiting.shift()
      if (!work) break
      begin(line, work)
      if (line.wasFull && line.waiting.size === 0) {
        line.wasFull = false
        drained()
      }
    }
    if (line.running === 0 && line.waiting.size === 0) lines.delete(line.name)
  }

  const add = (work: HostWork) => {
    if (isClosed || waiting.has(work.key)) return
    if (running.has(work.key)) return void running.set(work.key, work)
    const line = lineOf(work)
    if (line.waiting.size >= maxQueued) {
      line.wasFull = true
      return
    }
    waiting.add(work.key)
    line.waiting.add(work)
    serve(line)
  }

  return {
    add,
    async close() {
      isClosed = true
      await Promise.all(underWay)
    },
  }
}
