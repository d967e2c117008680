import { acceptedAt, currentAttempt, isFinished } from '../jobs/job.ts'
import { COUNTERS, type Definition, HISTOGRAMS, type HistogramDefinition, DELIVERY_OUTCOMES } from './definitions.ts'
import type { Fact } from '../jobs/ports/metrics.ts'

/** A counter for each combination of label values. */
export type LabeledCounter = {
  /** Increments; label values in the order of the metric's labels. */
  add(...labels: readonly string[]): void
  rows(): Iterable<CounterRow>
}

export type CounterRow = { readonly labels: readonly string[]; count: number }

/** A histogram for each combination of label values. */
export type LabeledHistogram = {
  observe(value: number, ...labels: readonly string[]): void
  rows(): Iterable<HistogramRow>
}

/** `counts`: per bucket, not cumulative; the last is for values above all bounds. */
export type HistogramRow = { readonly labels: readonly string[]; readonly counts: number[]; sum: number }

/** `initial`: combinations that exist from the start, so that `rate()` sees their first increment. */
export function createCounter(known: readonly (readonly string[])[] = []): LabeledCounter {
  const rowOf = createRowMap((labels): CounterRow => ({ labels, count: 0 }))
  for (const labels of known) rowOf(labels)
  return {
    add(...labels) {
      rowOf(labels).count++
    },
    rows: rowOf.all,
  }
}

/** `bounds`: ascending upper bounds, inclusive. */
export function createHistogram(
  bounds: readonly number[],
  known: readonly (readonly string[])[] = [],
): LabeledHistogram {
  const rowOf = createRowMap((labels): HistogramRow => ({
    labels,
    counts: Array.from({ length: bounds.length + 1 }, () => 0),
    sum: 0,
  }))
  for (const labels of known) rowOf(labels)
  return {
    observe(value, ...labels) {
      const row = rowOf(labels)
      const found = bounds.findIndex((bound) => value <= bound)
      const bucket = found === -1 ? bounds.length : found
      row.counts[bucket] = (row.counts[bucket] ?? 0) + 1
      row.sum += value
    },
    rows: rowOf.all,
  }
}

/** Rows by label values, created on first use. */
function createRowMap<Row>(make: (labels: readonly string[]) => Row) {
  const rows = new Map<string, Row>()
  const rowOf = (labels: readonly string[]): Row => {
    const key = labels.join('\n')
    const known = rows.get(key)
    if (known) return known
    const made = make(labels)
    rows.set(key, made)
    return made
  }
  return Object.assign(rowOf, { all: () => rows.values() })
}

/** The counters and histograms of this process. */
export type Instruments = {
  readonly counters: Readonly<Record<keyof typeof COUNTERS, LabeledCounter>>
  readonly histograms: Readonly<Record<keyof typeof HISTOGRAMS, LabeledHistogram>>
}

export const createInstruments = (): Instruments => ({
  counters: mapValues(COUNTERS, ({ initial }: Definition) => createCounter(initial)),
  histograms: mapValues(HISTOGRAMS, ({ bounds, initial }: HistogramDefinition) => createHistogram(bounds, initial)),
})

/** Records a fact in the counters and histograms. No label value comes from outside: a client could make up any number. */
export function recordFact(fact: Fact, instruments: Instruments): void {
  const { counters, histograms } = instruments
  switch (fact.type) {
    case 'job-submitted':
      counters.jobs_submitted_total.add()
      break
    case 'job-changed':
      recordChange(fact, instruments)
      break
    case 'webhook-tried':
      counters.webhook_tries_total.add(outcomeOf(fact.status))
      histograms.webhook_try_duration_seconds.observe(fact.tookMs / 1000)
      if (fact.end) counters.webhooks_ended_total.add(fact.end)
      break
    case 'webhook-withdrawn':
      counters.webhooks_ended_total.add('failed')
      break
    case 'rpc-ended':
      counters.modal_rpcs_total.add(fact.method, fact.code)
      histograms.modal_rpc_duration_seconds.observe(fact.tookMs / 1000, fact.method)
      break
    case 'turn-taken':
      histograms.modal_turn_wait_seconds.observe(fact.waitedMs / 1000)
      break
    case 'end-noticed':
      if (fact.ranMs !== undefined) histograms.modal_run_seconds.observe(fact.ranMs / 1000)
      // Modal's clock may be ahead of ours.
      if (fact.lateMs !== undefined) histograms.modal_end_to_notice_seconds.observe(Math.max(0, fact.lateMs) / 1000)
      break
    case 'request-answered':
      recordRequest(fact, instruments)
      break
    default:
      fact satisfies never
  }
}

function recordChange(
  { before, after, event }: Fact & { type: 'job-changed' },
  { counters, histograms }: Instruments,
): void {
  if (event === 'retried') counters.jobs_retried_total.add()
  if (event === 'interrupted') counters.attempts_interrupted_total.add()
  const { startedAt } = currentAttempt(after)
  if (before.status === 'submitted' && after.status === 'running' && startedAt !== undefined) {
    histograms.job_submit_to_spawn_seconds.observe((startedAt - acceptedAt(after)) / 1000)
  }
  if (isFinished(before) || !isFinished(after)) return
  counters.jobs_ended_total.add(after.status, after.errorCode ?? '')
  if (startedAt === undefined || after.finishedAt === undefined) return
  histograms.job_spawn_to_end_seconds.observe((after.finishedAt - startedAt) / 1000, after.status)
}

function recordRequest(fact: Fact & { type: 'request-answered' }, { counters, histograms }: Instruments): void {
  const { status, tookMs, route = 'unknown' } = fact
  const method = KNOWN_METHODS.has(fact.method) ? fact.method : 'other'
  counters.http_requests_total.add(method, route, String(status))
  if (tookMs !== undefined) histograms.http_request_duration_seconds.observe(tookMs / 1000, method, route)
}

/** The methods of RFC 9110 and PATCH; any other that Node accepts counts as `other`. */
const KNOWN_METHODS: ReadonlySet<string> = new Set([
  ...['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'],
])

function outcomeOf(status: number | undefined): (typeof DELIVERY_OUTCOMES)[number] {
  if (status === undefined) return 'none'
  const name = `${Math.floor(status / 100)}xx`
  return DELIVERY_OUTCOMES.find((outcome) => outcome === name) ?? 'other'
}

const mapValues = <K extends string, V, R>(record: Readonly<Record<K, V>>, map: (value: V) => R) =>
  Object.fromEntries(Object.entries<V>(record).map(([key, value]) => [key, map(value)])) as Record<K, R>
