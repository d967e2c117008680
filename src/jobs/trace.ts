import { createHash, randomBytes } from 'node:crypto'
import { type Attempt, acceptedAt, currentAttempt, isFinished, type Job } from './job.ts'

/** version "-" trace-id "-" parent-id "-" flags; only later versions may have more. */
const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
/** Sampled, and that the trace id is random; the others must be 0 where they are passed on. */
const KNOWN_FLAGS = 0b11

/**
 * Reads a `traceparent` header (W3C Trace Context, https://www.w3.org/TR/trace-context/); later versions are read as
 * version 00. Undefined if it is malformed: by the standard it is then ignored.
 */
export function readTraceparent(header: string): string | undefined {
  const [, version, traceId = '', parentId = '', flags = '', more] = FORM.exec(header) ?? []
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined
  const known = Number.parseInt(flags, 16) & KNOWN_FLAGS
  return `00-${traceId}-${parentId}-${known.toString(16).padStart(2, '0')}`
}

/** The trace id in log lines: the same from the caller's request to its webhooks. */
export const traceIdOf = (traceparent: string): string => traceparent.slice(3, 35)

/** The header of a request caused by one with `traceparent`: the same trace, a new span. */
export const childTraceparent = (traceparent: string): string =>
  `00-${traceIdOf(traceparent)}-${randomBytes(8).toString('hex')}-${traceparent.slice(-2)}`

export const spanIdOf = (traceparent: string): string => traceparent.slice(36, 52)

/** Whether the trace is recorded: its first caller has decided that. */
export const isSampled = (traceparent: string): boolean => (Number.parseInt(traceparent.slice(-2), 16) & 1) === 1

/** The ids of a trace in log lines, as OpenTelemetry names them. */
export const traceFieldsOf = (traceparent: string | undefined) =>
  traceparent === undefined ? {} : { trace_id: traceIdOf(traceparent), span_id: spanIdOf(traceparent) }

/** A trace that starts here. */
export const newTraceparent = (isSampled: boolean): string =>
  `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-${isSampled ? '03' : '02'}`

/** Maximum length of a `tracestate` that is passed on, in characters, and maximum number of its members, by the standard. */
const [STATE_MAX_LENGTH, STATE_MAX_MEMBERS] = [512, 32]
const STATE_MEMBER = /^[a-z0-9][a-z0-9_\-*/@]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/

/** Reads a `tracestate` header, which goes with a `traceparent`; undefined if it is malformed: it is then dropped. */
export function readTracestate(header: string): string | undefined {
  const members = header.split(',').map((member) => member.trim())
  const known = members.filter((member) => member !== '')
  if (known.length === 0 || known.length > STATE_MAX_MEMBERS || header.length > STATE_MAX_LENGTH) return undefined
  return known.every((member) => STATE_MEMBER.test(member)) ? known.join(',') : undefined
}

/** A part of a trace that has ended. Times are epoch ms. */
export type Span = {
  readonly name: string
  readonly kind: 'internal' | 'server' | 'client'
  /** Its own ids, and whether the trace is recorded. */
  readonly traceparent: string
  readonly tracestate?: string | undefined
  /** The span that caused it; undefined: the trace starts here. */
  readonly parentId?: string | undefined
  readonly startedAt: number
  readonly endedAt: number
  /** By the semantic conventions of OpenTelemetry where they have a name. */
  readonly attributes: Readonly<Record<string, string | number | undefined>>
  readonly events?: readonly { readonly name: string; readonly at: number }[]
  /** Why it failed; undefined: it did not. */
  readonly error?: string | undefined
}

export type Tracer = {
  /** Whether a trace that starts here is recorded; one that a client started says so itself. */
  isSampled(): boolean
  /** Takes a span whose trace is recorded. Cheap, and never throws. */
  record(span: Span): void
}

export type TracedJob = Pick<Job, 'id' | 'traceparent' | 'firstAttempt'>

/** The span of a job since its acceptance, or its last retry: the same on every replica, and after a restart. */
export const jobTraceparent = ({ id, traceparent, firstAttempt = 1 }: TracedJob): string | undefined =>
  traceparent && withSpan(traceparent, `${id}/${firstAttempt}`)

const withSpan = (traceparent: string, name: string): string =>
  `00-${traceIdOf(traceparent)}-${createHash('sha256').update(name).digest('hex').slice(0, 16)}-${traceparent.slice(-2)}`

/** The spans that end with a change: of attempts, and of the job. */
export function spansOf({ before, after }: { readonly before?: Job; readonly after: Job }): Span[] {
  const own = jobTraceparent(after)
  if (own === undefined || before === undefined) return []
  const attempts = after.attempts.filter((attempt) => hasEnded(attempt) && !hasEnded(sameAttempt(before, attempt)))
  const spans = attempts.map((attempt) => attemptSpan(after, attempt, own))
  return isFinished(after) && !isFinished(before) ? [...spans, jobSpan(after, own)] : spans
}

const hasEnded = (attempt: Attempt | undefined) => attempt?.finishedAt !== undefined
const sameAttempt = (job: Job, { attempt }: Attempt) => job.attempts.find((other) => other.attempt === attempt)

function jobSpan(job: Job, traceparent: string): Span {
  const { id, status, errorCode, version, backend, caller } = job
  return {
    name: 'job',
    kind: 'internal',
    traceparent,
    tracestate: job.tracestate,
    parentId: spanIdOf(job.traceparent ?? ''),
    startedAt: acceptedAt(job),
    endedAt: currentAttempt(job).finishedAt ?? job.finishedAt ?? acceptedAt(job),
    attributes: {
      'musetalk.job.id': id,
      'musetalk.job.status': status,
      'musetalk.job.version': version,
      'musetalk.backend': backend,
      'musetalk.caller': caller,
      'error.type': errorCode,
    },
    error: status === 'failed' ? (job.error ?? errorCode) : undefined,
  }
}

/** Starts at the end of the previous attempt, so that it includes the wait for capacity. */
function attemptSpan(job: Job, attempt: Attempt, parent: string): Span {
  const { attempt: number, outcome, callId, errorCode, finishedAt = 0 } = attempt
  const previous = job.attempts.findLast(({ attempt: other }) => other < number && other >= (job.firstAttempt ?? 1))
  const startedAt = previous?.finishedAt ?? acceptedAt(job)
  return {
    name: 'attempt',
    kind: 'internal',
    traceparent: withSpan(parent, `${job.id}/attempt/${number}`),
    tracestate: job.tracestate,
    parentId: spanIdOf(parent),
    startedAt,
    endedAt: finishedAt,
    attributes: {
      'musetalk.job.id': job.id,
      'musetalk.attempt': number,
      'musetalk.attempt.outcome': outcome,
      'musetalk.call.id': callId,
      'error.type': errorCode,
    },
    events: stagesOf(attempt),
    error: outcome === 'failed' || outcome === 'interrupted' ? (attempt.error ?? outcome) : undefined,
  }
}

/** When the attempt entered each stage at the backend, as far as the backend has said. */
function stagesOf({ startedAt, runStartedAt, finishedAt, usage = {} }: Attempt) {
  if (startedAt === undefined) return []
  const { queuedMs, startupMs = 0 } = usage
  const runningAt = queuedMs === undefined ? runStartedAt : startedAt + queuedMs + startupMs
  const startingAt = queuedMs !== undefined && startupMs > 0 ? startedAt + queuedMs : undefined
  const stages = { queued: startedAt, starting: startingAt, running: runningAt }
  return Object.entries(stages).flatMap(([name, at]) =>
    // The clock of the backend may be another one.
    at === undefined ? [] : [{ name, at: Math.min(at, finishedAt ?? at) }],
  )
}
