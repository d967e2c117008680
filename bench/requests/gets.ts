import type { Section } from '../part.ts'
import { CONNECTIONS } from '../store/generator.ts'
import { race, ROUND_MS, ROUNDS, STARTS } from './race.ts'

const JOBS = 10_000

/** What it costs to look at a job. */
export const gets: Section = {
  name: 'gets',
  what:
    `GET /jobs/:id per second over ${CONNECTIONS} connections, of ${JOBS.toLocaleString('en-US')} jobs at random, beside the same route in bare Fastify ` +
    '(same schemas, logger and line a request), in raw node:http (nothing checked, nothing logged), and the original design ' +
    `in FastAPI: each started ${STARTS} times, with ${ROUNDS} rounds of ${ROUND_MS / 1000} s in turns; medians, and of ratios the median of the rounds'. All log to ` +
    '/dev/null. The server keeps jobs in memory, holds them back from its backend, and has its rate limits off (set to 0).',
  deadlineMs: 420_000,
  run: (bench) => race(bench, { idsOf: (ids) => ids, jobs: JOBS, unit: 'GETs', ofBare: { atLeast: 0.75 } }),
}
