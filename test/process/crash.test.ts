import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { JobStatus } from '../../src/jobs/job.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { jobsIn, type Life, liveAndDie, type Load, startLoad } from '../helpers/crashes.ts'
import { type CallRecord, exactNow } from '../helpers/control-plane/calls.ts'
import { forkControlPlane, type RemoteControlPlane } from '../helpers/control-plane/remote.ts'
import { startServer } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'
import { expectExactUsage, PRICED } from '../helpers/usage.ts'

/** Kills altogether; `npm run test:soak` asks for more. A file takes so many of them before its jobs are let finish. */
const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 10)
const ROUNDS_PER_FILE = 10
const FILES = Array.from({ length: Math.ceil(ROUNDS / ROUNDS_PER_FILE) }, (_, index) => ({
  number: index + 1,
  rounds: Math.min(ROUNDS_PER_FILE, ROUNDS - index * ROUNDS_PER_FILE),
}))

/** Modal takes so long to answer a spawn, in ms, so that kills do fall between a call and its record. */
const SPAWN_ANSWER_MS = 20
/** An answer that was read is on record within this time, in ms. Generous, for a machine that does other things too. */
const RECORD_MS = 500
/** Answers are recorded in the order in which they come; by more than this, in ms, none overtakes another. */
const OVERTAKE_MS = 250

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

test.each(FILES)(
  'killed at $rounds random instants under load, it loses no acknowledged job and repeats no recorded spawn (file $number)',
  { timeout: 120_000 },
  async ({ number, rounds }) => {
    const folder = mkdtempSync(join(tmpdir(), 'crash-'))
    closers.push(() => rmSync(folder, { recursive: true, force: true }))
    const file = join(folder, 'jobs.db')
    const plane = await forkControlPlane()
    closers.push(() => plane.close())
    await plane.disrupt({ method: 'FunctionMap', delayMs: SPAWN_ANSWER_MS })
    const env = { ...plane.env, ...PRICED, BACKEND: 'modal', JOB_STORE: `sqlite:${file}` }
    const load = startLoad()
    closers.push(() => load.end())

    const lives: Round[] = []
    while (lives.length < rounds) lives.push(await runRound({ env, file, plane, load }))
    await load.end()
    const lastLifeAt = exactNow()
    const jobs = await letFinish(env)

    expect(load.oddities).toEqual([])
    expectNothingLost(load, jobs)
    expect(jobsIn(file)).toHaveLength(jobs.length)
    const spawns = spawnsOf(await plane.calls(), { lives, jobs, lastLifeAt })
    const lost = new Set((await plane.stats()).unansweredCalls)
    for (const life of spawns.lives) expectCaught(life, lost)
    expectAttachedAgain(spawns)
    tell(`file ${number} of ${FILES.length}: ${load.acknowledged.size} jobs, ${spawns.missing.length} calls caught`)
  },
)

/** One life, and how many spawns its end left without an answer that the server is known to have read. */
type Round = Life & { readonly unanswered: number }
type Scene = {
  readonly env: Record<string, string>
  readonly file: string
  readonly plane: RemoteControlPlane
  readonly load: Load
}

async function runRound({ env, file, plane, load }: Scene): Promise<Round> {
  const unanswered = async () => {
    const { spawnsLeftUnanswered, spawnsUnconfirmed } = await plane.stats()
    return spawnsLeftUnanswered + spawnsUnconfirmed
  }
  const before = await unanswered()
  const life = await liveAndDie(env, file, load)
  // What was sent is taken in before the next life begins, so that every call belongs to one life.
  await plane.until(async () => (await plane.stats()).connections === 0)
  return { ...life, unanswered: (await unanswered()) - before }
}

/** The last life: every job comes to its end, and so does the server. */
async function letFinish(env: Record<string, string>): Promise<JobView[]> {
  const server = await startServer({ env })
  closers.push(() => server.end('SIGKILL'))
  const page = async (query: string) =>
    (await (await fetch(`${server.url}/jobs?${query}`)).json()) as { jobs: JobView[]; next_cursor?: string }
  await until(async () => (await page('status=submitted,running&limit=1')).jobs.length === 0, 'every end', 30_000)
  const jobs: JobView[] = []
  for (let query: string | undefined = 'limit=200'; query !== undefined;) {
    const { jobs: some, next_cursor: cursor }: Awaited<ReturnType<typeof page>> = await page(query)
    jobs.push(...some)
    query = cursor && `limit=200&cursor=${cursor}`
  }
  await expectExactUsage(server.url)
  expect(await server.end()).toBe(0)
  return jobs
}

function expectNothingLost({ acknowledged }: Load, jobs: readonly JobView[]) {
  const ends = new Map<string, JobStatus>(jobs.map((job) => [job.job_id, job.status]))
  expect([...acknowledged.keys()].filter((id) => !ends.has(id))).toEqual([])
  const otherwise = [...acknowledged].filter(([id, possible]) => !possible.includes(ends.get(id)!))
  expect(otherwise.map(([id, possible]) => ({ id, possible, end: ends.get(id) }))).toEqual([])
}

type Spawns = ReturnType<typeof spawnsOf>
type Course = { readonly lives: readonly Round[]; readonly jobs: readonly JobView[]; readonly lastLifeAt: number }

/** The calls that Modal made, by the life they were made in, and by whether a job has them on record. */
function spawnsOf(calls: readonly CallRecord[], { lives, jobs, lastLifeAt }: Course) {
  const recorded = new Set(jobs.flatMap(({ attempts }) => attempts.flatMap(({ call_id: callId }) => callId ?? [])))
  const isRecorded = ({ callId }: CallRecord) => recorded.has(callId)
  const missing = calls.filter((call) => !isRecorded(call))
  const madeIn = (index: number) => {
    const [from, to] = [lives[index]?.startedAt ?? lastLifeAt, lives[index + 1]?.startedAt ?? lastLifeAt]
    return calls.filter(({ createdAt }) => createdAt >= from && createdAt < to)
  }
  return {
    ...{ calls, recorded, missing, lastLifeAt },
    lives: lives.map((life, index) => ({ ...life, made: madeIn(index), isRecorded })),
  }
}

/**
 * Why a call can be missing on record: the kill came after Modal had made it and before the record was on disk. Either
 * its answer had not been read, which the stand-in counts (it takes an answer for read when the client answers a PING
 * that was sent after it), or it had been read and its record was under way. So for each kill
 *
 *   calls missing <= spawns left unanswered or unconfirmed + calls made in the last RECORD_MS
 *
 * and, since records are written in the order of the answers, no call is missing that is older than one on record and whose
 * answer was read.
 */
function expectCaught({ made, isRecorded, killedAt, unanswered }: Spawns['lives'][number], lost: ReadonlySet<string>) {
  const missing = made.filter((call) => !isRecorded(call))
  expect(missing.filter(({ createdAt }) => killedAt - createdAt > RECORD_MS).length).toBeLessThanOrEqual(unanswered)
  const lastRecordedAt = Math.max(0, ...made.filter(isRecorded).map(({ createdAt }) => createdAt))
  const read = missing.filter(({ callId }) => !lost.has(callId))
  expect(read.filter(({ createdAt }) => lastRecordedAt - createdAt > OVERTAKE_MS)).toEqual([])
  expect(new Set(made.map(keyOf)).size, 'no spawn repeated within a life').toBe(made.length)
}

/** Every second spawn stands for a call that was caught; a call that any kill found on disk has no successor. */
function expectAttachedAgain({ calls, recorded, missing, lives, lastLifeAt }: Spawns) {
  const repeated = calls.length - new Set(calls.map(keyOf)).size
  expect(repeated).toBeLessThanOrEqual(missing.length)
  expect(missing.filter(({ createdAt }) => createdAt >= lastLifeAt)).toEqual([])
  const lastOfKey = new Map(calls.map((call) => [keyOf(call), call.callId]))
  const keyOfCall = new Map(calls.map((call) => [call.callId, keyOf(call)]))
  for (const { jobs } of lives) {
    const onDisk = jobs.flatMap(({ attempts }) => attempts.flatMap(({ callId }) => callId ?? []))
    const lost = onDisk.filter(
      (callId) => !recorded.has(callId) || lastOfKey.get(keyOfCall.get(callId) ?? '') !== callId,
    )
    expect(lost).toEqual([])
  }
}

const keyOf = ({ idempotencyKey }: CallRecord) => idempotencyKey
function tell(line: string) {
  if (FILES.length > 1) process.stderr.write(`${line}\n`)
}
