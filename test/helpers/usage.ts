import fc from 'fast-check'
import { expect } from 'vitest'
import type { Job, JobEvent } from '../../src/jobs/job.ts'
import { currentAttempt, isFinished } from '../../src/jobs/job.ts'
import type { Store } from '../../src/jobs/ports/store.ts'
import { createTransitions } from '../../src/jobs/transition.ts'
import { formatNanos, METADATA, parseNanos, type Price, reportUsage, usageOfJob } from '../../src/jobs/usage.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { aJob } from './jobs.ts'
import { until } from './until.ts'

/** For servers of which `expectExactUsage` is asked. */
export const PRICED = { GPU_PRICE_PER_SECOND: '0.000164' }

type Report = { total: { attempts: number; jobs: number; run_seconds: number; costs: { amount: string }[] } }

/** Waits until every job of a server has finished, then `GET /usage` has the sums over all of their attempts. */
export async function expectExactUsage(url: string): Promise<void> {
  const read = async <T>(path: string) => (await (await fetch(url + path)).json()) as T
  const list = async (query: string) => read<{ jobs: JobView[]; next_cursor?: string }>(`/jobs?limit=200&${query}`)
  await until(async () => (await list('status=submitted,running')).jobs.length === 0, 'every end', 30_000)
  const attempts: JobView['attempts'] = []
  for (let query: string | undefined = ''; query !== undefined;) {
    const page: Awaited<ReturnType<typeof list>> = await list(query)
    attempts.push(...page.jobs.flatMap((job) => job.attempts))
    query = page.next_cursor && `cursor=${page.next_cursor}`
  }
  const { total } = await read<Report>('/usage')
  const runMs = attempts.reduce((sum, { usage }) => sum + Math.round((usage?.run_seconds ?? 0) * 1_000), 0)
  const nanos = attempts.reduce((sum, { cost }) => sum + (parseNanos(cost?.amount ?? '0') ?? 0n), 0n)
  expect(runMs).toBeGreaterThan(0)
  expect(total).toMatchObject({ attempts: attempts.length, run_seconds: runMs / 1_000 })
  expect(total.jobs).toBe(attempts.filter(({ outcome }) => outcome !== 'interrupted').length)
  expect(total.costs).toEqual([{ amount: formatNanos(nanos), currency: 'USD' }])
}

const KINDS = ['spawned', 'started', 'succeeded', 'failed', 'interrupted', 'canceled', 'expired', 'retried'] as const
const JOBS = 4
const FROM = Date.parse('2026-01-01T20:00:00Z')

/** One step of a life: an event that one of two replicas applies to its copy, both at once, or a removal. */
const step = fc.record({
  job: fc.nat(JOBS - 1),
  replica: fc.constantFrom<0 | 1 | 'both' | 'remove'>(0, 1, 'both', 'remove'),
  kind: fc.constantFrom(...KINDS),
  rival: fc.constantFrom(...KINDS),
  runMs: fc.option(fc.integer({ min: -5, max: 100_000 }), { nil: undefined }),
  waitMs: fc.integer({ min: -1_000, max: 3_600_000 }),
  price: fc.integer({ min: 0, max: 10_000_000 }),
})
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function eventOf(kind: Step['kind'], job: Job, { runMs, now }: { runMs: number | undefined; now: number }): JobEvent {
  const { attempt } = currentAttempt(job)
  const times = runMs === undefined ? {} : { times: { queuedMs: 7, runMs } }
  switch (kind) {
    case 'spawned':
      return { type: kind, attempt, callId: `fc-${job.id}-${attempt}` }
    case 'started':
      return { type: kind, attempt, at: now - 10 }
    case 'succeeded':
      return { type: kind, attempt, outputPath: '/a.mp4', ...times }
    case 'failed':
      return { type: kind, attempt, code: 'inference_failed', error: 'no face', ...times }
    case 'interrupted':
      return { type: kind, attempt, error: 'preempted', maxAttempts: 3, ...times }
    default:
      return { type: kind }
  }
}

/** Lives of a few jobs, whose changes two replicas write through a store each, on the same data. */
async function live(stores: readonly [Store, Store], steps: readonly Step[]): Promise<Job[]> {
  const clock = { now: FROM }
  const price: { -readonly [K in keyof Price]: Price[K] } = { nanosPerSecond: 0n, currency: 'USD' }
  const replicas = stores.map((store) =>
    createTransitions({
      ...{ store, price, now: () => clock.now },
      links: { outputUrl: () => 'https://video.example' },
      publish: () => Promise.resolve(),
    }),
  )
  const jobs = Array.from({ length: JOBS }, (_, n) =>
    aJob({
      ...{ createdAt: FROM, deadlineAt: FROM + 7_200_000, timeoutSeconds: 7_200, caller: `key:${n % 2}` },
      metadata: { scene: String(n % 3) },
    }),
  )
  for (const job of jobs) await stores[0].insert(job)
  /** Of each replica, which may be stale. */
  const copies = stores.map(() => [...jobs])
  const removed: Job[] = []

  const apply = async (replica: number, { job: n, runMs }: Step, kind: Step['kind']) => {
    const copy = copies[replica]![n]!
    const event = eventOf(kind, copy, { runMs, now: clock.now })
    const transitioned = await replicas[replica]!.transition(copy, event).catch(() => undefined)
    if (transitioned) copies[replica]![n] = transitioned.job
  }

  for (const one of steps) {
    clock.now += one.waitMs
    price.nanosPerSecond = BigInt(one.price)
    if (one.replica === 'remove') {
      const job = await stores[1].get(jobs[one.job]!.id)
      if (job && isFinished(job) && (await stores[1].remove(job.id, job.revision))) removed.push(job)
    } else if (one.replica === 'both') {
      await Promise.all([apply(0, one, one.kind), apply(1, one, one.rival)])
    } else await apply(one.replica, one, one.kind)
  }
  const left = await Promise.all(jobs.map(({ id }) => stores[0].get(id)))
  return [...removed, ...left.filter((job) => job !== undefined)]
}

/** For any lives of jobs the reports have the sums over all attempts that have finished, by whatever they are grouped. */
export async function expectExactSums(open: () => Promise<readonly [Store, Store]>, numRuns: number): Promise<void> {
  const lives = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const stores = await open()
    const jobs = await live(stores, steps)
    const finished = jobs.flatMap((job) =>
      job.attempts.filter(({ finishedAt }) => finishedAt !== undefined).map((attempt) => ({ job, attempt })),
    )
    const sumsBy = (keyOf: (one: (typeof finished)[number]) => string) =>
      Object.fromEntries(
        [...Map.groupBy(finished, keyOf)].map(([group, members]) => {
          const { times, costs } = usageOfJob({ ...aJob(), attempts: members.map(({ attempt }) => attempt) })
          const ended = members.filter(({ attempt }) => attempt.outcome !== 'interrupted').length
          return [group, { jobs: ended, attempts: members.length, runMs: times?.runMs ?? 0, costs }]
        }),
      )
    const reportBy = async (groupBy: string) => {
      const query = { from: '2025-12-31', to: '2026-01-10', groupBy }
      const { groups, rest } = await reportUsage((...read) => stores[1].usageOn(...read), query)
      expect(rest).toBeUndefined()
      return Object.fromEntries(
        groups.map(({ group, sums: { queuedMs, startupMs, ...sums } }) => [group, sums] as const),
      )
    }
    const dayOf = (at = 0) => new Date(at).toISOString().slice(0, 10)
    expect(await reportBy('status')).toEqual(sumsBy(({ attempt }) => String(attempt.outcome)))
    expect(await reportBy('caller')).toEqual(sumsBy(({ job }) => job.caller))
    expect(await reportBy('day')).toEqual(sumsBy(({ attempt }) => dayOf(attempt.finishedAt)))
    expect(await reportBy(`${METADATA}scene`)).toEqual(sumsBy(({ job }) => job.metadata?.scene ?? ''))
  })
  await fc.assert(lives, { numRuns })
}
