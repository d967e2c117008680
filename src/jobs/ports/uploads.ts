import type { FileKind, UploadedFile } from '../job.ts'

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

/** Selects the files to remove: older than `before` (epoch ms) and of no known job. */
export type UploadSweep = { readonly before: number; readonly isKnown: (jobId: string) => Promise<boolean> }

/** Where the files of jobs that came with their submit are kept. */
export type Uploads = {
  /** Begins to take files. Rejects with `uploads_need_public_url` or `uploads_need_shared_storage` where nobody could run a job with them. */
  create(): Promise<Upload>
  /** Absolute path of a file of a job. Rejects with `input_not_found` where there is none, or none any more. */
  locate(jobId: string, kind: FileKind): Promise<string>
  /** Removes the files of a job. Idempotent. */
  forget(jobId: string): Promise<void>
  /** Removes files of jobs that are not known, and what ended processes left half-received. */
  sweep(sweep: UploadSweep): Promise<void>
  /** Removes what no job has got by now. Idempotent. */
  close(): Promise<void>
}
