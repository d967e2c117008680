import { problem } from '../problems.ts'
import type { OutputBytes, Outputs, OutputOptions, SucceededJob } from '../jobs/ports/files.ts'
import { sharedPathOf, storedOutputOf } from './outputs.ts'
import type { S3Bucket } from './s3.ts'
import { askBucket } from './s3-requests.ts'

export type S3OutputsOptions = {
  readonly bucket: S3Bucket
  /** Prepended to the output's path unchanged, so that of a folder needs a final slash. */
  readonly prefix: string
  /** How long a presigned URL is valid. */
  readonly ttlSeconds: number
}

/** Timeout of the question whether an output is in the bucket, in ms; its reader waits. */
export const HEAD_MS = 2_000
/** How long the bucket is not asked after it has not answered, in ms. */
export const PAUSE_MS = 30_000

/** Outputs in an S3-compatible store, to which clients are redirected. */
export function createS3Outputs({ bucket, prefix, ttlSeconds }: S3OutputsOptions): Outputs {
  let pausedUntil = -Infinity

  const keyOf = (job: SucceededJob) => {
    const path = sharedPathOf(job)
    if (path === undefined)
      throw problem('output_unavailable', { detail: 'The output is not in the folder of outputs.' })
    return prefix + path
  }
  /** Clients read there, so that only the bucket can say. One that does not answer keeps no job from its output. */
  const has = async (job: SucceededJob): Promise<boolean> => {
    if (sharedPathOf(job) === undefined) return false
    if (performance.now() < pausedUntil) return true
    try {
      const head = { method: 'HEAD', key: keyOf(job) } as const
      // 403: of an object that is not there, without the right to list the bucket.
      const { status } = await askBucket(bucket, head, { expected: [200, 403, 404], timeoutMs: HEAD_MS })
      return status === 200
    } catch {
      pausedUntil = performance.now() + PAUSE_MS
      return true
    }
  }

  return {
    async open(job, request) {
      const { method } = request
      return {
        kind: 'redirect',
        url: await bucket.presign({ method, key: keyOf(job), query: queryOf(request) }, ttlSeconds),
      }
    },
    async read(job, signal, use) {
      const output = await openObject(bucket, keyOf(job), signal)
      if (!output) throw problem('output_unavailable', { detail: 'The bucket does not have the output.' })
      return use(output).finally(output.close)
    },
    prefetch: () => undefined,
    has,
    share: (from) => Promise.resolve(storedOutputOf(from)),
    forget: () => Promise.resolve(),
    sweep: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }
}

/** `close`: to be called once it has been read, or will not be. */
type OpenedObject = OutputBytes & { close(): void }

/** The bytes of an object; undefined: there is none. Rejects with `output_unavailable` if the bucket does not give it. */
export async function openObject(
  bucket: Pick<S3Bucket, 'send'>,
  key: string,
  outer: AbortSignal,
): Promise<OpenedObject | undefined> {
  // A receiver that refuses reads nothing: the download must not stay open.
  const scope = new AbortController()
  const signal = AbortSignal.any([outer, scope.signal])
  const close = () => scope.abort()
  const unavailable = (cause: unknown) =>
    problem('output_unavailable', { detail: 'The bucket of outputs does not answer as it should.', cause })
  const response = await bucket.send({ method: 'GET', key, signal }).catch((error: unknown) => {
    outer.throwIfAborted()
    throw unavailable(error)
  })
  const { status, headers, body } = response
  const size = Number(headers.get('content-length') ?? NaN)
  if (status === 200 && body && Number.isSafeInteger(size)) return { size, bytes: body, close }
  close()
  if (status === 404) return undefined
  throw unavailable(new Error(`GET ${key} answered ${status}`))
}

/** Overrides the type that the object was stored with. */
export const queryOf = ({ contentType, filename }: OutputOptions) => ({
  'response-content-type': contentType,
  ...(filename !== undefined && { 'response-content-disposition': `attachment; filename="${filename}"` }),
})
