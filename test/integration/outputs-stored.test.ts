import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createOutputSender } from '../../src/files/output-sender.ts'
import { createDirectoryOutputs } from '../../src/files/outputs.ts'
import { createStoredOutputs } from '../../src/files/outputs-stored.ts'
import { createS3Bucket, type S3Bucket } from '../../src/files/s3.ts'
import type { OutputOptions, Outputs, SucceededJob } from '../../src/jobs/ports/files.ts'
import { createPutter } from '../../src/net/put.ts'
import { aJob } from '../helpers/jobs.ts'
import { temporaryFolder } from '../helpers/media.ts'
import { VIDEO } from '../helpers/outputs.ts'
import { bucketOfTest } from '../helpers/s3.ts'

const aVideo: OutputOptions = { method: 'GET', contentType: 'video/mp4', filename: 'job.mp4' }
const never = new AbortController().signal
const URL_RULE = { allowPrivate: true }

const aSucceededJob = (): SucceededJob => ({ ...aJob({ status: 'succeeded' }), outputPath: '/shared/output.mp4' })

/** A bucket, and outputs of which each is the same file, with their copies. */
async function start({ stallMs = 5_000 } = {}) {
  const store = await bucketOfTest({ strict: true })
  const folder = await temporaryFolder()
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'output.mp4'), VIDEO)
  const source = createDirectoryOutputs({ root: folder, locate: () => 'output.mp4' })
  const requests: string[] = []
  const bucketOf = (): S3Bucket => {
    const bucket = createS3Bucket(store.options)
    return { ...bucket, send: (request) => (requests.push(`${request.method} ${request.key}`), bucket.send(request)) }
  }
  /** What one replica has. */
  const replica = (from: Outputs = source) => {
    const stored = createStoredOutputs(from, { bucket: bucketOf(), prefix: 'm/outputs/', ttlSeconds: 60 })
    const put = createPutter({ rule: URL_RULE, stallMs })
    const sender = createOutputSender({ outputs: stored, urlRule: URL_RULE, put, bucket: { ...stored, put } })
    return { stored, copy: (job: SucceededJob) => sender.send(job, undefined, never) }
  }
  return { ...store, replica, requests, source }
}

const keyOf = ({ id }: SucceededJob) => `m/outputs/${id}-1.mp4`

describe('an output', () => {
  test('is served from its source until it is copied, then by a link to the copy, on every replica', async () => {
    const { replica } = await start()
    const [one, other] = [replica(), replica()]
    const job = aSucceededJob()
    for (const { stored } of [one, other]) expect((await stored.open(job, aVideo)).kind).toBe('file')
    expect(await one.copy(job)).toEqual({ status: 200 })
    for (const { stored } of [one, other]) {
      const opened = await stored.open(job, aVideo)
      if (opened.kind !== 'redirect') throw new Error('it is not in the bucket')
      const response = await fetch(opened.url)
      expect(response.headers.get('content-type')).toBe('video/mp4')
      expect(response.headers.get('content-disposition')).toBe('attachment; filename="job.mp4"')
      expect(Buffer.from(await response.arrayBuffer()).equals(VIDEO)).toBe(true)
    }
  })

  test('that is copied is read from the bucket, and copied no second time', async () => {
    const { replica, source } = await start()
    const job = aSucceededJob()
    await replica().copy(job)
    const gone: Outputs = { ...source, read: () => Promise.reject(new Error('the source is not asked')) }
    const { stored, copy } = replica(gone)
    const bytes = await stored.read(job, never, async (output) => buffer(output.bytes))
    expect(bytes.equals(VIDEO)).toBe(true)
    expect(await copy(job)).toEqual({ status: 200 })
  })

  test('is removed with its job, and only that', async () => {
    const { replica } = await start()
    const { stored, copy } = replica()
    const [job, kept] = [aSucceededJob(), aSucceededJob()]
    for (const one of [job, kept]) await copy(one)
    await stored.forget(job)
    await stored.forget(job)
    await stored.forget(aJob())
    expect((await replica().stored.open(job, aVideo)).kind).toBe('file')
    expect((await stored.open(kept, aVideo)).kind).toBe('redirect')
  })

  test('of an unknown job is swept once it is old, and nothing outside of the prefix', async () => {
    const { replica, options } = await start()
    const { stored, copy } = replica()
    const [job, kept] = [aSucceededJob(), aSucceededJob()]
    for (const one of [job, kept]) await copy(one)
    const key = `other/${job.id}-1.mp4`
    const other = (method: 'GET' | 'PUT') => createS3Bucket(options).presign({ method, key }, 60)
    await fetch(await other('PUT'), { method: 'PUT', body: 'of another deployment' })
    const isKnown = (id: string) => Promise.resolve(id === kept.id)
    await stored.sweep({ before: Date.now() - 3_600_000, isKnown })
    expect((await replica().stored.open(job, aVideo)).kind).toBe('redirect')
    await stored.sweep({ before: Date.now() + 3_600_000, isKnown })
    expect((await replica().stored.open(job, aVideo)).kind).toBe('file')
    expect((await replica().stored.open(kept, aVideo)).kind).toBe('redirect')
    expect((await fetch(await other('GET'))).status).toBe(200)
  })
})

test('a sweep goes on after an object that cannot be removed, and reports that', async () => {
  const { replica, options, source } = await start()
  const jobs = [aSucceededJob(), aSucceededJob(), aSucceededJob()]
  for (const job of jobs) await replica().copy(job)
  const bucket = createS3Bucket(options)
  const [first = ''] = jobs.map(keyOf).toSorted()
  const refusing: S3Bucket = {
    ...bucket,
    send: (request) =>
      request.method === 'DELETE' && request.key === first
        ? Promise.reject(new Error('refused'))
        : bucket.send(request),
  }
  const stored = createStoredOutputs(source, { bucket: refusing, prefix: 'm/outputs/', ttlSeconds: 60 })
  const sweep = { before: Date.now() + 3_600_000, isKnown: () => Promise.resolve(false) }
  await expect(stored.sweep(sweep)).rejects.toThrow('refused')
  const left = await Promise.all(jobs.map(async (job) => (await replica().stored.open(job, aVideo)).kind))
  expect(left.filter((kind) => kind === 'redirect')).toHaveLength(1)
})

describe('a bucket that', () => {
  test('does not allow to list it gets a copy all the same', async () => {
    const { source, options } = await start()
    const bucket = createS3Bucket(options)
    const unlisted: S3Bucket = {
      ...bucket,
      async send(request) {
        const response = await bucket.send(request)
        return response.status === 404 ? new Response(null, { status: 403 }) : response
      },
    }
    const stored = createStoredOutputs(source, { bucket: unlisted, prefix: 'm/outputs/', ttlSeconds: 60 })
    const put = createPutter({ rule: URL_RULE })
    const sender = createOutputSender({ outputs: stored, urlRule: URL_RULE, put, bucket: { ...stored, put } })
    const job = aSucceededJob()
    expect((await stored.open(job, aVideo)).kind).toBe('file')
    expect(await sender.send(job, undefined, never)).toEqual({ status: 200 })
    expect((await stored.open(job, aVideo)).kind).toBe('redirect')
  })

  test.each([
    [503, '<Error><Code>SlowDown</Code></Error>'],
    [200, '<html>Sign in to the network</html>'],
  ])('answers everything with %i %s gets no copy and delays no reader', async (status, body) => {
    const { replica, disrupt, requests } = await start()
    const { stored, copy } = replica()
    const job = aSucceededJob()
    await disrupt({ status, body })
    expect(await copy(job)).toEqual({ error: 'the bucket does not answer as it should' })
    for (let n = 0; n < 3; n++) expect((await stored.open(job, aVideo)).kind).toBe('file')
    expect(requests.filter((request) => request === `HEAD ${keyOf(job)}`)).toHaveLength(2)
    await disrupt(null)
    expect(await replica().copy(job)).toEqual({ status: 200 })
  })

  test('does not answer holds a reader for two seconds, and the next ones not at all', async () => {
    const { source, options } = await start()
    const silent = createServer().on('connection', (socket) => socket.on('error', () => undefined))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => (silent.closeAllConnections(), void silent.close()))
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
    const bucket = createS3Bucket({ ...options, endpoint })
    let asked = 0
    const counting: S3Bucket = { ...bucket, send: (request) => (asked++, bucket.send(request)) }
    const stored = createStoredOutputs(source, { bucket: counting, prefix: '', ttlSeconds: 60 })
    for (let n = 0; n < 5; n++) expect((await stored.open(aSucceededJob(), aVideo)).kind).toBe('file')
    expect(asked).toBe(1)
  })

  test('is cut off in the middle of the PUT has no copy', async () => {
    const { replica, source } = await start()
    const job = aSucceededJob()
    async function* cutOff() {
      yield VIDEO.subarray(0, 500)
      throw new Error('the source broke off')
    }
    const broken: Outputs = { ...source, read: (_job, _signal, use) => use({ size: VIDEO.length, bytes: cutOff() }) }
    await expect(replica(broken).copy(job)).rejects.toThrow('the source broke off')
    expect((await replica().stored.open(job, aVideo)).kind).toBe('file')
    expect(await replica().copy(job)).toEqual({ status: 200 })
  })
})
