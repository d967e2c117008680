import { setTimeout as sleep } from 'node:timers/promises'
import type { Section } from '../part.ts'
import { median } from '../percentiles.ts'
import { forkBareSdk } from './bare-sdk.ts'
import { type Client, hasSucceeded } from './client.ts'
import { perSecond } from './loop.ts'
import { processorMs } from '../process-facts.ts'
import { openStand } from './stand.ts'

const CONCURRENCY = 64
const ROUNDS = 3
const ROUND_MS = 8_000
const WARM_UP_MS = 3_000
/** Time between two looks at a job that takes longer than jobs of late, in ms. */
const LOOK_EVERY_MS = 10

/** How many jobs a second the server carries from submit to success. */
export const throughput: Section = {
  name: 'throughput',
  what:
    `Jobs per second from POST to 'succeeded' by ${CONCURRENCY} callers at a time, beside as many spawn + get loops of the ` +
    `bare SDK in a process of its own; calls take 10 ms; ${ROUNDS} rounds of ${ROUND_MS / 1000} s each, in turns, medians. ` +
    `A caller first looks when jobs of late had ended, then every ${LOOK_EVERY_MS} ms. The callers take processor time ` +
    'from the server; the bare SDK has no callers.',
  deadlineMs: 90_000,
  async run(bench) {
    const { plane, server, client } = await openStand(bench)
    const bare = await forkBareSdk(plane.env)
    bench.own(() => bare.end())
    const caller = new Caller(client)
    const serverRound = (durationMs: number) =>
      perSecond(() => caller.submitToSucceeded(), { concurrency: CONCURRENCY, durationMs: bench.scaled(durationMs) })
    const bareRound = (durationMs: number) => bare.loop(CONCURRENCY, bench.scaled(durationMs))
    await serverRound(WARM_UP_MS)
    await bareRound(WARM_UP_MS)

    const rates = { server: [] as number[], bare: [] as number[] }
    const usedMs = { server: -processorMs(server.pid), bare: -processorMs(bare.pid) }
    const [jobs, looks] = [caller.jobs, caller.looks]
    for (let round = 0; round < ROUNDS; round++) {
      rates.server.push(await serverRound(ROUND_MS))
      rates.bare.push(await bareRound(ROUND_MS))
    }
    usedMs.server += processorMs(server.pid)
    usedMs.bare += processorMs(bare.pid)
    const done = caller.jobs - jobs
    const calls = (rates.bare.reduce((sum, rate) => sum + rate, 0) * bench.scaled(ROUND_MS)) / 1000
    const ratio = median(rates.server) / median(rates.bare)
    bench.report({ name: 'server', value: median(rates.server), unit: 'jobs/s' })
    bench.report({ name: 'server: processor time a job', value: usedMs.server / done, unit: 'ms' })
    bench.report({ name: 'server: GETs a job', value: (caller.looks - looks) / done, unit: '' })
    bench.report({ name: 'bare SDK', value: median(rates.bare), unit: 'calls/s' })
    bench.report({ name: 'bare SDK: processor time a call', value: usedMs.bare / calls, unit: 'ms' })
    bench.report({ name: 'throughput: server / bare SDK', value: ratio, unit: '', target: { atLeast: 0.6 } })
  },
}

/** A caller that polls sparingly: it first looks after the time in which jobs of late had ended. */
class Caller {
  looks = 0
  jobs = 0
  #expectedMs = 10
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  async submitToSucceeded(): Promise<void> {
    const { id } = await this.#client.submit('after=10')
    await sleep(this.#expectedMs)
    let looks = 1
    for (; !hasSucceeded(await this.#client.job(id)); looks++) await sleep(LOOK_EVERY_MS)
    // Shorter while the first look finds the end, longer when it was too early.
    this.#expectedMs = Math.max(1, looks === 1 ? this.#expectedMs - 0.1 : this.#expectedMs + 0.3)
    this.looks += looks
    this.jobs += 1
  }
}
