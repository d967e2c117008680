import { problem } from '../problems.ts'
import type { Outputs, OutputOptions } from '../jobs/ports/files.ts'
import { sharedPathOf, storedOutputOf } from './outputs.ts'
import type { S3Bucket } from './s3.ts'

export type S3OutputsOptions = {
  readonly bucket: Pick<S3Bucket, 'presign'>
  /** Prepended to the output's path unchanged, so that of a folder needs a final slash. */
  readonly prefix: string
  /** How long a presigned URL is valid. */
  readonly ttlSeconds: number
}

/** Outputs in an S3-compatible store, to which clients are redirected. The server itself sends no request to the store. */
export function createS3Outputs({ bucket, prefix, ttlSeconds }: S3OutputsOptions): Outputs {
  return {
    async open(job, request) {
      const path = sharedPathOf(job)
      if (path === undefined)
        throw problem('output_unavailable', { detail: 'The output is not in the folder of outputs.' })
      const { method } = request
      return {
        kind: 'redirect',
        url: await bucket.presign({ method, key: prefix + path, query: queryOf(request) }, ttlSeconds),
      }
    },
    prefetch: () => undefined,
    has: () => Promise.resolve(true),
    share: (from) => Promise.resolve(storedOutputOf(from)),
    forget: () => Promise.resolve(),
    sweep: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }
}

/** Overrides the type that the object was stored with. */
const queryOf = ({ contentType, filename }: OutputOptions) => ({
  'response-content-type': contentType,
  ...(filename !== undefined && { 'response-content-disposition': `attachment; filename="${filename}"` }),
})
