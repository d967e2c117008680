import { Status } from 'nice-grpc'
import { type SetTimer, setUnrefTimer } from '../../lib/timing.ts'
import { grpcCode, retryAfterMsOf } from './outcome.ts'
import type { CallStage, StageHint } from './poll-queue.ts'

/** One input of the listing, as far as it matters here. */
export type ListedInput = {
  readonly functionCallId: string
  readonly status: number
  readonly enqueuedAt: Date | undefined
  readonly startedAt?: Date | undefined
  readonly containerId?: string | undefined
  readonly startupTimeSeconds?: number | undefined
}

/** `since` is inclusive, `until` exclusive; both are about the time of enqueueing. */
export type ListRange = { readonly since: Date; readonly until: Date; readonly limit: number }

/** A call in flight. */
export type TrackOptions = {
  /** When Modal took the call, in epoch ms; undefined: not known. */
  readonly spawnedAt?: number | undefined
  /** Is called with each new stage; undefined: not known any more. `startedAt`: of the run, in epoch ms. */
  readonly onStage?: (stage: CallStage | undefined, startedAt: number | undefined) => void
}

/**
 * A call whose stage is tracked until it is removed. `isListed`: `enqueuedAt` is by Modal's clock, not estimated; epoch ms.
 * `startupMs`: how long its container took to start, once a listing says so.
 */
export type TrackedCall = StageHint & {
  readonly enqueuedAt: number
  readonly isListed: boolean
  readonly startupMs: number | undefined
}

/**
 * Lists from time to time which calls in flight wait, run or have ended. What it says is a hint: an end is only what
 * FunctionGetOutputs says. A stage is right as of the last listing, hence late by up to
 *
 *     interval (2 to 10 s) + time of a listing + lag of Modal's listing
 *
 * A listing that is refused is tried again later: one that Modal throttles after the time that Modal asks for, one that
 * its control plane does not know after ten minutes, any other after twice the time of the last, up to a minute. Stages
 * are forgotten when no listing has succeeded for 30 s and another one fails (which takes up to 30 s), at once if Modal
 * does not know the RPC: the poll pool then treats all calls alike. A call that the listing shows as waiting although it
 * has ended is noticed by its next poll, which does not depend on the listing.
 */
export type StageTracker = {
  /** Follows a call. One that is tracked already is not tracked twice: the second has no stage. */
  add(callId: string, options: TrackOptions): TrackedCall
  /** Follows a call no more. */
  remove(callId: string, call: TrackedCall): void
  /** Stops. Idempotent. */
  close(): void
}

export type StageTrackerOptions = {
  readonly list: (range: ListRange) => Promise<readonly ListedInput[]>
  /** A monotonic clock, in ms. */
  readonly now?: () => number
  readonly setTimer?: SetTimer
}

/** Time between two listings, in ms: the shortest, the longest, and what each listed input adds. */
export const LIST_EVERY_MS = { min: 2_000, max: 10_000, perInput: 0.4 } as const
/** Inputs of one RPC: fewer than the 20,000 that Modal allows, as decoding them blocks the event loop. */
export const INPUTS_PER_PAGE = 2_000
/** Pages of one listing: what lies beyond keeps the stage that it had. */
const MAX_PAGES = 100
/** Calls that end sooner are never listed, in ms. */
const MIN_AGE_MS = 2_000
/** How far Modal's clock may differ from ours before a listing has shown it, and by how much it may vary after that, in ms. */
const CLOCK_DIFFERENCE_MS = 60_000
const CLOCK_JITTER_MS = 2_000
/** A call that the listing has not shown for so long, in ms, is not searched for: it may be of a function of another id. */
const UNLISTED_MS = 120_000
/** How long stages are good for without a listing, in ms. */
const STALE_MS = 30_000
/** How long a listing is not tried that Modal does not know, and the longest back-off after other errors, in ms. */
const UNIMPLEMENTED_PAUSE_MS = 600_000
const MAX_BACKOFF_MS = 60_000
/** Modal lists the last seven days. */
const LISTED_MS = 7 * 24 * 3_600_000

const STATUS_PENDING = 1
const STATUS_RUNNING = 2

/** `addedAt`: monotonic. */
type Entry = TrackedCall & {
  stage: CallStage | undefined
  onChange: (() => void) | undefined
  enqueuedAt: number
  isListed: boolean
  startupMs: number | undefined
  readonly addedAt: number
  readonly spawnedAt: number | undefined
  readonly onStage: TrackOptions['onStage']
}

export function createStageTracker(options: StageTrackerOptions): StageTracker {
  const { list, now = () => performance.now(), setTimer = setUnrefTimer } = options
  /** The longest tracked first. */
  const entries = new Map<string, Entry>()
  let cancelTimer: (() => void) | undefined
  let isListing = false
  let isClosed = false
  let lastListedAt = -Infinity
  let failures = 0
  /** No listing starts before; on the monotonic clock. */
  let nextAt = -Infinity
  /** How much Modal's clock is ahead of ours, at least, in ms; undefined until a listing shows it. */
  let clockDifferenceMs: number | undefined

  const schedule = (delayMs: number) => {
    if (isClosed || isListing || cancelTimer || entries.size === 0) return
    cancelTimer = setTimer(() => void onTimer(), Math.max(delayMs, nextAt - now()))
  }

  const setStage = (entry: Entry, stage: CallStage | undefined, startedAt?: number) => {
    if (entry.stage === stage) return
    entry.stage = stage
    entry.onChange?.()
    entry.onStage?.(stage, startedAt)
  }

  const forgetStages = () => {
    for (const entry of entries.values()) setStage(entry, undefined)
  }

  const apply = (input: ListedInput) => {
    const entry = entries.get(input.functionCallId)
    if (!entry) return
    if (!entry.isListed && input.enqueuedAt) {
      entry.isListed = true
      entry.enqueuedAt = input.enqueuedAt.getTime()
      if (entry.spawnedAt !== undefined) {
        clockDifferenceMs = Math.min(clockDifferenceMs ?? Infinity, entry.enqueuedAt - entry.spawnedAt)
      }
    }
    if (input.startupTimeSeconds !== undefined) entry.startupMs = input.startupTimeSeconds * 1_000
    setStage(entry, stageOf(input), input.startedAt?.getTime())
  }

  /** When the oldest call that may be listed was enqueued, in epoch ms; Infinity if there is none. */
  const oldestEnqueuedAt = () => {
    const aheadMs = (clockDifferenceMs ?? -CLOCK_DIFFERENCE_MS) - CLOCK_JITTER_MS
    const missedAt = now() - UNLISTED_MS
    let oldest = Infinity
    for (const { isListed, enqueuedAt, addedAt } of entries.values()) {
      if (isListed) oldest = Math.min(oldest, enqueuedAt)
      else if (addedAt > missedAt) oldest = Math.min(oldest, enqueuedAt + aheadMs)
    }
    return oldest
  }

  /** Resolves with the number of listed inputs. */
  const listAll = async (): Promise<number> => {
    let since = Math.max(oldestEnqueuedAt(), Date.now() - LISTED_MS)
    const until = new Date(Math.max(since, Date.now()) + CLOCK_DIFFERENCE_MS)
    let count = 0
    for (let page = 0; page < MAX_PAGES && since < until.getTime(); page++) {
      const inputs = await list({ since: new Date(since), until, limit: INPUTS_PER_PAGE })
      if (isClosed) break
      for (const input of inputs) apply(input)
      count += inputs.length
      if (inputs.length < INPUTS_PER_PAGE) break
      // A page that is full of one millisecond would be listed for ever.
      since = Math.max(since + 1, inputs.at(-1)?.enqueuedAt?.getTime() ?? Infinity)
    }
    return count
  }

  const onTimer = async () => {
    cancelTimer = undefined
    const [oldest] = entries.values()
    if (!oldest) return
    const youngMs = oldest.addedAt + MIN_AGE_MS - now()
    if (youngMs > 0) {
      schedule(youngMs)
      return
    }
    isListing = true
    nextAt = (await listAll().then(succeeded, failed)) + now()
    isListing = false
    schedule(0)
  }

  const succeeded = (inputs: number) => {
    lastListedAt = now()
    failures = 0
    return Math.min(LIST_EVERY_MS.max, LIST_EVERY_MS.min + LIST_EVERY_MS.perInput * inputs)
  }

  const failed = (error: unknown) => {
    failures++
    const isUnknown = grpcCode(error) === Status.UNIMPLEMENTED
    if (isUnknown || now() - lastListedAt > STALE_MS) forgetStages()
    if (isUnknown) return UNIMPLEMENTED_PAUSE_MS
    const backOffMs = Math.min(MAX_BACKOFF_MS, LIST_EVERY_MS.min * 2 ** failures)
    return Math.max(backOffMs, retryAfterMsOf(error) ?? 0)
  }

  return {
    add(callId, { spawnedAt, onStage }) {
      const entry: Entry = {
        stage: undefined,
        onChange: undefined,
        enqueuedAt: spawnedAt ?? Date.now(),
        isListed: false,
        startupMs: undefined,
        addedAt: now(),
        spawnedAt,
        onStage,
      }
      if (!entries.has(callId)) entries.set(callId, entry)
      schedule(MIN_AGE_MS)
      return entry
    },
    remove(callId, call) {
      if (entries.get(callId) === call) entries.delete(callId)
    },
    close() {
      isClosed = true
      cancelTimer?.()
      cancelTimer = undefined
    },
  }
}

function stageOf({ status, startedAt, containerId }: ListedInput): CallStage | undefined {
  switch (status) {
    case STATUS_PENDING:
      return containerId ? 'starting' : 'queued'
    case STATUS_RUNNING:
      return startedAt ? 'running' : 'starting'
    default:
      return status > STATUS_RUNNING ? 'ended' : undefined
  }
}
