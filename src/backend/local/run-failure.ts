import type { ErrorCode } from '../../jobs/job.ts'

/** A run that failed for a reason its caller can be told: becomes the job's `error_code` and `error`. */
export class RunFailure extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'RunFailure'
    this.code = code
  }
}

/** An input that cannot be used; `problem` reads on from the field's name. */
export const inputFailure = (field: string, problem: string, options?: ErrorOptions): RunFailure =>
  new RunFailure('input_unavailable', `${field}: ${problem}`, options)
