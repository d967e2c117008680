import { DEGRADED_REASONS, type Job, type JobEvent } from '../job.ts'

/** Something that has happened in this process. Times are in ms. */
export type Fact =
  /** A new job was kept. */
  | { readonly type: 'job-submitted' }
  /** An event of a job was accepted and written, which one process alone can say, however many hear of it. */
  | { readonly type: 'job-changed'; readonly before: Job; readonly after: Job; readonly event: JobEvent['type'] }
  /** A try of a webhook has ended; no `status`: there was no answer. `end`: what that made of the delivery, if it ended. */
  | {
      readonly type: 'webhook-tried'
      readonly status: number | undefined
      readonly tookMs: number
      readonly end: 'delivered' | 'failed' | undefined
    }
  /** A delivery that is no longer wanted has ended without a try. */
  | { readonly type: 'webhook-withdrawn' }
  /** An RPC of Modal has ended; `code` is gRPC's, by name. */
  | { readonly type: 'rpc-ended'; readonly method: string; readonly code: string; readonly tookMs: number }
  /** A call had its turn to be polled. */
  | { readonly type: 'turn-taken'; readonly waitedMs: number }
  /** A poll has brought the end of a call. `ranMs`, `lateMs`: how long it ran, and ended ago, where Modal said so. */
  | { readonly type: 'end-noticed'; readonly ranMs: number | undefined; readonly lateMs: number | undefined }
  /** A request was answered, or broken off. No `route`: there is none. No `tookMs`: that was up to the client. */
  | {
      readonly type: 'request-answered'
      readonly method: string
      readonly route: string | undefined
      readonly status: number
      readonly tookMs: number | undefined
    }

/** Counts a fact. Cheap, and never throws. */
export type Observe = (fact: Fact) => void

/** What is not counted, but read when somebody asks: `musetalk_` and the name is what the metric is called. */
export const GAUGES = {
  jobs_waiting: 'Jobs accepted and not yet at the backend. The store is asked: every replica tells the same number.',
  jobs_in_flight: 'Jobs at the backend whose end this process waits for.',
  store_up: 'Whether the store of jobs answers: 1, or 0.',
  backend_up:
    'Whether the backend takes jobs, as far as this process knows: 1, or 0 while they wait for it. Throttled counts as 1.',
  modal_calls_held: 'Spawns, polls and cancels that wait for Modal to answer again.',
  modal_polls_open: 'Polls for the ends of calls that are open at Modal.',
  modal_polls_waiting: 'Calls that wait for their turn to be polled.',
  modal_poll_connections: 'Connections to Modal that polls have used so far.',
  http_connections: 'Connections of clients that are open.',
} as const

/** Gauges with one series for each value of a label: 1 for the value that is read, 0 for the others. */
export const STATES = {
  backend_degraded: {
    help: 'What keeps the backend from its work, as far as this process knows: 1 for the reason, 0 for the others.',
    label: 'reason',
    values: DEGRADED_REASONS,
  },
} as const
export type GaugeName = keyof typeof GAUGES | keyof typeof STATES

/** Reads a gauge now, or the value of a state that holds; one that rejects is left out of the answer. */
export type Reading = () => number | string | undefined | Promise<number>

/** Limits that dashboards set against what they limit: labels of `musetalk_limit`. */
export const LIMITS = [
  'max_concurrent_jobs',
  'max_queued_jobs',
  'max_connections',
  'modal_polls',
  'heap_bytes',
] as const

/** What does not change while the process runs: labels of `musetalk_build_info`; limits, 0: none. */
export type ServerFacts = {
  readonly info: Readonly<Record<'version' | 'backend' | 'store', string>>
  readonly limits: Readonly<Record<(typeof LIMITS)[number], number>>
}

/** What operators measure the server by. */
export type Metrics = {
  readonly observe: Observe
  /** Says how gauges are read. Until then they are 0. */
  watch(readings: Readonly<Partial<Record<GaugeName, Reading>>>): void
  /** Everything that was counted since the process began, and the gauges, as text of `METRICS_TYPE`. */
  render(): Promise<string>
}

/** The text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
