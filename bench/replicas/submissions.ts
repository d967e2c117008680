import type { Section } from '../part.ts'
import { CONNECTIONS } from '../store/generator.ts'
import { compareReplicas } from './comparison.ts'

const ROUNDS = 3
const ROUND_MS = 4_000
const WARM_UP_MS = 3_000
const TARGETS = { ratio: 0.4, serverMs: 0.2 }

/** What replicas accept together. */
export const submissions: Section = {
  name: 'submissions',
  what:
    `Accepted POST /jobs per second over ${CONNECTIONS} connections spread over 1, 2 and 3 replicas, the backend held ` +
    `back, beside 'memory' in turns: ${ROUNDS} rounds of ${ROUND_MS / 1000} s each, medians. Redis writes every job to ` +
    'disk before it answers. All processes share the machine: with few cores another replica adds its cost only, so ' +
    'the processor time a job is what to size by.',
  deadlineMs: 180_000,
  run: (bench) =>
    compareReplicas(bench, { unit: 'job', rounds: ROUNDS, roundMs: ROUND_MS, warmUpMs: WARM_UP_MS, targets: TARGETS }),
}
