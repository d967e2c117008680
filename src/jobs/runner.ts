import { setTimeout as sleep } from 'node:timers/promises'
import type { Backend, CallSubscriber, InputFile, Outcome, Spawned } from './ports/backend.ts'
import { isProblem } from '../problems.ts'
import type { AheadUploads, Uploads } from './ports/files.ts'
import type { AttemptId, JobQueue, RunEntry } from './ports/queue.ts'
import type { JobStore } from './ports/store.ts'
import {
  currentAttempt,
  FILE_KINDS,
  isFinished,
  namedInputOf,
  hasPendingStop,
  type Job,
  type JobEvent,
  runOptionsOf,
  type RunTimes,
  type StoredObject,
  withoutInputPaths,
} from './job.ts'
import type { Estimator } from './estimate.ts'
import type { LinkSigner } from './links.ts'
import { createThrottledWarning, errorFieldsOf, type Log, logFieldsOf } from './log.ts'
import type { Stages } from './subscriptions.ts'
import type { Stopper } from './stopper.ts'
import type { Price } from './usage.ts'
import type { Transitioned, Transitions } from './transition.ts'
import { backOffMs } from '../lib/timing.ts'

export type RunnerDependencies = Pick<Transitions, 'transition'> & {
  readonly store: Pick<JobStore, 'get'>
  readonly queue: Pick<JobQueue, 'whenNotPaused'>
  readonly backend: Backend
  readonly uploads: Pick<Uploads, 'locate'>
  readonly ahead: Pick<AheadUploads, 'linkTo'>
  readonly links: Pick<LinkSigner, 'inputUrl'>
  readonly stopper: Stopper
  readonly stages: Pick<Stages, 'set'>
  readonly estimator: Pick<Estimator, 'enter' | 'leave'>
  readonly maxAttempts: number
  readonly price?: Price | undefined
  readonly log: Log
}

/** Back-off before an event is written again, in ms. */
const RECORD_RETRY = { firstMs: 50, maxMs: 5_000 }

/** One attempt under way: the job as last read or written, undefined once it is removed, and the attempt's call. */
type Run = {
  readonly id: string
  readonly attempt: number
  readonly signal: AbortSignal
  job: Job | undefined
  callId: string | undefined
}

/**
 * Runs one attempt of one job: attaches to its call or spawns one, waits for the outcome and records it. May run twice
 * for the same entry, also at the same time on two replicas: the store's compare-and-set decides. The job is read once,
 * unless it changes elsewhere meanwhile.
 */
export function createRunner(dependencies: RunnerDependencies): RunEntry {
  const { store, queue, transition, backend, uploads, ahead, links, stopper, stages, estimator } = dependencies
  const { maxAttempts, price, log } = dependencies

  const warnRarely = createThrottledWarning(log)

  /**
   * Writes an event of the backend, which reports it only once: retries while the store is unavailable. Undefined: the
   * job has been removed. Rejects only if the store is still unavailable when the signal aborts.
   */
  const recordWithRetry = async (run: Run, event: JobEvent): Promise<Transitioned | undefined> => {
    for (let failures = 0; run.job; failures++) {
      try {
        const transitioned = await transition(run.job, event)
        run.job = transitioned.job
        return transitioned
      } catch (error) {
        if (isProblem(error, 'job_not_found')) break
        reportUnrecorded(run.job, event, { error, isLast: run.signal.aborted })
        if (run.signal.aborted) throw error
      }
      const options = { ref: false, signal: run.signal }
      await sleep(backOffMs(failures, RECORD_RETRY), undefined, options).catch(() => undefined)
    }
    run.job = undefined
    return undefined
  }

  const reportUnrecorded = (job: Job, event: JobEvent, { error, isLast }: { error: unknown; isLast: boolean }) => {
    const fields = { ...logFieldsOf(job), job_event: event.type, ...('callId' in event && { call_id: event.callId }) }
    warnRarely(
      { ...errorFieldsOf(error), ...fields, event: 'outcome_not_recorded' },
      "cannot record the job's outcome yet; retrying",
    )
    // Not throttled: only the log has a call that no record has.
    if (isLast)
      log.warn({ ...fields, event: 'outcome_dropped' }, "the job's outcome was not recorded before the shutdown")
  }

  /**
   * Records a call, which would otherwise be spawned again. After an ambiguous write the repetition may be refused, so
   * the result is whether the attempt has the call.
   */
  const recordCall = async (run: Run, event: CallEvent): Promise<boolean> => {
    const recorded = await recordWithRetry(run, event)
    return recorded !== undefined && (recorded.accepted || hasCall(recorded.job, event))
  }

  /** A bucket that is unavailable does not fail the job: it is asked again until the job is stopped. */
  const linkWithRetry = async (
    { object, type }: { readonly object: StoredObject; readonly type: string },
    job: Job,
    signal: AbortSignal,
  ): Promise<string | undefined> => {
    for (let failures = 0; ; failures++) {
      try {
        return await ahead.linkTo(object, { method: 'GET', contentType: type, ttlSeconds: linkSeconds(job) })
      } catch (error) {
        warnRarely({ ...errorFieldsOf(error), ...logFieldsOf(job), event: 'upload_unreadable' }, UNREADABLE)
      }
      await sleep(backOffMs(failures, LINK_RETRY), undefined, { ref: false, signal })
    }
  }

  /** A deleted upload, with or without its folder, fails the job as `input_unavailable`. */
  const spawn = async (job: Job, attempt: number, signal: AbortSignal): Promise<Spawned> => {
    const files: Record<string, InputFile> = {}
    const urls: Record<string, string> = {}
    for (const kind of FILE_KINDS) {
      const file = job.input[kind]
      if (!file) continue
      const { object, type } = file
      if (object) {
        const url = await linkWithRetry({ object, type }, job, signal)
        if (url === undefined) return { kind: 'rejected', code: 'input_unavailable', error: `${kind}: ${CHANGED}` }
        urls[`${kind}_url`] = url
        continue
      }
      const path = await uploads.locate(job.id, kind).catch((error: unknown) => {
        if (!isProblem(error, 'input_not_found')) throw error
      })
      if (path === undefined) {
        return { kind: 'rejected', code: 'input_unavailable', error: `${kind}: the file has been deleted` }
      }
      files[kind] = { path, size: file.size, url: links.inputUrl(job, kind) }
    }
    const { id: jobId, caller } = job
    const request = { jobId, attempt, caller, input: { ...namedInputOf(job.input), ...urls }, ...runOptionsOf(job) }
    return backend.spawn({ ...request, ...(Object.keys(files).length > 0 && { files }) }, signal)
  }

  const logTraceback = (job: Job, { attempt, callId }: Run, outcome: Outcome) => {
    if (outcome.kind === 'succeeded' || outcome.traceback === undefined) return
    const traceback = withoutInputPaths(job, outcome.traceback)
    log.warn(
      { ...logFieldsOf(job), attempt, call_id: callId, event: 'run_raised', traceback },
      'the run raised an exception',
    )
  }

  /** Undefined: there is nothing to wait for. */
  const obtainCall = async (job: Job, run: Run): Promise<string | undefined> => {
    const { attempt } = run
    if (job.backend !== backend.name) {
      const error = `The job belongs to the backend '${job.backend}', which this server does not run.`
      await recordWithRetry(run, { type: 'failed', attempt, code: 'lost', error })
      return undefined
    }
    const known = currentAttempt(job).callId
    if (known !== undefined) return known
    const spawned = await queue.whenNotPaused(run.signal, (signal) => spawn(job, attempt, signal))
    if (spawned.kind === 'rejected') {
      await recordWithRetry(run, { type: 'failed', attempt, code: spawned.code, error: spawned.error })
      return undefined
    }
    const { callId } = spawned
    if (await recordCall(run, { type: 'spawned', attempt, callId })) return callId
    // The job finished while the backend was starting the call: the call is recorded first, then stopped.
    const isRecorded = await recordCall(run, { type: 'orphaned', attempt, callId })
    // The job is removed, or the attempt has another runner's call: no record has ours.
    if (!isRecorded) await stopper.stopCall(job.id, callId)
    return undefined
  }

  const waitForEnd = async (job: Job, run: Run, callId: string): Promise<End> => {
    let times: RunTimes | undefined
    let startRecorded: Promise<unknown> = Promise.resolve()
    let isOver = false
    const subscriber: CallSubscriber = {
      spawnedAt: currentAttempt(job).startedAt,
      onStage(stage, startedAt) {
        if (!isOver) stages.set(job, stage, startedAt)
      },
      onStart(at) {
        startRecorded = recordWithRetry(run, { type: 'started', attempt: run.attempt, at }).catch(() => undefined)
      },
      onTimes(known) {
        times = known
      },
      // The cost of a run that is canceled depends on it.
      isNeeded: job.runTimeoutSeconds !== undefined || price !== undefined,
    }
    estimator.enter(job)
    try {
      const outcome = await backend.wait(callId, run.signal, subscriber)
      // A start is refused after the end.
      await startRecorded
      return { outcome, times }
    } finally {
      isOver = true
      stages.set(job, undefined)
      estimator.leave(job)
    }
  }

  const recordEnd = async (run: Run, end: End) => {
    const recorded = await recordWithRetry(run, eventOf(end, run.attempt, maxAttempts))
    // Only one of several runners of a call has its event accepted.
    if (recorded?.accepted) logTraceback(recorded.job, run, end.outcome)
  }

  const readRun = async ({ id, attempt }: AttemptId, signal: AbortSignal): Promise<Run | undefined> => {
    const job = await store.get(id)
    if (!job || isFinished(job) || job.isWaiting || currentAttempt(job).attempt !== attempt) return undefined
    return { id, attempt, signal, job, callId: undefined }
  }

  /**
   * Stops the call of a job that finished during its run, even if another server has recorded the stop as done: a call
   * of the local backend is a child of this process, which that server does not know.
   */
  const stopFinished = async (run: Run) => {
    const { id, attempt, callId, signal } = run
    // Aborted by a change of the job that is not in the copy at hand, or by a shutdown.
    if (signal.aborted) run.job = await store.get(id)
    const { job } = run
    if (job && hasPendingStop(job)) return stopper.stopCalls(job)
    const hasFinished = !job || isFinished(job) || currentAttempt(job).attempt !== attempt
    if (signal.aborted && hasFinished && callId !== undefined) await stopper.stopCall(id, callId)
  }

  // Thousands of runs wait here: each async function on the way, and each job that one holds, takes memory for as long.
  return async (entry, signal) => {
    const run = await readRun(entry, signal)
    if (!run?.job) return
    try {
      run.callId = await obtainCall(run.job, run)
      if (run.callId !== undefined && !signal.aborted) {
        await recordEnd(run, await waitForEnd(run.job, run, run.callId))
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
    await stopFinished(run)
  }
}

/** Back-off before the bucket is asked again, in ms. */
const LINK_RETRY = { firstMs: 500, maxMs: 30_000 }
const UNREADABLE = 'the bucket of uploads is unavailable; retrying'
const CHANGED = 'the upload was changed or deleted after the job was accepted'

/** Until an hour after the deadline: a call that is being stopped may still read. */
const linkSeconds = ({ deadlineAt }: Job) => Math.max(0, Math.ceil((deadlineAt - Date.now()) / 1000)) + 3600

/** How a call ended, and its times as the backend has measured them. */
type End = { readonly outcome: Outcome; readonly times: RunTimes | undefined }

/** An event that gives an attempt its call. */
type CallEvent = JobEvent & { readonly attempt: number; readonly callId: string }

const hasCall = ({ attempts }: Job, { attempt, callId }: CallEvent) =>
  attempts.some((candidate) => candidate.attempt === attempt && candidate.callId === callId)

function eventOf({ outcome, times }: End, attempt: number, maxAttempts: number): JobEvent {
  const end = { attempt, ...(times && { times }) }
  switch (outcome.kind) {
    case 'succeeded': {
      const { outputPath, runId } = outcome
      return { type: 'succeeded', ...end, outputPath, ...(runId !== undefined && { runId }) }
    }
    case 'failed':
      return { type: 'failed', ...end, code: outcome.code, error: outcome.error }
    case 'interrupted':
      return { type: 'interrupted', ...end, error: outcome.error, maxAttempts }
    default:
      return outcome satisfies never
  }
}
