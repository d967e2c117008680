import { currentAttempt, type Job } from '../jobs/job.ts'
import type { Outputs, SucceededJob, Sweep } from '../jobs/ports/files.ts'
import { createLru } from '../lib/collections.ts'
import { jobIdIn, nameOf } from './outputs.ts'
import { HEAD_MS, openObject, PAUSE_MS, queryOf } from './outputs-s3.ts'
import { askBucket, listObjects, removeEach } from './s3-requests.ts'
import type { S3Bucket } from './s3.ts'

export type StoredOutputsOptions = {
  readonly bucket: S3Bucket
  /** Prepended to the names of outputs: everything under it belongs to this server and is swept. */
  readonly prefix: string
  /** How long a presigned URL is valid. */
  readonly ttlSeconds: number
}

/** Outputs with copies in the bucket of this server. */
export type StoredOutputs = Outputs & {
  /** The URL for the PUT of a copy of so many bytes; undefined: there is a copy. Rejects if the bucket does not answer. */
  targetOf(job: SucceededJob, size: number): Promise<string | undefined>
}

/** Outputs that are known to be in the bucket. */
const KNOWN = 100_000
/** How long the URL for a PUT is valid, in seconds: S3 checks it at the beginning of the request. */
const PUT_SECONDS = 900

/**
 * Redirects readers to the copy of an output in the bucket, once there is one; until then `source` serves them. S3 shows an
 * object only when it is complete, so that its existence is all there is to know, on every replica and after a restart.
 */
export function createStoredOutputs(
  source: Outputs,
  { bucket, prefix, ttlSeconds }: StoredOutputsOptions,
): StoredOutputs {
  const known = createLru<true>(KNOWN)
  let pausedUntil = -Infinity

  const keyOf = (job: SucceededJob) => `${prefix}${nameOf(job, currentAttempt(job).attempt)}.mp4`

  /** The size of the copy; undefined: there is none. */
  const sizeOf = async (key: string): Promise<number | undefined> => {
    const head = { method: 'HEAD', key } as const
    const { status, headers } = await askBucket(bucket, head, { expected: [200, 403, 404], timeoutMs: HEAD_MS })
    // 403: of an object that is not there, without the right to list the bucket.
    if (status !== 200) return undefined
    // What stands between this server and the bucket, such as a portal, may answer 200 too.
    if (!headers.has('etag')) throw new Error('the answer has no ETag')
    return Number(headers.get('content-length'))
  }

  const ask = async (key: string): Promise<boolean> => {
    const isThere = known.get(key) ?? (await sizeOf(key)) !== undefined
    if (isThere) known.set(key, true, 1)
    return isThere
  }

  /** A bucket that does not answer must not delay each reader. */
  const isStored = async (key: string): Promise<boolean> => {
    if (performance.now() < pausedUntil) return known.get(key) ?? false
    return ask(key).catch(() => {
      pausedUntil = performance.now() + PAUSE_MS
      return false
    })
  }

  const remove = async (key: string) => {
    known.delete(key)
    await askBucket(bucket, { method: 'DELETE', key }, { expected: [200, 204, 404] })
  }

  async function* abandoned({ before, isKnown }: Sweep) {
    for await (const { key, changedAt } of listObjects(bucket, prefix)) {
      const jobId = jobIdIn(key.slice(prefix.length))
      if (jobId !== undefined && changedAt < before && !(await isKnown(jobId))) yield key
    }
  }

  return {
    async open(job, options) {
      const key = keyOf(job)
      if (!(await isStored(key))) return source.open(job, options)
      const { method } = options
      return { kind: 'redirect', url: await bucket.presign({ method, key, query: queryOf(options) }, ttlSeconds) }
    },
    async read(job, signal, use) {
      const key = keyOf(job)
      const stored = (await isStored(key)) ? await openObject(bucket, key, signal) : undefined
      return stored ? use(stored).finally(stored.close) : source.read(job, signal, use)
    },
    async targetOf(job, size) {
      const key = keyOf(job)
      if ((await sizeOf(key)) === size) return undefined
      const headers = { 'Content-Length': String(size) }
      return bucket.presign({ method: 'PUT', key, headers }, PUT_SECONDS)
    },
    prefetch: (job) => source.prefetch(job),
    has: (job) => source.has(job),
    share: (from, to) => source.share(from, to),
    async forget(job) {
      const forgetting = [source.forget(job), ...(hasOutput(job) ? [remove(keyOf(job))] : [])]
      // One that fails does not keep the other.
      await Promise.allSettled(forgetting)
      await Promise.all(forgetting)
    },
    async sweep(sweep) {
      await source.sweep(sweep)
      await removeEach(abandoned(sweep), remove)
    },
    close: () => source.close(),
  }
}

const hasOutput = (job: Job): job is SucceededJob => job.outputPath !== undefined
