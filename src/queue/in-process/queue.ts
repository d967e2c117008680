import { type Log, runLogged } from '../../jobs/log.ts'
import { keyOfEntry, type JobQueue, type QueueEntry, type RunEntry } from '../../jobs/ports/queue.ts'
import { createFifo } from '../../lib/collections.ts'

type Running = { readonly entry: QueueEntry; readonly abort: AbortController; done: Promise<void> }

type InProcessQueueOptions = {
  readonly log: Log
  /** Entries that run at the same time; undefined: all. */
  readonly maxRunning?: number | undefined
}

/** Runs entries in this process, each as one asynchronous task; nothing survives the process. */
export function createInProcessQueue({ log, maxRunning = Infinity }: InProcessQueueOptions): JobQueue {
  const waiting = createWaitingEntries<QueueEntry>()
  const running = new Map<string, Running>()
  let run: RunEntry | undefined
  let closing: Promise<void> | undefined

  /** Starts the entries that have waited longest, as far as the bound allows. */
  const startNext = () => {
    while (run && !closing && running.size < maxRunning) {
      const entry = waiting.shift()
      if (!entry) return
      startRun(entry, run)
    }
  }

  const startRun = (entry: QueueEntry, work: RunEntry) => {
    const key = keyOfEntry(entry)
    const abort = new AbortController()
    const task: Running = { entry, abort, done: Promise.resolve() }
    running.set(key, task)
    task.done = runLogged(log, entry, () => work(entry, abort.signal)).then(() => {
      running.delete(key)
      startNext()
    })
  }

  const closeAll = async () => {
    for (const task of running.values()) task.abort.abort(new Error('the queue is closing'))
    await Promise.all([...running.values()].map((task) => task.done))
  }

  return {
    start(work) {
      run = work
      startNext()
      return Promise.resolve()
    },
    enqueue(entry) {
      const key = keyOfEntry(entry)
      if (!closing && !running.has(key)) waiting.add(key, entry)
      startNext()
      return Promise.resolve()
    },
    dequeue(entry) {
      waiting.remove(keyOfEntry(entry))
      running.get(keyOfEntry(entry))?.abort.abort(new Error('the entry was dequeued'))
      return Promise.resolve()
    },
    running: () => [...running.values()].map(({ entry }) => entry),
    position: (entry) => waiting.position(keyOfEntry(entry)),
    close: () => (closing ??= closeAll()),
  }
}

/** A FIFO whose elements can be removed from anywhere and know their position. */
type WaitingEntries<T> = {
  /** Adds an element at the end; a key that is there already keeps its position. */
  add(key: string, value: T): void
  /** Removes and returns the first; undefined if there is none. */
  shift(): T | undefined
  remove(key: string): void
  /** 1 for the first; undefined for a key that is not there. O(log n). */
  position(key: string): number | undefined
}

type Element<T> = { readonly key: string; readonly value: T; readonly ticket: number }

/**
 * Elements have rising tickets. A position is the ticket less the number of elements with a lower ticket that left. Those
 * that left at the front are only counted; those that left elsewhere are gaps, kept as a sorted list until the front has
 * passed them.
 */
export function createWaitingEntries<T>(): WaitingEntries<T> {
  const elements = new Map<string, { readonly element: Element<T>; readonly removeFromOrder: () => void }>()
  const order = createFifo<Element<T>>()
  let gaps: number[] = []
  let next = 0
  let front = 0

  /** Gaps before `ticket` no longer count. They are dropped in bulk: each removal copies the list. */
  const moveFront = (ticket: number) => {
    front = ticket
    const passed = countBelow(gaps, front)
    if (passed > 64 && passed > gaps.length / 2) gaps = gaps.slice(passed)
  }

  return {
    add(key, value) {
      if (elements.has(key)) return
      const element: Element<T> = { key, value, ticket: next++ }
      elements.set(key, { element, removeFromOrder: order.add(element) })
    },
    shift() {
      const first = order.shift()
      if (!first) return undefined
      elements.delete(first.key)
      moveFront(first.ticket + 1)
      return first.value
    },
    remove(key) {
      const found = elements.get(key)
      if (!found) return
      found.removeFromOrder()
      elements.delete(key)
      const { ticket } = found.element
      gaps.splice(countBelow(gaps, ticket), 0, ticket)
      // Then no position depends on the gaps.
      if (elements.size === 0) moveFront(next)
    },
    position(key) {
      const ticket = elements.get(key)?.element.ticket
      if (ticket === undefined) return undefined
      return ticket - front + 1 - (countBelow(gaps, ticket) - countBelow(gaps, front))
    },
  }
}

/** How many numbers of a sorted list are below a value: a binary search. */
function countBelow(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? Infinity) < value) low = middle + 1
    else high = middle
  }
  return low
}
