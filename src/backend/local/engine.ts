import type { ModelVersion } from '../../jobs/job.ts'
import type { MediaField } from '../../media/inspect.ts'
import type { MediaKind } from '../../media/type.ts'

/** An input file of an accepted type. */
export type Medium = {
  /** The input's name in the request. */
  readonly field: MediaField
  readonly path: string
  readonly mime: string
  readonly kind: MediaKind
  /** The only demuxer of ffmpeg that may open it. */
  readonly demuxer: string
}

export type Task = {
  readonly face: Medium
  readonly audio: Medium
  /** Where the video is to be written. */
  readonly output: string
  /** A folder for temporary files; the caller removes it. */
  readonly folder: string
  readonly version: ModelVersion
  /** Takes what the child processes print to stderr, as it comes. */
  readonly print: (piece: Buffer) => void
}

/**
 * Makes the video of one task with child processes, which are gone when it returns. Rejects with `RunFailure`, or with
 * the signal's reason when `signal` aborts.
 */
export type Engine = (task: Task, signal: AbortSignal) => Promise<void>
