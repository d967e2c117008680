import type { Backend } from '../backend/port.ts'
import { AppError, AttemptNotFound, LogsUnavailable } from '../errors.ts'
import type { EventBus } from '../events/port.ts'
import { type Attempt, currentAttempt, type Job } from './job.ts'

/** What may still come of a log after its attempt has ended, in ms; a backend that has not seen the end is cut off then. */
export const LOG_GRACE_MS = 10_000

export type LogParts = {
  readonly backend: Pick<Backend, 'name' | 'logs'>
  readonly events: Pick<EventBus, 'subscribe'>
  /** The job as it is now. */
  readonly get: (id: string) => Promise<Job>
}

/**
 * What an attempt, by default the current one, has printed and, while it runs, prints; nothing of one without a call.
 * Throws `AttemptNotFound` and `LogsUnavailable`; the iterable throws the latter too, and soon after `signal` aborts.
 */
export function openLogs(job: Job, wanted: number | undefined, parts: LogParts) {
  const attempt = findAttempt(job, wanted)
  if (job.backend !== parts.backend.name) {
    throw new LogsUnavailable(409, `The job ran on the backend '${job.backend}', which this server does not use.`)
  }
  return (signal: AbortSignal): AsyncIterable<string> => explain(read(job, attempt, parts, signal), signal)
}

function findAttempt(job: Job, wanted: number | undefined): Attempt {
  if (wanted === undefined) return currentAttempt(job)
  const found = job.attempts.find(({ attempt }) => attempt === wanted)
  if (!found) throw new AttemptNotFound(wanted)
  return found
}

async function* read(job: Job, attempt: Attempt, parts: LogParts, signal: AbortSignal): AsyncGenerator<string> {
  const { callId, startedAt = job.createdAt, finishedAt } = attempt
  if (callId === undefined) return
  if (finishedAt !== undefined) yield* parts.backend.logs({ callId, startedAt, finishedAt }, signal)
  else yield* untilEnded(job.id, attempt, parts, signal, (both) => parts.backend.logs({ callId, startedAt }, both))
}
