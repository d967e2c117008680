import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { createFifo } from '../../lib/collections.ts'
import { createTokenBucket } from '../../lib/limits.ts'
import { type SetTimer, setUnrefTimer } from '../../lib/timing.ts'
import { createPollQueue, type QueueEntry, type StageHint } from './poll-queue.ts'

/** One poll of one follower. */
export type PollTurn = {
  /** The number of the connection to poll on, from 0. */
  readonly connection: number
  /** How long to wait there, at most. */
  readonly waitMs: number
  /** Aborts when the turn must give up its slot, and by `abort`. */
  readonly signal: AbortSignal
  /** Gives the poll up with an error, which is that of its follower. */
  abort(error: Error): void
}

/**
 * Polls once. Undefined: not finished yet. It should settle soon after the turn's signal aborts, since its slot is taken
 * until then; a value that it still resolves with is not lost.
 */
export type Poll<T> = (turn: PollTurn) => Promise<T | undefined>

/** `open`: polls under way. `waiting`: followers that want a turn. `connections`: how many have been used so far. */
export type PollPoolStats = { readonly open: number; readonly waiting: number; readonly connections: number }

/**
 * Shares the slots of a few connections among any number of followers.
 *
 * With S slots (`maxConnections` x `pollsPerConnection`) and N followers: while N <= S each has a slot and long-polls,
 * and a finished call is noticed at once. With N > S turns go to calls that are believed to have ended, then to running
 * ones, then to those of which nothing is known, each in order of arrival. Running calls long-poll while there are slots
 * for them; one of which nothing is known has a turn of w = max(`minTurnMs`, S / `maxPollsPerSecond`), 25 % longer or
 * shorter so that they do not fall into step. A long poll gives up its slot once it is w old, if that is needed. Calls in
 * Modal's queue cannot end by themselves: they take no slot, and are polled without waiting at an even pace, all of
 * them once in `maxIntervalMs`. A hint may be wrong or missing; the follower that has waited longest gets every other
 * turn once that pace, or `maxIntervalMs`, demands it. So, with a round trip of r, a finished call is noticed within
 *
 *     (N / S) x (w + r) + 1.25 w + r                                    without hints
 *     `maxIntervalMs` + 3 N / `maxPollsPerSecond` + 2.25 w + r          whatever the hints say
 *
 * The first is N / `maxPollsPerSecond` + 1.25 w, and N / S + 1 round trips, where S is large enough to use up that rate.
 * Beyond 4 S calls that want turns, no poll waits: a turn would cover little of the time, and a poll that is answered at
 * once leaves less garbage.
 *
 * Never more than `maxPollsPerSecond` + burst polls start within a second; the burst is one second's worth while
 * N <= S and 4 % of that while N > S. After a poll that returned early and without a value, as a server that shuts down
 * answers, the next one starts `minTurnMs` after it started at the earliest.
 */
export type PollPool = {
  /**
   * Polls until `poll` gives a value. Rejects with what `poll` rejects with (the caller decides whether to follow again),
   * with the signal's reason as soon as it aborts, or with an error once the pool is closed.
   */
  follow<T>(poll: Poll<T>, signal: AbortSignal, hint?: StageHint): Promise<T>
  stats(): PollPoolStats
  /** Starts no poll for so long, in ms, and after that fewer a second, until none is throttled for a while. */
  pause(ms: number): void
  /** Aborts every poll; every `follow` rejects. Idempotent. */
  close(): void
}

export type PollPoolOptions = {
  readonly maxConnections: number
  readonly pollsPerConnection: number
  /** How long a poll waits while there are slots for all, in ms; also the upper limit of a turn. */
  readonly longPollMs?: number
  readonly maxPollsPerSecond?: number
  /** Within which every call is polled, in ms, as far as `maxPollsPerSecond` allows. */
  readonly maxIntervalMs?: number
  /** Is called with how long each turn was waited for. */
  readonly recordMetric?: RecordMetric | undefined
  /** The shortest mean turn, in ms. */
  readonly minTurnMs?: number
  /** A monotonic clock, in ms. */
  readonly now?: () => number
  /** From 0 to 1. */
  readonly random?: () => number
  readonly setTimer?: SetTimer
}

/** How much longer or shorter than the mean a turn may be. */
const JITTER = 0.25
/** The burst while crowded, as a part of one second's polls. */
const CROWDED_BURST = 0.04
/** How much too early a poll may return, in ms, because two clocks round. */
const EARLY_TOLERANCE_MS = 50
/** With so many times more followers than slots a turn covers so little of the time that polls do not wait. */
const WAITLESS_CROWD = 4

type Follower = QueueEntry & {
  readonly poll: Poll<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (reason: unknown) => void
  readonly signal: AbortSignal
  readonly onAbort: () => void
  /** While it does not wait: aborts the open poll, or ends the pause after one. */
  interrupt: (reason: unknown) => void
}

type Turn = PollTurn & {
  readonly startedAt: number
  readonly controller: AbortController
  isAborted: boolean
  unlist: () => void
}

const nothing = () => undefined

/** Makes the pool; connections are numbers, which the caller turns into clients when they first occur. */
export function createPollPool(options: PollPoolOptions): PollPool {
  const { maxConnections, pollsPerConnection, longPollMs = 55_000, maxPollsPerSecond = 1_250 } = options
  const { now = () => performance.now(), random = Math.random, setTimer = setUnrefTimer, minTurnMs = 1_000 } = options
  const { recordMetric, maxIntervalMs = 60_000 } = options
  const slots = maxConnections * pollsPerConnection
  const turnMs = Math.max(minTurnMs, (1_000 * slots) / maxPollsPerSecond)
  const nextTurnMs = pairedJitter(turnMs, random)
  const bucket = createTokenBucket(maxPollsPerSecond, now)
  const followers = new Set<Follower>()
  const isCrowded = () => followers.size > slots
  const queue = createPollQueue<Follower>({ maxIntervalMs, isCrowded, now })
  /** Long polls that have not been aborted, the oldest first. */
  const longPolls = createFifo<Turn>()
  /** Of finished polls, to be used again: to make one for each poll would be most of its garbage. */
  const spareControllers: AbortController[] = []
  /** Open polls by connection; grows with the connections in use. */
  const load: number[] = []
  let open = 0
  /** Polls that were aborted and still hold their slots. */
  let aborted = 0
  let timer: { readonly at: number; readonly cancel: () => void } | undefined
  let isClosed = false

  /** How many slots are missing. */
  const excess = () => open + queue.wanting() - slots

  const occupy = (connection: number, polls: 1 | -1) => {
    load[connection] = (load[connection] ?? 0) + polls
    open += polls
  }

  const enqueue = (follower: Follower) => {
    follower.interrupt = nothing
    queue.add(follower)
  }

  /** Queues a follower again; after a poll that returned early only later, since the next would return early too. */
  const requeue = (follower: Follower, turn: Turn) => {
    const isEarly = !turn.isAborted && now() < turn.startedAt + turn.waitMs - EARLY_TOLERANCE_MS
    const restMs = isEarly ? turn.startedAt + Math.min(turn.waitMs, minTurnMs) - now() : 0
    if (restMs <= 0) {
      enqueue(follower)
      return
    }
    const returnToQueue = () => {
      enqueue(follower)
      startPolls()
    }
    follower.interrupt = setTimer(returnToQueue, restMs)
  }

  const abortTurn = (turn: Turn, reason?: unknown) => {
    if (turn.isAborted) return
    turn.isAborted = true
    aborted++
    turn.unlist()
    turn.controller.abort(reason)
  }

  const waitOf = ({ hint }: Follower, isLong: boolean) => {
    if (isLong) return longPollMs
    const isWaitless = hint?.stage === 'queued' || excess() > (WAITLESS_CROWD - 1) * slots
    return isWaitless ? 0 : Math.min(longPollMs, nextTurnMs())
  }

  const forget = (follower: Follower) => {
    follower.signal.removeEventListener('abort', follower.onAbort)
    followers.delete(follower)
    if (follower.hint) follower.hint.onChange = undefined
  }

  const takeTurn = async (follower: Follower, waitMs: number) => {
    const free = load.findIndex((polls) => polls < pollsPerConnection)
    const connection = free === -1 ? load.length : free
    const controller = spareControllers.pop() ?? new AbortController()
    const turn: Turn = {
      connection,
      waitMs,
      signal: controller.signal,
      controller,
      startedAt: now(),
      isAborted: false,
      unlist: nothing,
      abort: (error) => controller.abort(error),
    }
    if (waitMs === longPollMs) turn.unlist = longPolls.add(turn)
    follower.interrupt = (reason) => abortTurn(turn, reason)
    occupy(connection, 1)
    try {
      const value = await follower.poll(turn)
      if (value !== undefined) {
        forget(follower)
        follower.resolve(value)
      }
    } catch (error) {
      if (!turn.isAborted) {
        forget(follower)
        follower.reject(error)
      }
    }
    turn.unlist()
    if (turn.isAborted) aborted--
    if (!controller.signal.aborted) spareControllers.push(controller)
    occupy(connection, -1)
    follower.isDoubted = follower.hint?.stage === 'ended'
    if (followers.has(follower)) requeue(follower, turn)
    startPolls()
  }

  /** Whether the oldest long poll must make room, and the rate lets another poll start at once. */
  const mayAbort = (turn: Turn | undefined): turn is Turn =>
    turn !== undefined && excess() > aborted && bucket.msUntil(aborted + 1) === 0 && now() >= turn.startedAt + turnMs

  const startPoll = (follower: Follower) => {
    const isKnown = follower.hint?.stage !== undefined && follower.hint.stage !== 'queued'
    const waitMs = waitOf(follower, excess() <= 0 && (isKnown || !isCrowded()))
    // A call in Modal's queue is not late.
    if (follower.hint?.stage !== 'queued' || !isCrowded())
      recordMetric?.({ type: 'poll-turn-started', waitedMs: now() - follower.queuedAt })
    queue.take(follower)
    bucket.take()
    void takeTurn(follower, waitMs)
  }

  /** Starts and aborts the polls that are due now. Called after every change. */
  const startPolls = () => {
    if (isClosed) return
    bucket.refill(isCrowded() ? CROWDED_BURST : 1)
    for (let next = queue.next(); next && open < slots && bucket.msUntil(1) === 0; next = queue.next()) {
      startPoll(next)
    }
    for (let oldest = longPolls.first; mayAbort(oldest); oldest = longPolls.first) abortTurn(oldest)
    setNextTimer()
  }

  /** In how many ms there will be something to do that no returning poll triggers. */
  const idleMs = () => {
    const untilWantedMs = queue.msUntilWanted()
    if (open < slots) return Math.max(untilWantedMs, bucket.msUntil(1))
    if (untilWantedMs > 0) return untilWantedMs
    const oldestPoll = longPolls.first
    if (!oldestPoll || excess() <= aborted) return Infinity
    return Math.max(bucket.msUntil(aborted + 1), oldestPoll.startedAt + turnMs - now())
  }

  /** Keeps an earlier timer: it finds nothing to do and sets the next one. */
  const setNextTimer = () => {
    const delayMs = Math.max(1, Math.ceil(idleMs()))
    const at = now() + delayMs
    if (timer && timer.at <= at && delayMs !== Infinity) return
    timer?.cancel()
    timer = delayMs === Infinity ? undefined : { at, cancel: setTimer(onTimer, delayMs) }
  }

  const onTimer = () => {
    timer = undefined
    startPolls()
  }

  const stop = (follower: Follower, reason: unknown) => {
    if (!followers.has(follower)) return
    forget(follower)
    follower.reject(reason)
    if (follower.isWaiting) queue.remove(follower)
    else follower.interrupt(reason)
    startPolls()
  }

  return {
    follow<T>(poll: Poll<T>, signal: AbortSignal, hint?: StageHint) {
      if (signal.aborted) return Promise.reject(signal.reason as Error)
      if (isClosed) return Promise.reject(closedError())
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      const follower: Follower = {
        hint,
        signal,
        isDoubted: false,
        queuedAt: 0,
        isWaiting: false,
        leaveStage: nothing,
        leaveRound: nothing,
        poll,
        resolve: resolve as (value: unknown) => void,
        reject,
        onAbort: () => stop(follower, signal.reason),
        interrupt: nothing,
      }
      signal.addEventListener('abort', follower.onAbort)
      if (hint) {
        hint.onChange = () => {
          queue.changeStage(follower)
          if (follower.isWaiting) startPolls()
        }
      }
      followers.add(follower)
      enqueue(follower)
      startPolls()
      return promise
    },
    stats: () => ({ open, waiting: queue.wanting(), connections: load.length }),
    pause(ms) {
      bucket.pause(ms)
      startPolls()
    },
    close() {
      isClosed = true
      timer?.cancel()
      timer = undefined
      for (const follower of followers) stop(follower, closedError())
    },
  }
}

const closedError = () => new Error('the poll pool is closed')

/** Two turns in a row together last exactly two mean turns, so that no streak of long turns slows the queue down. */
function pairedJitter(turnMs: number, random: () => number): () => number {
  let counterpart: number | undefined
  return () => {
    const jitter = counterpart ?? JITTER * (2 * random() - 1)
    counterpart = counterpart === undefined ? -jitter : undefined
    return turnMs * (1 + jitter)
  }
}
