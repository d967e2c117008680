import { AwsV4Signer } from 'aws4fetch'
import { expect, test } from 'vitest'
import { createS3Bucket, type S3Options } from '../../src/files/s3.ts'
import { signatureError, type SignedRequest } from '../helpers/s3-signature.ts'

// The credentials of AWS's published examples.
const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const EXAMPLE: S3Options = {
  endpoint: 'https://examplebucket.s3.amazonaws.com',
  bucket: '',
  region: 'us-east-1',
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: SECRET,
  now: () => Date.parse('2013-05-24T00:00:00Z'),
}
const AT = Date.parse('2013-05-24T00:10:00Z')

const PUT_EXAMPLE = {
  method: 'PUT',
  url: 'https://examplebucket.s3.amazonaws.com/test$file.text',
  headers: {
    date: 'Fri, 24 May 2013 00:00:00 GMT',
    'x-amz-date': '20130524T000000Z',
    'x-amz-storage-class': 'REDUCED_REDUNDANCY',
    'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
  },
}
const PUT_SIGNATURE = '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd'

test("a presigned GET has the signature of AWS's published example", async () => {
  const url = new URL(await createS3Bucket(EXAMPLE).presign({ method: 'GET', key: 'test.txt' }, 86_400))
  expect(url.searchParams.get('X-Amz-Signature')).toBe(
    'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
  )
  expect(signatureError({ method: 'GET', url, headers: {} }, SECRET, AT)).toBeUndefined()
})

test("the library signs AWS's published PUT as AWS does, and the tests' own check accepts it", async () => {
  const signer = new AwsV4Signer({
    ...PUT_EXAMPLE,
    ...{ accessKeyId: EXAMPLE.accessKeyId, secretAccessKey: SECRET, service: 's3', region: 'us-east-1' },
    datetime: '20130524T000000Z',
  })
  const authorization = (await signer.sign()).headers.get('authorization') ?? ''
  expect(authorization).toContain(`Signature=${PUT_SIGNATURE}`)
  const request = { ...PUT_EXAMPLE, url: new URL(PUT_EXAMPLE.url), headers: { ...PUT_EXAMPLE.headers, authorization } }
  expect(signatureError(request, SECRET, AT)).toBeUndefined()
  expect(signatureError({ ...request, method: 'GET' }, SECRET, AT)).toBe('SignatureDoesNotMatch')
})

test('a presigned PUT is good for one length, one key, one method and one hour', async () => {
  const headers = { 'content-length': '300000000', 'if-none-match': '*' }
  const put = { method: 'PUT', key: "uploads/räksmörgås (1)+'a'/video.mp4", headers } as const
  const url = new URL(await createS3Bucket({ ...EXAMPLE, sessionToken: 'to/ken=' }).presign(put, 3600))
  const errorOf = (other: Partial<SignedRequest>, now = AT) =>
    signatureError({ method: 'PUT', url, headers, ...other }, SECRET, now)
  expect(url.searchParams.get('X-Amz-SignedHeaders')).toBe('content-length;host;if-none-match')
  expect(errorOf({})).toBeUndefined()
  const elsewhere = new URL(url)
  elsewhere.pathname += '2'
  const wrong = [
    { headers: { ...headers, 'content-length': '300000001' } },
    { headers: { 'content-length': '300000000' } },
    { method: 'DELETE' },
    { url: elsewhere },
  ]
  expect(wrong.map((other) => errorOf(other))).toEqual(wrong.map(() => 'SignatureDoesNotMatch'))
  expect(errorOf({}, AT + 3_600_000)).toBe('AccessDenied')
  expect(errorOf({}, AT - 3_600_000)).toBe('RequestTimeTooSkewed')
})

test('a URL lives no longer than S3 allows', async () => {
  const url = new URL(await createS3Bucket(EXAMPLE).presign({ method: 'GET', key: 'a' }, 10_000_000))
  expect(url.searchParams.get('X-Amz-Expires')).toBe('604800')
})
