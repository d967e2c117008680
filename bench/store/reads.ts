import type { Section } from '../part.ts'
import { median } from '../percentiles.ts'
import { processorMs } from '../process-facts.ts'
import { CONNECTIONS, forkGenerator } from './generator.ts'
import { inTurns, type Mode, MODES, openPair } from './stand.ts'

const ROUNDS = 5
const ROUND_MS = 3_000
const WARM_UP_MS = 2_000
/** As many as the store keeps parsed; and so many that most have to be read from the file. */
const JOBS = 10_000
const MANY_JOBS = 60_000

/** What it costs to read jobs from a file. */
export const reads: Section = {
  name: 'reads',
  what:
    `GET /jobs/:id per second over ${CONNECTIONS} connections, of ${JOBS.toLocaleString('en-US')} jobs at random, then of ${MANY_JOBS.toLocaleString('en-US')}, 'sqlite' ` +
    `beside 'memory' in turns: ${ROUNDS} rounds of ${ROUND_MS / 1000} s each, medians.`,
  deadlineMs: 240_000,
  async run(bench) {
    const { servers } = await openPair(bench)
    const generator = await forkGenerator(bench)
    const add = async (mode: Mode, count: number) => (await generator.run(servers[mode].url, { count })).ids
    const ids = { memory: await add('memory', bench.scaled(JOBS)), sqlite: await add('sqlite', bench.scaled(JOBS)) }
    const usedMs = { memory: 0, sqlite: 0 }
    const answered = { memory: 0, sqlite: 0 }
    const round = (durationMs: number) => async (mode: Mode) => {
      const before = processorMs(servers[mode].pid)
      const answer = await generator.run(servers[mode].url, { ids: ids[mode], durationMs: bench.scaled(durationMs) })
      usedMs[mode] += processorMs(servers[mode].pid) - before
      answered[mode] += answer.answered
      return answer.perSecond
    }
    await inTurns(1, round(WARM_UP_MS))
    const rates = await inTurns(ROUNDS, round(ROUND_MS))
    for (const mode of MODES) {
      bench.report({ name: mode, value: median(rates[mode]), unit: 'GETs/s' })
      bench.report({ name: `${mode}: processor time a GET`, value: usedMs[mode] / answered[mode], unit: 'ms' })
    }
    const ratio = median(rates.sqlite) / median(rates.memory)
    bench.report({ name: 'reads: sqlite / memory', value: ratio, unit: '', target: { atLeast: 0.9 } })

    for (const mode of MODES) ids[mode].push(...(await add(mode, bench.scaled(MANY_JOBS - JOBS))))
    const spread = await inTurns(ROUNDS, round(ROUND_MS))
    const spreadRatio = median(spread.sqlite) / median(spread.memory)
    bench.report({ name: 'reads of many jobs: sqlite / memory', value: spreadRatio, unit: '' })
  },
}
