import type { Bench, Section } from '../part.ts'
import { median } from '../percentiles.ts'
import { processorMs } from '../process-facts.ts'
import { CONNECTIONS, forkGenerator } from './generator.ts'
import { countJobs, inTurns, type Mode, MODES, openPair } from './stand.ts'

const ROUNDS = 5
const ROUND_MS = 4_000
const WARM_UP_MS = 3_000

/** What it costs to have every accepted job on disk. */
export const submissions: Section = {
  name: 'submissions',
  what:
    `Accepted POST /jobs per second over ${CONNECTIONS} connections, the backend held back, 'sqlite' beside 'memory' in ` +
    `turns: ${ROUNDS} rounds of ${ROUND_MS / 1000} s each, medians. Then the sqlite server is killed, and its file has ` +
    'to hold every job that was answered 202.',
  deadlineMs: 120_000,
  async run(bench) {
    const { servers, file } = await openPair(bench)
    const generator = await forkGenerator(bench)
    const acknowledged = { memory: 0, sqlite: 0 }
    const usedMs = { memory: 0, sqlite: 0, generator: 0 }
    const round = async (mode: Mode, durationMs: number) => {
      const [before, own] = [processorMs(servers[mode].pid), processorMs(generator.pid)]
      const answer = await generator.run(servers[mode].url, { durationMs: bench.scaled(durationMs) })
      usedMs[mode] += processorMs(servers[mode].pid) - before
      usedMs.generator += processorMs(generator.pid) - own
      acknowledged[mode] += answer.answered
      return answer.perSecond
    }
    await inTurns(1, (mode) => round(mode, WARM_UP_MS))
    const rates = await inTurns(ROUNDS, (mode) => round(mode, ROUND_MS))
    for (const mode of MODES) {
      bench.report({ name: mode, value: median(rates[mode]), unit: 'jobs/s' })
      bench.report({ name: `${mode}: processor time a job`, value: usedMs[mode] / acknowledged[mode], unit: 'ms' })
    }
    const jobs = acknowledged.memory + acknowledged.sqlite
    bench.report({ name: 'load generator: processor time a job', value: usedMs.generator / jobs, unit: 'ms' })
    const ratio = median(rates.sqlite) / median(rates.memory)
    bench.report({ name: 'submissions: sqlite / memory', value: ratio, unit: '', target: { atLeast: 0.6 } })
    await servers.sqlite.end()
    reportKept(bench, acknowledged.sqlite, countJobs(file))
  },
}

function reportKept({ report }: Bench, acknowledged: number, kept: number) {
  report({ name: 'acknowledged in sqlite mode', value: acknowledged, unit: 'jobs' })
  report({ name: 'of these not on disk', value: acknowledged - kept, unit: 'jobs', target: { atMost: 0 } })
}
