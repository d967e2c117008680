import { DEGRADED_REASONS, type Job, JOB_STAGES, type JobEvent } from '../job.ts'

/** Something that happened in this process, to be counted. Durations are in ms. */
export type MetricEvent =
  /** A new job was stored. */
  | { readonly type: 'job-submitted' }
  /** This process wrote the change of a job: each change is counted once, however many replicas are notified of it. */
  | { readonly type: 'job-changed'; readonly before: Job; readonly after: Job; readonly event: JobEvent['type'] }
  /** A delivery attempt finished. No `status`: there was no answer. `end`: the state of a delivery that it finished. */
  | {
      readonly type: 'webhook-attempted'
      readonly status: number | undefined
      readonly tookMs: number
      readonly end: 'delivered' | 'failed' | undefined
    }
  /** A delivery finished without an attempt, because its receiver wants no more of them. */
  | { readonly type: 'webhook-withdrawn' }
  /** An attempt to send an output finished, likewise. */
  | {
      readonly type: 'output-attempted'
      readonly kind: 'output' | 'copy'
      readonly status: number | undefined
      readonly end: 'delivered' | 'failed' | undefined
    }
  /** A file that no job has was removed. */
  | { readonly type: 'upload-swept' }
  /** An RPC to Modal finished; `code` is the name of its gRPC code. */
  | { readonly type: 'rpc-finished'; readonly method: string; readonly code: string; readonly tookMs: number }
  /** A call got its poll turn. */
  | { readonly type: 'poll-turn-started'; readonly waitedMs: number }
  /** A poll returned the outcome of a call. `ranMs`, `lateMs`: its run time and the time since its end, if Modal reports them. */
  | { readonly type: 'call-finished'; readonly ranMs: number | undefined; readonly lateMs: number | undefined }
  /** A request was answered, or its client disconnected. No `route`: none matched. No `tookMs`: it depended on the client. */
  | {
      readonly type: 'request-answered'
      readonly method: string
      readonly route: string | undefined
      readonly status: number
      readonly tookMs: number | undefined
    }

/** Counts an event. Cheap, and never throws. */
export type RecordMetric = (event: MetricEvent) => void

/** Gauges, read on each scrape; the exported name has the prefix `musetalk_`. */
export const GAUGES = {
  jobs_waiting: 'Jobs accepted and not yet at the backend, read from the store: the same on every replica.',
  jobs_in_flight: 'Jobs at the backend that this process follows.',
  jobs_paused: 'Whether the start of jobs is paused, as far as this process knows: 1 or 0.',
  store_up: 'Whether the job store answers: 1 or 0.',
  backend_up:
    'Whether the backend accepts jobs, as seen by this process: 1, or 0 while jobs wait for it. Throttled counts as 1.',
  modal_calls_held: 'Spawns, polls and cancels that wait until Modal is available again.',
  modal_polls_open: 'Open polls at Modal.',
  modal_polls_waiting: 'Calls that wait for a poll turn.',
  modal_poll_connections: 'Connections to Modal opened for polls.',
  http_connections: 'Open connections of clients.',
} as const

/** Gauges with one series per value of a label: 1 for the current value, 0 for the others. */
export const STATES = {
  backend_degraded: {
    help: 'Why the backend is degraded, as seen by this process: 1 for the reason, 0 for the others.',
    label: 'reason',
    values: DEGRADED_REASONS,
  },
} as const
/** Gauges with one series per value of a label, each with a number of its own. */
export const GROUPS = {
  jobs_in_stage: {
    help: 'Running jobs that this process follows, by their stage at the backend, as far as it is known.',
    label: 'stage',
    values: JOB_STAGES,
  },
} as const
export type GaugeName = keyof typeof GAUGES | keyof typeof STATES | keyof typeof GROUPS

/**
 * Reads a gauge, the current value of a state, or the numbers of a group by the value of its label. One that throws or
 * rejects is left out of the scrape.
 */
export type GaugeReader = () => number | string | Readonly<Record<string, number>> | undefined | Promise<number>

/** Limits that dashboards compare with their usage: gauges whose value does not change; `+Inf`: no limit. */
export const LIMITS = {
  max_concurrent_jobs: 'Maximum jobs at the backend, of all replicas (MAX_CONCURRENT_JOBS); +Inf: no limit.',
  max_queued_jobs: 'Maximum jobs accepted and not yet at the backend (MAX_QUEUED_JOBS); +Inf: no limit.',
  max_http_connections: 'Maximum open connections of clients (MAX_CONNECTIONS); +Inf: no limit.',
  max_modal_polls: 'Maximum open polls at Modal (MODAL_MAX_CONNECTIONS times MODAL_POLLS_PER_CONNECTION).',
  max_heap_bytes: "Maximum size of V8's old generation, in bytes.",
} as const

/** What does not change while the process runs: labels of `musetalk_build_info`, and the limits (0: no limit). */
export type ServerInfo = {
  readonly info: Readonly<Record<'version' | 'backend' | 'store', string>>
  readonly limits: Readonly<Record<keyof typeof LIMITS, number>>
}

/** The metrics of this process. */
export type Metrics = {
  readonly record: RecordMetric
  /** Registers how gauges are read. Until then they are 0. */
  registerGauges(readings: Readonly<Partial<Record<GaugeName, GaugeReader>>>): void
  /** Renders everything counted since the start of the process, and the gauges, as text of type `METRICS_TYPE`. */
  render(): Promise<string>
}

/** The text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
