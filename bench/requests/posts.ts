import type { Section } from '../part.ts'
import { CONNECTIONS } from '../store/generator.ts'
import { race, ROUND_MS, ROUNDS, STARTS } from './race.ts'

/** What it costs to submit a job. */
export const posts: Section = {
  name: 'posts',
  what:
    `Accepted POST /jobs per second over ${CONNECTIONS} connections, likewise: the server keeps each job in memory and in line for ` +
    'a backend that takes one at a time, bare Fastify and node:http put it into a Map, and FastAPI begins a thread whose ' +
    `call takes a second. Each is started ${STARTS} times, with ${ROUNDS} rounds of ${ROUND_MS / 1000} s in turns; rate limits are off (set to 0).`,
  deadlineMs: 420_000,
  run: (bench) => race(bench, { idsOf: () => undefined, jobs: 1, unit: 'POSTs', ofBare: { atLeast: 0.5 } }),
}
