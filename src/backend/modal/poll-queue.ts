import { createFifo } from '../../lib/collections.ts'

/** Where a call is, as Modal's listing says: in its queue, in a container that starts, in a run, or ended. */
export type CallStage = 'queued' | 'starting' | 'running' | 'ended'

/** Where a call is believed to be. The pool sets `onChange`, which is to be called when `stage` has changed. */
export type StageHint = { readonly stage: CallStage | undefined; onChange?: (() => void) | undefined }

/** A follower of a call. Its owner sets `isDoubted`, the queue all else that may change. */
export type QueueEntry = {
  readonly hint: StageHint | undefined
  /** Whether it is said to have ended, and a poll has found no end. */
  isDoubted: boolean
  /** Since when it waits for a turn. */
  queuedAt: number
  isWaiting: boolean
  /** Leaves the queue of its stage, and that of all. */
  leaveStage: () => void
  leaveRound: () => void
}

/**
 * Followers that wait for a turn. In a crowd turns go to calls that are believed to have ended, then to running ones, then
 * to those of which nothing is known, each in order of arrival. Calls in Modal's queue want no turn; but the one that has
 * waited longest, whatever its stage, gets every other turn once it is due, so that all of them have one in
 * `maxIntervalMs`. Without a crowd all want a turn.
 */
export type PollQueue<E extends QueueEntry> = {
  add(entry: E): void
  remove(entry: E): void
  /** To be called when the stage of an entry has changed. */
  changeStage(entry: E): void
  /** The entry that has the next turn; undefined if none wants one now. */
  next(): E | undefined
  /** Removes an entry that gets a turn. */
  take(entry: E): void
  /** How many entries want a turn. */
  wanting(): number
  /** In how many ms an entry will want a turn. */
  msUntilWanted(): number
}

export type PollQueueOptions = {
  /** Within which every entry gets a turn, in ms. */
  readonly maxIntervalMs: number
  /** Whether there are more followers than slots. */
  readonly isCrowded: () => boolean
  /** A monotonic clock, in ms. */
  readonly now: () => number
}

/** How far the pace of the round may catch up, in ms. */
const CATCH_UP_MS = 100

const nothing = () => undefined

export function createPollQueue<E extends QueueEntry>({
  maxIntervalMs,
  isCrowded,
  now,
}: PollQueueOptions): PollQueue<E> {
  /** All entries, the longest waiting first. */
  const round = createFifo<E>()
  /** Those of them that want a turn even in a crowd, by stage. */
  const ended = createFifo<E>()
  const running = createFifo<E>()
  const unknown = createFifo<E>()
  /** When the round had its last turn. */
  let lastRoundAt = now()
  /** Whether the last turn was out of order while the first of the round was due. */
  let isRoundNext = false

  const preferred = () => ended.first ?? running.first ?? unknown.first

  const roundDueAt = (oldest: E) => Math.min(lastRoundAt + maxIntervalMs / round.size, oldest.queuedAt + maxIntervalMs)
  const isRoundDue = () => round.first !== undefined && now() >= roundDueAt(round.first)

  const queueOf = ({ hint, isDoubted }: E) => {
    switch (hint?.stage) {
      case 'ended':
        return isDoubted ? running : ended
      case 'starting':
      case 'running':
        return running
      case 'queued':
        return undefined
      case undefined:
        return unknown
    }
  }

  const enterStage = (entry: E) => {
    entry.leaveStage = queueOf(entry)?.add(entry) ?? nothing
  }

  const remove = (entry: E) => {
    entry.isWaiting = false
    entry.leaveStage()
    entry.leaveRound()
  }

  const wanting = () => {
    if (!isCrowded()) return round.size
    const hinted = ended.size + running.size + unknown.size
    return hinted > 0 || !isRoundDue() ? hinted : 1
  }

  return {
    add(entry) {
      entry.queuedAt = now()
      entry.isWaiting = true
      enterStage(entry)
      entry.leaveRound = round.add(entry)
    },
    remove,
    changeStage(entry) {
      entry.isDoubted = false
      if (!entry.isWaiting) return
      entry.leaveStage()
      enterStage(entry)
    },
    next() {
      const oldest = round.first
      if (!oldest) return undefined
      if (!isCrowded()) return ended.first ?? running.first ?? oldest
      const first = preferred()
      if (first === oldest || !isRoundDue()) return first
      return first && (first === ended.first || !isRoundNext) ? first : oldest
    },
    take(entry) {
      const isOldest = entry === round.first
      if (isCrowded()) {
        isRoundNext = !isOldest && isRoundDue()
        if (isOldest) lastRoundAt = Math.max(lastRoundAt + maxIntervalMs / round.size, now() - CATCH_UP_MS)
      }
      remove(entry)
    },
    wanting,
    msUntilWanted() {
      const oldest = round.first
      if (!oldest) return Infinity
      return wanting() > 0 ? 0 : roundDueAt(oldest) - now()
    },
  }
}
