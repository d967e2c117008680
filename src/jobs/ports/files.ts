import { Problem } from '../../problems.ts'
import type { Job, FileKind, UploadedFile } from '../job.ts'

/** A job that succeeded: only such a job has an output. */
export type SucceededJob = Job & { readonly outputPath: string }

/** How an output is going to be served. */
export type OutputOptions = {
  readonly method: 'GET' | 'HEAD'
  readonly contentType: string
  /** The name under which the client saves the output; undefined: it is displayed. */
  readonly filename?: string | undefined
}

/**
 * Where an output is: in a file of this machine, which stays until `release` is called (idempotent), or at a URL that
 * needs no further permission.
 */
export type Output =
  | { readonly kind: 'file'; readonly path: string; release(): void }
  | { readonly kind: 'redirect'; readonly url: string }

/** The output is larger than all outputs that the server may keep: another request does not help. */
export class OutputTooLarge extends Problem {
  constructor() {
    super('output_unavailable', {
      detail: 'The output is larger than the outputs that the server keeps (see OUTPUT_CACHE_BYTES).',
    })
  }
}

/** Selects the files to remove: older than `before` (epoch ms) and of no known job. */
export type Sweep = { readonly before: number; readonly isKnown: (jobId: string) => Promise<boolean> }

/** Where the outputs of jobs come from, and what this server keeps of them. */
export type Outputs = {
  /** Rejects with `output_unavailable` where there is no output to be had now. */
  open(job: SucceededJob, options: OutputOptions): Promise<Output>
  /** Gets an output ready that is going to be asked for. Does not wait, and never fails. */
  prefetch(job: SucceededJob): void
  /** Removes what this server keeps of a job, all its attempts; what others keep, such as Modal, stays. Idempotent. */
  forget(job: Job): Promise<void>
  /** Removes what is kept of jobs that are not known any more: those that went while nobody could forget their files. */
  sweep(sweep: Sweep): Promise<void>
  /** Ends every fetch. Idempotent. */
  close(): Promise<void>
}

/** The files of one request, until a job has them. Discarding removes all of them. */
export type Upload = {
  /** The files received so far, each complete. */
  readonly files: Readonly<Partial<Record<FileKind, UploadedFile>>>
  /**
   * Takes one file as it comes. Rejects with `body_too_large`, `unsupported_media`, `storage_full`,
   * `invalid_request` where the file is empty, or what the stream of its bytes ends with.
   */
  add(kind: FileKind, bytes: AsyncIterable<Buffer>): Promise<void>
  /** Keeps the files for a job that is about to be stored: they are found under its id from now on. */
  keep(jobId: string): Promise<void>
  /** Removes the files, wherever they are by now. Never fails, and is idempotent. */
  discard(): Promise<void>
}

/** Where the files of jobs that came with their submit are kept. */
export type Uploads = {
  /** Begins to take files. Rejects with `uploads_need_public_url` or `uploads_need_shared_storage` where nobody could run a job with them. */
  create(): Promise<Upload>
  /** Absolute path of a file of a job. Rejects with `input_not_found` where there is none, or none any more. */
  locate(jobId: string, kind: FileKind): Promise<string>
  /** Removes the files of a job. Idempotent. */
  forget(jobId: string): Promise<void>
  /** Removes files of jobs that are not known, and what ended processes left half-received. */
  sweep(sweep: Sweep): Promise<void>
  /** Removes what no job has got by now. Idempotent. */
  close(): Promise<void>
}
