import type { FieldError } from '../../problems.ts'
import {
  type BackendName,
  type DegradedReason,
  type ErrorCode,
  type FileKind,
  type FunctionState,
  type JobInput,
  type JobStage,
  type NamedInput,
  type ParameterName,
  parametersIn,
  type RunOptions,
  type RunParameters,
  type RunTimes,
} from '../job.ts'

/** A field error for each parameter that is set and not among those that a backend takes. */
export const unsupportedParameters = (
  parameters: RunParameters | undefined,
  taken: readonly ParameterName[],
  message: string,
): FieldError[] =>
  parametersIn(parameters)
    .filter((name) => !taken.includes(name))
    .map((name) => ({ path: `/parameters/${name}`, message }))

/** An uploaded file: its path on this machine, its size in bytes, and a link to it for a backend on another machine. */
export type InputFile = { readonly path: string; readonly size: number; readonly url: string }

/** One attempt of one job, to be run by a backend. */
export type SpawnRequest = RunOptions & {
  readonly jobId: string
  readonly attempt: number
  /** The owner of the job: callers share the backend's capacity fairly. */
  readonly caller: string
  readonly input: NamedInput
  /** The faces and speeches that are not in `input`. */
  readonly files?: Readonly<Partial<Record<FileKind, InputFile>>>
}

/** `rejected`: a permanent error; `code` and `error` become the job's. */
export type Spawned =
  | { readonly kind: 'spawned'; readonly callId: string }
  | { readonly kind: 'rejected'; readonly code: ErrorCode; readonly error: string }

/**
 * How a call finished. `interrupted`: the backend lost the run, not because of the input; another attempt may succeed.
 * `error` is never empty. `traceback`: of an exception of the run, for the operator's log.
 */
export type Outcome =
  | { readonly kind: 'succeeded'; readonly outputPath: string; readonly runId?: string }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly error: string; readonly traceback?: string }
  | { readonly kind: 'interrupted'; readonly error: string; readonly traceback?: string }

/** Notified of what happens to a call before it ends. */
export type CallSubscriber = {
  /** When the backend took the call, in epoch ms, if that is known. */
  readonly spawnedAt?: number | undefined
  /**
   * Called with each new stage, by a backend that knows it; undefined: not known any more. `startedAt`: of the run, in
   * epoch ms, where it has started.
   */
  readonly onStage?: (stage: JobStage | undefined, startedAt?: number) => void
  /** Called at most once, when the run starts, with the time in epoch ms. */
  readonly onStart: (startedAt: number) => void
  /** Called at most once, before the outcome, with the times that the backend knows. */
  readonly onTimes?: (times: RunTimes) => void
  /** Whether the time of the start matters. */
  readonly isNeeded: boolean
}

/** No `degraded`: it is not. No `function`: the backend has none, or has not looked it up yet. */
export type BackendHealth = {
  /** Why jobs wait for the backend. */
  readonly degraded?: DegradedReason
  /** Whether the function is deployed, and takes and needs what it should (docs/function.md). */
  readonly function?: FunctionState
}

/** A call whose log is read. Times are epoch ms; no `finishedAt`: it may still run. */
export type LoggedCall = { readonly callId: string; readonly startedAt: number; readonly finishedAt?: number }

/**
 * Runs lip-syncs. Transient errors (an outage, a lost connection) are the backend's to handle: `spawn`, `wait` and `stop`
 * retry until `signal` aborts, and then reject with its reason. The core enforces the deadline.
 */
export type Backend = {
  readonly name: BackendName
  /**
   * The field errors of a submit for this backend, those of parameters that it does not take included, as far as it
   * knows. Uses neither network nor disk.
   */
  check(input: JobInput, parameters?: RunParameters): FieldError[]
  /** Starts a run and answers with its call id, also if `signal` aborts once the backend may have the request. */
  spawn(request: SpawnRequest, signal: AbortSignal): Promise<Spawned>
  /**
   * Waits for the end of a call. May be called again for the same call, also by a later process. `subscriber` is
   * notified of the start of the run, before its end, by a backend that knows it.
   */
  wait(callId: string, signal: AbortSignal, subscriber?: CallSubscriber): Promise<Outcome>
  /** Stops a call. Resolves when it no longer runs or the backend does not know it. Idempotent. */
  stop(callId: string, signal: AbortSignal): Promise<void>
  /**
   * The output of a call so far and, until it finishes, as it comes, in pieces; each is fetched when the one before was
   * consumed. Unlike the other methods it does not retry: throws the error, `logs_unavailable` (410) when the backend no
   * longer knows the call or its log, and the reason of `signal` soon after it aborts.
   */
  logs(call: LoggedCall, signal: AbortSignal): AsyncIterable<string>
  /** As far as this process knows. Makes no request. */
  health(): BackendHealth
  /** Closes connections, ends local children and rejects every open wait. Idempotent. */
  close(): Promise<void>
}
