import { setTimeout as sleep } from 'node:timers/promises'
import { isProblem } from '../problems.ts'
import type { JobStore } from './ports/store.ts'
import type { Job } from './job.ts'

/** Pauses before the store is read, in ms: from the first, each twice as long, to the last. */
const FIRST_PAUSE_MS = 250
const LAST_PAUSE_MS = 64_000

/** A state of a job that is to be written, and what follows once it is. `followUp` never rejects. */
export type Write = { readonly store: Pick<JobStore, 'get'>; readonly job: Job; readonly followUp: () => Promise<void> }

/** Rejects as `write` does. Where that leaves open whether `job` was written, the follow-up waits for the store to show it. */
export async function writeWithFollowUp(pending: Write, write: () => Promise<boolean>): Promise<boolean> {
  const isWritten = await write().catch((error: unknown) => {
    if (isProblem(error, 'store_unavailable') && error.isAmbiguousWrite) void resolveAmbiguity(pending)
    throw error
  })
  if (isWritten) await pending.followUp()
  return isWritten
}

/** Never rejects. A write may be made long after it was sent; another state of that revision, or a later one, is not ours. */
async function resolveAmbiguity({ store, job, followUp }: Write): Promise<void> {
  const text = JSON.stringify(job)
  for (let pauseMs = FIRST_PAUSE_MS; pauseMs <= LAST_PAUSE_MS; pauseMs *= 2) {
    await sleep(pauseMs, undefined, { ref: false })
    const stored = await store.get(job.id).catch(() => undefined)
    if (stored === undefined || stored.revision < job.revision) continue
    if (JSON.stringify(stored) === text) await followUp()
    return
  }
}
