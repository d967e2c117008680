import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { folderOfTest, serverOfTest } from '../helpers/of-test.ts'
import { noRedisServer } from '../helpers/redis.ts'
import { startCluster } from '../helpers/replicas.ts'
import type { ServerProcess } from '../helpers/server.ts'
import { FACE, SPEECH } from '../helpers/uploads.ts'
import { until } from '../helpers/until.ts'

if (noRedisServer !== undefined) process.stderr.write(`replicas are not tested: ${noRedisServer}\n`)
const TIMEOUT = { timeout: 60_000 }

test(
  'a local video outlives the job that made it, as the output of another, also after a restart',
  TIMEOUT,
  async () => {
    const folder = folderOfTest()
    const env = {
      BACKEND: 'local',
      DATA_DIR: folder,
      JOB_STORE: `sqlite:${join(folder, 'jobs.db')}`,
      REUSE_RESULTS: 'true',
    }
    const server = await serverOfTest(env)
    const body = { video_path: 'face.mp4', audio_path: 'speech.wav' }
    const first = await server.submit(body)
    const waiting = await server.submit(body)
    const made = await server.untilStatus(first.job_id, 'succeeded')
    expect(await server.untilStatus(waiting.job_id, 'succeeded')).toMatchObject({ reused_from: first.job_id })
    const digestOf = async (from: ServerProcess, { job_id: id }: JobView) => {
      const response = await fetch(`${from.url}/jobs/${id}/output`)
      return (
        response.ok &&
        createHash('sha256')
          .update(Buffer.from(await response.arrayBuffer()))
          .digest('hex')
      )
    }
    const digest = await digestOf(server, made)
    expect((await fetch(`${server.url}/jobs/${first.job_id}`, { method: 'DELETE' })).status).toBe(204)
    await server.end()
    const next = await serverOfTest(env)
    const third = await next.submit(body)
    expect(third).toMatchObject({ status: 'succeeded', reused_from: first.job_id })
    expect((await fetch(`${next.url}/jobs/${waiting.job_id}`, { method: 'DELETE' })).status).toBe(204)
    expect([await digestOf(next, third), await digestOf(next, first)]).toEqual([digest, false])
  },
)

/** Serves face and speech with strong tags, which change with `version`. */
async function serveMedia() {
  const served = { version: 1 }
  const media = createServer((request, response) => {
    const file = request.url?.endsWith('.wav') ? SPEECH : FACE
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const part = file.subarray(Number(from), Number(to) + 1)
    const range = `bytes ${Number(from)}-${Number(from) + part.length - 1}/${file.length}`
    response.writeHead(206, { etag: `"v${served.version}"`, 'content-range': range }).end(part)
  }).listen(0, '127.0.0.1')
  await once(media, 'listening')
  onTestFinished(() => void media.close())
  return Object.assign(served, { url: `http://127.0.0.1:${(media.address() as AddressInfo).port}` })
}

describe.skipIf(noRedisServer !== undefined)('with three replicas', () => {
  test(
    'identical jobs of all of them share one call, although the replica that ran it is killed',
    { timeout: 120_000 },
    async () => {
      const media = await serveMedia()
      const env = { PREFLIGHT_URLS: 'true', INPUT_URL_ALLOW_PRIVATE: 'true', REUSE_RESULTS: 'true' }
      const { plane, replicas } = await startCluster(3, env)
      const body = { video_url: `${media.url}/behave/end=never.mp4`, audio_url: `${media.url}/speech.wav` }
      const submits = replicas.flatMap((replica) => [replica.submit(body), replica.submit(body)])
      const ids = (await Promise.all(submits)).map(({ job_id: id }) => id)
      const isRunnerOf = ({ lines }: ServerProcess) => lines.some(({ event }) => event === 'spawned')
      const runner = await until(() => replicas.find(isRunnerOf), 'a run')
      const others = replicas.filter((replica) => replica !== runner)
      const [call, ...more] = await plane.calls()
      expect(more).toEqual([])
      await runner.end('SIGKILL')
      await plane.end(call!.callId, { kind: 'return' })
      // Another replica takes the run over once the lock of the one that died has expired.
      const jobs = await until(
        async () => {
          const now = await Promise.all(ids.map((id, n) => others[n % 2]!.job(id)))
          return now.every(({ status }) => status === 'succeeded') && now
        },
        'the end of all',
        90_000,
      )
      const made = jobs.filter(({ reused_from: from }) => from === undefined)
      expect(made).toHaveLength(1)
      expect(new Set(jobs.map(({ reused_from: from = made[0]!.job_id }) => from))).toEqual(new Set([made[0]!.job_id]))
      expect(await plane.calls()).toHaveLength(1)
      // Another file at the same URL is another video.
      media.version = 2
      await others[0]!.submit(body)
      await until(async () => (await plane.calls()).length === 2, 'a call for the other file')
    },
  )
})
