import { inline } from './output/inline.ts'
import { past } from './output/past.ts'
import { reads } from './output/reads.ts'
import { upload } from './output/upload.ts'
import type { Part } from './part.ts'

/** The files of jobs, given out and taken in by this server: how fast, and at what cost of memory. */
export const output: Part = { name: 'output', sections: [reads, upload, inline, past] }
