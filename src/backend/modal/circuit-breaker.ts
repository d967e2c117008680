import type { DegradedReason } from '../../jobs/job.ts'
import { createLogThrottle, type Log } from '../../jobs/log.ts'
import { createWaits } from '../../lib/timing.ts'
import { createLane, type Lane, type LaneName, mainReason } from './lane.ts'
import type { Failure } from './outcome.ts'

/** First and longest pause before Modal is asked again, in ms; each is drawn evenly from 0 to a doubling bound. */
const BACKOFF_BASE_MS = 500
const BACKOFF_MAX_MS = 30_000
/** So many failures in a row, with no answer between them, are an outage and no longer one call's bad luck. */
export const FAILURES_TO_OPEN = 3

export type CircuitBreaker = {
  /**
   * Does `work` until it does not reject, waiting while the backend is unavailable. Rejects with the reason of `signal`,
   * once the breaker is shut down, or, for a spawn, when the credentials have been rejected for longer than `graceMs`.
   */
  run<T>(lane: LaneName, work: () => Promise<T>, signal: AbortSignal): Promise<T>
  /** Notes an answer that does not finish a `run`, such as a long poll that found nothing yet. */
  answered(lane: LaneName): void
  /** Notes a failure outside a `run`, and returns what it says of the backend. */
  failed(lane: LaneName, error: unknown): DegradedReason | undefined
  /** `reason`: what keeps the backend from its work; undefined: nothing. */
  stats(): { readonly reason: DegradedReason | undefined; readonly waiting: number }
  /** Rejects everything that waits. */
  close(): void
}

export type BreakerOptions = {
  /** Asks the backend for something small; resolves when it answers at all. `reason`: why it has to. */
  readonly probe: (reason: DegradedReason) => Promise<void>
  /** What a failure means for the others of its lane. */
  readonly classify: (error: unknown, lane: LaneName) => Failure
  /** How long spawns wait while the credentials are rejected, in ms. */
  readonly graceMs: number
  readonly log: Log
  /** 0 to 1. */
  readonly random?: () => number
}

/**
 * Protects a backend in an outage from the thousands of requests that wait for it. A lane opens after a few failures in
 * a row, or after one that concerns every request; then one timer sends one probe at a time, with full jitter. When the
 * backend answers, calls go on at once; one spawn goes ahead, and the others follow it, in order of arrival, at a
 * bounded rate. A throttle does not open a lane: it pauses it for as long as the backend asks, and the queued requests
 * are then admitted at a rate.
 */
export function createCircuitBreaker(options: BreakerOptions): CircuitBreaker {
  const { probe, classify, graceMs, log, random = Math.random } = options
  const lanes: Record<LaneName, Lane> = { spawn: createLane(graceMs), call: createLane(Infinity) }
  const all = Object.values(lanes)
  const waiting = () => all.reduce((sum, { size }) => sum + size, 0)
  const outageLog = createOutageLog(log, waiting)
  const waits = createWaits()
  let probeTimer: NodeJS.Timeout | undefined
  let admitTimer: NodeJS.Timeout | undefined
  /** When `admitTimer` fires. */
  let admitAt = Infinity
  let isProbing = false
  let probes = 0
  let arrivals = 0
  let isShutDown = false

  const isOpen = () => all.some(({ state }) => state !== 'closed')
  const jitterMs = (failures: number) => random() * Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** failures)

  const schedule = () => {
    if (isShutDown) return
    if (isOpen() && !isProbing) probeTimer ??= setTimeout(() => void sendProbe(), probeDelayMs()).unref()
    const delayMs = Math.min(...all.map((lane) => lane.admitDelayMs()))
    const at = performance.now() + delayMs
    if (delayMs === Infinity || at >= admitAt) return
    clearTimeout(admitTimer)
    admitAt = at
    admitTimer = setTimeout(admitSome, delayMs).unref()
  }

  const probeDelayMs = () => jitterMs(probes++)

  const admitSome = () => {
    admitAt = Infinity
    for (const lane of all) if (lane.isPassable()) lane.admitSome()
    schedule()
  }

  const sendProbe = async () => {
    probeTimer = undefined
    isProbing = true
    const error = await probe(mainReason(all) ?? 'unreachable').then(
      () => undefined,
      (cause: unknown) => ({ cause }),
    )
    isProbing = false
    if (error) probeFailed(classify(error.cause, 'spawn'))
    else probeAnswered()
    schedule()
  }

  const probeFailed = (failure: Failure) => {
    const { reason = 'unreachable', message } = failure
    for (const lane of all.filter(({ state }) => state !== 'closed')) {
      if (reason === 'throttled') throttle(lane, failure)
      else lane.setReason(reason)
    }
    outageLog.degraded(reason, message)
  }

  const probeAnswered = () => {
    const { spawn, call } = lanes
    close(call)
    call.admitAll()
    if (spawn.state === 'closed') return
    // A backend that answers may still refuse to start anything: one spawn finds out for all.
    if (spawn.admitNext()) spawn.state = 'half-open'
    else close(spawn)
  }

  /** A throttle is an answer, and no outage. */
  const throttle = (lane: Lane, { retryAfterMs = 0 }: Failure) => {
    close(lane)
    lane.throttle(retryAfterMs)
  }

  const close = (lane: Lane) => {
    lane.failures = 0
    if (lane.state === 'closed') return
    lane.state = 'closed'
    if (isOpen()) return
    probes = 0
    // The timer is for a probe that is no longer needed.
    clearTimeout(probeTimer)
    probeTimer = undefined
    outageLog.recovered()
  }

  const answered = (name: LaneName) => {
    const lane = lanes[name]
    const wasClosed = lane.state === 'closed'
    close(lane)
    if (wasClosed) return
    if (name === 'call') lane.admitAll()
    schedule()
  }

  const failed = (name: LaneName, error: unknown) => {
    const failure = classify(error, name)
    const lane = lanes[name]
    if (failure.reason === 'throttled') {
      throttle(lane, failure)
      outageLog.degraded(failure.reason, failure.message)
    } else if (failure.reason !== undefined) {
      countFailure(lane, failure.reason, failure.message)
    }
    schedule()
    return failure.reason
  }

  const countFailure = (lane: Lane, reason: DegradedReason, message: string) => {
    lane.failures++
    // To a spawn such an answer concerns every other one; to a poll it may be about an old token of its connection.
    const concernsAll = lane === lanes.spawn && reason !== 'unreachable'
    const wasClosed = lane.state === 'closed'
    if (wasClosed && !concernsAll && lane.failures < FAILURES_TO_OPEN) return
    lane.setReason(reason)
    lane.state = 'open'
    if (wasClosed) outageLog.opened()
    // What opens a lane may pass as fast as a lost connection.
    if (concernsAll || !wasClosed) outageLog.degraded(reason, message)
  }

  type Entry = { readonly arrival: number; readonly again: boolean; readonly signal: AbortSignal }

  /** Waits until the lane admits the request; one that was admitted before goes ahead of new ones. */
  const enter = (lane: Lane, { arrival, again, signal }: Entry) => {
    if (lane.isPassable() && !lane.isPaused() && (again || lane.size === 0)) return undefined
    return waits.until(signal, (admit) => {
      const leave = lane.add({ arrival, admit }, again)
      schedule()
      return leave
    })
  }

  const throwIfClosed = (signal: AbortSignal) => {
    signal.throwIfAborted()
    if (isShutDown) throw closedError()
  }

  return {
    async run(name, work, signal) {
      const lane = lanes[name]
      const arrival = arrivals++
      for (let failures = 0; ; failures++) {
        throwIfClosed(signal)
        await enter(lane, { arrival, again: failures > 0, signal })
        try {
          const result = await work()
          answered(name)
          return result
        } catch (error) {
          signal.throwIfAborted()
          if (isShutDown) throw error
          if (failed(name, error) === 'credentials' && lane.isGraceOver()) throw error
        }
        if (lane.isPassable() && !lane.isPaused()) await waits.pause(jitterMs(failures), signal)
      }
    },
    answered,
    failed,
    stats: () => ({ reason: mainReason(all), waiting: waiting() }),
    close() {
      isShutDown = true
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

/** The log lines of an outage: at most one a minute for each reason, and one when an outage that was logged has passed. */
function createOutageLog(log: Log, waiting: () => number) {
  const throttles: Partial<Record<DegradedReason, () => boolean>> = {}
  let since: number | undefined
  let isLogged = false
  const seconds = () => Math.round((performance.now() - (since ?? performance.now())) / 1_000)
  return {
    opened() {
      since ??= performance.now()
    },
    /** `error`: Modal's own message. */
    degraded(reason: DegradedReason, error: string) {
      const isDue = (throttles[reason] ??= createLogThrottle())
      if (!isDue()) return
      // A throttle is no outage: nothing is logged when it passes.
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
