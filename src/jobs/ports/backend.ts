import type { FieldError } from '../../problems.ts'
import type { BackendName, DegradedReason, ErrorCode, FileKind, JobInput, NamedInput, RunOptions } from '../job.ts'

/** A file that came with the job: where it is on this machine, and a link to it for a backend on another. */
export type InputFile = { readonly path: string; readonly url: string }

/** What a backend is asked to run: one attempt of one job. */
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
 * How a call finished. `interrupted`: the backend lost the run, and the input is not the cause; another attempt may work.
 * `error` is never empty. `traceback` is where the run raised, for the operator's log.
 */
export type Outcome =
  | { readonly kind: 'succeeded'; readonly outputPath: string; readonly runId?: string }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly error: string; readonly traceback?: string }
  | { readonly kind: 'interrupted'; readonly error: string; readonly traceback?: string }

/** Notified when a run starts. */
export type StartSubscriber = {
  /** Called at most once, with the time in epoch ms. */
  readonly onStart: (startedAt: number) => void
  /** Whether something depends on the time, so that it is worth a request of its own. */
  readonly isNeeded: boolean
}

/** A call whose log is read. Times are epoch ms; no `finishedAt`: it may still run. */
export type LoggedCall = { readonly callId: string; readonly startedAt: number; readonly finishedAt?: number }

/**
 * Runs lip-syncs. Transient errors (an outage, a lost connection) are the backend's to handle: `spawn`, `wait` and `stop`
 * retry until `signal` aborts, and then reject with its reason. The core enforces the deadline.
 */
export type Backend = {
  readonly name: BackendName
  /** The field errors that this backend finds at submit, without network or disk. */
  check(input: JobInput): FieldError[]
  /** Starts a run and answers with its call id. */
  spawn(request: SpawnRequest, signal: AbortSignal): Promise<Spawned>
  /**
   * Waits for the end of a call. May be called again for the same call, also by a later process. `subscriber` is notified of the
   * start of the run, before its end, by a backend that knows it.
   */
  wait(callId: string, signal: AbortSignal, subscriber?: StartSubscriber): Promise<Outcome>
  /** Ends a call. Resolves when it runs no more or the backend does not know it; idempotent. */
  stop(callId: string, signal: AbortSignal): Promise<void>
  /**
   * What a call has printed and, until it ends, prints: text in pieces, each asked for when the last was taken. Best
   * effort, unlike the other verbs: throws what keeps the backend from going on, `logs_unavailable` (410) when it does
   * not know the call or its log any more, and soon after `signal` aborts.
   */
  logs(call: LoggedCall, signal: AbortSignal): AsyncIterable<string>
  /** Why the backend is degraded, as far as is known, so that jobs wait for it. Undefined: it is not. */
  degradation(): DegradedReason | undefined
  /** Releases connections, ends local children and every open wait. Idempotent. */
  close(): Promise<void>
}
