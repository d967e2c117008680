/** One fault in a request body or query. `path` is a JSON Pointer (RFC 6901) into it, such as `/video_url`. */
export type FieldFault = { path: string; message: string }

/**
 * A refusal with an HTTP meaning: `code` is the stable machine-readable name, `status` the HTTP status,
 * `message` the sentence a caller reads. Everything else thrown at a request is a defect and answers 500.
 */
export class AppError extends Error {
  readonly code: string
  readonly status: number
  readonly faults: FieldFault[] | undefined

  constructor(code: string, status: number, message: string, options: ErrorOptions & { faults?: FieldFault[] } = {}) {
    super(message, options)
    this.name = new.target.name
    this.code = code
    this.status = status
    this.faults = options.faults
  }
}

/** 400: the request's fields are at fault, each named. */
export class InvalidRequest extends AppError {
  constructor(faults: FieldFault[], code = 'invalid_request') {
    super(code, 400, faults.map((fault) => `${fault.path.slice(1) || 'body'}: ${fault.message}`).join('; '), { faults })
  }
}

/** 404: no such job, or not this caller's, or not an id at all; the three are not told apart. */
export class JobNotFound extends AppError {
  constructor() {
    super('job_not_found', 404, 'There is no job with this id.')
  }
}

/** 409: the job is in a state in which this cannot be done. */
export class JobConflict extends AppError {
  constructor(code: string, message: string) {
    super(code, 409, message)
  }
}
