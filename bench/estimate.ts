import { replay } from './estimate/replay.ts'
import type { Part } from './part.ts'

/** When jobs are expected to finish: how far off that is. */
export const estimate: Part = { name: 'estimate', sections: [replay] }
