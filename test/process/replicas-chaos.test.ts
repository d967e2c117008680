import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { noRedisServer } from '../helpers/redis.ts'
import { asking } from '../helpers/jobs.ts'
import { type Cluster, startCluster } from '../helpers/replicas.ts'
import type { ServerProcess } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'
import { expectExactUsage, PRICED } from '../helpers/usage.ts'

if (noRedisServer !== undefined) process.stderr.write(`replicas are not tested: ${noRedisServer}\n`)

const JOBS = 500
/** Over how long they are submitted, and what they are submitted through dies so often, in ms. */
const SUBMITTED_WITHIN_MS = 10_000
const DEATH_EVERY_MS = 2_000
const DEATHS = 6

type Calls = Awaited<ReturnType<Cluster['plane']['calls']>>

const isEnded = ({ status }: JobView) => status !== 'submitted' && status !== 'running'

/** Submits through whichever replica comes; gives the ids of the jobs that were answered 202. */
async function submitAll(replicas: readonly ServerProcess[]): Promise<string[]> {
  const acknowledged: string[] = []
  while (acknowledged.length < JOBS) {
    const replica = replicas[Math.floor(Math.random() * replicas.length)]!
    const behaviour = `after=${Math.round(50 + Math.random() * 4_000)}`
    const job = await replica.submit(asking(behaviour)).catch(() => undefined)
    if (job) acknowledged.push(job.job_id)
    await sleep(SUBMITTED_WITHIN_MS / JOBS)
  }
  return acknowledged
}

async function allEnded(reader: ServerProcess, ids: readonly string[]): Promise<JobView[]> {
  const waiting = new Set(ids)
  const ended: JobView[] = []
  const look = async () => {
    for (const id of waiting) {
      // The server closes a connection that was idle, perhaps just as it is used.
      const job = await reader.job(id).catch(() => undefined)
      if (!job || !isEnded(job)) return false
      ended.push(job)
      waiting.delete(id)
    }
    return true
  }
  await until(look, 'every end', 90_000)
  return ended
}

/** An attempt that has a call on record was not called again after it. */
function expectNoSecondSpawn(jobs: readonly JobView[], calls: Calls) {
  const recorded = new Set(jobs.flatMap(({ attempts }) => attempts.flatMap(({ call_id: callId }) => callId ?? [])))
  const firsts = calls.filter(({ callId }) => recorded.has(callId))
  const second = firsts.flatMap(({ idempotencyKey, createdAt }) =>
    calls.filter((call) => call.idempotencyKey === idempotencyKey && call.createdAt > createdAt),
  )
  expect(second).toEqual([])
}

/** Submits a batch of jobs that end during the deaths; waits for its end and gives its counts, when called. */
async function runBatch(replicas: readonly ServerProcess[]) {
  const jobs = Array.from({ length: 100 }, () => asking(`after=${Math.round(Math.random() * 10_000)}`))
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ jobs }) }
  const submitted = await fetch(`${replicas[0]!.url}/batches`, init)
  const { batch_id: id } = (await submitted.json()) as { batch_id: string }
  return async () => {
    const read = async () =>
      (await (await fetch(`${replicas[0]!.url}/batches/${id}`)).json()) as { finished: boolean; counts: object }
    return (await until(async () => (await read()).finished && read(), 'the end of the batch', 90_000)).counts
  }
}

/** Each success was logged by one replica, once. */
function expectEndedOnce(servers: readonly ServerProcess[]) {
  const ends = servers.flatMap(({ lines }) => lines.filter((line) => line.event === 'succeeded'))
  expect(new Set(ends.map((line) => line.job_id)).size).toBe(ends.length)
}

describe.skipIf(noRedisServer !== undefined)(`${JOBS} jobs all end once, and no recorded call is made again`, () => {
  test(
    `while one of three replicas is killed every ${DEATH_EVERY_MS / 1000} s and restarted`,
    { timeout: 180_000 },
    async () => {
      const { replicas, plane, start } = await startCluster(3, PRICED)
      const batchCounts = await runBatch(replicas)
      const submitting = submitAll(replicas)
      const dead: ServerProcess[] = []
      for (let n = 0; n < DEATHS; n++) {
        await sleep(DEATH_EVERY_MS)
        const index = Math.floor(Math.random() * replicas.length)
        dead.push(replicas[index]!)
        await replicas[index]!.end('SIGKILL')
        replicas[index] = await start()
      }
      const jobs = await allEnded(replicas[0]!, await submitting)
      expect(jobs.filter(({ status }) => status !== 'succeeded')).toEqual([])
      expect(await batchCounts()).toEqual({ submitted: 0, running: 0, succeeded: 100, failed: 0, canceled: 0 })
      expectEndedOnce([...dead, ...replicas])
      expectNoSecondSpawn(jobs, await plane.calls())
      await expectExactUsage(replicas[0]!.url)
    },
  )

  test('while Redis is killed and restarted on what it has on disk', { timeout: 180_000 }, async () => {
    const { replicas, plane, redis } = await startCluster(2, PRICED)
    const submitting = submitAll(replicas)
    for (let n = 0; n < 4; n++) {
      await sleep(DEATH_EVERY_MS)
      await redis.kill()
      await sleep(500)
      await redis.restart()
    }
    const acknowledged = await submitting
    await until(
      () =>
        fetch(`${replicas[0]!.url}/readyz`)
          .then(({ ok }) => ok)
          .catch(() => false),
      'readiness',
    )
    const jobs = await allEnded(replicas[0]!, acknowledged)
    expect(jobs.filter(({ status }) => status !== 'succeeded')).toEqual([])
    expectEndedOnce(replicas)
    expectNoSecondSpawn(jobs, await plane.calls())
    await expectExactUsage(replicas[0]!.url)
  })
})
