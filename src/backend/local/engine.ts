import type { ErrorCode, RunOptions } from '../../jobs/job.ts'
import type { MediaField, MediaKind } from '../../media/formats.ts'
import type { Shortage } from '../../lib/errors.ts'

/** Called with what child processes print, as it comes. */
export type Print = (piece: Buffer, from: 'stdout' | 'stderr') => void

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

export type Task = RunOptions & {
  readonly face: Medium
  readonly audio: Medium
  /** Where the video is to be written. */
  readonly output: string
  /** A folder for temporary files; the caller removes it. */
  readonly folder: string
  /** Takes what belongs into the job's log. */
  readonly print: Print
  /** Puts the names of fields in place of the paths of this machine. */
  readonly hidePaths: (text: string) => string
}

/**
 * Makes the video of one task with child processes, which have exited when it returns. Rejects with `RunFailure`, or with
 * the signal's reason when `signal` aborts.
 */
export type Engine = (task: Task, signal: AbortSignal) => Promise<void>

/** A run that failed for a reason that its caller may see: becomes the job's `error_code` and `error`. */
export class RunFailure extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'RunFailure'
    this.code = code
  }
}

/** A run that failed for a transient reason; another attempt may work. The message becomes the attempt's `error`. */
export class RunInterrupted extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'RunInterrupted'
  }
}

/** A run that failed because this machine ran short; another attempt may work. The message becomes the attempt's `error`. */
export class MachineFailure extends Error {
  constructor(shortage: Shortage, options?: ErrorOptions) {
    super(`The server ran out of ${shortage}.`, options)
    this.name = 'MachineFailure'
  }
}

/** An input that cannot be had; `problem` is a phrase that follows the field's name. */
export const inputFailure = (field: string, problem: string, options?: ErrorOptions): RunFailure =>
  new RunFailure('input_unavailable', `${field}: ${problem}`, options)

/** An input that is no face or speech that can be used; `problem` as above. */
export const mediaFailure = (field: string, problem: string): RunFailure =>
  new RunFailure('invalid_media', `${field}: ${problem}`)
