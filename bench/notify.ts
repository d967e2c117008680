import { latency } from './notify/latency.ts'
import { streams } from './notify/streams.ts'
import type { Part } from './part.ts'

/** Notifications of the end of a job, in place of polls. */
export const notify: Part = { name: 'notify', sections: [streams, latency] }
