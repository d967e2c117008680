import type { Part } from './part.ts'
import { boot } from './store/boot.ts'
import { listing } from './store/listing.ts'
import { reads } from './store/reads.ts'
import { submissions } from './store/submissions.ts'

/** Jobs on disk: what they cost beside jobs in memory, and whether many of them slow anything down. */
export const store: Part = { name: 'store', sections: [submissions, reads, listing, boot] }
