import { setTimeout as sleep } from 'node:timers/promises'
import type { RemoteControlPlane } from '../../test/helpers/control-plane/remote.ts'
import type { Bench, Section } from '../part.ts'
import { openPlane } from '../plane.ts'
import { type Server, startServer } from '../server.ts'
import { forkGenerator } from './generator.ts'
import { addJobs } from './jobs-file.ts'
import { tempFile } from './stand.ts'

const FINISHED = 100_000
const RUNNING = 5_000
const SUBMITTED = 5_000
const BOOTS = 3
const READY_WITHIN_MS = 2_000
const ASK_EVERY_MS = 20
/** How long the calls may take to be followed again, in ms. */
const PATIENCE_MS = 60_000

/** How soon a server with a long past is there again. */
export const boot: Section = {
  name: 'boot',
  what:
    `From the start of the process to GET /readyz 200, after kill -9, with ${FINISHED.toLocaleString('en-US')} finished and ` +
    `${(RUNNING + SUBMITTED).toLocaleString('en-US')} unfinished jobs in the file: ${RUNNING.toLocaleString('en-US')} whose ` +
    `calls run at the stand-in, the others not spawned yet. ${BOOTS} times, from the second on with every call running.`,
  deadlineMs: 240_000,
  async run(bench) {
    const plane = await openPlane(bench)
    const file = tempFile(bench)
    const env = { ...plane.env, MAX_QUEUED_JOBS: '0', JOB_STORE: `sqlite:${file}` }
    const [running, submitted] = [bench.scaled(RUNNING), bench.scaled(SUBMITTED)]
    await leaveRunning(bench, { env, plane, count: running })
    await addJobs(file, { finished: bench.scaled(FINISHED), submitted })
    for (let n = 1; n <= BOOTS; n++) {
      const before = await pollsByCall(plane)
      const server = await startServer(env)
      bench.own(() => server.end())
      const seen = await watch(server, () => areFollowed(plane, running + submitted, before))
      await server.end()
      const target = { atMost: READY_WITHIN_MS }
      bench.report({ name: `boot ${n}: ready after`, value: server.readyAfterMs, unit: 'ms', target })
      bench.report({
        name: `boot ${n}: every call followed after`,
        value: server.readyAfterMs + seen.tookMs,
        unit: 'ms',
      })
      bench.report({ name: `boot ${n}: slowest GET /readyz until then`, value: seen.slowestMs, unit: 'ms' })
    }
    const repeated = (await plane.stats()).spawned - running - submitted
    bench.report({ name: 'calls spawned twice', value: repeated, unit: '', target: { atMost: 0 } })
  },
}

type Crowd = { readonly env: Record<string, string>; readonly plane: RemoteControlPlane; readonly count: number }

/** Jobs that a server had running, all of them on record, when it was killed. */
async function leaveRunning(bench: Bench, { env, plane, count }: Crowd): Promise<void> {
  const server = await startServer(env)
  bench.own(() => server.end())
  await (await forkGenerator(bench)).run(server.url, { count })
  await plane.until(async () => (await plane.stats()).spawned >= count)
  const isHeldBack = async () => {
    const answer = await fetch(`${server.url}/jobs?status=submitted&limit=1`)
    return ((await answer.json()) as { jobs: unknown[] }).jobs.length > 0
  }
  while (await isHeldBack()) await sleep(ASK_EVERY_MS)
  await server.end()
}

const pollsByCall = async (plane: RemoteControlPlane) =>
  new Map((await plane.calls()).map(({ callId, polls }) => [callId, polls]))

/** Whether there are so many calls and each has been polled since. The cheap question first: the list is long. */
async function areFollowed(plane: RemoteControlPlane, count: number, before: ReadonlyMap<string, number>) {
  if ((await plane.stats()).spawned < count) return false
  const now = await pollsByCall(plane)
  return [...now].every(([callId, polls]) => polls > (before.get(callId) ?? 0))
}

/** Asks whether the server is ready, again and again, until `isDone`; gives the longest time that an answer took. */
async function watch({ url }: Server, isDone: () => Promise<boolean>) {
  const startedAt = performance.now()
  const stop = new AbortController()
  const slowest = slowestAnswer(`${url}/readyz`, stop.signal)
  let done = await isDone()
  while (!done && performance.now() - startedAt < PATIENCE_MS) {
    await sleep(250)
    done = await isDone()
  }
  const tookMs = done ? performance.now() - startedAt : Number.POSITIVE_INFINITY
  stop.abort()
  return { tookMs, slowestMs: await slowest }
}

async function slowestAnswer(url: string, signal: AbortSignal): Promise<number> {
  let slowestMs = 0
  while (!signal.aborted) {
    const askedAt = performance.now()
    await (await fetch(url)).text()
    slowestMs = Math.max(slowestMs, performance.now() - askedAt)
    await sleep(ASK_EVERY_MS)
  }
  return slowestMs
}
