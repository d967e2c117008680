import { monitorEventLoopDelay } from 'node:perf_hooks'
import { exactNow } from '../../test/helpers/control-plane/calls.ts'
import type { Bench } from '../part.ts'
import { mean, median, p99 } from '../percentiles.ts'
import { memoryMb } from '../process-facts.ts'
import type { Stand } from './stand.ts'

/** What is asked of the server while a crowd is in flight. */
export type SteadyTargets = {
  readonly pollRpcsPerSecond?: number
  /** RPCs of every kind. */
  readonly rpcsPerSecond?: number
  /** Resident memory of the server, in MB of 1,000,000 bytes. */
  readonly residentMb: number
  /** `GET /jobs/:id`, p99, in ms. */
  readonly getWithinMs?: number
}

type Steady = { report(targets: SteadyTargets): void }

type Sample = { readonly at: number; readonly count: number }

const SAMPLE_EVERY_MS = 1_000
const GET_EVERY_MS = 10

/** Watches the server until stopped: poll RPCs and memory every second, and a GET of a random job every 10 ms. */
export function observe(bench: Bench, { plane, server, client }: Stand, ids: readonly string[]): { stop(): Steady } {
  const getMs: number[] = []
  const residentMb: number[] = []
  const polls: Sample[] = []
  const all: Sample[] = []
  let failedGets = 0

  const get = async () => {
    const sentAt = exactNow()
    await client.job(ids[Math.floor(Math.random() * ids.length)] ?? '')
    getMs.push(exactNow() - sentAt)
  }
  const sample = async () => {
    residentMb.push(memoryMb(server.pid, 'VmRSS'))
    const askedAt = exactNow()
    const { rpcs } = await plane.stats()
    // The stand-in counted somewhere between question and answer.
    const at = (askedAt + exactNow()) / 2
    polls.push({ at, count: rpcs.FunctionGetOutputs ?? 0 })
    all.push({ at, count: Object.values(rpcs).reduce((sum, count) => sum + count, 0) })
  }
  const timers = [
    setInterval(() => void get().catch(() => (failedGets += 1)), GET_EVERY_MS),
    setInterval(() => void sample().catch(() => undefined), SAMPLE_EVERY_MS),
  ]
  // What holds up this process is seen in every time it takes: small, it clears the bench of suspicion.
  const ownDelay = monitorEventLoopDelay({ resolution: 5 })
  ownDelay.enable()
  const stop = () => {
    ownDelay.disable()
    for (const timer of timers) clearInterval(timer)
  }
  bench.own(stop)

  const report = (targets: SteadyTargets) => {
    const rateOf = (target: number | undefined) => ({
      unit: 'RPC/s',
      ...(target !== undefined && { target: { atMost: target } }),
    })
    const rate = rateOf(targets.pollRpcsPerSecond)
    const memory = { unit: 'MB', target: { atMost: targets.residentMb } }
    const answer = { unit: 'ms', ...(targets.getWithinMs !== undefined && { target: { atMost: targets.getWithinMs } }) }
    bench.report({ name: 'poll RPCs: mean', value: mean(ratesOf(polls, 1)), ...rate })
    bench.report({ name: 'poll RPCs: most in 5 seconds, a second', value: Math.max(...ratesOf(polls, 5)), ...rate })
    bench.report({ name: 'poll RPCs: most in a second', value: Math.max(...ratesOf(polls, 1)), ...rate })
    bench.report({ name: 'all RPCs: mean', value: mean(ratesOf(all, 1)), ...rateOf(targets.rpcsPerSecond) })
    bench.report({ name: 'resident memory: most meanwhile', value: Math.max(...residentMb), ...memory })
    bench.report({ name: 'resident memory: at the end', value: memoryMb(server.pid, 'VmRSS'), ...memory })
    bench.report({ name: 'resident memory: most ever', value: memoryMb(server.pid, 'VmHWM'), unit: 'MB' })
    bench.report({ name: 'GET /jobs/:id, 100 a second: median', value: median(getMs), unit: 'ms' })
    bench.report({ name: 'GET /jobs/:id, 100 a second: p99', value: p99(getMs), ...answer })
    bench.report({ name: 'GET /jobs/:id: not answered', value: failedGets, unit: '', target: { atMost: 0 } })
    bench.report({ name: "the bench's own longest delay", value: ownDelay.max / 1e6, unit: 'ms' })
  }
  return {
    stop() {
      stop()
      return { report }
    },
  }
}

/** The rates over every stretch of `seconds` samples, one after each sample. */
function ratesOf(polls: readonly Sample[], seconds: number): number[] {
  return polls.slice(seconds).map(({ at, count }, index) => {
    const before = polls[index]!
    return ((count - before.count) * 1000) / (at - before.at)
  })
}
