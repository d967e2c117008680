import type { GaugeName, Metrics, GaugeReader, ServerFacts, Fact } from '../jobs/ports/metrics.ts'
import { createOnce, shareInFlight } from '../lib/single-flight.ts'
import { acceptedAt, currentAttempt, isFinished } from '../jobs/job.ts'
import { createInstruments, DELIVERY_OUTCOMES, type Instruments } from './instruments.ts'

/**
 * Counts in plain objects from the start, and loads prom-client on the first scrape: it costs 2 MB and boot time, and
 * most servers on a laptop are never scraped.
 */
export function createMetrics(facts: ServerFacts): Metrics {
  const instruments = createInstruments()
  const gauges: Partial<Record<GaugeName, GaugeReader>> = {}

  const renderer = createOnce(async () => {
    const { createRender } = await import('./prometheus.ts')
    return createRender({ ...instruments, facts, gauges })
  })

  return {
    observe: (fact) => recordFact(fact, instruments),
    registerGauges: (more) => void Object.assign(gauges, more),
    // Concurrent scrapes share one text: many of them must not cost more than one.
    render: shareInFlight(async () => (await renderer.get())()),
  }
}

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
