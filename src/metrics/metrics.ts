import type { GaugeName, Metrics, GaugeReader, ServerInfo, MetricEvent } from '../jobs/ports/metrics.ts'
import { createOnce, shareInFlight } from '../lib/concurrency.ts'
import { acceptedAt, type Attempt, currentAttempt, isFinished } from '../jobs/job.ts'
import { finishedAttempt } from '../jobs/usage.ts'
import { createInstruments, DELIVERY_OUTCOMES, type Instruments } from './instruments.ts'

/**
 * Counts in plain objects from the start, and loads prom-client on the first scrape, which most servers on a laptop never
 * see. Idle memory, with: 115 MB, without (counters of prom-client): 121 MB (`npm run bench -- requests/idle`).
 */
export function createMetrics(server: ServerInfo): Metrics {
  const instruments = createInstruments()
  const gauges: Partial<Record<GaugeName, GaugeReader>> = {}

  const renderer = createOnce(async () => {
    const { createRender } = await import('./prometheus.ts')
    return createRender({ ...instruments, server, gauges })
  })

  return {
    record: (event) => recordEvent(event, instruments),
    registerGauges: (more) => void Object.assign(gauges, more),
    // Concurrent scrapes share one text: many of them must not cost more than one.
    render: shareInFlight(async () => (await renderer.get())()),
  }
}

/** Records an event in the counters and histograms. No label value comes from outside: a client could make up any number. */
function recordEvent(event: MetricEvent, instruments: Instruments): void {
  const { counters, histograms } = instruments
  switch (event.type) {
    case 'job-submitted':
      counters.jobs_submitted_total.add()
      break
    case 'job-changed':
      recordChange(event, instruments)
      break
    case 'webhook-attempted':
      counters.webhook_tries_total.add(outcomeOf(event.status))
      histograms.webhook_try_duration_seconds.observe(event.tookMs / 1000)
      if (event.end) counters.webhooks_ended_total.add(event.end)
      break
    case 'webhook-withdrawn':
      counters.webhooks_ended_total.add('failed')
      break
    case 'output-attempted':
      counters.output_tries_total.add(event.kind, outcomeOf(event.status))
      if (event.end) counters.outputs_ended_total.add(event.kind, event.end)
      break
    case 'upload-swept':
      counters.uploads_swept_total.add()
      break
    case 'rpc-finished':
      counters.modal_rpcs_total.add(event.method, event.code)
      histograms.modal_rpc_duration_seconds.observe(event.tookMs / 1000, event.method)
      break
    case 'poll-turn-started':
      histograms.modal_turn_wait_seconds.observe(event.waitedMs / 1000)
      break
    case 'call-finished':
      recordCall(event, instruments)
      break
    case 'request-answered':
      recordRequest(event, instruments)
      break
    default:
      event satisfies never
  }
}

function recordChange(
  { before, after, event }: MetricEvent & { type: 'job-changed' },
  { counters, histograms }: Instruments,
): void {
  if (event === 'retried') counters.jobs_retried_total.add()
  if (event === 'reused') counters.jobs_reused_total.add()
  if (event === 'interrupted') counters.attempts_interrupted_total.add()
  recordUsage(finishedAttempt(before, after), counters)
  const { startedAt } = currentAttempt(after)
  if (before.status === 'submitted' && after.status === 'running' && startedAt !== undefined) {
    histograms.job_submit_to_spawn_seconds.observe((startedAt - acceptedAt(after)) / 1000)
  }
  if (isFinished(before) || !isFinished(after)) return
  counters.jobs_ended_total.add(after.status, after.errorCode ?? '')
  if (startedAt === undefined || after.finishedAt === undefined) return
  histograms.job_spawn_to_end_seconds.observe((after.finishedAt - startedAt) / 1000, after.status)
}

function recordUsage(attempt: Attempt | undefined, counters: Instruments['counters']) {
  const { usage, cost, outcome = 'failed' } = attempt ?? {}
  if (usage?.runMs !== undefined) counters.run_seconds_total.increase(usage.runMs / 1000, outcome)
  if (cost) counters.cost_total.increase(Number(cost.amount), cost.currency)
}

/** Modal's times are not checked, and one that is no number would spoil the sum for good. */
function recordCall(
  { ranMs = NaN, lateMs = NaN }: MetricEvent & { type: 'call-finished' },
  { histograms }: Instruments,
) {
  if (Number.isFinite(ranMs)) histograms.modal_run_seconds.observe(ranMs / 1000)
  // Modal's clock may be ahead of ours.
  if (Number.isFinite(lateMs)) histograms.modal_end_to_notice_seconds.observe(Math.max(0, lateMs) / 1000)
}

function recordRequest(event: MetricEvent & { type: 'request-answered' }, { counters, histograms }: Instruments): void {
  const { status, tookMs, route = 'unknown' } = event
  const method = KNOWN_METHODS.has(event.method) ? event.method : 'other'
  counters.http_requests_total.add(method, route, String(status))
  if (tookMs !== undefined) histograms.http_request_duration_seconds.observe(tookMs / 1000, method, route)
}

/** The methods of RFC 9110 and PATCH; any other that Node accepts counts as `other`. */
const KNOWN_METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
])

function outcomeOf(status: number | undefined): (typeof DELIVERY_OUTCOMES)[number] {
  if (status === undefined) return 'none'
  const name = `${Math.floor(status / 100)}xx`
  return DELIVERY_OUTCOMES.find((outcome) => outcome === name) ?? 'other'
}
