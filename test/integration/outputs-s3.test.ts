import { fork } from 'node:child_process'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { createS3Outputs } from '../../src/files/outputs-s3.ts'
import { createS3Bucket, type S3Options } from '../../src/files/s3.ts'
import type { OutputOptions } from '../../src/jobs/ports/files.ts'
import { aJob } from '../helpers/jobs.ts'
import { freePort } from '../helpers/ports.ts'
import { signatureError } from '../helpers/s3-signature.ts'

type Options = S3Options & { readonly prefix: string }

const OPTIONS: Options = {
  endpoint: 'https://s3.example',
  bucket: 'outputs',
  region: 'eu-central-1',
  prefix: '',
  accessKeyId: 'S3RVER',
  secretAccessKey: 'S3RVER',
}
const aVideo: OutputOptions = { method: 'GET', contentType: 'video/mp4' }
const jobAt = (outputPath: string) => ({ ...aJob(), outputPath })

async function urlOf(outputPath: string, options: Partial<Options> = {}, request: Partial<OutputOptions> = {}) {
  const { prefix, ...bucket } = { ...OPTIONS, ...options }
  const outputs = createS3Outputs({ bucket: createS3Bucket(bucket), prefix, ttlSeconds: 3600 })
  const output = await outputs.open(jobAt(outputPath), { ...aVideo, ...request })
  if (output.kind !== 'redirect') throw new Error('not a redirect')
  return new URL(output.url)
}

async function startStore() {
  const child = fork(new URL('../helpers/s3-process.ts', import.meta.url), { stdio: 'inherit' })
  onTestFinished(() => child.disconnect())
  const [port] = (await once(child, 'message')) as [number]
  return `http://127.0.0.1:${port}`
}

test('the key is the prefix and the path below /shared/, and every parameter is signed', async () => {
  const url = await urlOf('/shared/results/a b+c/v15/output.mp4', { prefix: 'videos/', sessionToken: 'token' })
  expect(url.origin + url.pathname).toBe('https://s3.example/outputs/videos/results/a%20b%2Bc/v15/output.mp4')
  const query = Object.fromEntries(url.searchParams)
  expect(query).toMatchObject({
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': expect.stringMatching(/^S3RVER\/\d{8}\/eu-central-1\/s3\/aws4_request$/),
    'X-Amz-Expires': '3600',
    'X-Amz-SignedHeaders': 'host',
    'X-Amz-Security-Token': 'token',
    'response-content-type': 'video/mp4',
  })
  expect(signatureError({ method: 'GET', url, headers: {} }, 'S3RVER')).toBeUndefined()
  expect(signatureError({ method: 'HEAD', url, headers: {} }, 'S3RVER')).toBe('SignatureDoesNotMatch')
})

test.each([
  '/etc/passwd',
  '/shared/../etc/passwd',
  '/shared/a/../../b',
  '/shared/',
  '/shared//a',
  'shared/a',
  '/sharedx/a',
])('an output at %s is unavailable', async (path) => {
  await expect(urlOf(path)).rejects.toMatchObject({ code: 'output_unavailable' })
})

test('an output is shared as long as the bucket has it, or does not answer', async () => {
  const endpoint = await startStore()
  const [there, gone] = ['/shared/results/a/v15/output.mp4', '/shared/results/b/v15/output.mp4']
  const target = await urlOf(there, { endpoint })
  await fetch(new URL(target.pathname, endpoint), { method: 'PUT', body: 'a video' })
  const outputsAt = (address: string) =>
    createS3Outputs({ bucket: createS3Bucket({ ...OPTIONS, endpoint: address }), prefix: '', ttlSeconds: 3600 })
  const { has } = outputsAt(endpoint)
  expect([await has(jobAt(there)), await has(jobAt(gone)), await has(jobAt('/elsewhere'))]).toEqual([
    true,
    false,
    false,
  ])
  expect(await outputsAt(`http://127.0.0.1:${await freePort()}`).has(jobAt(gone))).toBe(true)
})

test('a store serves the object, its ranges and its head by the URL, until it expires', async () => {
  const endpoint = await startStore()
  const bytes = Buffer.from('a video, or what stands for one')
  const path = '/shared/results/räksmörgås (1)/v15/output.mp4'
  const store = { endpoint: `${endpoint}/`, prefix: 'm/' }
  const target = await urlOf(path, store)
  await fetch(new URL(target.pathname, endpoint), { method: 'PUT', body: bytes })

  const whole = await fetch(target)
  expect([whole.status, whole.headers.get('content-type'), await whole.text()]).toEqual([
    ...[200, 'video/mp4', bytes.toString()],
  ])
  const part = await fetch(target, { headers: { range: 'bytes=2-6' } })
  expect({ status: part.status, body: await part.text() }).toEqual({ status: 206, body: 'video' })
  const saved = await fetch(await urlOf(path, store, { filename: 'job.mp4' }))
  expect(saved.headers.get('content-disposition')).toBe('attachment; filename="job.mp4"')
  const head = await fetch(await urlOf(path, store, { method: 'HEAD' }), { method: 'HEAD' })
  expect({ status: head.status, contentLength: head.headers.get('content-length') }).toEqual({
    status: 200,
    contentLength: String(bytes.length),
  })
  const old = new URL(target)
  old.searchParams.set('X-Amz-Date', '20200101T000000Z')
  expect((await fetch(old)).status).toBe(403)
})
