import { type Batch, batchAfter } from '../../jobs/batch.ts'
import type { Job } from '../../jobs/job.ts'
import { type BatchStore, comparePositions, type StoredBatch } from '../../jobs/ports/store.ts'
import type { UsageRecord } from '../../jobs/usage.ts'

/** Batches by id, by idempotency key, and in order of creation. */
type BatchTable = {
  /** Estimated, of all batches. */
  readonly bytes: number
  add(batch: StoredBatch): void
  get(id: string): Batch | undefined
  find(caller: string, idempotencyKey: string): StoredBatch | undefined
  list: BatchStore['listBatches']
  /** Counts a change of a job in its batch, if it has one: no `after` means that the job is removed. */
  change(before: Job, after: Job | undefined, usage?: UsageRecord): Batch | undefined
}

/** What V8 takes on a 64-bit machine, in bytes: for a batch with its indexes, and for one of its own labels beside its texts. */
const BATCH_BYTES = 900
const LABEL_BYTES = 64

export function createBatchTable(): BatchTable {
  const batches = new Map<string, StoredBatch>()
  const idsByKey = new Map<string, string>()
  let bytes = 0
  /** Few, compared to jobs: a list is sorted when it is asked for. */
  const ofCaller = (caller: string | undefined) =>
    [...batches.values()].map(({ batch }) => batch).filter((batch) => caller === undefined || batch.caller === caller)

  const forget = (stored: StoredBatch) => {
    const { id, caller, idempotencyKey } = stored.batch
    batches.delete(id)
    bytes -= bytesOf(stored)
    if (idempotencyKey !== undefined) idsByKey.delete(keyOf(caller, idempotencyKey))
  }

  return {
    get bytes() {
      return bytes
    },
    add(stored) {
      const { id, caller, idempotencyKey } = stored.batch
      batches.set(id, stored)
      bytes += bytesOf(stored)
      if (idempotencyKey !== undefined) idsByKey.set(keyOf(caller, idempotencyKey), id)
    },
    get: (id) => batches.get(id)?.batch,
    find: (caller, idempotencyKey) => batches.get(idsByKey.get(keyOf(caller, idempotencyKey)) ?? ''),
    list({ caller, after, limit }) {
      const newestFirst = ofCaller(caller).sort((a, b) => comparePositions(b, a))
      const following = after ? newestFirst.filter((batch) => comparePositions(batch, after) < 0) : newestFirst
      return Promise.resolve(following.slice(0, limit))
    },
    change(before, after, usage) {
      const stored = before.batch && batches.get(before.batch.id)
      if (!stored) return undefined
      const batch = batchAfter(stored.batch, before.status, after, usage)
      if (batch) batches.set(batch.id, { ...stored, batch })
      else forget(stored)
      return batch
    },
  }
}

/** The same for the same batch, whatever its jobs do: their counts and sums take no more as they grow. */
function bytesOf({ batch, results }: StoredBatch): number {
  const { metadata = {}, webhookUrl = '', idempotencyKey = '' } = batch
  const labels = Object.entries(metadata).reduce(
    (sum, [key, value]) => sum + LABEL_BYTES + key.length + value.length,
    0,
  )
  return BATCH_BYTES + results.length + webhookUrl.length + 2 * idempotencyKey.length + labels
}

const keyOf = (caller: string, idempotencyKey: string) => JSON.stringify([caller, idempotencyKey])
