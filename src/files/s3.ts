import { AwsV4Signer } from 'aws4fetch'

export type S3Options = {
  /** Base URL of the store; buckets are named in the path. */
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
  /** Epoch ms. */
  readonly now?: () => number
}

/** `headers` are signed: the request must have each with exactly this value, and may have others. */
export type S3Request = {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE'
  /** The object; an empty key is the bucket itself. */
  readonly key: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
}

/** `body` needs a signed `content-length`, without which it would be sent in chunks, which S3 refuses. */
export type S3Sent = S3Request & {
  readonly body?: ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>
  /** Sent without a signature, for instance `range`. */
  readonly unsigned?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** One bucket of an S3-compatible store. */
export type S3Bucket = {
  /**
   * The URL by which this request, and no other, can be sent without credentials until it expires (AWS Signature Version 4
   * in the query, https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html). S3 allows a week at most.
   */
  presign(request: S3Request, ttlSeconds: number): Promise<string>
  /** Sends a request of this server's own. Redirects are not followed. Rejects with the error of `fetch`. */
  send(request: S3Sent): Promise<Response>
}

/** The longest that S3 allows for a presigned URL. */
export const MAX_TTL_SECONDS = 604_800

/** How long a request of this server's own is valid, in seconds: S3 itself allows a clock to be wrong by 15 minutes. */
const OWN_TTL_SECONDS = 900

/** The server's own requests are presigned too, so that there is one way to sign. */
export function createS3Bucket(options: S3Options): S3Bucket {
  const { endpoint, bucket, region, now = Date.now, accessKeyId, secretAccessKey, sessionToken } = options
  const credentials = { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) }
  /** The signing keys of the last days. */
  const cache = new Map<string, ArrayBuffer>()

  const urlOf = ({ key, query = {} }: S3Request, ttlSeconds: number) => {
    const path = [bucket, ...(key === '' ? [] : key.split('/'))].filter(Boolean).map(encodeURIComponent).join('/')
    const url = new URL(`${endpoint.replace(/\/+$/, '')}/${path}`)
    url.searchParams.set('X-Amz-Expires', String(Math.min(ttlSeconds, MAX_TTL_SECONDS)))
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    return url.href
  }

  const presign: S3Bucket['presign'] = async (request, ttlSeconds) => {
    const { method, headers = {} } = request
    const datetime = new Date(now()).toISOString().replace(/[:-]|\.\d{3}/g, '')
    const { url } = await new AwsV4Signer({
      ...{ ...credentials, service: 's3', region, datetime, cache },
      ...{ url: urlOf(request, ttlSeconds), method, headers: { ...headers } },
      // Else it leaves out the length and the type.
      ...{ signQuery: true, allHeaders: true },
    }).sign()
    return url.href
  }

  return {
    presign,
    async send({ body, unsigned = {}, signal, ...request }) {
      const url = await presign(request, OWN_TTL_SECONDS)
      const headers = { ...request.headers, ...unsigned }
      const streamed = body && { body: body as ReadableStream<Uint8Array>, duplex: 'half' as const }
      return fetch(url, { method: request.method, headers, redirect: 'manual', signal, ...streamed })
    },
  }
}
