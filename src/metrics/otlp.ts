import { createThrottledWarning, type Log } from '../jobs/log.ts'
import { isSampled, spanIdOf, type Span, traceIdOf, type Tracer } from '../jobs/trace.ts'
import { messageOf } from '../lib/errors.ts'
import { backOffMs, resolvesWithin } from '../lib/timing.ts'
import { setTimeout as sleep } from 'node:timers/promises'

export type OtlpOptions = {
  /** Base URL of the receiver; traces go to `/v1/traces` below it. */
  readonly endpoint: string
  readonly headers: Readonly<Record<string, string>>
  /** What sends the spans: `service.name` and others. */
  readonly resource: Readonly<Record<string, string>>
  /** The share of the traces that start here which is recorded, from 0 to 1. */
  readonly ratio: number
  readonly log: Log
}

/** Spans sent in one request, and kept while the receiver does not answer; further ones are dropped. */
const BATCH_SPANS = 512
const MAX_SPANS = 4_096
/** How long a span waits for others, in ms. */
const SEND_DELAY_MS = 2_000
const REQUEST_TIMEOUT_MS = 10_000
/** Requests for one batch; then it is dropped. */
const MAX_REQUESTS = 5
/** How long the end of the process waits for the last spans, in ms. */
const CLOSE_TIMEOUT_MS = 1_000
/** Answers after which the same request may succeed (OTLP 1.x, "Retryable Response Codes"). */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504])

/**
 * Sends spans by OTLP over HTTP, as JSON (https://opentelemetry.io/docs/specs/otlp/). Own code, since the libraries of
 * OpenTelemetry for the same (exporter, SDK, resources) are 24 MB on disk and 29 MB of memory, 165 ms to load. Losing spans
 * harms no job: what cannot be sent is dropped, and logged once a minute.
 */
export function createOtlpTracer({ endpoint, headers, resource, ratio, log }: OtlpOptions) {
  const url = `${endpoint.replace(/\/+$/, '')}/v1/traces`
  const warn = createThrottledWarning(log)
  const closing = new AbortController()
  const waiting: Span[] = []
  let sending: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined

  const drop = (count: number, reason: string) =>
    warn({ event: 'spans_dropped', count, reason }, 'spans cannot be sent to OTEL_EXPORTER_OTLP_ENDPOINT; dropped')

  const post = async (body: string): Promise<number> => {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)])
    const sent = { ...headers, 'content-type': 'application/json' }
    const response = await fetch(url, { method: 'POST', headers: sent, body, signal, redirect: 'manual' })
    await response.body?.cancel()
    return response.status
  }

  const sendBatch = async (spans: readonly Span[]): Promise<void> => {
    const body = JSON.stringify(documentOf(spans, resource))
    for (let request = 1; ; request++) {
      const status = await post(body).catch((error: unknown) => messageOf((error as Error).cause ?? error))
      if (status === 200) return
      const isFinal = typeof status === 'number' && !RETRYABLE.has(status)
      if (isFinal || request === MAX_REQUESTS || closing.signal.aborted) {
        drop(spans.length, String(status))
        return
      }
      await sleep(backOffMs(request, { firstMs: 500, maxMs: 10_000 }), undefined, {
        signal: closing.signal,
        ref: false,
      }).catch(() => undefined)
    }
  }

  const sendAll = async () => {
    while (waiting.length > 0) await sendBatch(waiting.splice(0, BATCH_SPANS))
  }
  const send = () => {
    // Also when it joins a send in flight: a timer that has fired and stays here would keep the next span from setting one.
    clearTimeout(timer)
    timer = undefined
    return (sending ??= sendAll().finally(() => (sending = undefined)))
  }

  return {
    isSampled: () => Math.random() < ratio,
    record(span) {
      if (!isSampled(span.traceparent)) return
      if (waiting.length >= MAX_SPANS) {
        drop(1, 'too many are waiting')
        return
      }
      waiting.push(span)
      if (waiting.length >= BATCH_SPANS) void send()
      else timer ??= setTimeout(() => void send(), SEND_DELAY_MS).unref()
    },
    /** Sends what waits, for a moment. Idempotent. */
    async close() {
      const sent = send().then(send)
      if (await resolvesWithin(sent, CLOSE_TIMEOUT_MS)) return
      closing.abort(new Error('the server is shutting down'))
      await sent
    },
  } satisfies Tracer & { close(): Promise<void> }
}

const KINDS = { internal: 1, server: 2, client: 3 } as const
/** `STATUS_CODE_ERROR` of OTLP. */
const ERROR = 2
/** Longest text of an attribute or a status, in characters. */
const MAX_TEXT = 1_000

/** An `ExportTraceServiceRequest` in the JSON encoding of OTLP: ids in hexadecimal, 64-bit integers as text. */
function documentOf(spans: readonly Span[], resource: OtlpOptions['resource']) {
  const scopeSpans = [{ scope: { name: 'musetalk-orchestrator' }, spans: spans.map(spanOf) }]
  return { resourceSpans: [{ resource: { attributes: attributesOf(resource) }, scopeSpans }] }
}

const spanOf = (span: Span) => ({
  traceId: traceIdOf(span.traceparent),
  spanId: spanIdOf(span.traceparent),
  ...(span.parentId !== undefined && { parentSpanId: span.parentId }),
  ...(span.tracestate !== undefined && { traceState: span.tracestate }),
  flags: Number.parseInt(span.traceparent.slice(-2), 16),
  name: span.name,
  kind: KINDS[span.kind],
  startTimeUnixNano: nanosOf(span.startedAt),
  endTimeUnixNano: nanosOf(Math.max(span.startedAt, span.endedAt)),
  attributes: attributesOf(span.attributes),
  events: (span.events ?? []).map(({ name, at }) => ({ name, timeUnixNano: nanosOf(at), attributes: [] })),
  status: span.error === undefined ? {} : { code: ERROR, message: span.error.slice(0, MAX_TEXT) },
})

/** Fractions of a ms do not fit into a number of nanoseconds. */
const nanosOf = (ms: number) => String(BigInt(Math.round(ms * 1000)) * 1000n)

const attributesOf = (attributes: Span['attributes']) =>
  Object.entries(attributes).flatMap(([key, value]) => (value === undefined ? [] : [{ key, value: valueOf(value) }]))

const valueOf = (value: string | number) =>
  typeof value === 'string'
    ? { stringValue: value.slice(0, MAX_TEXT) }
    : Number.isInteger(value)
      ? { intValue: String(value) }
      : { doubleValue: value }
