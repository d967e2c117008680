import { describe, expect, test } from 'vitest'
import type { JobView } from '../../src/jobs/view.ts'
import { asking } from '../helpers/jobs.ts'
import { makeKey } from '../helpers/keys.ts'
import { noRedisServer } from '../helpers/redis.ts'
import { type Cluster, startCluster } from '../helpers/replicas.ts'
import type { ServerProcess } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

type Calls = Awaited<ReturnType<Cluster['plane']['calls']>>

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
