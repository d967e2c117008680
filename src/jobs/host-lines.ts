import { createFifo, type Fifo } from '../lib/fifo.ts'

/** A piece of work for a host, and the name by which it is waited for only once. */
export type HostWork = { readonly key: string; readonly host: string; run(): Promise<void> }

export type HostLines = {
  /**
   * Lets work wait for its turn, unless it waits already or its host's line is full. What is added while work of its
   * key runs takes its turn after that.
   */
  add(work: HostWork): void
  /** Lets nothing more begin, and resolves when what runs has ended. */
  close(): Promise<void>
}

export type HostLinesOptions = {
  readonly perHost: number
  readonly inAll: number
  /** How much may wait for one host. */
  readonly maxWaiting: number
  /** Called when the line of a host that was full is empty: there is more for it elsewhere. */
  readonly drained: () => void
}

type Line = { readonly waiting: Fifo<HostWork>; running: number; isReady: boolean; wasFull: boolean }

/**
 * A line for each host, all served in turn: a host that takes its time holds up nobody but its own line. `run` must
 * not reject.
 */
export function createHostLines({ perHost, inAll, maxWaiting, drained }: HostLinesOptions): HostLines {
  const lines = new Map<string, Line>()
  const waiting = new Set<string>()
  /** What runs, by key, and what was added meanwhile. */
  const running = new Map<string, HostWork | undefined>()
  const ready = createFifo<Line>()
  const underWay = new Set<Promise<void>>()
  let isClosed = false

  const lineOf = (host: string): Line => {
    const line = lines.get(host) ?? { waiting: createFifo(), running: 0, isReady: false, wasFull: false }
    lines.set(host, line)
    return line
  }

  /** A line stands among the ready ones once, as long as it has work and a place to do it. */
  const makeReady = (line: Line) => {
    if (line.isReady || line.waiting.size === 0 || line.running >= perHost) return
    line.isReady = true
    ready.add(line)
  }

  const begin = (line: Line, work: HostWork) => {
    line.running++
    waiting.delete(work.key)
    running.set(work.key, undefined)
    const run = work.run().finally(() => {
      line.running--
      underWay.delete(run)
      const again = running.get(work.key)
      running.delete(work.key)
      if (line.running === 0 && line.waiting.size === 0) lines.delete(work.host)
      else makeReady(line)
      if (again) add(again)
      serve()
    })
    underWay.add(run)
  }

  const serve = () => {
    while (!isClosed && underWay.size < inAll) {
      const line = ready.shift()
      const work = line?.waiting.shift()
      if (!line || !work) return
      line.isReady = false
      begin(line, work)
      makeReady(line)
      if (line.wasFull && line.waiting.size === 0) {
        line.wasFull = false
        drained()
      }
    }
  }

  const add = (work: HostWork) => {
    if (isClosed || waiting.has(work.key)) return
    if (running.has(work.key)) return void running.set(work.key, work)
    const line = lineOf(work.host)
    if (line.waiting.size >= maxWaiting) {
      line.wasFull = true
      return
    }
    waiting.add(work.key)
    line.waiting.add(work)
    makeReady(line)
    serve()
  }

  return {
    add,
    async close() {
      isClosed = true
      await Promise.all(underWay)
    },
  }
}
