import type { MediaRole } from '../../media/facts.ts'
import { Problem } from '../../problems.ts'
import type { Job, FileKind, JobInput, JobMedia, UploadedFile } from '../job.ts'

/** A job that succeeded, and so has an output. */
export type SucceededJob = Job & { readonly outputPath: string }

/** Where the output of a run is: see `Job`. */
export type StoredOutput = Pick<SucceededJob, 'outputPath' | 'runId'>

/** How an output will be served. */
export type OutputOptions = {
  readonly method: 'GET' | 'HEAD'
  readonly contentType: string
  /** The name under which the client saves the output; undefined: it is displayed. */
  readonly filename?: string | undefined
}

/**
 * Where an output is: in a file of this machine, which is kept until `release` is called (idempotent), or at a
 * presigned URL.
 */
export type Output =
  | { readonly kind: 'file'; readonly path: string; release(): void }
  | { readonly kind: 'redirect'; readonly url: string }

/** The output is larger than the cache of outputs: a repeated request fails too. */
export class OutputTooLarge extends Problem {
  constructor() {
    super('output_unavailable', {
      detail: 'The output is larger than the outputs that the server keeps (see OUTPUT_CACHE_BYTES).',
    })
  }
}

/** Selects the files to remove: older than `before` (epoch ms) and of no known job. */
export type Sweep = { readonly before: number; readonly isKnown: (jobId: string) => Promise<boolean> }

/** The outputs of jobs, and the copies that this server keeps. */
export type Outputs = {
  /** Rejects with `output_unavailable` if the output cannot be fetched now. */
  open(job: SucceededJob, options: OutputOptions): Promise<Output>
  /** Starts to fetch an output before it is requested. Never throws. */
  prefetch(job: SucceededJob): void
  /** Whether the output is still there, as far as this server can tell without a request to Modal or S3. */
  has(job: SucceededJob): Promise<boolean>
  /** Gives a job the output of another, to keep also when that is removed; undefined if it is no longer there. Idempotent. */
  share(from: SucceededJob, to: Job): Promise<StoredOutput | undefined>
  /** Removes the files of all attempts of a job from this server, but not from Modal or S3. Idempotent. */
  forget(job: Job): Promise<void>
  /** Removes files of unknown jobs, whose files could not be removed with them. */
  sweep(sweep: Sweep): Promise<void>
  /** Aborts every fetch. Idempotent. */
  close(): Promise<void>
}

/** The files of one request, until they belong to a job. */
export type Upload = {
  /** The files received so far, each complete. */
  readonly files: Readonly<Partial<Record<FileKind, UploadedFile>>>
  /** Where one of them is until it is kept or discarded: an absolute path. */
  pathOf(kind: FileKind): string | undefined
  /**
   * Stores one file while it is received. Rejects with `body_too_large`, `uploads_need_public_url`, `unsupported_media`, `storage_full`,
   * `invalid_request` if the file is empty, the error of `bytes`, or the reason of the signal while it waits for the disk.
   */
  add(kind: FileKind, bytes: AsyncIterable<Buffer>): Promise<void>
  /** Assigns the files to a job that is about to be stored: from now on they are found by its id. */
  keep(jobId: string): Promise<void>
  /** Removes all files. Never rejects. Idempotent. */
  discard(): Promise<void>
}

/** Who uploads: `caller` is a key, for fairness; `signal` aborts when the client closes its connection. */
export type Receiving = { readonly caller: string; readonly signal: AbortSignal }

/** The files that were uploaded with submits. */
export type Uploads = {
  /** Starts an upload. Rejects with `uploads_need_public_url` or `uploads_need_shared_storage` if no backend could read it. */
  create(receiving: Receiving): Promise<Upload>
  /** Absolute path of a file of a job. Rejects with `input_not_found` if there is none, or if it was deleted. */
  locate(jobId: string, kind: FileKind): Promise<string>
  /** Removes the files of a job. Idempotent. */
  forget(jobId: string): Promise<void>
  /** Removes files of unknown jobs, and incomplete files of processes that have exited. */
  sweep(sweep: Sweep): Promise<void>
  /** Removes files that belong to no job yet. Idempotent. */
  close(): Promise<void>
}

/**
 * What is known of face and speech. `contents`: texts that are the same only for the same bytes, of files that are given by
 * name: a digest, or a URL with the strong `ETag` that it answered with.
 */
export type MediaReading = {
  readonly media?: JobMedia
  readonly contents?: Readonly<Partial<Record<MediaRole, string>>>
}

/** Reads what face and speech of a submit are, before there is a job. */
export type MediaReader = {
  /**
   * What can be known in a short time, at most 2 s for URLs; undefined: nothing, at once if nothing is read. Never rejects:
   * what cannot be read is unknown. `caller`: on whose behalf, since callers take turns.
   */
  read(input: JobInput, upload: Pick<Upload, 'pathOf'> | undefined, caller: string): Promise<MediaReading> | undefined
  /** Ends what it started. Idempotent. */
  close(): Promise<void>
}
