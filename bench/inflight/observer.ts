import { exactNow } from '../../test/helpers/control-plane/calls.ts'
import type { Bench } from '../part.ts'
import { mean, median, p99 } from '../percentiles.ts'
import { memoryMb } from './process-facts.ts'
import type { Stand } from './stand.ts'

/** What is asked of the server while a crowd is in flight. */
export type SteadyTargets = {
  readonly pollRpcsPerSecond: number
  /** Resident memory of the server, in MB of 1,000,000 bytes. */
  readonly residentMb: number
  /** `GET /jobs/:id`, p99, in ms. */
  readonly getWithinMs: number
}

type Steady = { report(targets: SteadyTargets): void }

const SAMPLE_EVERY_MS = 1_000
const GET_EVERY_MS = 10

/** Watches the server until stopped: poll RPCs and memory every second, and a GET of a random job every 10 ms. */
export function observe(bench: Bench, { plane, server, client }: Stand, ids: readonly string[]): { stop(): Steady } {
  const getMs: number[] = []
  const residentMb: number[] = []
  const polls: { at: number; count: number }[] = []
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
    polls.push({ at: (askedAt + exactNow()) / 2, count: rpcs.FunctionGetOutputs ?? 0 })
  }
  const timers = [
    setInterval(() => void get().catch(() => (failedGets += 1)), GET_EVERY_MS),
    setInterval(() => void sample().catch(() => undefined), SAMPLE_EVERY_MS),
  ]
  const stop = () => timers.forEach((timer) => clearInterval(timer))
  bench.own(stop)

  const report = ({ pollRpcsPerSecond, residentMb: mostMb, getWithinMs }: SteadyTargets) => {
    const rates = ratesOf(polls)
    const rate = { unit: 'RPC/s', target: { atMost: pollRpcsPerSecond } }
    const memory = { unit: 'MB', target: { atMost: mostMb } }
    bench.report({ name: 'poll RPCs: mean', value: mean(rates), ...rate })
    bench.report({ name: 'poll RPCs: most in a second', value: Math.max(...rates), ...rate })
    bench.report({ name: 'resident memory: most meanwhile', value: Math.max(...residentMb), ...memory })
    bench.report({ name: 'resident memory: at the end', value: memoryMb(server.pid, 'VmRSS'), ...memory })
    bench.report({ name: 'resident memory: most ever', value: memoryMb(server.pid, 'VmHWM'), unit: 'MB' })
    bench.report({ name: 'GET /jobs/:id, 100 a second: median', value: median(getMs), unit: 'ms' })
    bench.report({
      name: 'GET /jobs/:id, 100 a second: p99',
      value: p99(getMs),
      unit: 'ms',
      target: { atMost: getWithinMs },
    })
    bench.report({ name: 'GET /jobs/:id: not answered', value: failedGets, unit: '', target: { atMost: 0 } })
  }
  return {
    stop() {
      stop()
      return { report }
    },
  }
}

function ratesOf(polls: readonly { at: number; count: number }[]): number[] {
  return polls.slice(1).map(({ at, count }, index) => {
    const before = polls[index]!
    return ((count - before.count) * 1000) / (at - before.at)
  })
}
