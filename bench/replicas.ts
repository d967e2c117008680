import type { Part } from './part.ts'
import { handOver } from './replicas/hand-over.ts'
import { reads } from './replicas/reads.ts'
import { submissions } from './replicas/submissions.ts'

/** Many servers on one Redis: what it costs to share, what another one adds, and how soon one stands in for another. */
export const replicas: Part = { name: 'replicas', sections: [submissions, reads, handOver] }
