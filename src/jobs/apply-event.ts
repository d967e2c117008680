import {
  type Attempt,
  ATTEMPTS_KEPT,
  currentAttempt,
  type ErrorCode,
  expiresAt,
  isStopPending,
  type Job,
  type JobEvent,
  type JobInput,
  type JobStatus,
  namedInputOf,
  runExpiresAt,
  withoutInputPaths,
} from './job.ts'
import { sumCosts, sumTimes } from './usage.ts'

export type Applied = { accepted: true; job: Job } | { accepted: false; reason: string }

/** The most characters of an `error`; what is beyond is cut. */
export const ERROR_MAX_LENGTH = 2000

/**
 * The events that each state accepts. `started`, `orphaned` and `stopped` change one attempt and never the state, nor do
 * `delivered` and `undelivered`.
 */
const TRANSITIONS: Readonly<Record<JobStatus, readonly JobEvent['type'][]>> = {
  submitted: ['released', 'reused', 'spawned', 'failed', 'canceled', 'expired', 'orphaned', 'stopped'],
  running: ['spawned', 'started', 'succeeded', 'failed', 'interrupted', 'canceled', 'expired', 'orphaned', 'stopped'],
  succeeded: ['orphaned', 'stopped', 'delivered', 'undelivered'],
  failed: ['retried', 'orphaned', 'stopped'],
  canceled: ['retried', 'orphaned', 'stopped'],
}

/** Applies one event to a job, or refuses it with a reason. Pure; `now` in epoch ms. */
export function applyEvent(job: Job, event: JobEvent, now: number): Applied {
  const refusal = refuse(job, event, now)
  if (refusal) return { accepted: false, reason: refusal }
  return { accepted: true, job: { ...withoutOldAttempts(move(job, event, now)), revision: job.revision + 1 } }
}

/** Bounds the attempts, since every write contains all of them and a job may be retried often. */
function withoutOldAttempts(job: Job): Job {
  const { attempts } = job
  if (attempts.length <= 2 * ATTEMPTS_KEPT) return job
  const isKept = (attempt: Attempt, index: number) =>
    index < ATTEMPTS_KEPT || index >= attempts.length - ATTEMPTS_KEPT || isStopPending(attempt)
  const dropped = attempts.filter((attempt, index) => !isKept(attempt, index))
  if (dropped.length === 0) return job
  const usage = sumTimes([job.omitted?.usage, ...dropped.map((attempt) => attempt.usage)])
  const costs = sumCosts([...(job.omitted?.costs ?? []), ...dropped.map((attempt) => attempt.cost)])
  return {
    ...job,
    attempts: attempts.filter(isKept),
    ...(usage && { omitted: { usage, costs } }),
  }
}

function refuse(job: Job, event: JobEvent, now: number): string | undefined {
  if (!TRANSITIONS[job.status].includes(event.type)) return `a ${job.status} job takes no '${event.type}'`
  switch (event.type) {
    case 'spawned':
      if (currentAttempt(job).callId !== undefined) return `attempt ${event.attempt} already has a call`
      return refuseOtherAttempt(job, event.attempt)
    case 'started':
      if (currentAttempt(job).runStartedAt !== undefined) return `attempt ${event.attempt} has started already`
      return refuseOtherAttempt(job, event.attempt)
    case 'succeeded':
    case 'interrupted':
      if (currentAttempt(job).callId === undefined) return `attempt ${event.attempt} has no call yet`
      return refuseOtherAttempt(job, event.attempt)
    case 'failed':
      return refuseOtherAttempt(job, event.attempt)
    case 'released':
    case 'reused':
      return job.isWaiting ? refuseOtherAttempt(job, event.attempt) : 'the job waits for no other'
    case 'orphaned': {
      const attempt = findAttempt(job, event.attempt)
      if (!attempt || attempt.callId !== undefined) return `attempt ${event.attempt} cannot take a late call`
      return attempt.finishedAt === undefined ? `attempt ${event.attempt} has not finished` : undefined
    }
    case 'stopped':
      return job.attempts.some((attempt) => attempt.attempt === event.attempt && isStopPending(attempt))
        ? undefined
        : `attempt ${event.attempt} has no pending stop`
    case 'expired':
      return expiresAt(job) <= now ? undefined : 'the deadline has not passed'
    case 'retried':
      return (job.retries ?? 0) < (event.maxRetries ?? Infinity) ? undefined : 'the job has been retried too often'
    case 'delivered':
    case 'undelivered':
      if (!job.output) return 'the job has no output to deliver'
      return job.delivery?.state === 'delivered' ? 'the output is delivered already' : undefined
    case 'canceled':
      return undefined
    default:
      return event satisfies never
  }
}

const findAttempt = (job: Job, attempt: number) => job.attempts.find((candidate) => candidate.attempt === attempt)

const refuseOtherAttempt = (job: Job, attempt: number) =>
  currentAttempt(job).attempt === attempt ? undefined : `attempt ${attempt} is not the current one`

function move(job: Job, event: JobEvent, now: number): Job {
  switch (event.type) {
    case 'released':
      return withoutWaiting(job)
    case 'reused': {
      const { outputPath, runId, from } = event
      const finished = finish(job, 'succeeded', now)
      return { ...finished, outputPath, reusedFrom: from, ...(runId !== undefined && { runId }) }
    }
    case 'spawned': {
      const started = changeAttempt(job, event.attempt, { callId: event.callId, startedAt: now })
      return { ...started, status: 'running', startedAt: job.startedAt ?? now }
    }
    case 'started':
      // The backend's clock may be ahead of ours.
      return changeAttempt(job, event.attempt, { runStartedAt: Math.min(event.at, now) })
    case 'succeeded': {
      const { outputPath, runId } = event
      const finished = finish(job, 'succeeded', now)
      return { ...finished, outputPath, ...(runId !== undefined && { runId }) }
    }
    case 'failed':
      return fail(job, event.code, event.error, now)
    case 'interrupted':
      return interrupt(job, event, now)
    case 'canceled':
      return finish(job, 'canceled', now)
    case 'expired':
      return expire(job, now)
    case 'retried':
      return retry(job, now)
    case 'orphaned':
      return changeAttempt(job, event.attempt, { callId: event.callId, stop: 'pending' })
    case 'stopped':
      return changeAttempt(job, event.attempt, { stop: 'done' })
    case 'delivered':
      return { ...job, delivery: { state: 'delivered', at: now } }
    case 'undelivered':
      return { ...job, delivery: { state: 'failed', at: now } }
    default:
      return event satisfies never
  }
}

const changeAttempt = (job: Job, attempt: number, change: Partial<Attempt>): Job => ({
  ...job,
  attempts: job.attempts.map((candidate) => (candidate.attempt === attempt ? { ...candidate, ...change } : candidate)),
})

const changeCurrent = (job: Job, change: Partial<Attempt>) => changeAttempt(job, currentAttempt(job).attempt, change)

function withoutWaiting({ isWaiting, ...job }: Job): Job {
  return job
}

/** Finishes the job and its attempt. The stop of a call is pending unless the backend reported its end. */
function finish(job: Job, status: 'succeeded' | 'failed' | 'canceled', now: number): Job {
  const { callId } = currentAttempt(job)
  const finished = changeCurrent(withoutWaiting(job), {
    finishedAt: now,
    outcome: status,
    ...(status === 'canceled' && callId !== undefined && { stop: 'pending' }),
  })
  return { ...finished, status, finishedAt: now }
}

function fail(job: Job, errorCode: ErrorCode, message: string, now: number): Job {
  const error = errorOf(job, message)
  return { ...changeCurrent(finish(job, 'failed', now), { error, errorCode }), error, errorCode }
}

/** A job's error: never without a character that is seen, bounded, its URLs reduced to their host. */
function errorOf(job: Job, message: string): string {
  const error = withoutInputPaths(job, message.slice(0, 10 * ERROR_MAX_LENGTH))
    .trim()
    .slice(0, ERROR_MAX_LENGTH)
  return /[^\p{C}\p{Z}]/u.test(error) ? error : 'The backend gave no reason.'
}

function interrupt(job: Job, event: JobEvent & { type: 'interrupted' }, now: number): Job {
  // The next attempt would probably fail in the same way, after as much time.
  if (runExpiresAt(job) <= now) return fail(job, 'timed_out', describeExpiry(job), now)
  const attemptsMade = event.attempt - (job.firstAttempt ?? 1) + 1
  if (attemptsMade >= event.maxAttempts) return fail(job, 'backend_unavailable', event.error, now)
  const finished = changeCurrent(job, {
    finishedAt: now,
    outcome: 'interrupted',
    error: errorOf(job, event.error),
  })
  return { ...finished, attempts: [...finished.attempts, { attempt: event.attempt + 1 }] }
}

function expire(job: Job, now: number): Job {
  if (job.isWaiting)
    return fail(job, 'timed_out', "The identical job that it waited for did not end before the job's deadline.", now)
  if (job.attempts.every((attempt) => attempt.callId === undefined)) {
    return fail(job, 'backend_unavailable', 'The backend did not take the job before its deadline.', now)
  }
  const failed = fail(job, 'timed_out', describeExpiry(job), now)
  return currentAttempt(job).callId === undefined ? failed : changeCurrent(failed, { stop: 'pending' })
}

/** Describes which time limit was reached, and whether the run had started by then. */
function describeExpiry(job: Job): string {
  const { attempt, callId, runStartedAt } = currentAttempt(job)
  if (runStartedAt !== undefined) {
    const started = `The run started at ${new Date(runStartedAt).toISOString()}`
    return runExpiresAt(job) < job.deadlineAt
      ? `${started} and did not end within its run_timeout_seconds (${job.runTimeoutSeconds}).`
      : `${started} and did not end before the job's deadline.`
  }
  if (callId === undefined) return `The backend did not take attempt ${attempt} before the job's deadline.`
  return 'The job did not end before its deadline; its run is not known to have started.'
}

const hasNames = (input: JobInput) => Object.keys(namedInputOf(input)).length > 0

function retry(job: Job, now: number): Job {
  const { error, errorCode, startedAt, finishedAt, contentKey, ...kept } = job
  const firstAttempt = currentAttempt(job).attempt + 1
  const attempts = [...job.attempts, { attempt: firstAttempt }]
  const retries = (job.retries ?? 0) + 1
  const deadlineAt = now + job.timeoutSeconds * 1000
  return {
    ...kept,
    // A file that is given by name may be another one by now.
    ...(contentKey !== undefined && !hasNames(job.input) && { contentKey, ...(job.reuse && { isWaiting: true }) }),
    status: 'submitted',
    deadlineAt,
    firstAttempt,
    retries,
    attempts,
  }
}
