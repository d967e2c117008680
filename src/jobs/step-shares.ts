import { createLru, medianOf } from '../lib/collections.ts'
import { currentAttempt, type Job } from './job.ts'
import type { JobProgress } from './progress.ts'

/** Where in a run a step begins and ends: parts of its time, from 0 to 1. */
type Share = { readonly start: number; readonly end: number }

/** How much of a step was done, from 0 to 1, at a time in epoch ms. */
type Point = { readonly part: number; readonly at: number }

/** When a run started and ended, in epoch ms. */
type Run = { readonly startedAt: number; readonly endedAt: number }

/** What was seen of one attempt: the first and the last point of each step, and the last of all. */
type Seen = {
  readonly attempt: number
  readonly steps: Map<string, { readonly first: Point; last: Point }>
  last: { readonly step: string; readonly point: Point }
}

/** Runs whose progress is remembered, steps of one run, and runs that the share of a step is taken from. */
const RUNS_SEEN = 1_000
const MAX_STEPS = 20
const SHARES_KEPT = 20
/** Steps of a version of which shares are kept: a function may print anything. */
const MAX_NAMES = 50
/** Points of a step that are closer together than this say nothing of its beginning and its end. */
const LEAST_DISTANCE = 0.2

/**
 * Learns, from runs that were followed to their end, which part of a run each of its steps takes, so that the progress in
 * a step says how much of the run is done. Steps without a name, or without counts, say nothing.
 */
export type StepShares = {
  observe(job: Job, progress: JobProgress): void
  /** Takes the run of a job that has succeeded. */
  learn(job: Job, run: Run): void
  /** How much of the run of a job was done, and when; undefined: not known. */
  doneOf(job: Job): Point | undefined
}

export function createStepShares(): StepShares {
  const runs = createLru<Seen>(2 * RUNS_SEEN)
  /** By version and step, the newest last. */
  const shares = new Map<string, Share[]>()

  const keyOf = ({ version }: Job, step: string) => `${version} ${step}`

  const seenOf = (job: Job): Seen | undefined => {
    const seen = runs.get(job.id)
    return seen?.attempt === currentAttempt(job).attempt ? seen : undefined
  }

  const keep = (key: string, share: Share) => {
    if (!shares.has(key) && shares.size >= MAX_NAMES) return
    const known = shares.get(key) ?? []
    shares.set(key, [...known.slice(1 - SHARES_KEPT), share])
  }

  return {
    observe(job, { step, done, total, at }) {
      if (step === undefined || done === undefined || total === undefined || !(total > 0)) return
      const point = { part: done / total, at }
      const last = { step, point }
      const seen: Seen = seenOf(job) ?? { attempt: currentAttempt(job).attempt, steps: new Map(), last }
      const ofStep = seen.steps.get(step)
      if (ofStep) ofStep.last = point
      else if (seen.steps.size < MAX_STEPS) seen.steps.set(step, { first: point, last: point })
      seen.last = last
      runs.set(job.id, seen, 1)
    },
    learn(job, run) {
      const seen = seenOf(job)
      runs.delete(job.id)
      if (!seen) return
      for (const [step, { first, last }] of seen.steps) {
        const share = shareOf(first, last, run)
        if (share) keep(keyOf(job, step), share)
      }
    },
    doneOf(job) {
      const last = seenOf(job)?.last
      const known = last && shares.get(keyOf(job, last.step))
      if (!known) return undefined
      const [start = NaN, end = NaN] = [
        medianOf(known.map((share) => share.start)),
        medianOf(known.map((share) => share.end)),
      ]
      return { part: start + last.point.part * (end - start), at: last.point.at }
    },
  }
}

/** The line through two points of a step, as parts of the run; undefined if they are too close, or outside of it. */
function shareOf(first: Point, last: Point, { startedAt, endedAt }: Run): Share | undefined {
  const distance = last.part - first.part
  if (!(distance >= LEAST_DISTANCE)) return undefined
  const [from, to] = [first, last].map(({ at }) => (at - startedAt) / (endedAt - startedAt)) as [number, number]
  if (!(from >= 0 && to > from && to <= 1)) return undefined
  const slope = (to - from) / distance
  const start = Math.max(0, from - first.part * slope)
  return { start, end: Math.min(1, start + slope) }
}
