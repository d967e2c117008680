import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, onTestFinished, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { openChanges } from '../helpers/event-client.ts'
import { endlessFamily } from '../helpers/processes.ts'
import { type ServerProcess, startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

const sample = { video_path: 'face.mp4', audio_path: 'speech.wav' }
const GRACE_SECONDS = 4

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const start = async (env: Record<string, string>) => {
  const server = await startServer({ env: { BACKEND: 'local', ...env } })
  closers.push(() => server.end('SIGKILL'))
  return server
}

const post = ({ url }: ServerProcess, headers: Record<string, string> = {}) =>
  fetch(`${url}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(sample),
  })

/** Reads that the server has counted in this minute, this one included. */
async function countReads({ url }: ServerProcess): Promise<number> {
  const { headers } = await fetch(`${url}/jobs?limit=1`)
  return Number(headers.get('ratelimit-limit')) - Number(headers.get('ratelimit-remaining'))
}

test.each(['memory', 'sqlite'])(
  'SIGTERM answers long polls and ends all streams completely and in time (%s)',
  async (store) => {
    const folder = mkdtempSync(join(tmpdir(), 'streams-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const { command, started } = endlessFamily()
    const server = await start({
      LOCAL_COMMAND: command,
      SHUTDOWN_GRACE_SECONDS: String(GRACE_SECONDS),
      JOB_STORE: store === 'sqlite' ? `sqlite:${join(folder, 'jobs.db')}` : store,
    })
    const { job_id: id } = await server.submit(sample)
    await started()
    await server.untilStatus(id, 'running')
    const streams = [
      ...(await Promise.all(Array.from({ length: 20 }, () => openChanges(`${server.url}/jobs/${id}/events`)))),
      ...(await Promise.all(Array.from({ length: 20 }, () => openChanges(`${server.url}/events`)))),
    ]
    const before = await countReads(server)
    const reads = Array.from({ length: 100 }, () => fetch(`${server.url}/jobs/${id}?wait=60`))
    const submits = Array.from({ length: 10 }, () => post(server, { prefer: 'wait=60' }))
    let asked = 0
    await until(async () => (await countReads(server)) - ++asked >= before + reads.length, 'all reads at the server')
    // States that follow each other closely may come as one.
    await until(() => new Set(streams[20]!.events.map(({ job }) => job.job_id)).size === submits.length)

    const from = performance.now()
    expect(await server.end()).toBe(0)
    expect(performance.now() - from).toBeLessThan((GRACE_SECONDS * 1000) / 2)
    for (const answer of await Promise.all(reads)) {
      expect({ status: answer.status, job: await answer.json() }).toMatchObject({
        status: 200,
        job: { status: 'running' },
      })
    }
    for (const answer of await Promise.all(submits)) expect(answer.status).toBe(202)
    await until(() => streams.every(({ closed }) => closed))
    expect(streams.every(({ complete }) => complete)).toBe(true)
    expect(server.lines.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([])
  },
)

test('a long poll, the stream of the job and the stream of all jobs see the end of a real run', async () => {
  const server = await start({})
  const all = await openChanges(`${server.url}/events`)
  const answer = await post(server, { prefer: 'wait=15' })
  const job = (await answer.json()) as JobView
  expect({ status: answer.status, job }).toMatchObject({ status: 200, job: { status: 'succeeded' } })
  await until(() => all.events.at(-1)?.job.status === 'succeeded')
  expect(all.events.at(-1)?.id).toBe(`${job.job_id}:${job.revision}`)
  const one = await openChanges(`${server.url}${job.links.events}`)
  await until(() => one.closed)
  expect(one.events).toEqual([{ id: String(job.revision), event: 'status', job }])
})
