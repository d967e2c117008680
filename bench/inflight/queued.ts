import { setTimeout as sleep } from 'node:timers/promises'
import { exactNow } from '../../test/helpers/control-plane/calls.ts'
import type { RemoteControlPlane } from '../../test/helpers/control-plane/remote.ts'
import type { JobView } from '../../src/jobs/view.ts'
import type { Bench, Section } from '../part.ts'
import { median, p99 } from '../percentiles.ts'
import { openPlane } from '../plane.ts'
import { startServer } from '../server.ts'
import { addJobs } from '../store/jobs-file.ts'
import { tempFile } from '../store/stand.ts'
import { type Client, connect, type Submitted } from './client.ts'
import { observe, type SteadyTargets } from './observer.ts'

/** How many calls are in flight, and what is asked of the server. */
export type QueuedOptions = {
  readonly name: string
  readonly size: number
  /** Whether the jobs are in a SQLite file before the server starts, which then has to boot within this time, in ms. */
  readonly bootWithinMs?: number
  /** An end is visible (p99), in ms. */
  readonly visibleWithinMs: number
  /** A new job reaches Modal (p99), in ms. */
  readonly reachWithinMs?: number
  readonly deadlineMs: number
  readonly steady: SteadyTargets
}

/** Calls that run at a time. */
const GPUS = 200
/** How long they run, in ms, drawn evenly. */
const RUN_MS = { from: 15_000, to: 25_000 }
/** How long everything runs before anything is measured, and how long it is measured, in ms. */
const SETTLE_MS = 30_000
const MEASURED_MS = 40_000
const DEFAULT_POLLS_PER_SECOND = '100'
const TOP_UP_EVERY_MS = 50
const CALLERS = 16

const behaviour = () => `after=${Math.round(RUN_MS.from + Math.random() * (RUN_MS.to - RUN_MS.from))}`

/** How a crowd fares of which most wait in Modal's queue. */
export function queued(options: QueuedOptions): Section {
  const { name, deadlineMs, bootWithinMs } = options
  return {
    name,
    deadlineMs,
    what:
      `${options.size.toLocaleString('en-US')} calls in flight of which ${GPUS} run, each for ${RUN_MS.from / 1000} to ` +
      `${RUN_MS.to / 1000} s; each end starts another, and another job is submitted. ${bootWithinMs === undefined ? 'In memory' : 'In a SQLite file'}, ` +
      'with the default limit of polls. An end: until an event stream of all jobs has it. Measured for ' +
      `${MEASURED_MS / 1000} s, after ${SETTLE_MS / 1000} s.`,
    run: (bench) => run(bench, options),
  }
}

async function run(bench: Bench, options: QueuedOptions): Promise<void> {
  const size = bench.scaled(options.size)
  const plane = await openPlane(bench, { gpus: GPUS })
  const limit = { MODAL_MAX_POLLS_PER_SECOND: DEFAULT_POLLS_PER_SECOND }
  const server = await startServer({ ...plane.env, ...limit, ...(await storeOf(bench, plane, options, size)) })
  bench.own(() => server.end())
  const client = connect(server.url)
  bench.own(() => client.close())
  if (options.bootWithinMs !== undefined) {
    bench.report({ name: 'boot', value: server.readyAfterMs, unit: 'ms', target: { atMost: options.bootWithinMs } })
  }
  const events = await follow(bench, server.url)
  const submitted: Submitted[] = []
  const topUp = keepFull({ plane, client, size, submitted })
  bench.own(topUp.stop)
  await topUp.isFull
  await sleep(SETTLE_MS)
  const from = exactNow()
  const observer = observe(bench, { plane, server, client }, submitted.map(({ id }) => id).slice(-1_000))
  await sleep(MEASURED_MS)
  const steady = observer.stop()
  topUp.stop()
  const to = exactNow()
  await sleep(5_000)
  const calls = new Map((await plane.calls()).map((call) => [call.callId, call]))
  const ended = [...calls.values()].filter(({ endedAt = 0 }) => endedAt >= from && endedAt < to)
  const endMs = ended.map(({ callId, endedAt = 0 }) => (events.seenAt.get(callId) ?? Infinity) - endedAt)
  const reachMs = submitted
    .filter(({ sentAt }) => sentAt >= from && sentAt < to)
    .map(({ id, sentAt }) => (calls.get(events.callOf.get(id) ?? '')?.createdAt ?? Infinity) - sentAt)
  bench.report({ name: 'ends', value: ended.length, unit: '' })
  bench.report({ name: 'an end is visible: median', value: median(endMs), unit: 'ms' })
  const visible = { unit: 'ms', target: { atMost: options.visibleWithinMs } }
  bench.report({ name: 'an end is visible: p99', value: p99(endMs), ...visible })
  bench.report({ name: 'an end is visible: longest', value: Math.max(...endMs), unit: 'ms' })
  const reach = options.reachWithinMs !== undefined && { target: { atMost: options.reachWithinMs } }
  bench.report({ name: 'a new job reaches Modal: median', value: median(reachMs), unit: 'ms' })
  bench.report({ name: 'a new job reaches Modal: p99', value: p99(reachMs), unit: 'ms', ...reach })
  steady.report(options.steady)
}

async function storeOf(bench: Bench, plane: RemoteControlPlane, { bootWithinMs }: QueuedOptions, size: number) {
  if (bootWithinMs === undefined) return {}
  const file = tempFile(bench)
  await addJobs(file, { running: await plane.preload(size, RUN_MS) })
  return { JOB_STORE: `sqlite:${file}` }
}

/** Submits a job for each call that is missing; `isFull` resolves once none is for the first time. */
function keepFull(stand: { plane: RemoteControlPlane; client: Client; size: number; submitted: Submitted[] }) {
  const { plane, client, size, submitted } = stand
  const full: PromiseWithResolvers<void> = Promise.withResolvers()
  let isStopped = false
  const loop = async () => {
    while (!isStopped) {
      const { openCalls } = await plane.stats()
      let missing = size - openCalls
      if (missing <= 0) full.resolve()
      const caller = async () => {
        while (missing-- > 0 && !isStopped) submitted.push(await client.submit(behaviour()))
      }
      await Promise.all(Array.from({ length: Math.min(CALLERS, Math.max(0, missing)) }, caller))
      await sleep(TOP_UP_EVERY_MS)
    }
  }
  loop().catch(full.reject)
  return { isFull: full.promise, stop: () => void (isStopped = true) }
}

/** When each end was seen, by call id, and the call of each job. */
async function follow(bench: Bench, url: string) {
  const seenAt = new Map<string, number>()
  const callOf = new Map<string, string>()
  const closed = new AbortController()
  bench.own(() => closed.abort())
  const response = await fetch(`${url}/events`, { headers: { accept: 'text/event-stream' }, signal: closed.signal })
  const read = async () => {
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const at = exactNow()
      const blocks = (text + chunk).split('\n\n')
      text = blocks.pop() ?? ''
      for (const block of blocks) {
        const data = /^event: status\ndata: (.*)$/m.exec(block)?.[1]
        if (data === undefined) continue
        const job = JSON.parse(data) as JobView
        const callId = job.attempts.at(-1)?.call_id
        if (callId === undefined) continue
        callOf.set(job.job_id, callId)
        if (job.status === 'succeeded') seenAt.set(callId, at)
      }
    }
  }
  read().catch(() => undefined)
  return { seenAt, callOf }
}
