import { ERROR_CODES } from '../jobs/job.ts'

/** `labels` in order; `initial`: combinations of label values that are exported from the start, with 0. */
export type Definition = {
  readonly help: string
  readonly labels?: readonly string[]
  readonly initial?: readonly (readonly string[])[]
}
/** `bounds`: upper bounds of the buckets, in the metric's unit. */
export type HistogramDefinition = Definition & { readonly bounds: readonly number[] }

/** Requests and RPCs, in seconds. */
const SHORT = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const
/** From a job that starts at once to one that waits for the end of an outage, in seconds. */
const QUEUE_WAITS = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 7200] as const
/** Runs, in seconds: a local mux takes one, Modal stops a call after an hour. */
const RUNS = [1, 2.5, 5, 10, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200] as const

/** Outcomes of a delivery attempt: the class of the response status, or `none` without a response. */
export const DELIVERY_OUTCOMES = ['2xx', '3xx', '4xx', '5xx', 'other', 'none'] as const

const OUTPUT_KINDS = ['output', 'copy'] as const

/** Counters; the exported name has the prefix `musetalk_`. */
export const COUNTERS = {
  jobs_submitted_total: { help: 'Jobs accepted, without retries.', initial: [[]] },
  jobs_retried_total: { help: 'Retries of jobs by their callers.', initial: [[]] },
  jobs_reused_total: {
    help: 'Jobs that got the output of an identical one, without a run; each counts as succeeded too.',
    initial: [[]],
  },
  jobs_ended_total: {
    help: 'Finished jobs by state, failed ones also by error code.',
    labels: ['state', 'error_code'],
    initial: [['succeeded', ''], ['canceled', ''], ...ERROR_CODES.map((code) => ['failed', code])],
  },
  attempts_interrupted_total: {
    help: 'Attempts that the backend interrupted, for instance by preemption; the job has up to MAX_ATTEMPTS.',
    initial: [[]],
  },
  run_seconds_total: {
    help: 'Time of attempts in their runs, as far as the backend reports it, by how they ended.',
    labels: ['outcome'],
    initial: [['succeeded'], ['failed'], ['canceled'], ['interrupted']],
  },
  cost_total: {
    help: 'What these runs cost by GPU_PRICE_PER_SECOND, in units of the currency.',
    labels: ['currency'],
  },
  modal_rpcs_total: {
    help: 'RPCs to Modal by method and gRPC code; CANCELLED are those that this server canceled.',
    labels: ['method', 'code'],
  },
  webhook_tries_total: {
    help: 'Delivery attempts of webhooks by class of the response status; none: no response.',
    labels: ['outcome'],
    initial: DELIVERY_OUTCOMES.map((outcome) => [outcome]),
  },
  webhooks_ended_total: {
    help: 'Finished webhooks: delivered, or failed after the last delivery attempt.',
    labels: ['state'],
    initial: [['delivered'], ['failed']],
  },
  output_tries_total: {
    help: 'Attempts to send an output by class of the response status; none: no response. Kind: output, to the put_url of a job, or copy, to the bucket of OUTPUT_STORE.',
    labels: ['kind', 'outcome'],
    initial: OUTPUT_KINDS.flatMap((kind) => DELIVERY_OUTCOMES.map((outcome) => [kind, outcome])),
  },
  outputs_ended_total: {
    help: 'Outputs sent, likewise: delivered, or failed after the last attempt.',
    labels: ['kind', 'state'],
    initial: OUTPUT_KINDS.flatMap((kind) => [
      [kind, 'delivered'],
      [kind, 'failed'],
    ]),
  },
  uploads_swept_total: { help: 'Files sent ahead of a submit that no job used, removed by the sweep.', initial: [[]] },
  http_requests_total: {
    help: 'HTTP requests by method, route and status; the route is unknown if none matched, the status 499 if the client disconnected.',
    labels: ['method', 'route', 'status'],
  },
} as const satisfies Record<string, Definition>

/** Histograms, likewise. */
export const HISTOGRAMS = {
  job_submit_to_spawn_seconds: {
    help: 'Time from the acceptance of a job, or of its retry, until the backend has it.',
    bounds: QUEUE_WAITS,
    initial: [[]],
  },
  job_spawn_to_end_seconds: {
    help: "Time from the spawn of a job's last attempt until the job is finished, by its final state.",
    labels: ['state'],
    bounds: RUNS,
    initial: [['succeeded'], ['failed'], ['canceled']],
  },
  modal_run_seconds: {
    help: "Run time of calls in their containers, by Modal's clock, without queue and cold start.",
    bounds: RUNS,
    initial: [[]],
  },
  modal_end_to_notice_seconds: {
    help: "Time from the end of a call, by Modal's clock, until this server sees it; includes the clock difference.",
    bounds: SHORT,
    initial: [[]],
  },
  modal_turn_wait_seconds: {
    help: 'How long calls waited for a poll turn.',
    bounds: SHORT,
    initial: [[]],
  },
  modal_rpc_duration_seconds: {
    help: 'Duration of RPCs to Modal; FunctionGetOutputs is a poll, which stays open until the call finishes.',
    labels: ['method'],
    bounds: SHORT,
  },
  webhook_try_duration_seconds: { help: 'Duration of delivery attempts of webhooks.', bounds: SHORT, initial: [[]] },
  http_request_duration_seconds: {
    help: 'Duration of HTTP requests, without the time a client asked to wait; streams, files and uploads are excluded.',
    labels: ['method', 'route'],
    bounds: SHORT,
  },
} as const satisfies Record<string, HistogramDefinition>

/** A counter for each combination of label values. */
export type LabeledCounter = {
  /** Increments; label values in the order of the metric's labels. */
  add(...labels: readonly string[]): void
  /** Increases by an amount that is not negative. */
  increase(amount: number, ...labels: readonly string[]): void
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
    increase(amount, ...labels) {
      rowOf(labels).count += amount
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

type Branch<Row> = { row?: Row; readonly next: Map<string, Branch<Row>> }

const newBranch = <Row>(): Branch<Row> => ({ next: new Map() })

/**
 * Rows by label values, created on first use. A map for each label: a text joined of all of them would be made and hashed
 * for each request.
 */
function createRowMap<Row>(make: (labels: readonly string[]) => Row) {
  const root = newBranch<Row>()
  const rows: Row[] = []
  const rowOf = (labels: readonly string[]): Row => {
    let branch = root
    for (const label of labels) {
      const next = branch.next.get(label) ?? newBranch<Row>()
      if (next.row === undefined && next.next.size === 0) branch.next.set(label, next)
      branch = next
    }
    if (branch.row === undefined) rows.push((branch.row = make(labels)))
    return branch.row
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

const mapValues = <K extends string, V, R>(record: Readonly<Record<K, V>>, map: (value: V) => R) =>
  Object.fromEntries(Object.entries<V>(record).map(([key, value]) => [key, map(value)])) as Record<K, R>
