import type { Backend } from './ports/backend.ts'
import { isProblem, problem } from '../problems.ts'
import type { ChangeBus } from './ports/changes.ts'
import { type Attempt, currentAttempt, type Job } from './job.ts'

/** How long an ended attempt's log may keep silent, in ms, until it counts as ended too: a backend may miss the end. */
export const LOG_GRACE_MS = 10_000

export type LogDependencies = {
  readonly backend: Pick<Backend, 'name' | 'logs'>
  readonly events: Pick<ChangeBus, 'subscribe' | 'onGap'>
  /** The job as it is now. */
  readonly get: (id: string) => Promise<Job>
}

/** `attempt`: its number; the current one by default. */
export type LogQuery = { readonly job: Job; readonly attempt?: number | undefined }

/**
 * What an attempt printed and, while it runs, prints; nothing of one without a call. Throws `attempt_not_found` and
 * `logs_unavailable`. What is read throws the latter too, and soon after `signal` aborts.
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
    ? following({ job, attempt }, dependencies, signal)
    : read({ job, attempt }, dependencies, signal)
}

function attemptOf({ job, attempt: wanted }: LogQuery): Attempt {
  if (wanted === undefined) return currentAttempt(job)
  const found = job.attempts.find(({ attempt }) => attempt === wanted)
  if (!found) throw problem('attempt_not_found', { detail: `The job has no attempt ${wanted}.` })
  return found
}

type Reading = { readonly job: Job; readonly attempt: Attempt }

async function* read(
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

/** Ends also when the attempt has ended and nothing comes any more. How long the reader takes does not count. */
async function* following(reading: Reading, parts: LogDependencies, signal: AbortSignal): AsyncGenerator<string> {
  const silence = createSilence()
  const look = (job: Job) => {
    if (hasEnded(job, reading.attempt)) silence.limit()
  }
  const lookAgain = async () => look(await parts.get(reading.job.id))
  const stops = [
    parts.events.subscribe(reading.job.id, look),
    // Where the store is unavailable now, the bus reports another gap when it is back.
    parts.events.onGap(() => void lookAgain().catch(() => undefined)),
  ]
  try {
    await lookAgain()
    for await (const text of read(reading, parts, AbortSignal.any([signal, silence.passed]))) {
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

const hasEnded = (job: Job, { attempt }: Attempt) =>
  job.attempts.some((candidate) => candidate.attempt === attempt && candidate.finishedAt !== undefined)

/** Measures how long nothing comes. From `limit` on, too long a silence aborts `passed`. */
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
