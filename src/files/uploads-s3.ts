import type { FileKind, StoredObject, UploadedFile } from '../jobs/job.ts'
import type { AheadUploads, SentFile, Sweep, Upload } from '../jobs/ports/files.ts'
import type { FetchRange } from '../media/facts-reader.ts'
import { inspectMediaIn } from '../media/formats.ts'
import { type FieldError, invalidFields, problem, type Problem } from '../problems.ts'
import type { S3Bucket, S3Sent } from './s3.ts'
import { askBucket, listObjects, removeEach } from './s3-requests.ts'
import { NOT_SENT, otherSize } from './uploads-ahead.ts'

export type S3UploadsOptions = {
  readonly bucket: S3Bucket
  /** Prepended to the names of files: everything under it belongs to this server and is swept. */
  readonly prefix: string
  readonly maxBytes: number
  /** The error of larger files. */
  readonly tooLarge: () => Problem
  /** Timeout of a request to the bucket; 10 s by default. */
  readonly timeoutMs?: number
}

/** The name of a file. */
const NAME = /^[\w-]{22}$/
/** Bytes of a file that are enough to detect its type. */
const HEAD_BYTES = 64 * 1024

/**
 * Files that clients send to a bucket, ahead of their submits. Their bytes do not come to this server: it signs one PUT for
 * each, of exactly its length, and reads a few ranges of it at the submit.
 */
export function createS3Uploads(options: S3UploadsOptions): AheadUploads {
  const { bucket, prefix, maxBytes, tooLarge, timeoutMs } = options
  const unavailable = (cause: unknown): never => {
    throw problem('upload_store_unavailable', { cause })
  }
  const ask = (request: Omit<S3Sent, 'signal'>, expected: readonly number[]) =>
    askBucket(bucket, request, { expected, timeoutMs }).catch(unavailable)

  /** Undefined: there is no such object, or another than `etag` names. */
  const readRange = async (key: string, [from, to]: readonly [number, number], etag?: string) => {
    const unsigned = { range: `bytes=${from}-${to - 1}`, ...(etag !== undefined && { 'if-match': etag }) }
    const answer = await ask({ method: 'GET', key, unsigned }, [206, 404, 412])
    if (answer.status !== 206) return undefined
    const size = Number(/^bytes \d+-\d+\/(\d+)$/.exec(answer.headers.get('content-range') ?? '')?.[1])
    const found = answer.headers.get('etag')
    if (!Number.isSafeInteger(size) || found === null) {
      throw problem('upload_store_unavailable', { cause: new Error('the answer has no size or no ETag') })
    }
    const version = answer.headers.get('x-amz-version-id') ?? 'null'
    return { bytes: answer.body, size, object: { key, etag: found, ...(version !== 'null' && { version }) } }
  }

  const open = async (file: SentFile & { readonly uploadId: string }): Promise<UploadedFile | FieldError> => {
    const { kind, size, name, uploadId } = file
    const path = `/${kind}`
    const head = await readRange(prefix + name, [0, HEAD_BYTES])
    if (!head) return { path, message: NOT_SENT }
    if (head.size !== size) return otherSize(file, head.size)
    const type = await inspectMediaIn(kind, head.bytes, size)
    return 'error' in type ? { path, message: type.error } : { size, type: type.mime, uploadId, object: head.object }
  }

  const rangesOf = ({ key, etag }: StoredObject): FetchRange => {
    return async (from, to) => {
      const range = await readRange(key, [from, to], etag)
      if (!range) throw new Error('the object has changed')
      return range
    }
  }

  async function* abandoned({ before, isKnown }: Sweep) {
    for await (const { key, changedAt } of listObjects(bucket, prefix, { timeoutMs })) {
      const name = NAME.exec(key.slice(prefix.length))?.[0]
      if (name !== undefined && changedAt < before && !(await isKnown(name))) yield name
    }
  }

  const remove = async (name: string) => {
    await ask({ method: 'DELETE', key: prefix + name }, [200, 204, 404])
  }

  return {
    admit({ size }) {
      if (size > maxBytes) throw tooLarge()
    },
    async ticket({ name, size, type }, _uploadId, ttlSeconds) {
      const headers = {
        'Content-Length': String(size),
        // A file is written once, where the store supports that: a job's check of it stays true.
        'If-None-Match': '*',
        ...(type !== undefined && { 'Content-Type': type }),
      }
      return { headers, url: await bucket.presign({ method: 'PUT', key: prefix + name, headers }, ttlSeconds) }
    },
    async open(files) {
      const opened = await Promise.all(files.map(async (file) => [file.kind, await open(file)] as const))
      const errors = opened.flatMap(([, file]) => ('message' in file ? [file] : []))
      if (errors.length > 0) throw invalidFields(errors, 'upload_rejected')
      return remoteUpload(Object.fromEntries(opened), rangesOf)
    },
    async linkTo({ key, etag, version }, { method, contentType, ttlSeconds }) {
      const query = version === undefined ? {} : { versionId: version }
      const head = { method: 'HEAD', key, query, unsigned: { 'if-match': etag } } as const
      const { status, headers } = await ask(head, [200, 404, 412])
      // A store that ignores If-Match.
      if (status !== 200 || headers.get('etag') !== etag) return undefined
      // Its client may have sent it with a type that a browser would execute.
      return bucket.presign({ method, key, query: { ...query, 'response-content-type': contentType } }, ttlSeconds)
    },
    opensCopies: false,
    remove,
    sweep: ({ onRemoved, ...which }) =>
      removeEach(abandoned(which), async (name) => {
        await remove(name)
        onRemoved()
      }),
  }
}

/** Nothing to keep or to discard: the files stay where they are. */
const remoteUpload = (
  files: Partial<Record<FileKind, UploadedFile>>,
  rangesOf: (object: StoredObject) => FetchRange,
): Upload => ({
  files,
  pathOf: () => undefined,
  rangesOf(kind) {
    const object = files[kind]?.object
    return object && rangesOf(object)
  },
  add: () => Promise.reject(new Error('a file cannot be added to uploads in a bucket')),
  keep: () => Promise.resolve(),
  discard: () => Promise.resolve(),
})
