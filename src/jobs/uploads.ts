import { createHash, randomBytes } from 'node:crypto'
import { invalidFields, problem, type FieldError } from '../problems.ts'
import { FILE_KINDS, type FileKind, type Job } from './job.ts'
import type { LinkSigner } from './links.ts'
import { errorFieldsOf, type Log } from './log.ts'
import type { Caller, Reservations } from './ports/access.ts'
import {
  type AheadUploads,
  parseUploadId,
  type SentFile,
  sentFilesOf,
  type Upload,
  type UploadClaims,
  uploadsOf,
} from './ports/files.ts'
import { type JobStore, uploadLabel } from './ports/store.ts'
import type { RecordMetric } from './ports/metrics.ts'

/** How long a file that no job has is kept, in seconds. */
export const UNUSED_SECONDS = 24 * 3600
/** How long a client may take until it starts to send the file, in seconds. */
export const SEND_SECONDS = 3600
/** How long after its expiry a file may still be of a submit that has no job yet, in ms; clocks differ too. */
const MARGIN_MS = 3_600_000

/** What a client wants to send. */
export type UploadRequest = { readonly kind: FileKind; readonly size: number; readonly type?: string | undefined }

/** How to send it: a PUT to this URL with exactly these headers, before `expiresAt` (epoch ms). */
export type UploadTicket = {
  readonly uploadId: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly expiresAt: number
}

/** Files sent ahead of the submits that use them. */
export type UploadService = {
  /** Rejects with `body_too_large`, with `uploads_limit_reached`, or if no backend could read the file. */
  request(upload: UploadRequest, caller: Caller): Promise<UploadTicket>
  /** The files of a submit. Rejects with `upload_rejected` and an error for each that cannot be used. */
  open(ids: UploadIds, caller: Caller): Promise<Upload>
  /** To be called once there is a job: its files no longer count as unused. Never rejects. */
  used(job: Job): Promise<void>
  /** Removes the files of a removed job that no other job has, and that no other submit can be using. */
  forget(job: Job): Promise<void>
  /** Removes files that were not used in time, and those of jobs that were removed while this failed. */
  sweep(): Promise<void>
}

/** Uploads by the field that they are for. */
export type UploadIds = Readonly<Partial<Record<FileKind, string>>>

export type UploadServiceDependencies = {
  readonly ahead: AheadUploads
  readonly reservations: Reservations
  readonly links: Pick<LinkSigner, 'sign' | 'isSigned'>
  readonly store: Pick<JobStore, 'list'>
  readonly recordMetric: RecordMetric
  readonly log: Log
  /** Unused files of one caller: how many, and their bytes together. */
  readonly unusedUploads: { readonly count: number; readonly bytes: number }
  /** Epoch ms. */
  readonly now?: () => number
}

/**
 * An upload has no record: its id says what it is and is signed for its caller, the file is stored under the random part
 * of the id, and the jobs that have it are found by a label. So every replica knows of it, and nothing has to be kept in
 * step with the bucket.
 */
export function createUploadService(dependencies: UploadServiceDependencies): UploadService {
  const { ahead, reservations, links, store, recordMetric, log, unusedUploads, now = Date.now } = dependencies

  const isUsed = async (name: string) => (await store.list({ labels: [uploadLabel(name)], limit: 1 })).length > 0

  /** The file of an id, or why it cannot be used. */
  const resolve = async (kind: FileKind, id: string, caller: Caller): Promise<SentFile | string> => {
    const file = parseUploadId(id)
    const signature = id.slice(id.lastIndexOf('.') + 1)
    const expires = String(file?.expires)
    // Jobs may keep the file beyond its expiry.
    if (!file || !links.isSigned('upload', subjectOf(file, caller), { expires, signature }))
      return 'is not an upload of yours'
    if (file.kind !== kind) return `is an upload for ${file.kind}`
    const isOld = file.expires * 1000 <= now()
    return isOld && !(await isUsed(file.name)) ? 'was not used in time and has expired; upload the file again' : file
  }

  return {
    async request({ kind, size, type }, caller) {
      const expires = Math.floor(now() / 1000) + UNUSED_SECONDS
      const file: UploadClaims = { name: randomBytes(16).toString('base64url'), kind, size, expires }
      ahead.admit(file)
      const reservation = { id: file.name, bytes: size, expiresAt: expires * 1000 }
      if (!(await reservations.reserve(caller.id, reservation, unusedUploads, now()))) {
        throw problem('uploads_limit_reached', { detail: limitDetail(unusedUploads) })
      }
      const { signature } = links.sign('upload', subjectOf(file, caller), expires)
      const uploadId = `${textOf(file)}.${signature}`
      const expiresAt = now() + SEND_SECONDS * 1000
      return { uploadId, expiresAt, ...(await ahead.ticket({ ...file, type }, uploadId, SEND_SECONDS)) }
    },
    async open(ids, caller) {
      const files: (SentFile & { readonly uploadId: string })[] = []
      const errors: FieldError[] = []
      for (const kind of FILE_KINDS) {
        const id = ids[kind]
        if (id === undefined) continue
        const file = await resolve(kind, id, caller)
        if (typeof file === 'string') errors.push({ path: `/${kind}`, message: file })
        else files.push({ ...file, uploadId: id })
      }
      if (errors.length > 0) throw invalidFields(errors, 'upload_rejected')
      return ahead.open(files, caller.id)
    },
    async used(job) {
      // They count until they expire if that fails.
      const warn = (error: unknown) =>
        log.warn({ ...errorFieldsOf(error), event: 'upload_not_released' }, 'a used upload still counts as unused')
      await Promise.all(uploadsOf(job).map((name) => reservations.release(job.caller, name).catch(warn)))
    },
    async forget(job) {
      for (const { name, expires } of sentFilesOf(job)) {
        // A submit may have checked the file, and not have its job yet: the sweep removes it then.
        const isOpen = !ahead.opensCopies && expires * 1000 + MARGIN_MS > now()
        if (!isOpen && !(await isUsed(name))) await ahead.remove(name)
      }
    },
    async sweep() {
      const before = now() - UNUSED_SECONDS * 1000 - MARGIN_MS
      await ahead.sweep({
        before,
        isKnown: isUsed,
        onRemoved: () => recordMetric({ type: 'upload-swept' }),
      })
    },
  }
}

const limitDetail = ({ count, bytes }: { readonly count: number; readonly bytes: number }) =>
  `You have as many unused uploads as one caller may have: ${count}, or ${bytes} bytes together. Use them in jobs, or wait until they expire.`

const textOf = ({ kind, size, expires, name }: UploadClaims) =>
  [kind, size.toString(36), expires.toString(36), name].join('.')

/** The id is for this caller only. */
const subjectOf = (file: UploadClaims, { id }: Caller) => ({
  id: `${textOf(file)}.${createHash('sha256').update(id).digest('base64url')}`,
  attempt: 0,
})
