import type { DatabaseSync } from 'node:sqlite'
import { type Batch, batchAfter } from '../../jobs/batch.ts'
import type { Job } from '../../jobs/job.ts'
import type { ListQuery, StoredBatch } from '../../jobs/ports/store.ts'
import type { UsageRecord } from '../../jobs/usage.ts'

/** The statements of batches. */
export function prepareBatches(db: DatabaseSync) {
  const page = '(created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?'
  return {
    insert: db.prepare(
      'INSERT INTO batches (id, caller, created_at, idempotency_key, document, results) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    get: db.prepare('SELECT document FROM batches WHERE id = ?'),
    byKey: db.prepare('SELECT document, results FROM batches WHERE caller = ? AND idempotency_key = ?'),
    update: db.prepare('UPDATE batches SET document = ? WHERE id = ?'),
    remove: db.prepare('DELETE FROM batches WHERE id = ?'),
    list: db.prepare(`SELECT document FROM batches WHERE ${page}`),
    // Names the index: the planner would take the other one and walk over the batches of all callers.
    listOf: db.prepare(`SELECT document FROM batches INDEXED BY batches_by_caller WHERE caller = ? AND ${page}`),
  }
}

const batchOfRow = ({ document }: Record<string, unknown>) => JSON.parse(String(document)) as Batch

/** The batches in the file. Writes belong to the transaction of their caller. */
export function createBatchRows(sql: ReturnType<typeof prepareBatches>) {
  const get = (id: string): Batch | undefined => {
    const row = sql.get.get(id)
    return row && batchOfRow(row)
  }
  return {
    get,
    add({ batch, results }: StoredBatch) {
      const { id, caller, createdAt, idempotencyKey = null } = batch
      sql.insert.run(id, caller, createdAt, idempotencyKey, JSON.stringify(batch), results)
    },
    find(caller: string, idempotencyKey: string): StoredBatch | undefined {
      const row = sql.byKey.get(caller, idempotencyKey)
      return row && { batch: batchOfRow(row), results: String(row.results) }
    },
    list({ caller, after, limit }: Pick<ListQuery, 'caller' | 'after' | 'limit'>): Batch[] {
      const range = [after?.createdAt ?? Number.MAX_SAFE_INTEGER, after?.id ?? '', limit] as const
      const rows = caller === undefined ? sql.list.all(...range) : sql.listOf.all(caller, ...range)
      return rows.map(batchOfRow)
    },
    /** Counts a change of a job in its batch, if it has one: no `after` means that the job is removed. */
    change(
      { batch: ref, status }: Pick<Job, 'batch' | 'status'>,
      after: Job | undefined,
      usage?: UsageRecord,
    ): Batch | undefined {
      const stored = ref && get(ref.id)
      if (!stored) return undefined
      const batch = batchAfter(stored, status, after, usage)
      if (batch) sql.update.run(JSON.stringify(batch), batch.id)
      else sql.remove.run(stored.id)
      return batch
    },
  }
}
