import type { ModelVersion } from '../../jobs/job.ts'
import type { MediaFormat } from '../../media/type.ts'

/** An input file, opened and known to be media. `field` is the input's name in the request. */
export type Medium = MediaFormat & { readonly field: string; readonly path: string }

export type Task = {
  readonly face: Medium
  readonly audio: Medium
  /** Where the video is to be written. */
  readonly output: string
  readonly version: ModelVersion
  /** Takes what the child processes print to stderr, as it comes. */
  readonly print: (piece: Buffer) => void
}

/**
 * Makes the video of one task with child processes, which are gone when it returns. Rejects with `RunFailure`, or with
 * the signal's reason when `signal` aborts.
 */
export type Engine = (task: Task, signal: AbortSignal) => Promise<void>
