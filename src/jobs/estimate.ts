import {
  type Cost,
  currentAttempt,
  expiresAt,
  isFinished,
  type Job,
  type JobEvent,
  type JobMedia,
  MODEL_VERSIONS,
  type ModelVersion,
  type StageState,
} from './job.ts'
import { medianOf } from '../lib/collections.ts'
import type { Log } from './log.ts'
import type { JobProgress } from './progress.ts'
import { createStepShares } from './step-shares.ts'
import type { Position } from './ports/queue.ts'
import type { UsageStore } from './ports/store.ts'
import type { Stages } from './subscriptions.ts'
import { costOf, type Price } from './usage.ts'

/** What an estimate goes by; what is not known is undefined. Times in epoch ms, lengths in ms. */
export type EstimateBasis = {
  readonly now: number
  /** How long the run takes, by recent runs. */
  readonly runMs: number | undefined
  readonly stage: StageState | undefined
  /** How much of the run was done, from 0 to 1, at a time in epoch ms. */
  readonly done: { readonly part: number; readonly at: number } | undefined
  /** When the run starts, if it has not. */
  readonly startsAt: number
}

/**
 * When a job is expected to finish, in epoch ms: after `now`, a whole second, at its deadline at the latest. Undefined if
 * there is nothing to go by, and for a run that takes longer than estimated, as nobody knows by how much.
 */
export function estimateFinish(job: Job, basis: EstimateBasis): number | undefined {
  const { now, runMs, stage, done, startsAt } = basis
  if (isFinished(job)) return undefined
  const runStart = runStartOf(job, stage, now)
  const takesMs = runStart === undefined ? runMs : correctByProgress(runStart, runMs, done)
  const finishAt = Math.ceil(((runStart ?? startsAt) + (takesMs ?? NaN)) / SECOND_MS) * SECOND_MS
  const estimate = Math.min(finishAt, expiresAt(job))
  return Number.isFinite(finishAt) && estimate > now ? estimate : undefined
}

const SECOND_MS = 1_000
/** With less done, the pace of a run says nothing. */
const LEAST_PART = 0.05

/** The further a run is, the more its own pace counts, and the less what other runs have taken. */
function correctByProgress(
  runStart: number,
  runMs: number | undefined,
  done: EstimateBasis['done'],
): number | undefined {
  const { part, at } = done ?? { part: 0, at: runStart }
  const byPaceMs = (at - runStart) / part
  if (!(part >= LEAST_PART && part <= 1 && byPaceMs > 0)) return runMs
  return runMs === undefined ? byPaceMs : part * byPaceMs + (1 - part) * runMs
}

/** The backend's clock may be wrong: a run starts between its spawn and now. */
function runStartOf(job: Job, stage: StageState | undefined, now: number): number | undefined {
  const { startedAt, runStartedAt, finishedAt } = currentAttempt(job)
  if (startedAt === undefined || finishedAt !== undefined) return undefined
  const at = runStartedAt ?? (stage?.stage === 'running' ? stage.since : undefined)
  return at === undefined ? undefined : Math.min(Math.max(at, startedAt), now)
}

/** The places for jobs at the backend. */
export type Occupancy = {
  /** When each of them gets free, in epoch ms, the first first; never empty. */
  readonly frees: readonly number[]
  /** How long a job holds one. */
  readonly runMs: number
}

/** When the job at a position of the queue, from 1, is expected to start: places are taken in the order in which they get free. */
export function estimateStart(position: number, { frees, runMs }: Occupancy): number {
  const [round, place] = [Math.floor((position - 1) / frees.length), (position - 1) % frees.length]
  return (frees[place] ?? NaN) + round * runMs
}

/** How long the medians of recent runs are used, in ms, and what they are made of is not read again. */
export const MEDIANS_FOR_MS = 30_000
/** Where nothing else says when a run starts, it starts at the next multiple of this, in ms: answers stay the same for as long. */
export const START_STEP_MS = 10_000
/** Runs of this process that the length of a run is taken from. */
const RUNS_KEPT = 100

/** What a submit would wait and take, as far as it is known. Lengths in ms. */
export type SubmitEstimate = {
  readonly queuedMs?: number
  readonly runMs?: number
  readonly finishAt?: number
  readonly cost?: Cost
}

export type EstimatorDependencies = {
  readonly store: Pick<UsageStore, 'recentRuns'> & { countSubmitted(): Promise<number> }
  readonly stages: Pick<Stages, 'stateOf'>
  readonly log: Log
  /** Jobs at the backend at the same time, on all replicas; undefined: no limit. */
  readonly maxConcurrentJobs?: number | undefined
  readonly price?: Price | undefined
  /** Epoch ms. */
  readonly now?: () => number
}

/** Estimates from what this process has in memory: the medians of recent runs, which all replicas share, and its own jobs. */
export type Estimator = {
  /** See `estimateFinish`. Reads nothing; the medians are read in the background, at most every `MEDIANS_FOR_MS`. */
  finishOf(job: Job, position: Position): number | undefined
  /** What a submit of this job would mean. Rejects while the store is unavailable. */
  ofSubmit(job: Job): Promise<SubmitEstimate>
  /** A job has a call that this process follows from now on, until `leave`. */
  enter(job: Job): void
  leave(job: Job): void
  /** Takes notice of how far a running job is. */
  observeProgress(job: Job, progress: JobProgress): void
  /** Takes notice of a change of a job. */
  observe(change: { readonly after: Job; readonly event?: JobEvent }): void
  /** Reads the medians. Never rejects. */
  load(): Promise<void>
}

export function createEstimator(dependencies: EstimatorDependencies): Estimator {
  const { store, stages, log, maxConcurrentJobs: slots, price, now = Date.now } = dependencies
  const medians = new Map<ModelVersion, number>()
  let loadedAt = -Infinity
  /** The jobs at the backend that this process runs; only where others wait for them. */
  const running = new Map<string, Job>()
  /** Lengths of the last runs, in ms, the newest last. */
  const runs: number[] = []
  const shares = createStepShares()
  let occupancy: (Occupancy & { readonly asOf: number }) | undefined

  const load = async () => {
    loadedAt = performance.now()
    for (const version of MODEL_VERSIONS) {
      try {
        const median = medianOf((await store.recentRuns(version)).filter((ms) => ms > 0))
        if (median !== undefined) medians.set(version, median)
      } catch (error) {
        log.debug({ err: error }, 'reading the recent runs failed; estimates go by those read before')
      }
    }
  }

  const refresh = () => {
    if (performance.now() - loadedAt >= MEDIANS_FOR_MS) void load()
  }

  const runMsOf = ({ version, media }: Job): number | undefined => {
    const ms = (medians.get(version) ?? NaN) * speechSecondsOf(media)
    return ms >= 0 && ms < Infinity ? ms : undefined
  }

  /** The next step of the clock: an answer may be given again until then. */
  const nextStep = () => Math.ceil(now() / START_STEP_MS) * START_STEP_MS

  const readOccupancy = (places: number, runMs: number): Occupancy => {
    const asOf = nextStep()
    if (occupancy?.asOf === asOf) return occupancy
    const typicalMs = medianOf(runs) ?? runMs
    const unknown = asOf + typicalMs / 2
    const frees = [...running.values()].map((job) => estimate(job, asOf) ?? unknown)
    // Jobs of other replicas, and of an earlier process.
    while (frees.length < places) frees.push(unknown)
    // With more jobs than places the first that finish make no room.
    occupancy = { frees: frees.sort((a, b) => a - b).slice(-places), runMs: typicalMs, asOf }
    return occupancy
  }

  const estimate = (job: Job, startsAt: number) =>
    estimateFinish(job, {
      now: now(),
      runMs: runMsOf(job),
      stage: stages.stateOf(job),
      done: shares.doneOf(job),
      startsAt,
    })

  const startOf = (job: Job, position: Position): number => {
    const runMs = runMsOf(job)
    if (position === undefined || slots === undefined || runMs === undefined) return nextStep()
    return Math.max(estimateStart(position, readOccupancy(slots, runMs)), nextStep())
  }

  return {
    load,
    finishOf(job, position) {
      if (isFinished(job) || job.isWaiting) return undefined
      refresh()
      return estimate(job, startOf(job, position))
    },
    async ofSubmit(job) {
      if (performance.now() - loadedAt >= MEDIANS_FOR_MS) await load()
      const runMs = runMsOf(job)
      if (runMs === undefined) return {}
      const waiting = slots === undefined ? 0 : await store.countSubmitted()
      const isBusy = slots !== undefined && (waiting > 0 || running.size >= slots)
      const startsAt = isBusy ? startOf(job, waiting + 1) : now()
      const finishAt = estimateFinish(job, { now: now(), runMs, stage: undefined, done: undefined, startsAt })
      return {
        ...(slots !== undefined && { queuedMs: startsAt - now() }),
        runMs,
        ...(finishAt !== undefined && { finishAt }),
        ...(price && { cost: costOf(Math.round(runMs), price) }),
      }
    },
    observeProgress(job, progress) {
      shares.observe(job, progress)
    },
    enter(job) {
      if (slots === undefined) return
      running.set(job.id, job)
      occupancy = undefined
    },
    leave(job) {
      // Of the next attempt, which may have a call already.
      const isLater = currentAttempt(running.get(job.id) ?? job).attempt > currentAttempt(job).attempt
      if (!isLater && running.delete(job.id)) occupancy = undefined
    },
    observe({ after, event }) {
      const runMs = event?.type === 'succeeded' ? event.times?.runMs : undefined
      if (runMs !== undefined && runs.push(runMs) > RUNS_KEPT) runs.shift()
      if (runMs !== undefined) shares.learn(after, { startedAt: now() - runMs, endedAt: now() })
      if (!running.has(after.id)) return
      // Jobs may also end at other replicas, which is not seen here: `leave` follows.
      if (after.status === 'running' && currentAttempt(after).callId !== undefined) running.set(after.id, after)
      else running.delete(after.id)
      occupancy = undefined
    },
  }
}

const speechSecondsOf = (media: JobMedia | undefined): number => media?.audio?.durationSeconds ?? NaN
