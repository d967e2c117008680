import type { Section } from '../part.ts'
import { CONNECTIONS } from '../store/generator.ts'
import { compareReplicas } from './comparison.ts'

const ROUNDS = 3
const ROUND_MS = 3_000
const WARM_UP_MS = 2_000
const JOBS = 10_000
const TARGETS = { ratio: 0.5 }

/** What replicas answer together. */
export const reads: Section = {
  name: 'reads',
  what:
    `GET /jobs/:id per second over ${CONNECTIONS} connections spread over 1, 2 and 3 replicas, of ` +
    `${JOBS.toLocaleString('en-US')} waiting jobs at random, each with its place in the line, beside 'memory' in turns: ` +
    `${ROUNDS} rounds of ${ROUND_MS / 1000} s each, medians.`,
  deadlineMs: 180_000,
  run: (bench) =>
    compareReplicas(bench, {
      unit: 'GET',
      rounds: ROUNDS,
      roundMs: ROUND_MS,
      warmUpMs: WARM_UP_MS,
      jobs: JOBS,
      targets: TARGETS,
    }),
}
