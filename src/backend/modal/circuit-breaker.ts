import type { DegradedReason } from '../../jobs/job.ts'
import { createLogThrottle, type Log } from '../../jobs/log.ts'
import { createWaits } from '../../lib/timing.ts'
import type { Failure } from './outcome.ts'
import { createLane, type Lane, type LaneState, mainReason } from './lane.ts'

/** First and longest pause before Modal is asked again, in ms; each is drawn evenly from 0 to a doubling bound. */
const BACKOFF_BASE_MS = 500
const BACKOFF_MAX_MS = 30_000
/** So many failures in a row, with no answer between them, are an outage and no longer one call's bad luck. */
export const FAILURES_TO_OPEN = 3
/** How long a throttle is reported after it has passed, in ms: another one often follows. */
const THROTTLE_REPORTED_MS = 5_000

export type CircuitBreaker = {
  /**
   * Does `work` until it does not reject, waiting while the backend is away. Rejects with the reason of `signal`, once
   * the breaker is shut down, or, for a spawn, with the refusal of credentials that were refused longer than `graceMs`.
   */
  run<T>(lane: Lane, work: () => Promise<T>, signal: AbortSignal): Promise<T>
  /** Notes an answer that is not the end of a `run`, such as a long poll that found nothing yet. */
  answered(lane: Lane): void
  /** Notes a failure outside a `run`, and returns what it says of the backend. */
  failed(lane: Lane, error: unknown): DegradedReason | undefined
  /** `reason`: what keeps the backend from its work; undefined: nothing. */
  stats(): { readonly reason: DegradedReason | undefined; readonly waiting: number }
  /** Lets nothing wait any longer. */
  close(): void
}

export type BreakerOptions = {
  /** Asks the backend for something small; resolves when it answers at all. `reason`: why it has to. */
  readonly probe: (reason: DegradedReason) => Promise<void>
  /** What a failure means for the others of its lane. */
  readonly classify: (error: unknown, lane: Lane) => Failure
  /** How long spawns wait while the credentials are refused, in ms. */
  readonly graceMs: number
  readonly log: Log
  /** 0 to 1. */
  readonly random?: () => number
}

/**
 * What stands between a backend's outage and the thousands that wait for it. A lane opens after a few failures in a row,
 * or after one that concerns every request; then one timer sends one probe at a time, with full jitter. When the backend
 * answers, calls go on at once; one spawn goes ahead, and the others follow it, in order of arrival, at a bounded rate. A
 * throttle does not open a lane: it is held for as long as the backend asks, and then admits at a rate what waited.
 */
export function createCircuitBreaker(options: BreakerOptions): CircuitBreaker {
  const { probe, classify, graceMs, log, random = Math.random } = options
  const lanes: Record<Lane, LaneState> = { spawn: createLane(), call: createLane() }
  const all = Object.values(lanes)
  const waiting = () => all.reduce((sum, { line }) => sum + line.size, 0)
  const report = createDegradationLog(log, waiting)
  const waits = createWaits()
  let probeTimer: NodeJS.Timeout | undefined
  let admitTimer: NodeJS.Timeout | undefined
  /** When `admitTimer` fires. */
  let admitAt = Infinity
  let isProbing = false
  let probes = 0
  let arrivals = 0
  let isShut = false

  const isOpen = () => all.some(({ state }) => state !== 'closed')
  const jitterMs = (tries: number) => random() * Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** tries)
  const graceEndsAt = (lane: LaneState) =>
    lane === lanes.spawn && lane.state !== 'closed' && lane.reason === 'credentials'
      ? lane.reasonSince + graceMs
      : Infinity
  const isGraceOver = (lane: LaneState) => graceEndsAt(lane) <= performance.now()
  const flows = (lane: LaneState) => lane.state === 'closed' || isGraceOver(lane)

  const schedule = () => {
    if (isShut) return
    if (isOpen() && !isProbing) probeTimer ??= setTimeout(() => void look(), probeDelayMs()).unref()
    const delayMs = Math.min(...all.map(admitDelayMs))
    const at = performance.now() + delayMs
    if (delayMs === Infinity || at >= admitAt) return
    clearTimeout(admitTimer)
    admitAt = at
    admitTimer = setTimeout(admitSome, delayMs).unref()
  }

  const probeDelayMs = () => jitterMs(probes++)

  const admitDelayMs = (lane: LaneState) => {
    if (lane.state === 'closed' || lane.line.size === 0) return lane.line.idleMs()
    return Math.max(lane.line.idleMs(), graceEndsAt(lane) - performance.now())
  }

  const admitSome = () => {
    admitAt = Infinity
    for (const lane of all) if (flows(lane)) lane.line.admitSome()
    schedule()
  }

  /** The one probe. */
  const look = async () => {
    probeTimer = undefined
    isProbing = true
    const error = await probe(mainReason(all) ?? 'unreachable').then(
      () => undefined,
      (cause: unknown) => ({ cause }),
    )
    isProbing = false
    if (error) probeFailed(classify(error.cause, 'spawn'))
    else comeBack()
    schedule()
  }

  const probeFailed = (failure: Failure) => {
    const { reason = 'unreachable', words } = failure
    for (const lane of all.filter(({ state }) => state !== 'closed')) {
      if (reason === 'throttled') throttle(lane, failure)
      else setReason(lane, reason)
    }
    report.degraded(reason, words)
  }

  /** A throttle is an answer, and no outage. */
  const throttle = (lane: LaneState, { holdMs = 0 }: Failure) => {
    close(lane)
    lane.line.hold(holdMs)
    lane.throttledUntil = performance.now() + holdMs + THROTTLE_REPORTED_MS
  }

  const setReason = (lane: LaneState, reason: DegradedReason) => {
    if (lane.reason !== reason) lane.reasonSince = performance.now()
    lane.reason = reason
  }

  const comeBack = () => {
    const { spawn, call } = lanes
    close(call)
    admitAll(call)
    if (spawn.state === 'closed') return
    // A backend that answers may still refuse to start anything: one spawn finds out for all.
    if (spawn.line.admitNext()) spawn.state = 'half-open'
    else close(spawn)
  }

  const admitAll = ({ line }: LaneState) => {
    while (!line.isHeld() && line.admitNext());
  }

  const open = (lane: LaneState, reason: DegradedReason) => {
    lane.state = 'open'
    lane.reason = reason
    lane.reasonSince = performance.now()
    report.begin()
  }

  const close = (lane: LaneState) => {
    lane.failures = 0
    if (lane.state === 'closed') return
    lane.state = 'closed'
    if (isOpen()) return
    probes = 0
    // The timer is for a probe that nobody needs any more.
    clearTimeout(probeTimer)
    probeTimer = undefined
    report.recovered()
  }

  const answered = (name: Lane) => {
    const lane = lanes[name]
    const wasClosed = lane.state === 'closed'
    close(lane)
    if (wasClosed) return
    if (name === 'call') admitAll(lane)
    schedule()
  }

  const failed = (name: Lane, error: unknown) => {
    const failure = classify(error, name)
    const lane = lanes[name]
    if (failure.reason === 'throttled') {
      throttle(lane, failure)
      report.degraded(failure.reason, failure.words)
    } else if (failure.reason !== undefined) {
      countFailure(lane, failure.reason, failure.words)
    }
    schedule()
    return failure.reason
  }

  const countFailure = (lane: LaneState, reason: DegradedReason, words: string) => {
    lane.failures++
    // To a spawn such an answer concerns every other one; to a poll it may be about an old token of its connection.
    const concernsAll = lane === lanes.spawn && reason !== 'unreachable'
    const wasClosed = lane.state === 'closed'
    if (wasClosed && !concernsAll && lane.failures < FAILURES_TO_OPEN) return
    if (wasClosed) open(lane, reason)
    lane.state = 'open'
    setReason(lane, reason)
    // What opens a lane may pass as fast as a lost connection.
    if (concernsAll || !wasClosed) report.degraded(reason, words)
  }

  type Entry = { readonly arrival: number; readonly again: boolean; readonly signal: AbortSignal }

  /** Waits for the lane; who has been in it before goes before who comes now. */
  const enter = (lane: LaneState, { arrival, again, signal }: Entry) => {
    const { line } = lane
    if (flows(lane) && !line.isHeld() && (again || line.size === 0)) return undefined
    return waits.until(signal, (admit) => {
      const leave = line.add({ arrival, admit }, again)
      schedule()
      return leave
    })
  }

  const throwIfOver = (signal: AbortSignal) => {
    signal.throwIfAborted()
    if (isShut) throw closedError()
  }

  return {
    async run(name, work, signal) {
      const lane = lanes[name]
      const arrival = arrivals++
      for (let failures = 0; ; failures++) {
        throwIfOver(signal)
        await enter(lane, { arrival, again: failures > 0, signal })
        try {
          const result = await work()
          answered(name)
          return result
        } catch (error) {
          signal.throwIfAborted()
          if (isShut) throw error
          if (failed(name, error) === 'credentials' && isGraceOver(lane)) throw error
        }
        if (flows(lane) && !lane.line.isHeld()) await waits.pause(jitterMs(failures), signal)
      }
    },
    answered,
    failed,
    stats: () => ({ reason: mainReason(all), waiting: waiting() }),
    close() {
      isShut = true
      clearTimeout(probeTimer)
      clearTimeout(admitTimer)
      waits.rejectAll(closedError())
    },
  }
}

const closedError = () => new Error('the backend is closed')

const MESSAGES: Readonly<Record<DegradedReason, string>> = {
  unreachable: 'Modal does not answer; jobs wait',
  throttled: 'Modal asks to be called less often; requests wait',
  spend_limit: 'Modal starts no calls, as a spend limit is reached; jobs wait until their deadlines',
  credentials:
    'Modal refuses the credentials: check MODAL_TOKEN_ID and MODAL_TOKEN_SECRET; jobs wait, and fail if it goes on',
}

/** The log lines of an outage: at most one a minute for each reason, and one at the end of an outage that was logged. */
function createDegradationLog(log: Log, waiting: () => number) {
  const limits: Partial<Record<DegradedReason, () => boolean>> = {}
  let since: number | undefined
  let isLogged = false
  const seconds = () => Math.round((performance.now() - (since ?? performance.now())) / 1_000)
  return {
    begin() {
      since ??= performance.now()
    },
    /** `error`: what Modal says. */
    degraded(reason: DegradedReason, error: string) {
      const isDue = (limits[reason] ??= createLogThrottle())
      if (!isDue()) return
      // A throttle is no outage, whose end would be logged.
      if (reason !== 'throttled') isLogged = true
      const fields = { event: 'backend_degraded', reason, error, waiting: waiting(), for_seconds: seconds() }
      log.warn(fields, MESSAGES[reason])
    },
    recovered() {
      const fields = { event: 'backend_recovered', waiting: waiting(), after_seconds: seconds() }
      if (isLogged) log.info(fields, 'Modal answers again')
      since = undefined
      isLogged = false
    },
  }
}
