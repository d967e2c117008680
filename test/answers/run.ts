import { join } from 'node:path'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobView } from '../../src/jobs/view.ts'
import { startControlPlane } from '../helpers/control-plane/control-plane.ts'
import { ANSWERS, createDraw, wrongIn } from '../helpers/modal-answers.ts'
import type { LogLine } from '../helpers/log.ts'
import { startServer, UNLIMITED } from '../helpers/server.ts'
import { castSpells, type Random } from './spells.ts'

// `npm run test:answers -- [jobs] [minutes] [seed]`: a real server on a stand-in for Modal that draws every answer at
// random from what Modal may give, while jobs are submitted, canceled and left to their deadlines. Prints figures, and
// exits with 1 where a job ended wrongly, twice or not at all, or a call was made twice for no reason.
const [jobCount = 500, minutes = 5, seed = Date.now() % 1e6] = process.argv.slice(2).map(Number)
const MAX_ATTEMPTS = 2
/** How long the last jobs may take after the last submit, in ms. */
const REST_MS = 40_000
const TERMINAL = new Set(['succeeded', 'failed', 'canceled'])

/** What is done with a job besides waiting for it. Runs of the last two never end by themselves. */
type Kind = 'left alone' | 'left to its deadline' | 'canceled'

const random = createRandom(seed)
const { pick, between } = random
const draw = createDraw(
  () => pick(ANSWERS),
  () => between(20, 8_000),
)
const plane = await startControlPlane({
  behave: (kwargs, info) =>
    String(kwargs.video_path).startsWith('endless') ? { end: { kind: 'never' } } : draw.behave(kwargs, info),
})
draw.bind(plane)
const folder = mkdtempSync(join(tmpdir(), 'answers-'))
const env = {
  ...plane.env,
  ...UNLIMITED,
  JOB_STORE: `sqlite:${join(folder, 'jobs.db')}`,
  DATA_DIR: folder,
  BACKEND: 'modal',
}
const server = await startServer({ env: { ...env, MAX_ATTEMPTS: String(MAX_ATTEMPTS), OUTPUT_PREFETCH: 'false' } })

const kinds = new Map<string, Kind>()
const calm = new AbortController()
const casting = castSpells(plane, random, calm.signal)
const startedAt = performance.now()
const everyMs = (minutes * 60_000 - REST_MS) / jobCount
for (let n = 0; n < jobCount; n++) {
  await sleep(Math.max(0, startedAt + n * everyMs - performance.now()))
  void submit(n)
}
const views = await untilAllEnded()
const tookSeconds = (performance.now() - startedAt) / 1000
calm.abort()
const spells = await casting
await untilStopped()
await report()

/** Accepted jobs only: the server is never the one that is in trouble. */
async function submit(n: number): Promise<void> {
  const kind: Kind = n % 16 === 3 ? 'left to its deadline' : n % 16 === 11 ? 'canceled' : 'left alone'
  const name = kind === 'left alone' ? `face-${n}` : `endless-${n}`
  const timeout = kind === 'left to its deadline' ? 15 : 600
  const body = { video_path: `${name}.mp4`, audio_path: 'speech.wav', timeout_seconds: timeout }
  const { job_id: id } = await server.submit(body)
  kinds.set(id, kind)
  if (kind !== 'canceled') return
  await sleep(between(0, 5_000))
  await fetch(`${server.url}/jobs/${id}/cancel`, { method: 'POST' })
}

async function untilAllEnded(): Promise<JobView[]> {
  const deadline = startedAt + minutes * 60_000 + 120_000
  for (;;) {
    const jobs = await Promise.all([...kinds.keys()].map((id) => server.job(id)))
    const isOver = jobs.length === jobCount && jobs.every(({ status }) => TERMINAL.has(status))
    if (isOver || performance.now() > deadline) return jobs
    await sleep(1_000)
  }
}

/** Calls of jobs that were canceled or timed out are stopped when Modal can be reached, by the next pass at the latest. */
async function untilStopped(): Promise<void> {
  const deadline = performance.now() + 45_000
  while (callsLeftRunning() > 0 && performance.now() < deadline) await sleep(500)
}

function recordedCalls(): Set<string> {
  return new Set(views.flatMap((job) => job.attempts.flatMap(({ call_id }) => call_id ?? [])))
}

/** Calls that are known to the server, and that neither ended nor vanished. */
function callsLeftRunning(): number {
  const recorded = recordedCalls()
  return plane
    .calls()
    .filter(({ callId, endedAt }) => recorded.has(callId) && endedAt === undefined && !draw.answers.get(callId)?.then)
    .length
}

function wrongOf(job: JobView): string | undefined {
  const callIds = job.attempts.map(({ call_id }) => call_id)
  const ended = { status: job.status, code: job.error_code, error: job.error, callIds }
  const described = `${job.status} ${job.error_code ?? ''} '${job.error ?? ''}'`
  switch (kinds.get(job.job_id)) {
    case 'canceled':
      return job.status === 'canceled' ? undefined : described
    case 'left to its deadline': {
      const code = callIds.some((callId) => callId !== undefined) ? 'timed_out' : 'backend_unavailable'
      return job.error_code === code && job.error ? undefined : described
    }
    default:
      return wrongIn(ended, draw.answers, MAX_ATTEMPTS)
  }
}

async function report(): Promise<void> {
  const wrong = views.flatMap((job) => wrongOf(job)?.concat(` (${kinds.get(job.job_id) ?? ''}, ${job.job_id})`) ?? [])
  const unended = jobCount - views.filter(({ status }) => TERMINAL.has(status)).length
  const endLines = server.lines.filter(isEnd)
  const endedTwice = endLines.length - new Set(endLines.map((line) => line.job_id)).size
  const { rpcs, spawned, spawnsByKey, ...answers } = plane.stats()
  const recorded = recordedCalls()
  const secondCalls = plane
    .calls()
    .filter(({ callId, inputAt }) => inputAt !== undefined && !recorded.has(callId)).length
  const explained = answers.spawnsLeftUnanswered + answers.spawnsUnconfirmed
  const duplicates = Math.max(0, secondCalls - explained)
  const total = Object.values(rpcs).reduce((sum, count) => sum + count, 0)
  const figures = {
    ...{ seed, jobs: views.length, seconds: Math.round(tookSeconds), ends: tally(views.map(endOf)) },
    answers: tally([...recorded].map((callId) => draw.answers.get(callId)?.name ?? 'endless').map(String)),
    spells: Object.fromEntries(spells),
    rpcs: { ...rpcs, total, perJob: Number((total / views.length).toFixed(1)) },
    ...{ attempts: recorded.size, spawned, secondCalls, explained, duplicates },
    ...{ wrongEnds: wrong.length, unended, endedTwice, callsLeftRunning: callsLeftRunning() },
    errorLines: server.lines.filter(({ level }) => level === 'error').length,
  }
  process.stdout.write(`${JSON.stringify(figures, undefined, 2)}\n`)
  for (const line of wrong) process.stdout.write(`wrong: ${line}\n`)
  await server.end()
  await plane.close()
  rmSync(folder, { recursive: true, force: true })
  process.exit(wrong.length + unended + endedTwice + duplicates + callsLeftRunning() > 0 ? 1 : 0)
}

/** The events that can finish a job: others of a finished job, such as `stopped`, are about its call. */
const FINISHING = new Set(['succeeded', 'failed', 'canceled', 'expired', 'interrupted'])

function isEnd({ status, event }: LogLine): boolean {
  return FINISHING.has(String(event)) && TERMINAL.has(String(status))
}

function endOf(job: JobView): string {
  return job.error_code ?? job.status
}

function tally(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of names.toSorted()) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

/** The same numbers for the same seed (mulberry32). */
function createRandom(from: number): Random {
  let state = from
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    pick: <T>(all: readonly T[]) => all[Math.floor(next() * all.length)] as T,
    between: (low, high) => low + next() * (high - low),
  }
}
