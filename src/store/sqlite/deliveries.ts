import type { DatabaseSync } from 'node:sqlite'
import type { Delivery, DueDelivery } from '../../jobs/webhooks/delivery.ts'

/** The deliveries' part of the file. Who calls them sees to the transaction. */
export type DeliveryRows = {
  /** Throws where the number is taken. */
  insert(delivery: Delivery): void
  of(jobId: string): Delivery[]
  /** False, and no change, unless the stored revision is the expected one. */
  update(delivery: Delivery, expectedRevision: number): boolean
  remove(jobId: string): void
  /** One page of what is due, from behind one on. */
  due(after: DueDelivery, now: number, limit: number): DueDelivery[]
}

export function createDeliveryRows(sql: ReturnType<typeof prepareDeliveries>): DeliveryRows {
  return {
    insert(delivery) {
      const { jobId, number, host, body, ...document } = delivery
      sql.insert.run(...columnsOf(delivery), JSON.stringify(document), jobId, number, host, body)
    },
    of: (jobId) => sql.of.all(jobId).map(deliveryOf),
    update(delivery, expectedRevision) {
      const { jobId, number, host, body, ...document } = delivery
      const { changes } = sql.update.run(
        ...[...columnsOf(delivery), JSON.stringify(document)],
        ...[jobId, number, expectedRevision],
      )
      return Number(changes) === 1
    },
    remove: (jobId) => void sql.remove.run(jobId),
    due: (after, now, limit) =>
      sql.due.all(after.dueAt, after.jobId, after.number, now, limit).map((row) => ({
        jobId: String(row.job_id),
        number: Number(row.number),
        caller: String(row.caller),
        host: String(row.host),
        dueAt: Number(row.due_at),
      })),
  }
}

const columnsOf = ({ revision, dueAt }: Delivery) => [revision, dueAt ?? null] as const

const deliveryOf = ({ document, job_id: jobId, number, host, body }: Record<string, unknown>) =>
  ({ jobId, number, host, body, ...(JSON.parse(String(document)) as object) }) as Delivery

/** Every statement, prepared once, for the tests to ask the query planner about. */
export const prepareDeliveries = (db: DatabaseSync) => ({
  of: db.prepare('SELECT document, job_id, number, host, body FROM deliveries WHERE job_id = ? ORDER BY number'),
  insert: db.prepare(
    'INSERT INTO deliveries (revision, due_at, document, job_id, number, host, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
  ),
  update: db.prepare(
    'UPDATE deliveries SET revision = ?, due_at = ?, document = ? WHERE job_id = ? AND number = ? AND revision = ?',
  ),
  remove: db.prepare('DELETE FROM deliveries WHERE job_id = ?'),
  due: db.prepare(
    `SELECT due_at, job_id, number, host, caller FROM deliveries JOIN jobs ON jobs.id = job_id
     WHERE (due_at, job_id, number) > (?, ?, ?) AND due_at <= ? ORDER BY due_at, job_id, number LIMIT ?`,
  ),
})
