import { setTimeout as sleep } from 'node:timers/promises'
import type { Backend, Outcome, Spawned } from '../backend/port.ts'
import { InputNotFound, JobNotFound } from '../errors.ts'
import type { Uploads } from '../inputs/port.ts'
import type { RunEntry } from '../queue/port.ts'
import type { JobStore } from '../store/port.ts'
import { currentAttempt, FILE_KINDS, isFinished, namedInputOf, owesStop, type Job, type JobEvent } from './job.ts'
import type { LinkSigner } from './links.ts'
import type { Log } from './log.ts'
import type { JobService } from './service.ts'
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

/** First and longest pause before a call is written down again, in ms. */
const RECORD_RETRY_MS = 50
const RECORD_RETRY_MAX_MS = 5_000

/**
 * Follows one attempt of one job to its end: attaches to its call, or spawns it, awaits the outcome and records it.
 * May run twice for the same entry, also at the same time on two replicas: the store's compare-and-set decides.
 */
export function createRunner(parts: RunnerParts): RunEntry {
  const { store, service, backend, uploads, links, stopper, maxAttempts, log } = parts

  /**
   * A call that exists must be written down, or it would be made again: a store that is away is asked until it is
   * back. False: the job does not take the call. Rejects only when the server ends before the store is back.
   */
  const recordCall = async (event: JobEvent & { callId: string }, job: Job, signal: AbortSignal): Promise<boolean> => {
    for (let failures = 0; ; failures++) {
      try {
        return (await service.record(job.id, event)).accepted
      } catch (error) {
        if (error instanceof JobNotFound) return false
        log.error({ ...logFieldsOf(job), call_id: event.callId, err: error }, 'a call cannot be written down yet')
        if (signal.aborted) throw error
      }
      await sleep(Math.min(RECORD_RETRY_MAX_MS, RECORD_RETRY_MS * 2 ** failures), undefined, { ref: false })
    }
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
    const request = { jobId: job.id, attempt, input: namedInputOf(job.input), version: job.version }
    return backend.spawn({ ...request, ...(Object.keys(files).length > 0 && { files }) }, signal)
  }

  const obtainCall = async (job: Job, attempt: number, signal: AbortSignal): Promise<string | undefined> => {
    const spawned = await spawn(job, attempt, signal)
    if (spawned.kind === 'rejected') {
      await service.record(job.id, { type: 'failed', attempt, code: spawned.code, error: spawned.error })
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

  const follow = async (job: Job, attempt: number, signal: AbortSignal) => {
    if (job.backend !== backend.name) {
      const error = `The job belongs to the backend '${job.backend}', which this server does not run.`
      await service.record(job.id, { type: 'failed', attempt, code: 'lost', error })
      return
    }
    const callId = currentAttempt(job).callId ?? (await obtainCall(job, attempt, signal))
    if (callId === undefined || signal.aborted) return
    await service.record(job.id, eventOf(await backend.wait(callId, signal), attempt, maxAttempts))
  }

  return async ({ id, attempt }, signal) => {
    const job = await store.get(id)
    if (!job || isFinished(job) || currentAttempt(job).attempt !== attempt) return
    try {
      await follow(job, attempt, signal)
    } catch (error) {
      if (!signal.aborted) throw error
    }
    await stopWhatEnded(id)
  }

  /** A job that ended under the runner's hands owes its call a stop; the runner is the first that can pay. */
  async function stopWhatEnded(id: string) {
    const job = await store.get(id)
    if (job && owesStop(job)) await stopper.stopCalls(job)
  }
}

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
