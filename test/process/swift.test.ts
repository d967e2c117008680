import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createS3Bucket, type S3Sent } from '../../src/files/s3.ts'
import { videoOf } from '../helpers/control-plane/behaviour.ts'
import { asking } from '../helpers/jobs.ts'
import { folderOfTest, planeOfTest, serverOfTest } from '../helpers/of-test.ts'
import { cleanEnvironment } from '../helpers/server.ts'
import { noSwift, startSwift, type Swift } from '../helpers/swift.ts'
import { until } from '../helpers/until.ts'

describe.skipIf(noSwift !== undefined)(
  'a bucket of OpenStack Swift, which checks signatures',
  { timeout: 90_000 },
  () => {
    let swift: Swift
    beforeAll(async () => {
      swift = await startSwift()
    }, 90_000)
    afterAll(() => swift.close())

    test('accepts what was signed, and nothing else', async () => {
      const { bucket, options } = swift
      const send = async (request: Omit<S3Sent, 'signal'>, from = bucket) =>
        (await from.send({ ...request, signal: AbortSignal.timeout(10_000) })).status
      const headers = { 'Content-Length': '5', 'Content-Type': 'video/mp4' }
      const put = async (sent: Record<string, string>, body: string) => {
        const url = await bucket.presign({ method: 'PUT', key: 'a b/ü.mp4', headers }, 60)
        return (await fetch(url, { method: 'PUT', headers: sent, body })).status
      }
      expect(await put(headers, 'video')).toBe(200)
      expect(await put({ ...headers, 'Content-Length': '6' }, 'videos')).toBe(403)
      expect(await put({ ...headers, 'Content-Type': 'text/html' }, 'video')).toBe(403)

      const object = { method: 'GET', key: 'a b/ü.mp4' } as const
      const query = { 'response-content-disposition': `attachment; filename*=UTF-8''a%20b.mp4` }
      expect(await send({ ...object, query })).toBe(200)
      expect(await send({ ...object, unsigned: { range: 'bytes=1-2' } })).toBe(206)
      expect(await send({ ...object, unsigned: { 'if-match': '"another"' } })).toBe(412)
      expect(await send(object, createS3Bucket({ ...options, secretAccessKey: 'wrong' }))).toBe(403)
      expect(await send(object, createS3Bucket({ ...options, now: () => Date.now() - 3_600_000 }))).toBe(403)
      const asDelete = await fetch(await bucket.presign(object, 60), { method: 'DELETE' })
      expect(asDelete.status).toBe(403)
      expect(await send({ ...object, method: 'DELETE' })).toBe(204)
      expect(await send(object)).toBe(404)
    })

    test('gets the outputs, serves them to readers, and has none of a job that was deleted', async () => {
      const plane = await planeOfTest()
      const env = { ...plane.env, ...swift.env, BACKEND: 'modal', OUTPUT_STORE: 's3', DATA_DIR: folderOfTest() }
      const server = await serverOfTest(env)
      const { job_id: id } = await server.submit(asking('size=3000000'))
      await until(() => server.lines.some(({ event }) => event === 'output_copied'), 'the copy')
      expect(server.lines.map(({ event }) => event)).not.toContain('output_copy_delayed')
      const url = `${server.url}/jobs/${id}/output`
      const link = (await fetch(url, { redirect: 'manual' })).headers.get('location') ?? ''
      expect(link).toContain(`${swift.options.endpoint}/outputs/outputs/${id}-1.mp4?`)
      const runId = (await server.job(id)).output_path?.split('/')[3] ?? ''
      expect(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(videoOf(runId))).toBe(true)
      expect((await fetch(url, { headers: { range: 'bytes=0-99' } })).status).toBe(206)
      expect((await fetch(`${server.url}/jobs/${id}`, { method: 'DELETE' })).status).toBe(204)
      await until(async () => (await fetch(link)).status === 404, 'the removal of the object')
    })

    test('takes no uploads, as it refuses a PUT that is to write once; the doctor says so', async () => {
      const plane = await planeOfTest()
      const env = cleanEnvironment({ ...plane.env, ...swift.env, BACKEND: 'modal', UPLOAD_STORE: 's3' })
      const { stdout } = await promisify(execFile)(process.execPath, ['src/cli/doctor.ts'], { env }).catch(
        (error: unknown) => error as { stdout: string },
      )
      expect(stdout).toMatch(
        /^fail +bucket +PUT in outputs\/uploads\/ answers NotImplemented: uploads need a store that/m,
      )
    })
  },
)
