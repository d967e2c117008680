import { setTimeout as sleep } from 'node:timers/promises'
import type { Backend, Outcome, Spawned } from './ports/backend.ts'
import { InputNotFound, JobNotFound } from '../problems.ts'
import type { Uploads } from './ports/uploads.ts'
import type { RunEntry } from './ports/queue.ts'
import type { JobStore } from './ports/store.ts'
import {
  currentAttempt,
  FILE_KINDS,
  isFinished,
  namedInputOf,
  owesStop,
  type Job,
  type JobEvent,
  withoutInputPaths,
} from './job.ts'
import type { LinkSigner } from './links.ts'
import { createRareWarning, errorFieldsOf, type Log } from './log.ts'
import type { JobService, Recorded } from './service.ts'
import type { Stopper } from './stopper.ts'
import { logFieldsOf } from './trace.ts'

export type RunnerParts = {
  readonly store: Pick<JobStore, 'get'>
  readonly service: Pick<JobService, 'record'>
  readonly backend: Backend
  readonly uploads: Pick<Uploads, 'locate'>
  readonly links: Pick<LinkSigner, 'inputUrl'>
  readonly stopper: Stopper
  readonly maxAttempts: number
  readonly log: Log
}

/** First and longest pause before the store is asked again, in ms. */
const RECORD_RETRY_MS = 50
const RECORD_RETRY_MAX_MS = 5_000

/**
 * Follows one attempt of one job to its end: attaches to its call, or spawns it, awaits the outcome and records it.
 * May run twice for the same entry, also at the same time on two replicas: the store's compare-and-set decides.
 */
export function createRunner(parts: RunnerParts): RunEntry {
  const { store, service, backend, uploads, links, stopper, maxAttempts, log } = parts

  const warnRarely = createRareWarning(log)

  /**
   * Writes down what the backend has said, which nobody says again: a store that is away is asked until it is back.
   * Undefined: the job is gone. Rejects only where the store is away still when `signal` aborts.
   */
  const recordSurely = async (job: Job, event: JobEvent, signal: AbortSignal): Promise<Recorded | undefined> => {
    for (let failures = 0; ; failures++) {
      try {
        return await service.record(job.id, event)
      } catch (error) {
        if (error instanceof JobNotFound) return undefined
        const facts = { ...logFieldsOf(job), event: event.type, ...('callId' in event && { call_id: event.callId }) }
        warnRarely({ ...errorFieldsOf(error), ...facts }, 'cannot record what became of a job yet; retrying')
        if (signal.aborted) {
          // Of each job: nobody but the log knows of a call that nothing names.
          log.warn(facts, 'what became of a job was not written down before the end')
          throw error
        }
      }
      const pauseMs = Math.min(RECORD_RETRY_MAX_MS, RECORD_RETRY_MS * 2 ** failures)
      // Somewhat apart, so that thousands do not all ask in the moment in which the store is back.
      await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, { ref: false, signal }).catch(() => undefined)
    }
  }

  /**
   * A call that exists must be written down, or it would be made again. A write whose answer was lost may have been
   * made, and is then refused the second time: what counts is whether the attempt has the call. False: it has not.
   */
  const recordCall = async (event: CallEvent, job: Job, signal: AbortSignal): Promise<boolean> => {
    const recorded = await recordSurely(job, event, signal)
    return recorded !== undefined && (recorded.accepted || hasCall(recorded.job, event))
  }

  /** A file that is gone, with the folder it was in for instance, ends the job as any other missing input does. */
  const spawn = async (job: Job, attempt: number, signal: AbortSignal): Promise<Spawned> => {
    const files: Record<string, { path: string; url: string }> = {}
    for (const kind of FILE_KINDS.filter((candidate) => job.input[candidate])) {
      const path = await uploads.locate(job.id, kind).catch((error: unknown) => {
        if (!(error instanceof InputNotFound)) throw error
      })
      if (path === undefined) {
        return { kind: 'rejected', code: 'input_unavailable', error: `${kind}: the file is not there any more` }
      }
      files[kind] = { path, url: links.inputUrl(job, kind) }
    }
    const { id: jobId, caller, version } = job
    const request = { jobId, attempt, caller, input: namedInputOf(job.input), version }
    return backend.spawn({ ...request, ...(Object.keys(files).length > 0 && { files }) }, signal)
  }

  const logTraceback = (job: Job, outcome: Outcome, fields: object) => {
    if (outcome.kind === 'succeeded' || outcome.traceback === undefined) return
    log.warn(
      { ...fields, event: 'run_raised', traceback: withoutInputPaths(job, outcome.traceback) },
      'the run raised an exception',
    )
  }

  const obtainCall = async (job: Job, attempt: number, signal: AbortSignal): Promise<string | undefined> => {
    const spawned = await spawn(job, attempt, signal)
    if (spawned.kind === 'rejected') {
      await recordSurely(job, { type: 'failed', attempt, code: spawned.code, error: spawned.error }, signal)
      return undefined
    }
    const { callId } = spawned
    if (await recordCall({ type: 'spawned', attempt, callId }, job, signal)) return callId
    // The job ended while the backend was starting the call: the call is written down first, then stopped.
    const isWritten = await recordCall({ type: 'orphaned', attempt, callId }, job, signal)
    // The job is gone, or another runner's call has the attempt's place: ours has none to be written down in.
    if (!isWritten) await stopper.stopCall(job.id, callId)
    return undefined
  }

  const follow = async (run: Run, job: Job, signal: AbortSignal) => {
    const { attempt } = run
    if (job.backend !== backend.name) {
      const error = `The job belongs to the backend '${job.backend}', which this server does not run.`
      await recordSurely(job, { type: 'failed', attempt, code: 'lost', error }, signal)
      return
    }
    run.callId = currentAttempt(job).callId ?? (await obtainCall(job, attempt, signal))
    if (run.callId === undefined || signal.aborted) return
    let isStartWritten: Promise<unknown> = Promise.resolve()
    const onStart = (at: number) => {
      isStartWritten = recordSurely(job, { type: 'started', attempt, at }, signal).catch(() => undefined)
    }
    const watch = { onStart, isNeeded: job.runTimeoutSeconds !== undefined }
    const outcome = await backend.wait(run.callId, signal, watch)
    // A start that is written after the end is refused.
    await isStartWritten
    const recorded = await recordSurely(job, eventOf(outcome, attempt, maxAttempts), signal)
    // Of several that follow a call only one has its event accepted.
    if (recorded?.accepted) logTraceback(job, outcome, { ...logFieldsOf(job), attempt, call_id: run.callId })
  }

  return async ({ id, attempt }, signal) => {
    const job = await store.get(id)
    if (!job || isFinished(job) || currentAttempt(job).attempt !== attempt) return
    const run: Run = { id, attempt, callId: undefined }
    try {
      await follow(run, job, signal)
    } catch (error) {
      if (!signal.aborted) throw error
    }
    await stopWhatEnded(run, signal)
  }

  /**
   * A job that ended under the runner's hands owes its call a stop; the runner is the first that can pay. Another server
   * may have been told that its backend knows no such call, where it is a child of this one: it is stopped all the same.
   */
  async function stopWhatEnded({ id, attempt, callId }: Run, signal: AbortSignal) {
    const job = await store.get(id)
    if (job && owesStop(job)) return stopper.stopCalls(job)
    const isOver = !job || isFinished(job) || currentAttempt(job).attempt !== attempt
    if (signal.aborted && isOver && callId !== undefined) await stopper.stopCall(id, callId)
  }
}

/** One entry under way, and the call that it follows once there is one. */
type Run = { readonly id: string; readonly attempt: number; callId: string | undefined }

/** An event that gives an attempt its call. */
type CallEvent = JobEvent & { readonly attempt: number; readonly callId: string }

const hasCall = ({ attempts }: Job, { attempt, callId }: CallEvent) =>
  attempts.some((candidate) => candidate.attempt === attempt && candidate.callId === callId)

function eventOf(outcome: Outcome, attempt: number, maxAttempts: number): JobEvent {
  switch (outcome.kind) {
    case 'succeeded': {
      const { outputPath, runId } = outcome
      return { type: 'succeeded', attempt, outputPath, ...(runId !== undefined && { runId }) }
    }
    case 'failed':
      return { type: 'failed', attempt, code: outcome.code, error: outcome.error }
    case 'interrupted':
      return { type: 'interrupted', attempt, error: outcome.error, maxAttempts }
    default:
      return outcome satisfies never
  }
}
