import { createHash, createHmac } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

// AWS Signature Version 4, checked as a store does it, from the specification
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, sigv4-query-string-auth.html):
// it shares nothing with the code that signs.

export type SignedRequest = {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>> | IncomingHttpHeaders
}

const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

/** What a request says about its signature. */
function claimsOf({ url, headers }: SignedRequest) {
  const query = url.searchParams
  if (query.has('X-Amz-Signature')) {
    return {
      credential: query.get('X-Amz-Credential') ?? '',
      signedHeaders: query.get('X-Amz-SignedHeaders') ?? '',
      signature: query.get('X-Amz-Signature') ?? '',
      date: query.get('X-Amz-Date') ?? '',
      expires: Number(query.get('X-Amz-Expires')),
      payload: 'UNSIGNED-PAYLOAD',
    }
  }
  const field = (name: string) => new RegExp(`${name}=([^,]+)`).exec(String(headers.authorization))?.[1] ?? ''
  return {
    credential: field('Credential'),
    signedHeaders: field('SignedHeaders'),
    signature: field('Signature'),
    date: String(headers['x-amz-date']),
    expires: 900,
    payload: String(headers['x-amz-content-sha256']),
  }
}

/** Why a store would refuse the request, with S3's code; undefined: it would not. `now`: epoch ms. */
export function signatureError(request: SignedRequest, secret: string, now = Date.now()): string | undefined {
  const { method, url, headers } = request
  const { credential, signedHeaders, signature, date, expires, payload } = claimsOf(request)
  if (signature === '') return 'AccessDenied'
  const [, day = '', region = '', service = ''] = credential.split('/')
  const query = [...url.searchParams].filter(([name]) => name !== 'X-Amz-Signature')
  const names = signedHeaders.split(';')
  const canonical = [
    method,
    url.pathname
      .split('/')
      .map((part) => encode(decodeURIComponent(part)))
      .join('/'),
    query
      .map(([name, value]) => `${encode(name)}=${encode(value)}`)
      .sort()
      .join('&'),
    ...names.map((name) => `${name}:${String(name === 'host' ? url.host : headers[name]).trim()}`),
    '',
    signedHeaders,
    payload,
  ].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', date, `${day}/${region}/${service}/aws4_request`, sha256(canonical)].join('\n')
  const key = [day, region, service, 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`)
  if (hmac(key, toSign).toString('hex') !== signature) return 'SignatureDoesNotMatch'
  const signedAt = Date.parse(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  if (signedAt > now + 900_000) return 'RequestTimeTooSkewed'
  return signedAt + expires * 1000 < now ? 'AccessDenied' : undefined
}
