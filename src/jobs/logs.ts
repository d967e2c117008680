import type { Backend } from './ports/backend.ts'
import { isProblem, problem } from '../problems.ts'
import type { ChangeBus } from './ports/notifications.ts'
import { type Attempt, currentAttempt, type Job } from './job.ts'

/** Maximum silence of a finished attempt's log, in ms; then the log counts as finished: a backend may miss its end. */
export const LOG_GRACE_MS = 10_000

export type LogDependencies = {
  readonly backend: Pick<Backend, 'name' | 'logs'>
  readonly changes: Pick<ChangeBus, 'subscribe' | 'onGap'>
  /** The job as it is now. */
  readonly get: (id: string) => Promise<Job>
}

/** `attempt`: its number; the current one by default. */
export type LogQuery = { readonly job: Job; readonly attempt?: number | undefined }

/**
 * The output of an attempt so far and, while it runs, as it comes; empty for an attempt without a call. Throws
 * `attempt_not_found` and `logs_unavailable`. Reading throws the latter too, and the signal's reason after an abort.
 */
export function openLogs(query: LogQuery, dependencies: LogDependencies, signal: AbortSignal): AsyncIterable<string> {
  const { job } = query
  const attempt = attemptOf(query)
  if (job.backend !== dependencies.backend.name) {
    throw problem('logs_unavailable', {
      status: 409,
      detail: `The job belongs to the backend '${job.backend}', which this server does not use.`,
    })
  }
  return attempt.finishedAt === undefined
    ? followLogs({ job, attempt }, dependencies, signal)
    : readLogs({ job, attempt }, dependencies, signal)
}

function attemptOf({ job, attempt: wanted }: LogQuery): Attempt {
  if (wanted === undefined) return currentAttempt(job)
  const found = job.attempts.find(({ attempt }) => attempt === wanted)
  if (!found) throw problem('attempt_not_found', { detail: `The job has no attempt ${wanted}.` })
  return found
}

type Reading = { readonly job: Job; readonly attempt: Attempt }

async function* readLogs(
  { job, attempt }: Reading,
  { backend }: LogDependencies,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const { callId, startedAt = job.createdAt, finishedAt } = attempt
  if (callId === undefined) return
  try {
    yield* backend.logs({ callId, startedAt, ...(finishedAt !== undefined && { finishedAt }) }, signal)
  } catch (error) {
    signal.throwIfAborted()
    if (isProblem(error)) throw error
    throw problem('logs_unavailable', { cause: error })
  }
}

/** Also ends when the attempt has finished and its log stays silent. The time that the reader takes does not count. */
async function* followLogs(reading: Reading, parts: LogDependencies, signal: AbortSignal): AsyncGenerator<string> {
  const silence = createSilence()
  const limitIfFinished = (job: Job) => {
    if (hasFinished(job, reading.attempt)) silence.limit()
  }
  const readAgain = async () => limitIfFinished(await parts.get(reading.job.id))
  const stops = [
    parts.changes.subscribe(reading.job.id, limitIfFinished),
    // If the store is unavailable now, the bus reports another gap when it is back.
    parts.changes.onGap(() => void readAgain().catch(() => undefined)),
  ]
  try {
    await readAgain()
    for await (const text of readLogs(reading, parts, AbortSignal.any([signal, silence.passed]))) {
      silence.stop()
      yield text
      silence.start()
    }
  } catch (error) {
    if (signal.aborted || !silence.passed.aborted) throw error
  } finally {
    for (const stop of stops) stop()
    silence.stop()
  }
}

const hasFinished = (job: Job, { attempt }: Attempt) =>
  job.attempts.some((candidate) => candidate.attempt === attempt && candidate.finishedAt !== undefined)

/** Measures the silence. After `limit` was called, too long a silence aborts `passed`. */
function createSilence() {
  const passed = new AbortController()
  let isLimited = false
  let isSilent = true
  let timer: NodeJS.Timeout | undefined
  const watch = () => {
    if (isLimited && isSilent) timer ??= setTimeout(() => passed.abort(), LOG_GRACE_MS).unref()
  }
  return {
    passed: passed.signal,
    limit() {
      isLimited = true
      watch()
    },
    start() {
      isSilent = true
      watch()
    },
    stop() {
      isSilent = false
      clearTimeout(timer)
      timer = undefined
    },
  }
}
