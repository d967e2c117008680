import { randomBytes } from 'node:crypto'

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

/** The fields of every log line about a job. */
export const logFieldsOf = ({
  id,
  traceparent,
}: {
  readonly id: string
  readonly traceparent?: string | undefined
}) => ({
  job_id: id,
  ...(traceparent !== undefined && { trace_id: traceIdOf(traceparent) }),
})
