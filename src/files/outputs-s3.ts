import { AwsClient } from 'aws4fetch'
import { problem } from '../problems.ts'
import type { Outputs, OutputOptions } from '../jobs/ports/files.ts'
import { sharedPathOf } from './outputs.ts'

export type S3Options = {
  /** Base URL of the store; buckets are named in the path. */
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
  /** Prepended to the output's path unchanged, so that of a folder needs a final slash. */
  readonly prefix: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
  /** How long a presigned URL is valid; S3 allows a week at most. */
  readonly ttlSeconds: number
}

/** The longest that S3 allows for a presigned URL. */
const MAX_TTL_SECONDS = 604_800

/**
 * Outputs in an S3-compatible store: clients are redirected there with a presigned URL (AWS Signature Version 4 in
 * the query, https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html). The server itself sends no
 * request to the store.
 */
export function createS3Outputs(options: S3Options): Outputs {
  const { accessKeyId, secretAccessKey, sessionToken, region } = options
  const credentials = { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) }
  const client = new AwsClient({ ...credentials, service: 's3', region })
  return {
    async open(job, request) {
      const path = sharedPathOf(job)
      if (path === undefined)
        throw problem('output_unavailable', { detail: 'The output is not in the folder of outputs.' })
      const url = urlOf(options.prefix + path, request, options)
      const signed = await client.sign(url, { method: request.method, aws: { signQuery: true } })
      return { kind: 'redirect', url: signed.url }
    },
    prefetch: () => undefined,
    forget: () => Promise.resolve(),
    sweep: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }
}

function urlOf(key: string, { contentType, filename }: OutputOptions, { endpoint, bucket, ttlSeconds }: S3Options) {
  const path = [bucket, ...key.split('/')].map(encodeURIComponent).join('/')
  const url = new URL(`${endpoint.replace(/\/+$/, '')}/${path}`)
  url.searchParams.set('X-Amz-Expires', String(Math.min(ttlSeconds, MAX_TTL_SECONDS)))
  // Overrides the type that the object was stored with.
  url.searchParams.set('response-content-type', contentType)
  if (filename !== undefined) url.searchParams.set('response-content-disposition', `attachment; filename="${filename}"`)
  return url.href
}
