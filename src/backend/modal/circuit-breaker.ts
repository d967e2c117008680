import type { Log } from '../../jobs/log.ts'
import { createFifo, type Fifo } from '../../lib/fifo.ts'

/** First and longest pause before Modal is asked again, in ms; each is drawn evenly from 0 to a doubling bound. */
const BACKOFF_BASE_MS = 500
const BACKOFF_MAX_MS = 30_000
/** So many failures in a row, with no answer between them, are an outage and no longer one call's bad luck. */
export const FAILURES_TO_CLOSE = 3
/** How fast waiting spawns are let go once the backend is back. */
export const SPAWNS_PER_SECOND = 100
/** One outage is one line in this time, in ms. */
const LINE_EVERY_MS = 60_000
const RELEASE_EVERY_MS = 100

/** Spawns wait apart from everything else: a backend may refuse new calls and still answer for those it has. */
export type Lane = 'spawn' | 'call'

export type OutageGate = {
  /**
   * Does `work` until it does not reject, waiting while the backend is away. Rejects with the reason of `signal`, or
   * once the gate is closed.
   */
  run<T>(lane: Lane, work: () => Promise<T>, signal: AbortSignal): Promise<T>
  /** Tells of an answer that is not the end of a `run`, such as a long poll that found nothing yet. */
  answered(lane: Lane): void
  stats(): { readonly down: boolean; readonly waiting: number }
  /** Lets nothing wait any longer. */
  close(): void
}

export type OutageOptions = {
  /** Asks the backend for something small; resolves when it answers at all. */
  readonly probe: () => Promise<void>
  readonly log: Log
  /** What an error says, for the log. */
  readonly describe: (error: unknown) => string
  /** 0 to 1. */
  readonly random?: () => number
}

type Waiter = { readonly arrival: number; readonly admit: () => void }
type LaneState = { open: boolean; failures: number; readonly returning: Waiter[]; readonly arriving: Fifo<Waiter> }

/**
 * What stands between a backend's outage and the thousands that wait for it. A lane closes after a few failures in a
 * row; then one timer sends one probe at a time, with full jitter. When the backend answers, calls go on at once;
 * of the spawns the first goes ahead, and the others follow it, in order of arrival, at a bounded rate.
 */
export function createOutageGate({ probe, log, describe, random = Math.random }: OutageOptions): OutageGate {
  const lanes: Record<Lane, LaneState> = { spawn: emptyLane(), call: emptyLane() }
  const report = createReport(log, () => waiting())
  /** How to end each wait under way. */
  const held = new Set<(reason: Error) => void>()
  let timer: NodeJS.Timeout | undefined
  let isLooking = false
  let probes = 0
  let arrivals = 0
  let closed = false

  const waiting = () => Object.values(lanes).reduce((sum, lane) => sum + lane.returning.length + lane.arriving.size, 0)
  const isDown = () => !lanes.spawn.open || !lanes.call.open
  const jitterMs = (tries: number) => random() * Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** tries)

  const schedule = () => {
    if (timer || isLooking || closed) return
    if (isDown()) timer = setTimeout(() => void look(), jitterMs(probes++)).unref()
    else if (waiting() > 0) timer = setTimeout(letGo, RELEASE_EVERY_MS).unref()
  }

  /** The one probe. */
  const look = async () => {
    timer = undefined
    isLooking = true
    const error = await probe().then(
      () => undefined,
      (reason: unknown) => ({ reason }),
    )
    isLooking = false
    if (error) report.down(describe(error.reason))
    else comeBack()
    schedule()
  }

  const comeBack = () => {
    open(lanes.call)
    while (admitNext(lanes.call));
    // A backend that answers may still refuse to start anything: one spawn finds out for all.
    if (!lanes.spawn.open && !admitNext(lanes.spawn)) open(lanes.spawn)
  }

  const open = (lane: LaneState) => {
    lane.failures = 0
    if (lane.open) return
    lane.open = true
    if (!isDown()) {
      probes = 0
      report.up()
    }
  }

  const letGo = () => {
    timer = undefined
    for (let n = 0; n < (SPAWNS_PER_SECOND * RELEASE_EVERY_MS) / 1000 && admitNext(lanes.spawn); n++);
    schedule()
  }

  const answered = (name: Lane) => {
    const lane = lanes[name]
    const wasOpen = lane.open
    open(lane)
    if (wasOpen) return
    if (name === 'call') while (admitNext(lane));
    // Once both lanes are open, the timer that runs is for a probe nobody needs any more.
    if (!isDown()) {
      clearTimeout(timer)
      timer = undefined
    }
    schedule()
  }

  const failed = (lane: LaneState, error: unknown) => {
    lane.failures++
    // One that was let in to find out: the outage lasts. What closes a lane may pass as fast as a lost connection.
    if (!lane.open) report.down(describe(error))
    if (lane.open && lane.failures >= FAILURES_TO_CLOSE) {
      const wasDown = isDown()
      lane.open = false
      report.begin()
      // What the timer was letting go has to wait again; one that is for a probe stays.
      if (!wasDown) {
        clearTimeout(timer)
        timer = undefined
      }
    }
    schedule()
  }

  /** Waits for the lane; who has been in it before goes before who comes now. */
  const enter = (lane: LaneState, arrival: number, { again, signal }: { again: boolean; signal: AbortSignal }) => {
    if (lane.open && (again || lane.returning.length + lane.arriving.size === 0)) return undefined
    return hold(signal, (admit) => {
      const waiter: Waiter = { arrival, admit }
      const leave = again ? insert(lane.returning, waiter) : lane.arriving.add(waiter)
      schedule()
      return leave
    })
  }

  const pause = (ms: number, signal: AbortSignal) =>
    hold(signal, (resume) => {
      const timer = setTimeout(resume, ms)
      return () => clearTimeout(timer)
    })

  /** Waits for what `begin` is given to be called, the signal or the close; for these `begin` says how to call it off. */
  const hold = (signal: AbortSignal, begin: (release: () => void) => () => void) =>
    new Promise<void>((resolve, reject) => {
      const end = () => {
        signal.removeEventListener('abort', onAbort)
        held.delete(fail)
      }
      const fail = (reason: Error) => {
        end()
        callOff()
        reject(reason)
      }
      const onAbort = () => fail(signal.reason as Error)
      const callOff = begin(() => {
        end()
        resolve()
      })
      signal.addEventListener('abort', onAbort, { once: true })
      held.add(fail)
    })

  const throwIfOver = (signal: AbortSignal) => {
    signal.throwIfAborted()
    if (closed) throw closedError()
  }

  return {
    async run(name, work, signal) {
      const lane = lanes[name]
      const arrival = arrivals++
      for (let failures = 0; ; failures++) {
        throwIfOver(signal)
        await enter(lane, arrival, { again: failures > 0, signal })
        try {
          const result = await work()
          answered(name)
          return result
        } catch (error) {
          signal.throwIfAborted()
          if (closed) throw error
          failed(lane, error)
        }
        if (lane.open) await pause(jitterMs(failures), signal)
      }
    },
    answered,
    stats: () => ({ down: isDown(), waiting: waiting() }),
    close() {
      closed = true
      clearTimeout(timer)
      for (const fail of held) fail(closedError())
    },
  }
}

const closedError = () => new Error('the backend is closed')

const emptyLane = (): LaneState => ({ open: true, failures: 0, returning: [], arriving: createFifo() })

/** Lets the longest waiting one in; false when nobody waits. */
function admitNext(lane: LaneState): boolean {
  const first = lane.returning.shift() ?? lane.arriving.shift()
  first?.admit()
  return first !== undefined
}

/** Those who come back are few, the ones under way when an outage began, and are kept in order of arrival. */
function insert(returning: Waiter[], waiter: Waiter) {
  const at = returning.findLastIndex((other) => other.arrival < waiter.arrival)
  returning.splice(at + 1, 0, waiter)
  return () => {
    const place = returning.indexOf(waiter)
    if (place >= 0) returning.splice(place, 1)
  }
}

/** The log lines of outages: at most one a minute while it lasts, and one at the end of an outage that was told of. */
function createReport(log: Log, waiting: () => number) {
  let since: number | undefined
  let lineAt = -Infinity
  let told = false
  return {
    begin() {
      since ??= performance.now()
    },
    down(reason: string) {
      since ??= performance.now()
      if (performance.now() - lineAt < LINE_EVERY_MS) return
      lineAt = performance.now()
      told = true
      log.warn({ reason, waiting: waiting(), for_seconds: secondsSince(since) }, 'the backend does not answer')
    },
    up() {
      if (told) log.info({ waiting: waiting(), after_seconds: secondsSince(since) }, 'the backend answers again')
      since = undefined
      told = false
    },
  }
}

const secondsSince = (since = performance.now()) => Math.round((performance.now() - since) / 1000)
