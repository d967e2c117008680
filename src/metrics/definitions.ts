import { ERROR_CODES } from '../jobs/job.ts'

/** `labels` in their order; `known`: combinations of their values that are told of from the start. */
export type Definition = {
  readonly help: string
  readonly labels?: readonly string[]
  readonly known?: readonly (readonly string[])[]
}
/** `bounds` of the buckets, in the metric's unit. */
export type HistogramDefinition = Definition & { readonly bounds: readonly number[] }

/** Waits of people and of networks, in seconds. */
const SHORT = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const
/** From a job that finds a place at once to one that waits out an outage, in seconds. */
const WAITS = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 7200] as const
/** Runs: a local mux takes a second, Modal ends a call after an hour. */
const RUNS = [1, 2.5, 5, 10, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200] as const

/** Outcomes of a try of a webhook: the class of its answer, or `none`. */
export const TRY_OUTCOMES = ['2xx', '3xx', '4xx', '5xx', 'other', 'none'] as const

/** What is counted; `musetalk_` and the name is what the metric is called. */
export const COUNTERS = {
  jobs_submitted_total: { help: 'New jobs accepted.', known: [[]] },
  jobs_retried_total: { help: 'Jobs that their callers have started over.', known: [[]] },
  jobs_ended_total: {
    help: 'Jobs that have ended, by the state they ended in, and failed ones by error code.',
    labels: ['state', 'error_code'],
    known: [['succeeded', ''], ['canceled', ''], ...ERROR_CODES.map((code) => ['failed', code])],
  },
  attempts_interrupted_total: {
    help: 'Attempts that the backend lost through no fault of the input; another is made up to MAX_ATTEMPTS.',
    known: [[]],
  },
  modal_rpcs_total: {
    help: "RPCs of Modal's client by method and gRPC code; CANCELLED are those that this server gave up itself.",
    labels: ['method', 'code'],
  },
  webhook_tries_total: {
    help: 'Tries of webhooks by the class of the answer; none: there was no answer.',
    labels: ['outcome'],
    known: TRY_OUTCOMES.map((outcome) => [outcome]),
  },
  webhooks_ended_total: {
    help: 'Webhooks that were delivered, or given up after their last try.',
    labels: ['state'],
    known: [['delivered'], ['failed']],
  },
  http_requests_total: {
    help: 'Requests answered by method, route and status; those of no route have the route unknown, those whose client left the status 499.',
    labels: ['method', 'route', 'status'],
  },
} as const satisfies Record<string, Definition>

/** What is timed, likewise. */
export const HISTOGRAMS = {
  job_submit_to_spawn_seconds: {
    help: 'From the acceptance of a job, or of its retry, until the backend has it.',
    bounds: WAITS,
    known: [[]],
  },
  job_spawn_to_end_seconds: {
    help: "From the spawn of a job's last attempt until its end is written, by the state it ended in.",
    labels: ['state'],
    bounds: RUNS,
    known: [['succeeded'], ['failed'], ['canceled']],
  },
  modal_run_seconds: {
    help: "How long calls ran in their containers, by Modal's clock; queue and cold start are not in it.",
    bounds: RUNS,
    known: [[]],
  },
  modal_end_to_notice_seconds: {
    help: "From the end of a call, by Modal's clock, until a poll has brought it: what clocks differ by is in it.",
    bounds: SHORT,
    known: [[]],
  },
  modal_turn_wait_seconds: {
    help: 'How long calls waited for each of their turns to be polled.',
    bounds: SHORT,
    known: [[]],
  },
  modal_rpc_duration_seconds: {
    help: "How long RPCs of Modal's client took; FunctionGetOutputs is a poll, open until there is an end to tell of.",
    labels: ['method'],
    bounds: SHORT,
  },
  webhook_try_duration_seconds: { help: 'How long tries of webhooks took.', bounds: SHORT, known: [[]] },
  http_request_duration_seconds: {
    help: 'How long answers took, without what callers asked to wait; streams, files and uploads are not in it.',
    labels: ['method', 'route'],
    bounds: SHORT,
  },
} as const satisfies Record<string, HistogramDefinition>
