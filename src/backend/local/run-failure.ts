import type { ErrorCode } from '../../jobs/job.ts'
import type { Shortage } from '../../lib/shortage.ts'

/** A run that failed for a reason its caller can be told: becomes the job's `error_code` and `error`. */
export class RunFailure extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'RunFailure'
    this.code = code
  }
}

/** A run that was lost through no fault of its inputs; another attempt may work. The message becomes the attempt's `error`. */
export class RunInterrupted extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'RunInterrupted'
  }
}

/** A run that failed through this machine; another attempt may work. The message becomes the attempt's `error`. */
export class MachineFailure extends Error {
  constructor(shortage: Shortage, options?: ErrorOptions) {
    super(`The server ran out of ${shortage}.`, options)
    this.name = 'MachineFailure'
  }
}

/** An input that cannot be used; `problem` reads on from the field's name. */
export const inputFailure = (field: string, problem: string, options?: ErrorOptions): RunFailure =>
  new RunFailure('input_unavailable', `${field}: ${problem}`, options)
