import { expect, onTestFinished, test } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { videoOf } from '../helpers/control-plane/behaviour.ts'
import { asking } from '../helpers/jobs.ts'
import { folderOfTest, planeOfTest, serverOfTest } from '../helpers/of-test.ts'
import { startPutStore } from '../helpers/put-store.ts'
import { noRedisServer, startRedis } from '../helpers/redis.ts'
import { bucketOfTest } from '../helpers/s3.ts'
import type { ServerProcess } from '../helpers/server.ts'
import { FACE, filesIn, SPEECH } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

const SIZE = 3_000_000
const runIdOf = ({ output_path: path = '' }: JobView) => path.split('/')[3] ?? ''

/** The target of the redirect to the output, once there is one. */
const untilRedirected = (server: ServerProcess, id: string) =>
  until(async () => {
    const { status, headers, body } = await fetch(`${server.url}/jobs/${id}/output`, {
      redirect: 'manual',
      method: 'HEAD',
    })
    await body?.cancel()
    return status === 302 ? (headers.get('location') ?? undefined) : undefined
  }, 'a redirect to the bucket')

test.skipIf(noRedisServer !== undefined)(
  'two replicas that share Redis and a bucket, without PUBLIC_URL, copy each output once; nothing is on their disks',
  { timeout: 60_000 },
  async () => {
    const [plane, bucket, redis] = [await planeOfTest(), await bucketOfTest({ strict: true }), await startRedis()]
    onTestFinished(() => redis.close())
    const folders = [folderOfTest(), folderOfTest()]
    const env = {
      ...plane.env,
      ...bucket.env,
      BACKEND: 'modal',
      JOB_STORE: redis.url,
      S3_PREFIX: 'm/',
      OUTPUT_STORE: 's3',
      UPLOAD_STORE: 's3',
      MODAL_INLINE_BYTES: '0',
    }
    const replicas = await Promise.all(folders.map((DATA_DIR) => serverOfTest({ ...env, DATA_DIR })))
    const [one, other] = replicas as [ServerProcess, ServerProcess]
    const large = new Blob([FACE, Buffer.alloc(9 * 1024 * 1024)])
    const uploaded = await createClient({ baseUrl: one.url }).submit({ video: large, audio: new Blob([SPEECH]) })
    const ids = await Promise.all(
      Array.from({ length: 6 }, async (_, n) => (await replicas[n % 2]!.submit(asking(`size=${SIZE}`))).job_id),
    )
    ids.push(uploaded.job_id)
    const copied = () => replicas.flatMap(({ lines }) => lines.filter(({ event }) => event === 'output_copied'))
    await until(() => copied().length >= ids.length, 'the copies')
    for (const id of ids) {
      const job = await one.untilStatus(id, 'succeeded')
      const links = [await untilRedirected(one, id), await untilRedirected(other, id)]
      for (const link of links) expect(link).toContain(`${bucket.endpoint}/outputs/m/outputs/${id}-1.mp4?`)
      const response = await fetch(`${other.url}/jobs/${id}/output`)
      expect(Buffer.from(await response.arrayBuffer()).equals(videoOf(runIdOf(job)))).toBe(true)
    }
    expect(
      copied()
        .map(({ job_id: id }) => id)
        .toSorted(),
    ).toEqual(ids.toSorted())
    const downloads = (await plane.calls()).filter(({ functionName }) => functionName === 'download_result')
    expect(downloads).toHaveLength(ids.length)
    expect(folders.flatMap(filesIn)).toEqual([])

    const [first = ''] = ids
    const link = await untilRedirected(other, first)
    expect((await fetch(`${one.url}/jobs/${first}`, { method: 'DELETE' })).status).toBe(204)
    expect((await fetch(link, { method: 'HEAD' })).status).not.toBe(200)
    expect((await fetch(`${other.url}/jobs/${first}/output`)).status).toBe(404)
  },
)

test(
  'a bucket that is unavailable and a server that is killed while it sends an output delay both only; the output is served meanwhile',
  { timeout: 60_000 },
  async () => {
    const [plane, bucket, store] = [await planeOfTest(), await bucketOfTest({ strict: true }), await startPutStore()]
    const folder = folderOfTest()
    const stored = { JOB_STORE: `sqlite:${folder}/jobs.db`, DATA_DIR: folder, OUTPUT_STORE: 's3' }
    const shortClaim = { WEBHOOK_TIMEOUT_SECONDS: '1', WEBHOOK_ALLOW_PRIVATE: 'true' }
    const env = { ...plane.env, ...bucket.env, ...stored, ...shortClaim, BACKEND: 'modal' }
    await bucket.disrupt({ status: 503, body: '<Error><Code>SlowDown</Code></Error>' })
    const sending = Promise.withResolvers<undefined>()
    store.receiveWith = (request, response) => {
      response.writeContinue()
      request.once('data', () => sending.resolve(undefined))
    }
    const first = await serverOfTest(env)
    const { job_id: id } = await first.submit({ ...asking(`size=${SIZE}`), output: { put_url: store.url } })
    const video = videoOf(runIdOf(await first.untilStatus(id, 'succeeded')))
    await sending.promise
    await until(() => first.lines.some(({ event }) => event === 'output_copy_delayed'))
    const served = await fetch(`${first.url}/jobs/${id}/output`, { redirect: 'manual' })
    expect(Buffer.from(await served.arrayBuffer()).equals(video)).toBe(true)
    await first.end('SIGKILL')
    await bucket.disrupt(null)
    store.receiveWith = undefined

    const second = await serverOfTest(env)
    await untilRedirected(second, id)
    await until(async () => {
      const job = (await (await fetch(`${second.url}/jobs/${id}`)).json()) as JobView
      return job.output?.state === 'delivered'
    }, 'the delivery')
    expect(store.stored).toHaveLength(1)
    expect(store.stored[0]?.body.equals(video)).toBe(true)
  },
)
