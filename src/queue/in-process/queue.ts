import { type Log, runLogged } from '../../jobs/log.ts'
import {
  equalShares,
  keyOfEntry,
  type JobQueue,
  type QueueEntry,
  type RunEntry,
  type ShareOf,
} from '../../jobs/ports/queue.ts'
import type { FlagKeeper } from '../../jobs/ports/store.ts'
import { PRIORITIES, type Priority } from '../../jobs/job.ts'
import { createFifo } from '../../lib/collections.ts'
import { createPauseSwitch } from '../../lib/concurrency.ts'

type Running = { readonly entry: QueueEntry; readonly abort: AbortController; done: Promise<void> }

type InProcessQueueOptions = {
  readonly log: Log
  /** Entries that run at the same time; undefined: all. */
  readonly maxRunning?: number | undefined
  readonly shareOf?: ShareOf
  /** Keeps a pause over restarts; without it a pause ends with the process. */
  readonly flags?: Partial<FlagKeeper>
}

/** Runs entries in this process, each as one asynchronous task; nothing survives the process. */
export function createInProcessQueue({
  log,
  maxRunning = Infinity,
  shareOf,
  flags = {},
}: InProcessQueueOptions): JobQueue {
  const waiting = createFairOrder<QueueEntry>(shareOf)
  const running = new Map<string, Running>()
  let run: RunEntry | undefined
  let closing: Promise<void> | undefined
  const pause = createPauseSwitch()

  /** Starts the entries whose turn it is, as far as the bound allows. */
  const startNext = () => {
    while (run && !closing && running.size < maxRunning) {
      const entry = waiting.start({ onlyFirst: pause.isPaused })
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
      waiting.finish(entry.caller)
      startNext()
    })
  }

  const add = (entry: QueueEntry, isFirst: boolean) => {
    const key = keyOfEntry(entry)
    if (!closing && !running.has(key)) waiting.add(key, entry, { ...entry, isFirst })
    startNext()
    return Promise.resolve()
  }

  const closeAll = async () => {
    for (const task of running.values()) task.abort.abort(new Error('the queue is closing'))
    await Promise.all([...running.values()].map((task) => task.done))
  }

  return {
    async start(work) {
      pause.set((await flags.flag?.(PAUSED)) ?? false)
      run = work
      startNext()
    },
    async setPaused(paused) {
      await flags.setFlag?.(PAUSED, paused)
      pause.set(paused)
      startNext()
    },
    isPaused: () => pause.isPaused,
    whenNotPaused: pause.run,
    enqueue: (entry) => add(entry, false),
    resume: (entry, { hasCall }) => add(entry, hasCall),
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

/** The name of the flag. */
const PAUSED = 'paused'

/** Whose an element is, and how urgent among those of its caller. `isFirst`: it comes before all others of all callers. */
type Turn = { readonly caller: string; readonly priority: Priority; readonly isFirst?: boolean }

/** Waiting elements, to be started in the order of fair shares. */
export type FairOrder<T> = {
  /** Adds an element; a key that is there already keeps its place. */
  add(key: string, value: T, turn: Turn): void
  /** Removes and returns the element whose turn it is; undefined if none waits, or only ones of callers at their
   * limit. `onlyFirst`: only an element that is first. */
  start(options?: { readonly onlyFirst?: boolean }): T | undefined
  /** To be called when an element of the caller that was started has finished. */
  finish(caller: string): void
  remove(key: string): void
  /**
   * 1 for the next to start; undefined for a key that is not there. So many of the elements that wait now start up to
   * and with this one, or fewer if callers are at their limit; more only if its own caller is.
   */
  position(key: string): number | undefined
}

/** A caller with waiting or running elements, or one that is ahead of the virtual time. */
type Flow<T> = {
  readonly caller: string
  /** Its waiting elements, the most urgent lane first. */
  readonly lanes: readonly WaitingEntries<Placed<T>>[]
  waiting: number
  running: number
  /** The virtual start of its next element, unless that time has passed already. */
  nextStart: number
  /** Decides between callers with the same virtual start: since when it has waited. */
  order: number
}

/** Where a waiting element is. */
type Placed<T> = {
  readonly key: string
  readonly value: T
  readonly flow: Flow<T>
  readonly lane: WaitingEntries<Placed<T>>
}

/** The virtual duration of an element at weight 1. Many weights divide it; for others the duration is rounded. */
const DURATION = 720_720

/**
 * Start-time fair queueing (Goyal, Vin and Cheng, https://doi.org/10.1145/248156.248171): an element starts at a virtual
 * time, the current one or the end of its caller's element before, whichever is later, and the earliest start comes
 * first. All elements have the same duration, divided by the weight of their caller, as nobody knows how long a run will
 * take. Virtual times are whole numbers, so that positions are exact. Starts and positions cost O(callers that wait).
 */
export function createFairOrder<T>(shareOf: ShareOf = equalShares): FairOrder<T> {
  const flows = new Map<string, Flow<T>>()
  /** The callers with waiting elements. */
  const backlogged = new Set<Flow<T>>()
  const places = new Map<string, Placed<T>>()
  const first = createWaitingEntries<Placed<T>>()
  /** The virtual start of the element that was started last. */
  let virtualTime = 0
  let latestEnd = 0
  let orders = 0
  let keptFlows = 0

  const startOf = ({ nextStart }: Flow<T>) => Math.max(nextStart, virtualTime)
  const durationOf = ({ caller }: Flow<T>) => Math.round(DURATION / shareOf(caller).weight)

  const flowOf = (caller: string): Flow<T> => {
    const known = flows.get(caller)
    if (known) return known
    if (flows.size > 2 * keptFlows + 100) forgetIdle()
    const lanes = PRIORITIES.map(() => createWaitingEntries<Placed<T>>())
    const flow: Flow<T> = { caller, lanes, waiting: 0, running: 0, nextStart: 0, order: 0 }
    flows.set(caller, flow)
    return flow
  }

  /** Forgets callers that differ in nothing from a new one. */
  const forgetIdle = () => {
    for (const { caller, waiting, running, nextStart } of flows.values())
      if (waiting + running === 0 && nextStart <= virtualTime) flows.delete(caller)
    keptFlows = flows.size
  }

  const leave = ({ key, flow, lane }: Placed<T>) => {
    places.delete(key)
    if (lane !== first && --flow.waiting === 0) backlogged.delete(flow)
    // Nobody waits: all callers are equal again.
    if (places.size === 0) virtualTime = latestEnd
  }

  /** The caller whose turn it is. */
  const nextFlow = () => {
    let next: Flow<T> | undefined
    for (const flow of backlogged) {
      if (flow.running >= (shareOf(flow.caller).maxRunning ?? Infinity)) continue
      if (!next || (startOf(flow) - startOf(next) || flow.order - next.order) < 0) next = flow
    }
    return next
  }

  const shiftOf = ({ lanes }: Flow<T>) => {
    for (const lane of lanes) if (lane.size > 0) return lane.shift()
    return undefined
  }

  const countStart = (flow: Flow<T>) => {
    virtualTime = startOf(flow)
    flow.nextStart = virtualTime + durationOf(flow)
    latestEnd = Math.max(latestEnd, flow.nextStart)
  }

  /** How many elements of a caller start before one of another caller that starts at `start`. */
  const countBefore = (flow: Flow<T>, start: number, order: number) => {
    const durations = (start - startOf(flow)) / durationOf(flow)
    const count = flow.order < order ? Math.floor(durations) + 1 : Math.ceil(durations)
    return Math.min(Math.max(count, 0), flow.waiting)
  }

  return {
    add(key, value, { caller, priority, isFirst = false }) {
      if (places.has(key)) return
      const flow = flowOf(caller)
      const lane = (isFirst ? undefined : flow.lanes[PRIORITIES.indexOf(priority)]) ?? first
      const place = { key, value, flow, lane }
      places.set(key, place)
      lane.add(key, place)
      if (lane === first || flow.waiting++ > 0) return
      backlogged.add(flow)
      flow.order = orders++
    },
    start({ onlyFirst = false } = {}) {
      const next = onlyFirst || first.size > 0 ? undefined : nextFlow()
      const place = next ? shiftOf(next) : first.shift()
      if (!place) return undefined
      if (next) countStart(next)
      place.flow.running++
      leave(place)
      return place.value
    },
    finish(caller) {
      flowOf(caller).running--
    },
    remove(key) {
      const place = places.get(key)
      if (!place) return
      place.lane.remove(key)
      leave(place)
    },
    position(key) {
      const place = places.get(key)
      let position = place?.lane.position(key)
      if (!place || position === undefined || place.lane === first) return position
      const { flow, lane } = place
      for (const urgent of flow.lanes.slice(0, flow.lanes.indexOf(lane))) position += urgent.size
      const start = startOf(flow) + (position - 1) * durationOf(flow)
      for (const other of backlogged) if (other !== flow) position += countBefore(other, start, flow.order)
      return first.size + position
    },
  }
}

/** A FIFO whose elements can be removed from anywhere and know their position. */
type WaitingEntries<T> = {
  readonly size: number
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
    get size() {
      return elements.size
    },
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
