import type { RecordMetric } from '../../jobs/ports/metrics.ts'
import { createFifo } from '../../lib/collections.ts'
import { createTokenBucket } from '../../lib/limits.ts'

/** `connection`: the number of the connection to ask on, from 0. `waitMs`: how long to wait there, at most. */
export type PollTurn = { readonly connection: number; readonly waitMs: number; readonly signal: AbortSignal }

/**
 * Asks once. Undefined: not ended yet. It should settle soon after the turn's signal aborts, since its slot is taken
 * until then; a value that comes all the same is not lost.
 */
export type Poll<T> = (turn: PollTurn) => Promise<T | undefined>

/** `open`: polls under way. `waiting`: followers without one. `connections`: how many have been used so far. */
export type PollPoolStats = { readonly open: number; readonly waiting: number; readonly connections: number }

/**
 * Shares the slots of a few connections among any number of followers.
 *
 * With S slots (`maxConnections` x `pollsPerConnection`) and N followers: while N <= S each has a slot and long-polls,
 * and an end is noticed at once. With N > S they take turns, first come first served, of w = max(`minTurnMs`,
 * S / `maxPollsPerSecond`), 25 % longer or shorter so that they do not end in step; a long poll then gives up its slot
 * once it is w old. With a round trip of r, an end is noticed within
 *
 *     (N / S) x (w + r) + 1.25 w + r
 *
 * which is N / `maxPollsPerSecond` + 1.25 w, and N / S + 1 round trips, where S is large enough to use up that rate.
 * Never more than `maxPollsPerSecond` + burst polls start within a second; the burst is one second's worth while
 * N <= S and 4 % of that while N > S. A poll that ends before its time without a value, as those of a server do that is
 * shutting down, is followed by the next one `minTurnMs` after its start at the earliest.
 */
export type PollPool = {
  /**
   * Polls until `poll` gives a value. Rejects with what `poll` rejects with (the caller decides whether to come back),
   * with the signal's reason as soon as it aborts, or with an error once the pool is closed.
   */
  follow<T>(poll: Poll<T>, signal: AbortSignal): Promise<T>
  stats(): PollPoolStats
  /** Starts no poll for so long, in ms, and after that fewer a second than before, until none is refused for a while. */
  hold(ms: number): void
  /** Aborts every poll; every `follow` rejects. Idempotent. */
  close(): void
}

export type PollPoolOptions = {
  readonly maxConnections: number
  readonly pollsPerConnection: number
  /** How long a poll waits while there is a slot for everyone, in ms; also the upper limit of a turn. */
  readonly longPollMs?: number
  readonly maxPollsPerSecond?: number
  /** Hears how long each turn was waited for. */
  readonly recordMetric?: RecordMetric | undefined
  /** The shortest mean turn, in ms. */
  readonly minTurnMs?: number
  /** A clock that never goes back, in ms. */
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
/** How much sooner than it was to a poll may end, in ms, by the roundings of two clocks. */
const EARLY_TOLERANCE_MS = 50

type Follower = {
  isOver: boolean
  /** Since when it waits for a turn. */
  waitsSince: number
  /** One turn; settles the follower when there is a value. */
  ask: (turn: PollTurn) => Promise<void>
  fail: (reason: unknown) => void
  /** Out of the queue, or the end of the open poll. */
  leave: (reason: unknown) => void
}

type Turn = { readonly startedAt: number; readonly abort: AbortController; isEnding: boolean; unlist: () => void }

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
  /** Long polls that nobody has ended yet, the oldest first. */
  const longPolls = createFifo<Turn>()
  /** Open polls by connection; grows with the connections in use. */
  const load: number[] = []
  let open = 0
  /** Polls that were aborted and still hold their slots. */
  let ending = 0
  let timer: { readonly at: number; readonly cancel: () => void } | undefined
  let isClosed = false

  /** How many slots are missing. */
  const excess = () => open + waiting.size - slots

  const occupy = (connection: number, polls: 1 | -1) => {
    load[connection] = (load[connection] ?? 0) + polls
    open += polls
  }

  const enqueue = (follower: Follower) => {
    follower.waitsSince = now()
    follower.leave = waiting.add(follower)
  }

  /** Back to the queue; after a poll that ended early not before its time, for it would end early again. */
  const comeBack = (follower: Follower, turn: Turn, waitMs: number) => {
    const isEarly = !turn.isEnding && now() < turn.startedAt + waitMs - EARLY_TOLERANCE_MS
    const restMs = isEarly ? turn.startedAt + Math.min(waitMs, minTurnMs) - now() : 0
    if (restMs <= 0) {
      enqueue(follower)
      return
    }
    const returnToQueue = () => {
      enqueue(follower)
      pump()
    }
    follower.leave = setTimer(returnToQueue, restMs)
  }

  const end = (turn: Turn, reason?: unknown) => {
    if (turn.isEnding) return
    turn.isEnding = true
    ending++
    turn.unlist()
    turn.abort.abort(reason)
  }

  const takeTurn = async (follower: Follower, isLong: boolean) => {
    const roomy = load.findIndex((polls) => polls < pollsPerConnection)
    const connection = roomy === -1 ? load.length : roomy
    const turn: Turn = { startedAt: now(), abort: new AbortController(), isEnding: false, unlist: () => undefined }
    if (isLong) turn.unlist = longPolls.add(turn)
    follower.leave = (reason) => end(turn, reason)
    occupy(connection, 1)
    recordMetric?.({ type: 'poll-turn-started', waitedMs: turn.startedAt - follower.waitsSince })
    const waitMs = isLong ? longPollMs : Math.min(longPollMs, nextTurnMs())
    try {
      await follower.ask({ connection, waitMs, signal: turn.abort.signal })
    } catch (error) {
      if (!turn.isEnding) follower.fail(error)
    }
    turn.unlist()
    if (turn.isEnding) ending--
    occupy(connection, -1)
    if (!follower.isOver) comeBack(follower, turn, waitMs)
    pump()
  }

  /** Whether the oldest long poll must make room, and a poll may start in its place at once. */
  const mayEnd = (turn: Turn | undefined): turn is Turn =>
    turn !== undefined && excess() > ending && bucket.msUntil(ending + 1) === 0 && now() >= turn.startedAt + turnMs

  /** Does whatever is to be done now. Called after every change. */
  const pump = () => {
    if (isClosed) return
    bucket.refill(excess() > 0 ? CROWDED_BURST : 1)
    for (let next = waiting.first; next && open < slots && bucket.msUntil(1) === 0; next = waiting.first) {
      const isLong = excess() <= 0
      next.leave(undefined)
      bucket.take()
      void takeTurn(next, isLong)
    }
    for (let oldest = longPolls.first; mayEnd(oldest); oldest = longPolls.first) end(oldest)
    arm()
  }

  /** When there will be something to do that no poll's end announces, in ms from now. */
  const idleMs = () => {
    if (waiting.size > 0 && open < slots) return bucket.msUntil(1)
    const oldest = longPolls.first
    if (!oldest || excess() <= ending) return Infinity
    return Math.max(bucket.msUntil(ending + 1), oldest.startedAt + turnMs - now())
  }

  /** Keeps an earlier timer: it finds nothing to do and arms the next one. */
  const arm = () => {
    const delayMs = Math.max(1, Math.ceil(idleMs()))
    const at = now() + delayMs
    if (timer && timer.at <= at && delayMs !== Infinity) return
    timer?.cancel()
    timer = delayMs === Infinity ? undefined : { at, cancel: setTimer(onTimer, delayMs) }
  }

  const onTimer = () => {
    timer = undefined
    pump()
  }

  const quit = (follower: Follower, reason: unknown) => {
    if (follower.isOver) return
    follower.fail(reason)
    follower.leave(reason)
    pump()
  }

  return {
    async follow<T>(poll: Poll<T>, signal: AbortSignal) {
      signal.throwIfAborted()
      if (isClosed) throw closedError()
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      const follower: Follower = {
        isOver: false,
        waitsSince: 0,
        async ask(turn) {
          const value = await poll(turn)
          if (value === undefined) return
          follower.isOver = true
          resolve(value)
        },
        fail(reason) {
          follower.isOver = true
          reject(reason)
        },
        leave: () => undefined,
      }
      const onAbort = () => quit(follower, signal.reason)
      signal.addEventListener('abort', onAbort)
      followers.add(follower)
      enqueue(follower)
      pump()
      try {
        return await promise
      } finally {
        followers.delete(follower)
        signal.removeEventListener('abort', onAbort)
      }
    },
    stats: () => ({ open, waiting: waiting.size, connections: load.length }),
    hold(ms) {
      bucket.pause(ms)
      pump()
    },
    close() {
      isClosed = true
      timer?.cancel()
      timer = undefined
      for (const follower of followers) quit(follower, closedError())
    },
  }
}

const closedError = () => new Error('the pool of polls is closed')

const unrefTimer = (run: () => void, delayMs: number) => {
  const timer = setTimeout(run, delayMs).unref()
  return () => clearTimeout(timer)
}

/** Two turns in a row are together exactly two mean turns long, so that no run of luck slows the queue down. */
function pairedJitter(turnMs: number, random: () => number): () => number {
  let counterpart: number | undefined
  return () => {
    const jitter = counterpart ?? JITTER * (2 * random() - 1)
    counterpart = counterpart === undefined ? -jitter : undefined
    return turnMs * (1 + jitter)
  }
}
