import type { FieldError } from '../../problems.ts'
import type { BackendName, DegradedReason, ErrorCode, FileKind, JobInput, ModelVersion, NamedInput } from '../job.ts'

/** A file that came with the job: where it is on this machine, and a link to it for who is elsewhere. */
export type InputFile = { readonly path: string; readonly url: string }

/** What a backend is asked to run: one attempt of one job. */
export type SpawnRequest = {
  readonly jobId: string
  readonly attempt: number
  /** Whose job it is: what a run needs is shared between callers. */
  readonly caller: string
  readonly input: NamedInput
  /** The faces and speeches that are not in `input`. */
  readonly files?: Readonly<Partial<Record<FileKind, InputFile>>>
  readonly version: ModelVersion
}

/** `rejected`: asking again would fail again; `code` and `error` become the job's. */
export type Spawned =
  | { readonly kind: 'spawned'; readonly callId: string }
  | { readonly kind: 'rejected'; readonly code: ErrorCode; readonly error: string }

/**
 * How a call ended. `interrupted`: the backend lost the run through no fault of the input; another attempt may work.
 * `error` is never empty. `traceback` is where the run raised, for the operator's log.
 */
export type Outcome =
  | { readonly kind: 'succeeded'; readonly outputPath: string; readonly runId?: string }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly error: string; readonly traceback?: string }
  | { readonly kind: 'interrupted'; readonly error: string; readonly traceback?: string }

/** Who wants to know when a run starts. */
export type StartSubscriber = {
  /** Called at most once, with the time in epoch ms. */
  readonly onStart: (startedAt: number) => void
  /** Whether something depends on it, so that it is worth a request of its own. */
  readonly isNeeded: boolean
}

/** A call whose log is read. Times are epoch ms; no `finishedAt`: it may still run. */
export type LoggedCall = { readonly callId: string; readonly startedAt: number; readonly finishedAt?: number }

/**
 * Whatever lip-syncs. Passing faults (an outage, a lost connection) are the backend's own to sit out: `spawn`, `wait`
 * and `stop` keep trying until `signal` aborts, and then reject with the signal's reason. The deadline is the caller's.
 */
export type Backend = {
  readonly name: BackendName
  /** Faults of an input that this backend can see at submit, without touching network or disk. Empty: none. */
  check(input: JobInput): FieldError[]
  /** Starts a run and answers with its call id. */
  spawn(request: SpawnRequest, signal: AbortSignal): Promise<Spawned>
  /**
   * Waits for the end of a call. May be asked again for the same call, also by a later process. `watch` is told of the
   * start of the run, before its end, by a backend that knows it.
   */
  wait(callId: string, signal: AbortSignal, watch?: StartSubscriber): Promise<Outcome>
  /** Ends a call. Resolves when it runs no more or the backend does not know it; idempotent. */
  stop(callId: string, signal: AbortSignal): Promise<void>
  /**
   * What a call has printed and, until it ends, prints: text in pieces, each asked for when the last was taken. Best
   * effort, unlike the other verbs: throws what keeps the backend from going on, `logs_unavailable` (410) when it does
   * not know the call or its log any more, and soon after `signal` aborts.
   */
  logs(call: LoggedCall, signal: AbortSignal): AsyncIterable<string>
  /** What keeps the backend from its work, as far as is known: jobs wait for it. Undefined: nothing. */
  degradation(): DegradedReason | undefined
  /** Releases connections, ends local children and every open wait. Idempotent. */
  close(): Promise<void>
}
