import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { noRedisServer } from '../helpers/redis.ts'
import { asking } from '../helpers/jobs.ts'
import { makeKey } from '../helpers/keys.ts'
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

/** The most calls that ran at the same time. One that was made twice, as the answer to the first was lost, counts once. */
function mostAtOnce(calls: Calls): number {
  const spans = new Map<string, { from: number; to: number }>()
  for (const { idempotencyKey, createdAt, endedAt = Infinity } of calls) {
    const { from, to } = spans.get(idempotencyKey) ?? { from: createdAt, to: endedAt }
    spans.set(idempotencyKey, { from: Math.min(from, createdAt), to: Math.max(to, endedAt) })
  }
  const all = [...spans.values()]
  return Math.max(...all.map(({ from: at }) => all.filter(({ from, to }) => from <= at && at < to).length))
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

describe.skipIf(noRedisServer !== undefined)('the maximum of a caller', () => {
  test(
    'holds at the backend while one of three replicas is killed and its jobs go on at others, and other callers go on',
    { timeout: 150_000 },
    async () => {
      const [limited, other] = [makeKey('limited'), makeKey('other')]
      const { replicas, plane } = await startCluster(3, {
        API_KEYS: `${limited.entry} max_running=2,${other.entry}`,
        MAX_CONCURRENT_JOBS: '5',
      })
      const submitTo = async ({ url }: ServerProcess, { key }: { key: string }, input: object) => {
        const headers = { 'content-type': 'application/json', 'x-api-key': key }
        const answer = await fetch(`${url}/jobs`, { method: 'POST', headers, body: JSON.stringify(input) })
        expect(answer.status).toBe(202)
      }
      const callsOf = async (face: string) =>
        (await plane.calls()).filter(({ kwargs }) => String(kwargs.video_url).includes(face))
      const endedOf = async (face: string) =>
        new Set((await callsOf(face)).filter(({ endedAt }) => endedAt).map(({ idempotencyKey }) => idempotencyKey)).size
      // Enough that some wait until the entries of the killed replica run again, which takes up to 45 s.
      const [slow, quick, jobs] = ['after=2500', 'after=100', 24]
      for (let n = 0; n < jobs; n++) await submitTo(replicas[n % 3]!, limited, asking(slow))
      await until(async () => (await endedOf(slow)) >= 2, 'the first ends')
      const killed = await until(
        () => replicas.find((replica) => followedBy(replica) === 1),
        'one with one of its jobs',
      )
      await killed.end('SIGKILL')
      const left = replicas.filter((replica) => replica !== killed)
      for (let n = 1; n <= 10; n++) {
        await submitTo(left[n % 2]!, other, asking(quick))
        await until(async () => (await endedOf(quick)) === n, 'the job of the other caller', 15_000)
      }
      await until(async () => (await endedOf(slow)) === jobs, 'the end of all jobs', 100_000)
      expect(mostAtOnce(await callsOf(slow))).toBe(2)
      await until(async () => {
        const headers = { 'x-api-key': limited.key }
        const answer = await fetch(`${left[0]!.url}/jobs?status=succeeded&limit=200`, { headers })
        return ((await answer.json()) as { jobs: JobView[] }).jobs.length === jobs
      }, 'the success of all jobs')
    },
  )
})

/** How many calls a replica has started that have not ended yet. */
const followedBy = ({ lines }: ServerProcess) => {
  const count = (event: string) => lines.filter((line) => line.event === event).length
  return count('spawned') - count('succeeded')
}
