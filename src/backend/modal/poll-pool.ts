import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { createFifo } from '../../lib/collections.ts'
import { createTokenBucket } from '../../lib/limits.ts'

/** `connection`: the number of the connection to poll on, from 0. `waitMs`: how long to wait there, at most. */
export type PollTurn = { readonly connection: number; readonly waitMs: number; readonly signal: AbortSignal }

/**
 * Polls once. Undefined: not finished yet. It should settle soon after the turn's signal aborts, since its slot is taken
 * until then; a value that it still resolves with is not lost.
 */
export type Poll<T> = (turn: PollTurn) => Promise<T | undefined>

/** `open`: polls under way. `waiting`: followers without one. `connections`: how many have been used so far. */
export type PollPoolStats = { readonly open: number; readonly waiting: number; readonly connections: number }

/**
 * Shares the slots of a few connections among any number of followers.
 *
 * With S slots (`maxConnections` x `pollsPerConnection`) and N followers: while N <= S each has a slot and long-polls,
 * and a finished call is noticed at once. With N > S they take turns, first come first served, of w = max(`minTurnMs`,
 * S / `maxPollsPerSecond`), 25 % longer or shorter so that they do not fall into step; a long poll then gives up its slot
 * once it is w old. With a round trip of r, a finished call is noticed within
 *
 *     (N / S) x (w + r) + 1.25 w + r
 *
 * which is N / `maxPollsPerSecond` + 1.25 w, and N / S + 1 round trips, where S is large enough to use up that rate.
 * Never more than `maxPollsPerSecond` + burst polls start within a second; the burst is one second's worth while
 * N <= S and 4 % of that while N > S. After a poll that returned early and without a value, as a server that shuts down
 * answers, the next one starts `minTurnMs` after it started at the earliest.
 */
export type PollPool = {
  /**
   * Polls until `poll` gives a value. Rejects with what `poll` rejects with (the caller decides whether to follow again),
   * with the signal's reason as soon as it aborts, or with an error once the pool is closed.
   */
  follow<T>(poll: Poll<T>, signal: AbortSignal): Promise<T>
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
  /** Hears how long each turn was waited for. */
  readonly recordMetric?: RecordMetric | undefined
  /** The shortest mean turn, in ms. */
  readonly minTurnMs?: number
  /** A monotonic clock, in ms. */
  readonly now?: () => number
  /** From 0 to 1. */
  readonly random?: () => number
  /** Calls `run` once after `delayMs`; what it returns prevents that. */
  readonly setTimer?: (run: () => void, delayMs: number) => () => void
}

/** How much longer or shorter than the mean a turn may be. */
const JITTER = 0.25
/** The burst while crowded, as a part of one second's polls. */
const CROWDED_BURST = 0.04
/** How much too early a poll may return, in ms, because two clocks round. */
const EARLY_TOLERANCE_MS = 50

type Follower = {
  isFinished: boolean
  /** When it began to wait for a turn. */
  queuedAt: number
  /** One turn; settles the follower when there is a value. */
  poll: (turn: PollTurn) => Promise<void>
  fail: (reason: unknown) => void
  /** Leaves the queue, or aborts the open poll. */
  leave: (reason: unknown) => void
}

type Turn = { readonly startedAt: number; readonly abort: AbortController; isAborted: boolean; unlist: () => void }

/** Makes the pool; connections are numbers, which the caller turns into clients when they first occur. */
export function createPollPool(options: PollPoolOptions): PollPool {
  const { maxConnections, pollsPerConnection, longPollMs = 55_000, maxPollsPerSecond = 1_250 } = options
  const { now = () => performance.now(), random = Math.random, setTimer = unrefTimer, minTurnMs = 1_000 } = options
  const { recordMetric } = options
  const slots = maxConnections * pollsPerConnection
  const turnMs = Math.max(minTurnMs, (1_000 * slots) / maxPollsPerSecond)
  const nextTurnMs = pairedJitter(turnMs, random)
  const bucket = createTokenBucket(maxPollsPerSecond, now)
  const followers = new Set<Follower>()
  const waiting = createFifo<Follower>()
  /** Long polls that have not been aborted, the oldest first. */
  const longPolls = createFifo<Turn>()
  /** Open polls by connection; grows with the connections in use. */
  const load: number[] = []
  let open = 0
  /** Polls that were aborted and still hold their slots. */
  let aborted = 0
  let timer: { readonly at: number; readonly cancel: () => void } | undefined
  let isClosed = false

  /** How many slots are missing. */
  const excess = () => open + waiting.size - slots

  const occupy = (connection: number, polls: 1 | -1) => {
    load[connection] = (load[connection] ?? 0) + polls
    open += polls
  }

  const enqueue = (follower: Follower) => {
    follower.queuedAt = now()
    follower.leave = waiting.add(follower)
  }

  /** Queues a follower again; after a poll that returned early only later, since the next would return early too. */
  const requeue = (follower: Follower, turn: Turn, waitMs: number) => {
    const isEarly = !turn.isAborted && now() < turn.startedAt + waitMs - EARLY_TOLERANCE_MS
    const restMs = isEarly ? turn.startedAt + Math.min(waitMs, minTurnMs) - now() : 0
    if (restMs <= 0) {
      enqueue(follower)
      return
    }
    const returnToQueue = () => {
      enqueue(follower)
      startPolls()
    }
    follower.leave = setTimer(returnToQueue, restMs)
  }

  const abortTurn = (turn: Turn, reason?: unknown) => {
    if (turn.isAborted) return
    turn.isAborted = true
    aborted++
    turn.unlist()
    turn.abort.abort(reason)
  }

  const takeTurn = async (follower: Follower, isLong: boolean) => {
    const free = load.findIndex((polls) => polls < pollsPerConnection)
    const connection = free === -1 ? load.length : free
    const turn: Turn = { startedAt: now(), abort: new AbortController(), isAborted: false, unlist: () => undefined }
    if (isLong) turn.unlist = longPolls.add(turn)
    follower.leave = (reason) => abortTurn(turn, reason)
    occupy(connection, 1)
    recordMetric?.({ type: 'poll-turn-started', waitedMs: turn.startedAt - follower.queuedAt })
    const waitMs = isLong ? longPollMs : Math.min(longPollMs, nextTurnMs())
    try {
      await follower.poll({ connection, waitMs, signal: turn.abort.signal })
    } catch (error) {
      if (!turn.isAborted) follower.fail(error)
    }
    turn.unlist()
    if (turn.isAborted) aborted--
    occupy(connection, -1)
    if (!follower.isFinished) requeue(follower, turn, waitMs)
    startPolls()
  }

  /** Whether the oldest long poll must make room, and the rate lets another poll start at once. */
  const mayAbort = (turn: Turn | undefined): turn is Turn =>
    turn !== undefined && excess() > aborted && bucket.msUntil(aborted + 1) === 0 && now() >= turn.startedAt + turnMs

  /** Starts and aborts the polls that are due now. Called after every change. */
  const startPolls = () => {
    if (isClosed) return
    bucket.refill(excess() > 0 ? CROWDED_BURST : 1)
    for (let next = waiting.first; next && open < slots && bucket.msUntil(1) === 0; next = waiting.first) {
      const isLong = excess() <= 0
      next.leave(undefined)
      bucket.take()
      void takeTurn(next, isLong)
    }
    for (let oldest = longPolls.first; mayAbort(oldest); oldest = longPolls.first) abortTurn(oldest)
    setNextTimer()
  }

  /** In how many ms there will be something to do that no returning poll triggers. */
  const idleMs = () => {
    if (waiting.size > 0 && open < slots) return bucket.msUntil(1)
    const oldest = longPolls.first
    if (!oldest || excess() <= aborted) return Infinity
    return Math.max(bucket.msUntil(aborted + 1), oldest.startedAt + turnMs - now())
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
    if (follower.isFinished) return
    follower.fail(reason)
    follower.leave(reason)
    startPolls()
  }

  return {
    async follow<T>(poll: Poll<T>, signal: AbortSignal) {
      signal.throwIfAborted()
      if (isClosed) throw closedError()
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      const follower: Follower = {
        isFinished: false,
        queuedAt: 0,
        async poll(turn) {
          const value = await poll(turn)
          if (value === undefined) return
          follower.isFinished = true
          resolve(value)
        },
        fail(reason) {
          follower.isFinished = true
          reject(reason)
        },
        leave: () => undefined,
      }
      const onAbort = () => stop(follower, signal.reason)
      signal.addEventListener('abort', onAbort)
      followers.add(follower)
      enqueue(follower)
      startPolls()
      try {
        return await promise
      } finally {
        followers.delete(follower)
        signal.removeEventListener('abort', onAbort)
      }
    },
    stats: () => ({ open, waiting: waiting.size, connections: load.length }),
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

const unrefTimer = (run: () => void, delayMs: number) => {
  const timer = setTimeout(run, delayMs).unref()
  return () => clearTimeout(timer)
}

/** Two turns in a row together last exactly two mean turns, so that no streak of long turns slows the queue down. */
function pairedJitter(turnMs: number, random: () => number): () => number {
  let counterpart: number | undefined
  return () => {
    const jitter = counterpart ?? JITTER * (2 * random() - 1)
    counterpart = counterpart === undefined ? -jitter : undefined
    return turnMs * (1 + jitter)
  }
}
