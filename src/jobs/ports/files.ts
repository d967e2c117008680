import type { MediaRole } from '../../media/facts.ts'
import { Problem } from '../../problems.ts'
import type { FetchRange } from '../../media/facts-reader.ts'
import {
  type Job,
  FILE_KINDS,
  type FileKind,
  type JobInput,
  type JobMedia,
  type StoredObject,
  type UploadedFile,
} from '../job.ts'

/** A job that succeeded, and so has an output. */
export type SucceededJob = Job & { readonly outputPath: string }

/** Where the output of a run is: see `Job`. */
export type StoredOutput = Pick<SucceededJob, 'outputPath' | 'runId'>

/** By extension; none that a browser would execute. */
const TYPES_BY_EXTENSION: Readonly<Record<string, string>> = {
  '.mp4': 'video/mp4',
  '.mov': 'video/quicktime',
  '.webm': 'video/webm',
  '.mkv': 'video/x-matroska',
}

/** The media type of an output, by its path. */
export const contentTypeOf = (outputPath: string): string =>
  TYPES_BY_EXTENSION[(/\.\w+$/.exec(outputPath)?.[0] ?? '').toLowerCase()] ?? 'application/octet-stream'

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

/** The bytes of an output: `size` of them, in pieces each of which is valid until the next one is asked for. */
export type OutputBytes = { readonly size: number; readonly bytes: AsyncIterable<Uint8Array> }

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
  /**
   * Gives the bytes of an output to `use` as they come from where it is: nothing is kept on this server. Rejects with
   * `output_unavailable` if they cannot be read now, as `use` does, or with the reason of `signal` when that aborts.
   */
  read<T>(job: SucceededJob, signal: AbortSignal, use: (output: OutputBytes) => Promise<T>): Promise<T>
  /** Starts to fetch an output before it is requested. Never throws. */
  prefetch(job: SucceededJob): void
  /** Whether the output is still there; at Modal, as far as this server knows from earlier requests. Never rejects. */
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
  /** Reads one of them that is elsewhere. */
  rangesOf?(kind: FileKind): FetchRange | undefined
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

/** A file that a client sends ahead of its submit. `name` is random: it names the file where it is stored. */
export type SentFile = { readonly name: string; readonly kind: FileKind; readonly size: number }

/** The files that a job has and that were sent ahead of it. */
export const sentFilesOf = ({ input }: Pick<Job, 'input'>): UploadClaims[] =>
  FILE_KINDS.flatMap((kind) => parseUploadId(input[kind]?.uploadId ?? '') ?? [])

/** Their names. */
export const uploadsOf = (job: Pick<Job, 'input'>): string[] => sentFilesOf(job).map(({ name }) => name)

/** `<kind>.<size>.<expiry>.<name>.<signature>`, the numbers in base 36. */
const UPLOAD_ID = /^(video|image|audio)\.([0-9a-z]{1,9})\.([0-9a-z]{1,8})\.([\w-]{22})\.[\w-]{43}$/

/** `expires`: epoch seconds. */
export type UploadClaims = SentFile & { readonly expires: number }

/** What an id says, not whether it is signed. */
export function parseUploadId(id: string): UploadClaims | undefined {
  const [, kind, size = '', expires = '', name = ''] = UPLOAD_ID.exec(id) ?? []
  if (kind === undefined) return undefined
  return { kind: kind as FileKind, size: Number.parseInt(size, 36), expires: Number.parseInt(expires, 36), name }
}

/** `contentType`: detected by content, which the type that its client sent it with may not be. */
export type LinkOptions = Pick<OutputOptions, 'method' | 'contentType'> & { readonly ttlSeconds: number }

/** Where files are that were sent ahead of their submits. */
export type AheadUploads = {
  /** Throws `body_too_large`, or why no backend could read the file. */
  admit(file: SentFile): void
  /** The request by which a client sends the file, valid for `ttlSeconds`. `type`: as the client calls it. */
  ticket(
    file: SentFile & { readonly type?: string | undefined },
    uploadId: string,
    ttlSeconds: number,
  ): Promise<{ readonly url: string; readonly headers: Readonly<Record<string, string>> }>
  /**
   * Stores a file that comes to this server. Rejects as `Upload.add` does, with `upload_rejected` if its size is another, or
   * with `precondition_failed` if there is one already. Undefined: files do not come to this server.
   */
  readonly receive?: (file: SentFile, bytes: AsyncIterable<Buffer>, receiving: Receiving) => Promise<void>
  /**
   * The files for a submit, each checked. Rejects with `upload_rejected` and an error for each that is not there or is not
   * what it should be, or with `upload_store_unavailable`.
   */
  open(files: readonly (SentFile & { readonly uploadId: string })[], caller: string): Promise<Upload>
  /**
   * A URL of an object, for one method. Undefined: it is no longer there, or no longer the same. Rejects with
   * `upload_store_unavailable`.
   */
  linkTo(object: StoredObject, options: LinkOptions): Promise<string | undefined>
  /** Whether an opened upload has the files for itself, so that nothing that is removed here is missing there. */
  readonly opensCopies: boolean
  /** Removes a file. Idempotent. */
  remove(name: string): Promise<void>
  /** Removes the files that match. Goes on after one that cannot be removed, and rejects at its end. */
  sweep(sweep: Sweep & { readonly onRemoved: () => void }): Promise<void>
}

/** Reads what face and speech of a submit are, before there is a job. */
export type MediaReader = {
  /**
   * What can be known in a short time, for URLs 2 s and at most as long until their turn; undefined: nothing, at once if nothing is read. Never rejects:
   * what cannot be read is unknown. `caller`: on whose behalf, since callers take turns.
   */
  read(
    input: JobInput,
    upload: Pick<Upload, 'pathOf' | 'rangesOf'> | undefined,
    caller: string,
  ): Promise<MediaReading> | undefined
  /** Ends what it started. Idempotent. */
  close(): Promise<void>
}
