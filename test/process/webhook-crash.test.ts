import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook } from 'standardwebhooks'
import { expect, onTestFinished, test } from 'vitest'
import { isFinished, type Job, WEBHOOK_EVENTS } from '../../src/jobs/job.ts'
import type { JobView } from '../../src/jobs/view.ts'
import { ATTEMPTS_PER_HOST } from '../../src/jobs/webhooks/outbox.ts'
import { forkControlPlane } from '../helpers/control-plane/remote.ts'
import { deliveriesIn, jobsIn, liveAndDie, startLoad } from '../helpers/crashes.ts'
import { type Received, startReceiver } from '../helpers/receiver.ts'
import { startServer, UNLIMITED } from '../helpers/server.ts'
import { until } from '../helpers/until.ts'

/** Kills altogether; none by default, for a file takes half a minute. `npm run test:soak` asks for many. */
const ROUNDS = Number(process.env.WEBHOOK_CRASH_ROUNDS ?? 0)
const ROUNDS_PER_FILE = 10
const FILES = Array.from({ length: Math.ceil(ROUNDS / ROUNDS_PER_FILE) || 1 }, (_, index) => ({
  number: index + 1,
  rounds: Math.min(ROUNDS_PER_FILE, ROUNDS - index * ROUNDS_PER_FILE),
}))
if (ROUNDS === 0) process.stdout.write('skipped: webhooks under kill -9 are for npm run test:soak\n')

const SECRET = `whsec_${randomBytes(32).toString('base64')}`
/** Long enough that no answer of the receiver comes too late on a busy machine: it would be asked for again. */
const TIMEOUT_SECONDS = 3

test.skipIf(ROUNDS === 0).each(FILES)(
  'killed at $rounds random instants, with a receiver that fails now and then, it delivers every pending webhook, with the same body in every attempt (file $number)',
  { timeout: 180_000 },
  async ({ number, rounds }) => {
    const folder = mkdtempSync(join(tmpdir(), 'webhook-crash-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const file = join(folder, 'jobs.db')
    const plane = await forkControlPlane()
    onTestFinished(() => plane.close())
    const receiver = await startMoodyReceiver()
    const env = {
      ...plane.env,
      ...{ BACKEND: 'modal', JOB_STORE: `sqlite:${file}`, WEBHOOK_SECRET: SECRET },
      ...{ WEBHOOK_ALLOW_PRIVATE: 'true', WEBHOOK_TIMEOUT_SECONDS: String(TIMEOUT_SECONDS) },
    }
    const load = startLoad({ webhook_url: receiver.url, webhook_events: WEBHOOK_EVENTS })
    onTestFinished(() => load.end())

    const bodies = new Map<string, string>()
    for (let round = 0; round < rounds; round++) {
      await liveAndDie(env, file, load)
      expectOutboxOf(file, bodies)
    }
    await load.end()
    const jobs = await letFinish(env)

    expect(load.oddities).toEqual([])
    expect([...load.acknowledged.keys()].filter((id) => !jobs.has(id))).toEqual([])
    expectOutboxOf(file, bodies)
    expect(deliveriesIn(file).filter(({ state }) => state !== 'delivered')).toEqual([])
    expectSameInEveryTry(receiver.received, bodies)
    // A kill loses no more records than there may be tries at a time.
    const repeats = receiver.accepted().length - receiver.acceptedIds().size
    expect(repeats).toBeLessThanOrEqual(rounds * ATTEMPTS_PER_HOST)
    tell(
      `file ${number} of ${FILES.length}: ${jobs.size} jobs, ${receiver.acceptedIds().size} webhooks, ${repeats} twice`,
    )
  },
)

/** What it does to a message the first time it sees it; the second is taken, for a third would be minutes away. */
const MOODS: readonly (readonly [part: number, answer: (response: ServerResponse) => unknown])[] = [
  [0.05, (response) => response.writeHead(500).end()],
  [0.02, (response) => response.socket?.resetAndDestroy()],
  [0.01, (response) => response.writeHead(429, { 'retry-after': '6' }).end()],
  [0.002, () => undefined],
]

async function startMoodyReceiver() {
  const receiver = await startReceiver()
  const failed = new Set<string>()
  const accepted: string[] = []
  const accept = (response: ServerResponse, id: string) => {
    accepted.push(id)
    response.writeHead(204).end()
  }
  receiver.answerWith = (response) => {
    const id = String(response.req.headers['webhook-id'])
    let mood = Math.random()
    const answer = MOODS.find(([part]) => (mood -= part) < 0)?.[1]
    if (!answer || failed.has(id)) return void sleep(Math.random() * 20).then(() => accept(response, id))
    failed.add(id)
    return answer(response)
  }
  return Object.assign(receiver, { accepted: () => accepted, acceptedIds: () => new Set(accepted) })
}

/** The events that a job has had, by what it says of itself, each with the id of its message. */
function owedBy(job: Job): string[] {
  const hasRun = job.attempts.some(({ startedAt }) => startedAt !== undefined)
  const events = [...(hasRun ? ['job.running'] : []), ...(isFinished(job) ? [`job.${job.status}`] : [])]
  return events.map((event, index) => `msg_${job.id}_${index + 1} ${event}`)
}

/** No change of a job without its webhook, no webhook without its change; a body that was on disk stays as it is. */
function expectOutboxOf(file: string, bodies: Map<string, string>) {
  const deliveries = deliveriesIn(file).map((one) => ({ ...one, id: `msg_${one.jobId}_${one.number}` }))
  expect(deliveries.map(({ id, event }) => `${id} ${event}`).toSorted()).toEqual(
    jobsIn(file).flatMap(owedBy).toSorted(),
  )
  for (const { id, body } of deliveries) {
    expect(body).toBe(bodies.get(id) ?? body)
    bodies.set(id, body)
  }
}

/** The last life: every job ends, every webhook is delivered. */
async function letFinish(env: Record<string, string>): Promise<ReadonlyMap<string, JobView>> {
  const server = await startServer({ env: { ...env, ...UNLIMITED } })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  const read = async <T>(path: string) => (await (await fetch(`${server.url}${path}`)).json()) as T
  type Page = { jobs: JobView[]; next_cursor?: string }
  await until(
    async () => (await read<Page>('/jobs?status=submitted,running&limit=1')).jobs.length === 0,
    'every end',
    30_000,
  )
  const jobs = new Map<string, JobView>()
  for (let query: string | undefined = 'limit=200'; query !== undefined;) {
    const { jobs: some, next_cursor: cursor }: Page = await read<Page>(`/jobs?${query}`)
    for (const job of some) jobs.set(job.job_id, job)
    query = cursor && `limit=200&cursor=${cursor}`
  }
  type Ledger = { deliveries: { state: string }[] }
  for (const id of jobs.keys()) {
    const isTold = async () =>
      (await read<Ledger>(`/jobs/${id}/deliveries`)).deliveries.every(({ state }) => state === 'delivered')
    await until(isTold, `the webhooks of ${id}`, 60_000)
  }
  expect(await server.end()).toBe(0)
  return jobs
}

/** What came is what was on disk, each message at least once, signed at the time of its try. */
function expectSameInEveryTry(received: readonly Received[], bodies: ReadonlyMap<string, string>) {
  const came = Map.groupBy(received, ({ headers }) => headers['webhook-id'] ?? '')
  expect([...came.keys()].toSorted()).toEqual([...bodies.keys()].toSorted())
  const verifier = new Webhook(SECRET)
  for (const [id, tries] of came) {
    expect(new Set(tries.map(({ body }) => body))).toEqual(new Set([bodies.get(id)]))
    for (const { headers, body } of tries) expect(verifier.verify(body, headers)).toHaveProperty('data.job_id')
  }
}

const tell = (line: string) => void process.stderr.write(`${line}\n`)
