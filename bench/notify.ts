import { latency } from './notify/latency.ts'
import { streams } from './notify/streams.ts'
import type { Part } from './part.ts'

/** Being told of the end of a job, instead of asking for it. */
export const notify: Part = { name: 'notify', sections: [streams, latency] }
