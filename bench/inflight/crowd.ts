import { setTimeout as sleep } from 'node:timers/promises'
import type { CallRecord } from '../../test/helpers/control-plane/control-plane.ts'
import type { Bench, Section } from '../part.ts'
import { median, p99 } from '../percentiles.ts'
import type { Submitted } from './client.ts'
import { fill, paced, sampleOf } from './crowd-jobs.ts'
import { observe, type SteadyTargets } from './observer.ts'
import { openStand, type Stand } from './stand.ts'
import { type Sighting, watchEnds } from './watch-ends.ts'

/** How large a crowd is, and what is asked of the server in it. */
export type CrowdOptions = {
  readonly name: string
  /** Calls in flight. */
  readonly size: number
  /** New jobs submitted, and as many calls ended, one every `probeEveryMs`. */
  readonly probes: number
  readonly probeEveryMs: number
  /** Time between two looks at a job whose call has ended, in ms. */
  readonly endPollMs: number
  /** Targets: a new job reaches Modal (p99); an end is visible (p99, or without exception where `steady` is given). */
  readonly reachWithinMs: number
  readonly visibleWithinMs: number
  readonly deadlineMs: number
  /** Targets of what is watched meanwhile. */
  readonly steady?: SteadyTargets
}

/** How long a full crowd is left alone before anything is measured, in ms. */
const SETTLE_MS = 8_000

/** How new jobs and ends fare while many calls that do not end are in flight. */
export function crowd(options: CrowdOptions): Section {
  const { name, probes, probeEveryMs, endPollMs, deadlineMs } = options
  return {
    name,
    deadlineMs,
    what:
      `${name} calls in flight that finish only on command. ${probes} new jobs, one every ${probeEveryMs} ms: from POST sent until the stand-in has ` +
      `the call. Then ${probes} ends of calls taken at random, one every ${probeEveryMs} ms: from the end until GET shows 'succeeded', ` +
      `each asked ${endPollMs} ms after the answer before.`,
    run: (bench) => run(bench, options),
  }
}

async function run(bench: Bench, options: CrowdOptions): Promise<void> {
  const stand = await openStand(bench)
  const ids = await fill(bench, stand, bench.scaled(options.size))
  await sleep(bench.scaled(SETTLE_MS))
  const observer = options.steady && observe(bench, stand, ids)
  const probes = bench.scaled(options.probes)
  const submitted = await paced(probes, options.probeEveryMs, () => stand.client.submit('end=never'))
  const sightings = await watchEnds(stand, sampleOf(ids, probes), options)
  const steady = observer?.stop()
  // The list is long: it is asked for once, when nothing is measured any more.
  const calls = new Map((await stand.plane.calls()).map((call) => [call.callId, call]))
  reportReach(bench, await reachTimes(stand, submitted, calls), options)
  reportEnds(bench, endTimes(sightings, calls), options)
  if (steady && options.steady) steady.report(options.steady)
}

type CallTimes = ReadonlyMap<string, Pick<CallRecord, 'createdAt' | 'endedAt'>>

/** From POST sent until the stand-in had the call: both clocks are those of `exactNow`. */
async function reachTimes({ client }: Stand, submitted: readonly Submitted[], calls: CallTimes): Promise<number[]> {
  const reachedMs: number[] = []
  for (const { id, sentAt } of submitted) {
    const callId = (await client.job(id)).attempts.at(-1)?.call_id
    // A job that has not reached Modal by now counts with the time until now.
    reachedMs.push((calls.get(callId ?? '')?.createdAt ?? Infinity) - sentAt)
  }
  return reachedMs
}

const endTimes = (sightings: readonly Sighting[], calls: CallTimes): number[] =>
  sightings.map(({ callId, seenAt }) => seenAt - (calls.get(callId)?.endedAt ?? NaN))

function reportReach(bench: Bench, reachedMs: readonly number[], { reachWithinMs }: CrowdOptions): void {
  const target = { atMost: reachWithinMs }
  bench.report({ name: 'a new job reaches Modal: median', value: median(reachedMs), unit: 'ms' })
  bench.report({ name: 'a new job reaches Modal: p99', value: p99(reachedMs), unit: 'ms', target })
}

function reportEnds(bench: Bench, visibleMs: readonly number[], { steady, visibleWithinMs }: CrowdOptions): void {
  const target = { atMost: visibleWithinMs }
  const largest = Math.max(...visibleMs)
  bench.report({ name: 'an end is visible: median', value: median(visibleMs), unit: 'ms' })
  bench.report({ name: 'an end is visible: p99', value: p99(visibleMs), unit: 'ms', ...(!steady && { target }) })
  bench.report({ name: 'an end is visible: longest', value: largest, unit: 'ms', ...(steady && { target }) })
}
