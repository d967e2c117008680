import { reads } from './output/reads.ts'
import type { Part } from './part.ts'

/** The outputs of jobs, given out by this server: how fast, and at what cost of memory. */
export const output: Part = { name: 'output', sections: [reads] }
