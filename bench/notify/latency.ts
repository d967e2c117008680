import { setTimeout as sleep } from 'node:timers/promises'
import type { RemoteControlPlane } from '../../test/helpers/control-plane/remote.ts'
import { type Client, connect } from '../inflight/client.ts'
import { fill, paced } from '../inflight/crowd-jobs.ts'
import type { Bench, Section } from '../part.ts'
import { median, p99 } from '../percentiles.ts'
import { openPlane } from '../plane.ts'
import { startServer } from '../server.ts'
import { forkBareGets } from './bare-gets.ts'
import { openEvents, openReceiver, waitForEach } from './subscribers.ts'

const JOBS = 1_000
/** As many as one connection of the SDK takes, with room for its other requests. */
const BARE_CALLS = 90
/** The calls end within this time, in ms. */
const WITHIN_MS = 1_000
/** How long the requests that wait have to get to the server, in ms. */
const SETTLE_MS = 4_000
const SECRET = `whsec_${Buffer.from('a secret of the benchmarks only').toString('base64')}`
const SLOWER_BY_MS = 250

/** How soon a client is notified of the end of a job, by each way of waiting for it. */
export const latency: Section = {
  name: 'latency',
  what:
    `${JOBS.toLocaleString('en-US')} calls end within ${WITHIN_MS / 1000} s: from each end at the stand-in until the job's webhook has come, ` +
    'its event on one stream of all jobs, and the answer to its own GET ?wait=60, all three at once. Among them, ' +
    `${BARE_CALLS} calls whose get is under way in a process with the bare SDK alone.`,
  deadlineMs: 180_000,
  async run(bench) {
    const plane = await openPlane(bench)
    const receiver = await openReceiver(bench)
    const server = await startServer({ ...plane.env, WEBHOOK_SECRET: SECRET, WEBHOOK_ALLOW_PRIVATE: 'true' })
    bench.own(() => server.end())
    const client = connect(server.url, { webhook_url: receiver.url, webhook_events: ['job.succeeded'] })
    bench.own(() => client.close())

    const ids = await fill(bench, { plane, server, client }, bench.scaled(JOBS))
    const callIds = await callsOf(client, ids)
    const bare = await forkBareGets(bench, plane.env, bench.scaled(BARE_CALLS))
    const stream = await openEvents(bench, server.url)
    const answers = waitForEach(bench, server.url, [...callIds.keys()])
    await sleep(SETTLE_MS)
    await endAll(plane, [...callIds.values()], bare.callIds)

    const count = callIds.size
    const [hooks, events, waits] = [await receiver.all(count), await stream.all(count), await answers.all(count)]
    const seen = await bare.seen()
    const ends = new Map((await plane.calls()).map(({ callId, endedAt = NaN }) => [callId, endedAt]))
    const bareMs = seen.map(({ id, at }) => at - (ends.get(id) ?? NaN))
    reportBare(bench, bareMs)
    const notified = { webhook: hooks, event: events, 'answer to ?wait=60': waits }
    for (const [name, times] of Object.entries(notified)) {
      const delays = [...callIds].map(([id, callId]) => (times.get(id) ?? Infinity) - (ends.get(callId) ?? NaN))
      reportDelays(bench, { name, delays, bareMs })
    }
  },
}

/** The call of each job, by its id. */
async function callsOf(client: Client, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const callIds = new Map<string, string>()
  for (const id of ids) callIds.set(id, (await client.job(id)).attempts.at(-1)?.call_id ?? '')
  return callIds
}

/** Ends the calls of both at even distances. */
async function endAll(plane: RemoteControlPlane, ofJobs: readonly string[], bare: readonly string[]): Promise<void> {
  const end = (callId: string) => plane.end(callId, { kind: 'return' })
  await Promise.all([
    paced(ofJobs.length, WITHIN_MS / ofJobs.length, (index) => end(ofJobs[index] ?? '')),
    paced(bare.length, WITHIN_MS / bare.length, (index) => end(bare[index] ?? '')),
  ])
}

function reportBare(bench: Bench, times: readonly number[]): void {
  bench.report({ name: "the bare SDK's get: median", value: median(times), unit: 'ms' })
  bench.report({ name: "the bare SDK's get: p99", value: p99(times), unit: 'ms' })
}

type Measured = { readonly name: string; readonly delays: readonly number[]; readonly bareMs: readonly number[] }

function reportDelays(bench: Bench, { name, delays, bareMs }: Measured): void {
  const more = p99(delays) - p99(bareMs)
  bench.report({ name: `${name}: median`, value: median(delays), unit: 'ms' })
  bench.report({ name: `${name}: p99`, value: p99(delays), unit: 'ms' })
  bench.report({ name: `${name}: p99 above the bare SDK's`, value: more, unit: 'ms', target: { atMost: SLOWER_BY_MS } })
}
